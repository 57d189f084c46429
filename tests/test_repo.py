"""The repository agrees with itself: modules and README with the notebooks, packages with the order of the house."""
import ast, json, os, re, shutil, subprocess, sys
from collections import Counter
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
NBS  = sorted(p for p in ROOT.glob('nbs/**/*.ipynb') if '.ipynb_checkpoints' not in p.parts)
HEAVY = {'plotly', 'ipywidgets', 'anywidget', 'openTSNE', 'nbdev', 'fastcore', 'IPython', 'sklearn', 'torchvision'}
JUPYTER = {'IPython', 'ipywidgets', 'anywidget', 'ipykernel', 'jupyterlab', 'jupyter_client', 'jupyter_server'}
PLOTS_NOTHING = {'data', 'models', 'methods', 'metrics', 'training', 'session', 'label_issues'}

def exporting():
    "(number of its folder, its own number), module → for each notebook that exports one; the order of the house."
    found = []
    for p in NBS:
        exp = re.search(r'#\s*\|\s*default_exp ([\w.]+)', p.read_text(encoding='utf-8'))
        if not exp: continue
        folder = p.parent.relative_to(ROOT/'nbs').name
        place = (int(folder[:2]), int(p.stem[:2])) if folder else (int(p.stem[:2]), 0)
        found.append((place, exp[1]))
    return sorted(found)

MODULES = {name: place for place, name in exporting()}
PACKAGES = sorted({name.split('.')[0] for name in MODULES if '.' in name})

def tree(name): return ast.parse((ROOT/f'noisylab/{name.replace(".", "/")}.py').read_text(encoding='utf-8'))

def imports(name):
    "(module or package of ours, imported name) and (None, other package) for each import, also within functions."
    here = ['noisylab', *name.split('.')]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import): yield from ((None, o.name.split('.')[0]) for o in node.names)
        if not isinstance(node, ast.ImportFrom): continue
        full = [*here[:-node.level], *(node.module or '').split('.')] if node.level else node.module.split('.')
        full = '.'.join(o for o in full if o)
        if not full.startswith('noisylab'): yield None, full.split('.')[0]; continue
        for o in node.names:
            whole = f'{full}.{o.name}'.removeprefix('noisylab.')
            yield (whole, '') if whole in MODULES else (full.removeprefix('noisylab').lstrip('.'), o.name)

def test_every_notebook_exports_a_module_of_its_own():
    twice = [name for name, n in Counter(name for _, name in exporting()).items() if n > 1]
    assert not twice, f'several notebooks export {twice}; the last would overwrite the others'
    for p in NBS:
        folder = p.parent.relative_to(ROOT/'nbs').name
        exp = re.search(r'#\s*\|\s*default_exp ([\w.]+)', p.read_text(encoding='utf-8'))
        if not exp: continue
        assert exp[1] == '.'.join(o[3:] for o in (folder, p.stem) if o), f'{p.relative_to(ROOT)} exports {exp[1]}'

@pytest.mark.parametrize('name', MODULES)
def test_a_module_imports_only_what_stands_above_it(name):
    used = list(imports(name))
    below = {m for m, _ in used if m in MODULES and MODULES[m] >= MODULES[name]}
    assert not below, f'{name} {MODULES[name]} imports {below}'
    private = {f'{m}.{n}' for m, n in used if m and n.startswith('_') and not n.startswith('__')}
    assert not private, f'{name} imports private names: {private}'
    other, package = {n for m, n in used if m is None}, name.split('.')[0]
    assert not other & {'nbdev', 'fastcore', 'execnb'}, 'users never need nbdev'
    if package in PLOTS_NOTHING: assert 'plotly' not in other, 'numbers come before figures'
    if package != 'lab': assert not other & JUPYTER, 'only the lab knows of Jupyter'

def defined(name):
    for node in tree(name).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)): yield node.name
        if isinstance(node, ast.Assign): yield from (t.id for t in node.targets if isinstance(t, ast.Name))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name): yield node.target.id

def test_the_map_of_the_house_is_true():
    "CONTRIBUTING.md shows each package with its modules, in their order."
    text = re.search(r'## The map.*?```text\n(.*?)```', (ROOT/'CONTRIBUTING.md').read_text(encoding='utf-8'), re.S)[1]
    shown = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    packages = {}
    for name in sorted(MODULES, key=MODULES.get):
        package, _, module = name.partition('.')
        packages.setdefault(package, []).extend([module] if module else [])
    assert list(shown) == list(packages)
    assert {k: v for k, v in packages.items() if v} == {k: shown[k] for k, v in packages.items() if v}

def test_no_public_name_stands_in_two_modules():
    where = {}
    for name in MODULES:
        for n in set(defined(name)):
            if not n.startswith('_'): where.setdefault(n, []).append(name)
    assert not (twice := {n: m for n, m in where.items() if len(m) > 1}), twice

def test_no_chains_of_bases():
    "A class of ours has at most one base of ours, and that base more than one class under it."
    bases, under = {}, Counter()
    ours = {n.name: m for m in MODULES for n in tree(m).body if isinstance(n, ast.ClassDef)}
    for m in MODULES:
        for n in tree(m).body:
            if not isinstance(n, ast.ClassDef): continue
            names = [b.id if isinstance(b, ast.Name) else getattr(b, 'attr', '') for b in n.bases]
            bases[n.name] = [b for b in names if b in ours]
            under.update(bases[n.name])
    def depth(c): return 1 + max(map(depth, bases[c]), default=0)
    assert not (many := {c: b for c, b in bases.items() if len(b) > 1}), many
    lonely = {b for b, n in under.items() if n == 1 and not b.endswith('Error')}
    assert not lonely, f'bases of one class: {lonely}'
    assert not (long := {c: depth(c) for c in bases if depth(c) > 3}), long

def test_modules_are_what_the_notebooks_export(tmp_path):
    "Compares files, so it needs no git; modules whose notebook is gone show up as well."
    shutil.copytree(ROOT/'nbs', tmp_path/'nbs', ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    shutil.copytree(ROOT/'noisylab', tmp_path/'noisylab', ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copy(ROOT/'settings.ini', tmp_path)
    for p in tmp_path.glob('noisylab/**/*.py'):
        if 'autogenerated' in p.read_text(encoding='utf-8')[:400].lower(): p.unlink()
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}   # nbdev exports nothing when this is set
    subprocess.run([sys.executable, '-c', 'from nbdev.doclinks import nbdev_export; nbdev_export()'],
                   cwd=tmp_path, env=env, check=True)
    def files(top): return {p.relative_to(top).as_posix(): p.read_text(encoding='utf-8')
                            for p in top.glob('noisylab/**/*.py')}
    fresh, committed = files(tmp_path), files(ROOT)
    wrong = sorted(o for o in fresh.keys() | committed.keys() if fresh.get(o) != committed.get(o))
    assert not wrong, f'not what the notebooks export: {wrong}; run `make prepare`'

def test_each_exported_cell_is_followed_by_something_that_shows_it():
    defines, bare = (ast.FunctionDef, ast.ClassDef, ast.Assign), []
    for p in NBS:
        code = [c for c in json.loads(p.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
        text = [''.join(c['source']) for c in code] + ['#| export']
        exported = [bool(re.match(r'#\|\s*export\b', t)) for t in text]
        for k, t in enumerate(text[:-1]):
            if exported[k] and exported[k + 1] and any(isinstance(n, defines) for n in ast.parse(t).body):
                bare.append((p.stem, code[k]['id']))
    assert not bare, f'no example behind these cells: {bare}'

def test_readme_is_what_the_notebook_says():
    subprocess.run([sys.executable, ROOT/'tools/readme.py', '--check'], check=True)

def test_readme_directives(tmp_path):
    "`tools/readme.py` on a small notebook: what is hidden, what is shown, where links point."
    def cell(src, *outputs): return dict(cell_type='code', source=src, outputs=[dict(text=o) for o in outputs])
    intro = '# T\n\n![](images/a.png) [up](../tests) [web](https://x.org) [here](#t)'
    cells = [dict(cell_type='markdown', source=intro), cell('#| hide\nsecret = 1', 'secret'),
             cell('#| export\ndef exported(): pass'), cell('1 + 1', '2'),
             cell('#| echo: false\nunseen()', 'seen'), cell('#| output: false\nquiet()', 'noise')]
    (tmp_path/'nbs').mkdir(); (tmp_path/'tools').mkdir()
    shutil.copy(ROOT/'tools/readme.py', tmp_path/'tools')
    (tmp_path/'nbs/index.ipynb').write_text(json.dumps(dict(cells=cells)))
    run = [sys.executable, tmp_path/'tools/readme.py']
    assert subprocess.run([*run, '--check'], capture_output=True).returncode
    subprocess.run(run, check=True)
    text = (tmp_path/'README.md').read_text()
    assert '# T\n\n![](nbs/images/a.png) [up](tests) [web](https://x.org) [here](#t)' in text
    assert '```python\n1 + 1\n```\n\n```text\n2\n```' in text and 'quiet()' in text and '\nseen\n' in text
    assert not any(o in text for o in ('secret', 'exported', 'unseen', 'noise', '#|'))
    subprocess.run([*run, '--check'], check=True)

@pytest.mark.parametrize('path', NBS, ids=lambda p: p.stem)
def test_notebook_is_small_and_clean(path):
    text = path.read_text(encoding='utf-8')
    nb = json.loads(text)
    assert len(text.encode()) < 1_000_000, 'above 1 MB'
    assert nb['metadata']['kernelspec']['name'] == 'python3', 'JupyterLab would ask for a kernel'
    assert 'widgets' not in nb['metadata'], 'saved widget state: run `make prepare`'
    assert 'plotly.js v' not in text, 'holds a copy of plotly.js: use the renderer plotly_mimetype'

def test_import_is_light():
    "All that trains from the command line loads none of the heavy packages, and takes a fraction of torch's own time."
    names = [f'noisylab.{o}' for o in MODULES if o.split('.')[0] not in ('viz', 'lab')]
    code = f'''import importlib, json, sys, time
start = time.process_time()
import torch
half = time.process_time()
for o in {['noisylab', *names]}: importlib.import_module(o)
end = time.process_time()
print(json.dumps([half - start, end - half, sorted({{o.split('.')[0] for o in sys.modules}} & {HEAVY})]))'''
    for _ in range(2):      # the first time Python may have to compile them
        out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    torchs, ours, heavy = json.loads(out)
    assert not heavy, f'imported although nobody asked: {heavy}'
    assert ours < torchs/2, f'{ours:.2f} s of CPU beside {torchs:.2f} of torch'

def test_the_names_people_type_stand_at_the_top():
    "Each is the object of its module; `import noisylab` alone loads none of them, and no torch either."
    import noisylab
    out = subprocess.run([sys.executable, '-c', 'import noisylab, sys; print(sorted(o for o in sys.modules if '
                          '"." not in o)); print([o for o in sys.modules if o.startswith("noisylab.")])'],
                         capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()
    assert not set(ast.literal_eval(out[0])) & (HEAVY | {'torch', 'numpy'})
    assert out[1] == '[]'
    expected = '''Trainer Spec Lab Review Session Images load inject Method METHODS NOISE DATASETS MODELS VIEWS Tracker
                  find_label_issues predict advise UserError'''.split()
    assert set(expected) <= set(dir(noisylab)) and len(noisylab._HOME) < 26
    for name, module in noisylab._HOME.items():
        assert name in defined(module), f'{name} is not defined in {module}'
        assert getattr(noisylab, name) is getattr(__import__(f'noisylab.{module}', fromlist=[name]), name)
    assert not [o for o in dir(noisylab) if o.startswith('_') and not o.startswith('__')]
    with pytest.raises(AttributeError, match="has no 'Trianer'; did you mean 'Trainer'"): noisylab.Trianer
    with pytest.raises(AttributeError, match='it offers load, .*, and its packages'): noisylab.zzz
    assert not hasattr(noisylab, '__wrapped__')
