"""The package as users get it: built, installed outside the repository beside what it needs and nothing else, used."""
import json, os, shutil, subprocess, sys, tarfile, venv, zipfile
from importlib import metadata
from pathlib import Path
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
FILES = 'settings.ini setup.py pyproject.toml MANIFEST.in README.md LICENSE CHANGELOG.md CONTRIBUTING.md'.split()

def run(*cmd, **kw):
    out = subprocess.run([str(o) for o in cmd], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    assert out.returncode == 0, out.stdout
    return out.stdout

@pytest.fixture(scope='module')
def built(tmp_path_factory):
    "sdist, and the wheel made from it, out of a copy that also holds one hand-written file of each kind."
    src = tmp_path_factory.mktemp('source')
    shutil.copytree(ROOT/'noisylab', src/'noisylab', ignore=shutil.ignore_patterns('__pycache__'))
    for o in FILES: shutil.copy(ROOT/o, src/o)
    for kind in ('js', 'css', 'toml', 'html'): (src/f'noisylab/_test.{kind}').write_text('kept')
    run(sys.executable, '-m', 'build', '--no-isolation', src)
    return next(src.glob('dist/*.tar.gz')), next(src.glob('dist/*.whl'))

def runtime(name, seen):
    "The names of all installed distributions that `name` needs, itself included."
    if name.lower() in seen: return seen
    try: needs = metadata.requires(name) or []
    except metadata.PackageNotFoundError: return seen
    seen.add(name.lower())
    for r in map(Requirement, needs):
        if r.marker is None or r.marker.evaluate({'extra': ''}): runtime(r.name, seen)
    return seen

@pytest.fixture(scope='module')
def python(built, tmp_path_factory):
    "A fresh environment: the wheel installed, its requirements linked from this one, so that no network is needed."
    place = tmp_path_factory.mktemp('fresh')
    venv.create(place, with_pip=False, symlinks=True)
    python = place/'bin/python'
    site = Path(run(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))').strip())
    needs = {n for w in metadata.requires('noisylab') or [] for r in [Requirement(w)] if not r.marker
             for n in runtime(r.name, set())}
    for dist in map(metadata.distribution, needs):
        for top in {f.parts[0] for f in dist.files if f.parts[0] not in ('..', '__pycache__')}:
            if not (site/top).exists(): (site/top).symlink_to(dist.locate_file(top))
    run(sys.executable, '-m', 'pip', '--python', python, 'install', '--no-deps', '--no-index', built[1], cwd=place)
    return python

def test_sdist_and_wheel_hold_what_they_should(built):
    sdist, wheel = tarfile.open(built[0]).getnames(), zipfile.ZipFile(built[1]).namelist()
    assert {o.split('/', 1)[-1] for o in sdist} >= {'settings.ini', 'README.md', 'LICENSE', 'setup.py'}
    for kind in ('py', 'js', 'css', 'toml', 'html'): assert any(o.endswith('.' + kind) for o in wheel), kind
    assert not [o for o in wheel if o.split('/')[0] in ('tests', 'nbs', 'tools', 'benchmarks')]

def test_installed_wheel_trains(python, tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith('PYTHON')} | {'HOME': str(tmp_path)}
    where = run(python, '-c', 'import noisylab; print(noisylab.__file__)', cwd=tmp_path, env=env)
    assert 'site-packages/noisylab' in where
    noisylab = python.parent/'noisylab'
    assert metadata.version('noisylab') in run(noisylab, 'info', cwd=tmp_path, env=env)
    run(noisylab, 'train', '--data', 'digits', '--epochs', '1', '--out', tmp_path/'run', cwd=tmp_path, env=env)
    row = json.loads((tmp_path/'run/result.json').read_text())
    assert row['epochs'] == 1 and 0 <= row['last'] <= 100
