"""Strip the notebooks: what `nbdev_clean` strips, and the widgets' saved state (5 MB for one live figure)."""
from pathlib import Path
from execnb.nbio import read_nb, write_nb
from nbdev.clean import nbdev_clean

nbdev_clean()
for path in Path('nbs').rglob('*.ipynb'):
    nb = read_nb(path)
    if '.ipynb_checkpoints' in path.parts or 'widgets' not in nb.metadata: continue
    del nb.metadata['widgets']
    write_nb(nb, path)
