"""Names and files that somebody means ill with: no text of theirs becomes code, no file of theirs runs any or leads out
of its folder, and a lab that others can reach says so and asks for its token."""
import copy, json, os, re, subprocess, sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np, pytest, torch
from PIL import Image

from noisylab.cli import who_gets_in
from noisylab.data.images import Images
from noisylab.data.sources import load
from noisylab.data.validation import check_named, read_csv, write_csv
from noisylab.errors import UserError
from noisylab.experiments.grid import read_grid
from noisylab.label_issues.issues import LabelIssues
from noisylab.metrics.tracker import Tracker
from noisylab.models.features import compute_features
from noisylab.models.pretrained import load_backbone
from noisylab.session.frames import read_frames
from noisylab.training.prediction import predict
from noisylab.training.spec import Spec, read_spec
from noisylab.training.trainer import Trainer
from test_bad_input import Touch

ROOT = Path(__file__).resolve().parent.parent
NAMES = ['<script>window.entered=1</script>', '"><img src=x onerror="window.entered=1">', "'-window.entered++-'",
         '</script><script>window.entered=1</script>', '</title><svg onload=window.entered=1>',
         '<a href="javascript:window.entered=1">a</a>', '%{x}<b>&lt;i&gt;', '${window.entered=1}{{1}}']

class Structure(HTMLParser):
    "The tags of a page with the names of their attributes; texts of scripts apart."
    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.inside = [], [], False
        self.feed(text)
    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, *sorted(k for k, _ in attrs)))
        self.inside = tag == 'script'
        if self.inside: self.scripts.append('')
    def handle_endtag(self, tag): self.inside &= tag != 'script'
    def handle_data(self, data):
        if self.inside: self.scripts[-1] += data

def issues(names):
    "Label issues of images whose classes, files, reasons and dataset are called like this."
    n, rng = 48, np.random.RandomState(0)
    y = np.arange(n) % len(names)
    images = Images(torch.from_numpy(rng.randint(0, 256, (n, 3, 8, 8)).astype(np.uint8)), y, names, y,
                    np.array([f'{i}{names[i % len(names)]}' for i in range(n)], object), name=names[0])
    return LabelIssues(images, np.arange(n), (y + 1) % len(names), np.full(n, .9), np.full(n, .8),
                       np.array(names*6, object), notes=tuple(names))

def gallery(names):
    from noisylab.viz.gallery import gallery_page
    return gallery_page(issues(names), names[0])

def report(names):
    pytest.importorskip('openTSNE')
    from noisylab.viz.report import ReportRun, report_page
    n, rng = 60, np.random.RandomState(0)
    y, picture = np.arange(n) % len(names), rng.randint(0, 256, (n, 12, 12, 1)).astype(np.uint8)
    views = SimpleNamespace(index=np.arange(n), original=picture, augmented=picture, restored=picture,
                            ops=tuple(names[i] for i in y), features=rng.normal(size=(n, 8)), pred=y, given=y, true=y,
                            cluster=None, loss=rng.rand(n))
    history = [dict(epoch=e, step=e, test_acc=50., memorized=e, corrected=5., other=1., terms={names[0]: .1},
                    warnings=[names[1]]) for e in (1, 2)]
    result = dict(data=names[1], noise=names[2], rate=.8, method=names[3], epochs=2, seed=0, n_train=9, best=9.,
                  last=9., seconds=1., device=names[4], commit=names[5], classes_predicted=8, memorized=1.,
                  corrected=1., realised_rate=.8, checksum=names[6], versions={names[7]: names[0]},
                  events=[dict(step=1, noise=names[2])])
    spec = dict(data=names[0], settings={names[1]: names[2]})
    return report_page([ReportRun(name, spec, history, result, views, names) for name in names[:2]], names[0])

def strings(v):
    "All texts in what JSON holds."
    if isinstance(v, str): return [v]
    inside = v.values() if isinstance(v, dict) else v if isinstance(v, list) else ()
    return [t for x in inside for t in strings(x)]

PLAIN = [f'name {i}' for i in range(len(NAMES))]

@pytest.mark.parametrize('page', [gallery, report])
def test_a_name_is_a_text_and_nothing_else(page):
    "A page has the same tags and attributes whatever things are called; its figures have no tags but ours."
    bad, good = Structure(page(NAMES)), Structure(page(PLAIN))
    assert bad.tags == good.tags and len(bad.scripts) == len(good.scripts)
    for a, b in zip(bad.scripts, good.scripts):
        if a == b: continue
        assert not [t for t in strings(json.loads(a)) if re.search(r'<(?!/?(br|b|i|extra)>)', t)], \
            'plotly draws some tags, links too'

def test_scripts_of_the_pages_put_texts_in_as_texts():
    for path in ROOT.glob('noisylab/**/static/*.js'):
        risky = re.findall(r'\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|Function|srcdoc)\s*[(=+]',
                           path.read_text('utf-8'))
        assert not risky, f'{path.name}: {risky}'

def shown(page, widget, kind, parts):
    "A widget drawn on a page without a kernel."
    from test_review_browser import PAGE, plain
    page.expose_function('say', lambda message: plain({k: getattr(widget, k) for k in parts}))
    page.set_content(PAGE % (kind._css, str(kind._esm).replace('export default', 'const face =')))

@pytest.mark.browser
@pytest.mark.parametrize('what', ['pages', 'review', 'lab'])
def test_no_browser_runs_a_name(what, page, tmp_path):
    if what == 'pages':
        for i, text in enumerate((gallery(NAMES), report(NAMES))):
            (tmp_path/f'{i}.html').write_text(text)
            page.goto((tmp_path/f'{i}.html').as_uri())
            if i: page.locator('body[data-drawn]').wait_for(timeout=60_000)
            assert page.evaluate('window.entered === undefined') and not page.seen['errors']
        return
    found = issues(NAMES)
    if what == 'review':
        from noisylab.lab.review import Review, ReviewWidget
        review = Review(found, np.random.RandomState(0).randn(48, 4), np.random.RandomState(0).randn(48, 2))
        shown(page, review.widget, ReviewWidget, ('fixed', 'page', 'marks', 'chosen'))
        page.locator('.nl-doubt').first.wait_for(timeout=20_000)
    else:
        from noisylab.lab.lab import Lab
        from noisylab.lab.widget import LabWidget
        lab = Lab(train=found.images, test=found.images, method='ce', epochs=1, batch=16)
        try:
            run = lab.start()
            while run.status not in ('done', 'failed'): page.wait_for_timeout(50)
            assert run.status == 'done', run.error
            page.wait_for_timeout(500)
            lab.widget.set_trait('state', copy.deepcopy(lab.widget.state) | dict(status=['error', NAMES[0]]))
            shown(page, lab.widget, LabWidget, ('fixed', 'state', 'curves', 'images', 'frames', 'at', 'seen'))
            page.locator('.noisylab canvas').first.wait_for(timeout=20_000)
        finally: lab.close()
    page.wait_for_timeout(300)
    assert NAMES[0][:8] in page.locator('body').inner_text() or what == 'lab'
    assert page.evaluate('window.entered === undefined') and not page.seen['errors']

def test_what_a_notebook_shows_without_a_widget_is_escaped():
    from noisylab.lab.review import Review
    page = Review(issues(NAMES))._repr_mimebundle_()[0]['text/html']
    assert not {t for t, *_ in Structure(page).tags} & {'script', 'img', 'svg', 'a'}

# --- files

def with_objects(path, **arrays):
    "An archive in which one array is a pickle that runs code when it is read."
    np.savez(path, **arrays, evil=np.array([Touch(path.parent)], object))
    return path

def test_no_file_of_arrays_runs_code(tmp_path):
    x, y = np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 0, 1])
    evil = np.array([Touch(tmp_path)], object)
    np.savez(tmp_path/'a.npz', x_train=evil, y_train=y, x_test=x, y_test=y)
    with pytest.raises(UserError, match='x_train: broken, or not plain numbers'): load(tmp_path/'a.npz')
    for read in (read_frames, Tracker.load):
        with pytest.raises(UserError, match='holds no'): read(with_objects(tmp_path/'b.npz'))
    np.save(tmp_path/'c.npy', evil)
    with pytest.raises(UserError, match='frames'): read_frames(tmp_path/'c.npy')
    with pytest.raises(UserError, match='tracker'): Tracker.load(tmp_path/'c.npy')
    assert not (tmp_path/'executed').exists()

def test_a_cache_of_features_that_was_changed_is_made_anew(tmp_path):
    images = load('digits', train_size=20)[0]
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    backbone = replace(load_backbone(net), kept=True)
    was, (file,) = compute_features(images, backbone, tmp_path/'kept', progress=False), (tmp_path/'kept').iterdir()
    np.save(file, np.array([Touch(tmp_path)], object))
    assert np.array_equal(compute_features(images, backbone, tmp_path/'kept', progress=False), was)
    assert not (tmp_path/'executed').exists() and np.array_equal(np.load(file), was)

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    Trainer(Spec(epochs=1, train_size=60, device='cpu'), out=folder/'run').fit(progress=False)
    return torch.load(folder/'run'/'checkpoint.pt')

CALLS = {'data': dict(data='runpy:run_path', root='evil.py'), 'noise': dict(noise='subprocess:call', rate=.1),
         'method': dict(method='os:system'), 'model': dict(model='torch.hub:load'),
         'optimizer': dict(optimizer='os:system'),
         'schedule': dict(schedule='time:sleep'), 'callback': dict(callbacks=['code:interact']),
         'through ours': dict(data='noisylab.data.files:os.system', root='x'),
         'through a module of mine': dict(method='mine_too:system')}

@pytest.mark.parametrize('what', [*CALLS, 'event', 'images'])
def test_a_run_calls_nothing_that_is_not_ones_own(what, run, tmp_path, monkeypatch):
    "A checkpoint names code: that of the folder one works in is one's own, that of any package could be anything."
    monkeypatch.chdir(tmp_path)
    (tmp_path/'evil.py').write_text(f'open({str(tmp_path/"executed")!r}, "w")')
    (tmp_path/'mine_too.py').write_text('from os import system')
    st = copy.deepcopy(run)
    st['spec'] |= CALLS.get(what, {})
    if what == 'event': st['events'] = [dict(step=0, noise='subprocess:call', rate=.1)]
    if what == 'images': st['images'] |= dict(train=dict(load=dict(source='runpy:run_path', root='evil.py')))
    (tmp_path/'run').mkdir()
    torch.save(st, tmp_path/'run'/'checkpoint.pt')
    (tmp_path/'run'/'spec.json').write_text(json.dumps(st['spec']))
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path/'a.png')
    calls = [lambda: Trainer.resume('run'), lambda: predict('run', 'a.png'), lambda: read_spec('run')]
    for call in calls[:3 if what in CALLS else 2]:
        with pytest.raises(UserError, match='names .*would be called.*NOISYLAB_TRUST'): call()
    assert not (tmp_path/'executed').exists()

@pytest.mark.parametrize('text', [
    '[[method]]\nname = "os:system"', '[[noise]]\nkind = "subprocess:call"\nrates = [0.1]',
    'data = ["digits", "runpy:run_path"]', '[run]\nbackbone = "timm:hf-hub:a/b"',
    '[common]\nschedule = "time:sleep"', '[author]\noptimizer = "os:system"',
    '[[method]]\nname = "ce"\n[method.run]\nmodel = "torch.hub:load"',
    '[[method]]\nname = "ce"\n[[method.when]]\nrun = {callbacks = ["code:interact"]}'])
def test_a_grid_calls_nothing_that_is_not_ones_own(text, tmp_path):
    (tmp_path/'a.toml').write_text(text)
    with pytest.raises(UserError, match='a.toml names .*NOISYLAB_TRUST'): read_grid(tmp_path/'a.toml')

def test_the_row_of_a_run_calls_nothing_either(tmp_path):
    from noisylab.experiments.runner import run_spec
    (tmp_path/'result.json').write_text(json.dumps(dict(spec=dict(schedule='tarfile:open'))))
    with pytest.raises(UserError, match='result.json names .*NOISYLAB_TRUST'): run_spec(Spec(), tmp_path)
    for text in '{"spec"', '[1]', '{"best": 3}', '{"spec": 3}':
        (tmp_path/'result.json').write_text(text)
        with pytest.raises(UserError, match='result.json .*delete it'): run_spec(Spec(), tmp_path)

@pytest.mark.parametrize('name', ['timm:hf-hub:a/b', 'timm:hf_hub:a/b', 'timm:local-dir:/tmp'])
def test_a_file_names_no_network_of_a_hub(name, run, tmp_path):
    st = copy.deepcopy(run)
    st['spec'] |= dict(backbone=name)
    torch.save(st, tmp_path/'checkpoint.pt')
    (tmp_path/'spec.json').write_text(json.dumps(st['spec']))
    for call in (lambda: Trainer.resume(tmp_path), lambda: read_spec(tmp_path)):
        with pytest.raises(UserError, match="timm:.*NOISYLAB_TRUST"): call()

def test_code_that_one_asked_for_or_trusts_is_called(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'mine_now.py').write_text('from torch.optim import Adagrad')
    st = copy.deepcopy(run)
    def saved(**new): torch.save(st | dict(spec=st['spec'] | new), tmp_path/'checkpoint.pt')
    from noisylab.training.checkpoint import read_checkpoint
    for name in 'torch.optim:RAdam', 'mine_now:Adagrad': saved(optimizer=name); read_checkpoint(tmp_path)
    saved(schedule='math:cos')
    with pytest.raises(UserError, match='math:cos'): read_checkpoint(tmp_path)
    monkeypatch.setenv('NOISYLAB_TRUST', 'numpy,math'); read_checkpoint(tmp_path)
    monkeypatch.delenv('NOISYLAB_TRUST')
    Spec(schedule='math:cos'); read_checkpoint(tmp_path)        # somebody has just asked for it

# --- paths

def pictures(folder, *names):
    for i, name in enumerate(names):
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 8*i, np.uint8)).save(folder/name)

@pytest.mark.parametrize('path', ['../out.png', 'in/../../out.png', '..\\out.png', './/..//out.png'])
def test_a_list_does_not_lead_out_of_its_folder(path, tmp_path):
    names = [f'in/{i}.png' for i in range(6)]
    pictures(tmp_path, 'out.png'); pictures(tmp_path/'list', *names)
    rows = [(n, 'ab'[i % 2]) for i, n in enumerate(names)]
    write_csv(tmp_path/'list'/'a.csv', ('path', 'label'), [*rows, (path, 'a')])
    with pytest.raises(UserError, match='leads out of .*write it in full'): load(tmp_path/'list'/'a.csv')
    train, test = load(tmp_path/'list'/'a.csv', on_bad='skip')
    assert len(train) + len(test) == 6 and 'leads out' in train.skipped[0].why
    write_csv(tmp_path/'list'/'a.csv', ('path', 'label'), [*rows, (tmp_path/'out.png', 'a')])
    assert sum(map(len, load(tmp_path/'list'/'a.csv'))) == 7

def test_the_lists_of_a_dataset_do_not_lead_out_either(tmp_path):
    pictures(tmp_path, 'out.png', *(f'c/images/{i}.png' for i in range(30)))
    noisy, clean = [f'images/{i}.png {i % 14}' for i in range(28)], ['images/28.png 1', '../out.png 0']
    keys = lambda lines: [l.split()[0] for l in lines]
    for name, lines in dict(noisy_label_kv=noisy, clean_label_kv=clean, noisy_train_key_list=keys(noisy),
                            clean_test_key_list=keys(clean)).items():
        (tmp_path/'c'/f'{name}.txt').write_text('\n'.join(lines))
    with pytest.raises(UserError, match='out.png: it leads out of'): load('clothing1m', tmp_path/'c', size=8)

def test_nothing_unpacks_what_it_is_handed():
    "No archive is unpacked but CIFAR's, whose published checksum is looked at first; so none can write elsewhere."
    found = [f'{p.name}: {m}' for p in ROOT.glob('noisylab/**/*.py')
             for m in re.findall(r'\b(?:extractall|extract|unpack_archive|extract_archive)\(', p.read_text('utf-8'))]
    assert not found

def test_a_spreadsheet_computes_no_name(tmp_path):
    names = ['=HYPERLINK("http://a","b")', '+1+cmd', '@SUM(1)', '-2+3', '-1.5', 'a=b']
    write_csv(tmp_path/'a.csv', names, [names])
    cells = (tmp_path/'a.csv').read_text('utf-8-sig').splitlines()[1]
    assert re.findall(r'(?:^|,)"?([=+@-][^,]*)', cells) == ['-1.5']
    assert [r for _, r in read_csv(tmp_path/'a.csv').rows] == [names]

# --- the lab's door

def test_an_open_lab_says_so_and_keeps_its_token(tmp_path):
    assert who_gets_in('127.0.0.1', 8888, []) == who_gets_in('localhost', 1, ['--token=']) == ''
    assert 'whoever has the address with the token' in who_gets_in('0.0.0.0', 8888, ['--ServerApp.token=abc'])
    for flag in '--IdentityProvider.token=', "--ServerApp.token=''", '--token=""':
        with pytest.raises(UserError, match='let anybody run programs here'): who_gets_in('0.0.0.0', 8888, [flag])
    (tmp_path/'jupyterlab.py').write_text('import sys; print(sys.argv[1:])')      # what would be started
    env = os.environ | dict(PYTHONPATH=f'{tmp_path}{os.pathsep}{ROOT}', JUPYTERLAB_SETTINGS_DIR=str(tmp_path))
    def lab(*args): return subprocess.run([sys.executable, ROOT/'tools'/'lab.py', tmp_path/'lab', *args], env=env,
                                          capture_output=True, text=True)
    said = lab('0.0.0.0', '8888').stdout
    assert said.index('listens at 0.0.0.0, port 8888') < said.index('--ip=0.0.0.0')
    assert 'token=' not in said and 'password' not in said
    assert 'listens' not in lab('127.0.0.1', '8888').stdout
    refused = lab('0.0.0.0', '8888', '--IdentityProvider.token=')
    assert refused.returncode and 'let anybody' in refused.stderr and '--ip' not in refused.stdout

def test_torch_optim_lends_no_way_to_the_rest_of_torch():
    with pytest.raises(UserError, match='NOISYLAB_TRUST'): check_named('torch.optim:swa_utils.torch.load', 'spec.json')
    check_named('torch.optim:RAdam', 'spec.json')
