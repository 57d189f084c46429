"""Open JupyterLab on a copy of the lab's notebook: `tools/lab.py FOLDER IP PORT [JupyterLab's own flags]`, for make.

The copy lives in FOLDER, which git ignores, so that what JupyterLab saves by itself never touches the repository.
"""
import hashlib, os, sys, webbrowser
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent/'nbs/tutorials/lab.ipynb'
TEXT_BROWSERS = {'www-browser', 'links', 'links2', 'elinks', 'lynx', 'w3m'}

def sha(path): return hashlib.sha256(path.read_bytes()).hexdigest()

def copy(folder):
    "Copy the notebook if it is new; a copy that the user has changed is kept, under the next free number."
    folder.mkdir(parents=True, exist_ok=True)
    mine, mark = folder/SOURCE.name, folder/'.copied'
    copied = mark.read_text() if mark.exists() else ''
    if mine.exists() and copied == sha(SOURCE): return
    if mine.exists() and copied != sha(mine):
        kept = next(p for i in range(1, 10**6) if not (p := folder/f'{SOURCE.stem}-{i}.ipynb').exists())
        mine.rename(kept)
        print(f'{mine} follows a new version of the notebook; yours is kept as {kept}', flush=True)
    mine.write_bytes(SOURCE.read_bytes())
    mark.write_text(sha(SOURCE))

def can_show():
    "Is there a screen, and a browser that draws on it? (A text browser would take over the terminal.)"
    if sys.platform == 'darwin': return True
    if not (os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')): return False
    try: return Path(webbrowser.get().name).name not in TEXT_BROWSERS
    except webbrowser.Error: return False

def ask_no_question():
    "JupyterLab asks whether it may fetch news until a setting says no; a setting that is there stays."
    path = Path(os.environ['JUPYTERLAB_SETTINGS_DIR'])/'@jupyterlab/apputils-extension/notification.jupyterlab-settings'
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists(): path.write_text('{"fetchNews": "false", "checkForUpdates": false}')

def flags(folder, ip, port):
    "A taken port leads to the next free one; nothing asks the network for news, updates or extensions."
    return [f'--ip={ip}', f'--port={port}', '--allow-root', f'--ServerApp.root_dir={folder.resolve()}',
            f'--LabApp.default_url=/lab/tree/{SOURCE.name}', '--LabApp.news_url=None',
            '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate', '--LabApp.extension_manager=readonly',
            ] + ([] if can_show() else ['--no-browser'])

if __name__ == '__main__':
    folder, ip, port, *more = sys.argv[1:]
    from noisylab.cli import who_gets_in
    from noisylab.errors import UserError
    try: said = who_gets_in(ip, port, more)
    except UserError as e: sys.exit(f'lab: {e}')
    if said: print(said, flush=True)
    copy(Path(folder))
    ask_no_question()
    os.execv(sys.executable, [sys.executable, '-m', 'jupyterlab', *flags(Path(folder), ip, port), *more])
