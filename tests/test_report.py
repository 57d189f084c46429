"The report as a reader meets it: opened in a real browser, cut off from everything else."
import json, os, subprocess, sys, time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('plotly')
pytest.importorskip('openTSNE')
from noisylab.viz.report import ReportRun, read_run, write_report

CHROMIUM = Path('/usr/bin/chromium')
WANTED = os.environ.get('NOISYLAB_REQUIRE_BROWSER') == '1'
FLAGS = ('--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking '
         '--disable-component-update --disable-sync --disable-dev-shm-usage').split()
NASTY = '<script>alert("x")</script> & "quotes"'


def views(n=120, colour=False, **known):
    "What a network sees, made up: ten blobs of features, pictures of noise."
    rng = np.random.RandomState(0)
    true = np.arange(n) % 10
    picture = rng.randint(0, 256, (n, 12, 12, 3 if colour else 1)).astype(np.uint8)
    return SimpleNamespace(**dict(
        index=np.arange(n), original=picture, augmented=picture[:, ::-1], restored=picture // 2,
        ops=('Rotate, Cutout',) * n,         features=rng.normal(size=(10, 16))[true] * 4 + rng.normal(size=(n, 16)), 
        pred=true, given=rng.permutation(true), true=true, cluster=None, loss=rng.rand(n)) | known)


def run(label, seed=0, views=None, classes=None, **known):
    "A finished run, made up."
    rng = np.random.RandomState(seed)
    history = [dict(epoch=e, step=10*e, test_acc=90 - 60/e + rng.rand(), memorized=e, corrected=50., other=50. - e,
                    terms=dict(bootstrap=1/e, rec=.1), warnings=['predictions have collapsed'] if e < 3 else [])
               for e in range(1, 11)]
    history = [h | {k: v for k, v in known.items() if k in h} for h in history]
    result = dict(data='digits', noise='symmetric', rate=.8, method='balanced', epochs=10, seed=seed,
                  n_train=1437, best=91., last=90. + seed, seconds=3., device='cpu', commit='abc1234',
                  classes_predicted=10, memorized=10., corrected=50., realised_rate=.8, checksum='0123456789abcdef',
                  versions=dict(torch='2.11.0'))
    spec = dict(data='digits', lr=.1, settings=dict(tau=2.))
    return ReportRun(label, spec, history, result | known, views, classes)


def several():
    "Four methods, three seeds each, views of the first."
    return [run(label, seed, views() if seed == 0 else None, classes=[NASTY, *map(str, range(1, 10))])
            for label in ('plain', 'paper', 'balanced', NASTY) for seed in range(3)]


# --- without a browser

def test_one_run_and_nothing_known(tmp_path):
    "One run on one's own photographs: no true labels, no decoder, no views."
    page = write_report([run('mine', memorized=None, corrected=None, other=None, commit=None)], tmp_path/'a.html')
    text = page.read_text('utf-8')
    assert 'nobody knows which labels are wrong' in text and '±' not in text.split('<h2>Curves')[0].split('<tbody>')[1]
    page = write_report([run('mine', views=views(true=None, restored=None, colour=True))], tmp_path/'a.html')
    text = page.read_text('utf-8')
    assert 'not known for these images' in text and 'no decoder' in text


def test_a_collapsed_network_has_a_report(tmp_path):
    "All features alike, few images, features that are NaN: a page all the same, and it says what is missing."
    for v in (views(features=np.ones((120, 16))), views(n=5), views(features=np.full((120, 16), np.nan))):
        text = write_report([run('a', views=v)], tmp_path/'a.html').read_text('utf-8')
        assert ('There is no map' in text) == (len(v.index) < 10 or bool(np.isnan(v.features).any()))


def test_what_comes_from_outside_is_text(tmp_path):
    text = write_report(several(), tmp_path/'a.html', title=NASTY).read_text('utf-8')
    assert '<script>alert' not in text and '&lt;script&gt;alert' in text


def test_same_runs_same_bytes_and_old_page_kept_on_failure(tmp_path):
    a, b = (write_report([run('a', views=views())], tmp_path/n).read_bytes() for n in ('a.html', 'b.html'))
    assert a == b
    with pytest.raises(ValueError): write_report([], tmp_path/'a.html')
    assert (tmp_path/'a.html').read_bytes() == a and sorted(p.name for p in tmp_path.iterdir()) == ['a.html', 'b.html']


def test_read_a_run_folder(tmp_path):
    one = run('balanced')
    with pytest.raises(ValueError, match='spec.json and no history.jsonl'): read_run(tmp_path)
    (tmp_path/'spec.json').write_text(json.dumps(one.spec))
    (tmp_path/'history.jsonl').write_text(''.join(json.dumps(h) + '\n' for h in one.history))
    (tmp_path/'result.json').write_text(json.dumps(one.result))
    got = read_run(tmp_path)
    assert (got.label, got.spec, got.history, got.result) == ('balanced', one.spec, one.history, one.result)


def test_light_imports():
    "A process that makes maps loads no torch, and importing the plots loads no plotly."
    for module, heavy in (('metrics.embedding', 'torch'), ('viz.report', 'plotly')):
        code = f'import sys, noisylab.{module}; assert "{heavy}" not in sys.modules'
        subprocess.run([sys.executable, '-c', code], check=True)


# --- in a browser

@pytest.fixture
def browser():
    "A fresh headless Chromium."
    if not CHROMIUM.exists():
        if WANTED: pytest.fail(f'NOISYLAB_REQUIRE_BROWSER=1, and there is no {CHROMIUM}: apt-get install chromium')
        pytest.skip(f'no browser: {CHROMIUM} is missing (apt-get install chromium)')
    sync = pytest.importorskip('playwright.sync_api', reason='no browser: pip install playwright') if not WANTED else \
        __import__('playwright.sync_api', fromlist=['sync_playwright'])
    with sync.sync_playwright() as p:
        b = p.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=FLAGS)
        yield b
        b.close()


def opened(browser, file, **settings):
    "The page of `file` with all figures drawn; what it complained of and what it asked for."
    page, said, asked = browser.new_page(**settings), [], []
    page.on('console', lambda m: said.append(m.text) if m.type in ('error', 'warning') else None)
    page.on('pageerror', lambda e: said.append(str(e)))
    page.on('request', lambda r: asked.append(r.url) if not r.url.startswith(('data:', 'blob:')) else None)
    page.goto(file.as_uri())
    page.wait_for_selector('body[data-drawn]', timeout=60_000)
    return page, said, asked


def until(page, what):
    "Wait until the expression `what` is true (the page's policy forbids playwright's own way, which is eval)."
    end = time.monotonic() + 60
    while not page.evaluate(what):
        assert time.monotonic() < end, what
        page.wait_for_timeout(50)


def test_report_in_a_browser(browser, tmp_path):
    file = write_report(several(), tmp_path/'report.html', title='Four ways')
    page, said, asked = opened(browser, file, viewport=dict(width=1280, height=900), color_scheme='light')
    assert said == [] and asked == [file.as_uri()]
    plots = page.locator('.plot')
    assert plots.count() == 2 + 4 * 5
    drawn = page.evaluate('''[...document.querySelectorAll('.plot')].map(p =>
        p.querySelectorAll('.scatterlayer path, .imagelayer image').length)''')
    assert min(drawn) > 0
    image = page.evaluate('''(async () => {
        const i = new Image();
        i.src = document.querySelector('.imagelayer image').getAttribute('href');
        await i.decode();
        return [i.naturalWidth, i.naturalHeight]; })()''')
    assert image[0] > 2 * 96 and image[1] > 2 * 96
    assert page.evaluate('document.documentElement.scrollWidth') <= 1280
    ink = 'getComputedStyle(document.querySelector(".xtick text")).fill'
    light = page.evaluate(ink)
    page.emulate_media(color_scheme='dark')                        # the reader's system changes while the page is open
    until(page, f'{ink} !== "{light}"')
    page.set_viewport_size(dict(width=390, height=800))            # a phone
    until(page, 'document.querySelector(".plot .main-svg").clientWidth < 390')
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    assert said == [] and asked == [file.as_uri()]


def filmed(n=60, epochs=30, known=True, colour=False):
    "What a run looked like over time, made up."
    from noisylab.session.frames import Frame, Frames, WatchedImages
    rng, frames = np.random.RandomState(0), Frames()
    true, given = (rng.randint(0, 3, n).astype(np.int16) for _ in range(2))
    x = rng.randint(0, 256, (n, 8, 8, 3 if colour else 1)).astype(np.uint8)
    for e in range(1, epochs + 1):
        pred = np.where(rng.rand(n) < e/epochs, true, given).astype(np.int16)
        frames.add(Frame(e, 10*e, {}, pred, rng.rand(n).astype(np.float16), given, None, np.arange(4), x[:4], x[:4],
                         x[:4] if known else None, ('Rotate',)*4, np.eye(3, dtype=np.float32) if known else None,
                         {'Rotate': (8, .1, .1/e)} if known else None, (e*rng.rand(n, 2)).astype(np.float16)))
    return frames, WatchedImages(np.arange(n), true if known else None, np.arange(n), (NASTY, 'b', 'c'), x)


def test_a_run_over_time(browser, tmp_path):
    "The slider moves all views at once, by keyboard too; play goes through them and stops at the end."
    import dataclasses
    one = dataclasses.replace(run('plain'), frames=filmed())
    file = write_report([one, dataclasses.replace(run('mine'), frames=filmed(epochs=3, known=False, colour=True))],
                 tmp_path/'report.html')
    page, said, asked = opened(browser, file, viewport=dict(width=1280, height=900))
    film, other = page.locator('.film').all()
    points = 'JSON.stringify(document.querySelector(".film .plot").data[0].x)'
    last = page.evaluate(points)
    assert film.locator('output').inner_text() == 'epoch 30' and film.locator('.plot').count() == 8
    assert other.locator('.plot').count() == 6      # no map by true label, nothing restored
    film.locator('input').focus()
    page.keyboard.press('Home')
    until(page, f"{points} !== '{last}'")
    assert film.locator('output').inner_text() == 'epoch 1' and other.locator('output').inner_text() == 'epoch 3'
    other.locator('.reel button').click()
    until(page, "document.querySelectorAll('.film output')[1].textContent === 'epoch 3' && "
                "document.querySelectorAll('.film .reel button')[1].textContent === 'Play'")
    assert page.evaluate('document.documentElement.scrollWidth') <= 1280
    assert not page.locator('[data-title^="Share"]').count(), 'a button that uploads the figure'
    assert said == [] and asked == [file.as_uri()]
