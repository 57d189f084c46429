"""Make the virtual environment, once: `python3 tools/install.py VENV lab|dev [oldest]` (`dev` holds `lab`; `oldest`:
every package that settings.ini names in the oldest version that it allows).

Ready means: a stamp, written last, fits settings.ini. Then nothing is checked, nothing installed, no network needed.
"""
import configparser, fcntl, hashlib, json, os, re, subprocess, sys
from pathlib import Path

NEWEST = (3, 14)
ROOT   = Path(__file__).resolve().parent.parent
CONFIG = ROOT/'settings.ini'

def wanted():
    "What a stamp has to say: the settings, and the folder that the environment points at."
    return hashlib.sha256(CONFIG.read_bytes() + str(ROOT).encode()).hexdigest()

def cut_off(venv):
    "The mark, beside the environment, that stands while one is being made."
    return venv.with_name(venv.name + '.installing')

def ready(venv, extra):
    stamp = venv/'ready.json'
    if cut_off(venv).exists() or not (venv/'bin/python').exists() or not stamp.exists(): return False
    got = json.loads(stamp.read_text())
    return got['key'] == wanted() and got['extra'] in (extra, 'dev')

def settings():
    cfg = configparser.ConfigParser(delimiters=['='], interpolation=None)
    cfg.read(CONFIG)
    return cfg['DEFAULT']

def floors():
    "Constraints for pip: the lower bound of each requirement in settings.ini, where its marker holds."
    asked = [o for k, v in settings().items() if k.endswith('requirements') for o in v.split()]
    parts = [re.fullmatch(r'([\w-]+)(?:\[[\w,]+\])?>=([\w.]+)(?:,<[\w.]+)?(;.*)?', o) for o in asked]
    if None in parts: sys.exit('settings.ini: %s has no lower bound' % asked[parts.index(None)])
    return ['%s==%s%s' % (m[1], m[2], m[3] or '') for m in parts]

def check_python():
    "Stop before anything is made if this Python cannot make a fitting environment."
    oldest = tuple(int(o) for o in settings()['min_python'].split('.'))
    name, v = '.'.join(map(str, sys.version_info[:3])), sys.version_info[:2]
    if not oldest <= v <= NEWEST:
        sys.exit('%s is Python %s; noisylab needs %d.%d to %d.%d. Name another one: make PYTHON=python%d.%d ...'
                 % (sys.executable, name, *oldest, *NEWEST, *NEWEST))
    try: from ensurepip import version  # noqa: F401
    except ImportError:
        sys.exit('Python %s lacks venv. On Debian or Ubuntu, as root: apt install python%d.%d-venv' % (name, *v))

def install(venv, extra, oldest):
    "An installation that was cut off (its mark is still there) starts again from nothing."
    python, mark, env = venv/'bin/python', cut_off(venv), dict(os.environ)
    if not os.access(Path.home(), os.W_OK): env.setdefault('PIP_CACHE_DIR', str(ROOT/'.jupyter/pip'))
    fresh = mark.exists() or not python.exists()
    mark.touch()
    if fresh and subprocess.run([sys.executable, '-m', 'venv', '--clear', str(venv)]).returncode:
        sys.exit('Python %s could not make %s, see above.' % (sys.executable, venv))
    print('Installing noisylab[%s] into %s: some minutes, the first time.' % (extra, venv), flush=True)
    pip = [python, '-m', 'pip', 'install', '--disable-pip-version-check', '-e', '.[%s]' % extra]
    if oldest:
        (venv/'constraints.txt').write_text('\n'.join(floors()) + '\n')
        pip += ['-c', venv/'constraints.txt']
    failed = subprocess.run(list(map(str, pip)), cwd=str(ROOT), env=env).returncode
    if not failed: (venv/'ready.json').write_text(json.dumps(dict(key=wanted(), extra=extra)))
    mark.unlink()
    if failed: sys.exit('Installing failed, see above. Mend the cause, often the network, and run the same again.')

if __name__ == '__main__':
    venv, extra, oldest = Path(sys.argv[1]), sys.argv[2], sys.argv[3:] == ['oldest']
    if not ready(venv, extra):
        check_python()
        with open(str(venv) + '.lock', 'w') as lock:   # two commands at once: the second waits, and finds it done
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not ready(venv, extra): install(venv, extra, oldest)
