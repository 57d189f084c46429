"""`make lab` in a real browser: open the notebook, run all of it, look at what is on the page."""
import json, os, signal, socket, subprocess, sys, time, urllib.request
from pathlib import Path
import pytest

ROOT     = Path(__file__).resolve().parent.parent
TOKEN    = 'test'
JUPYTER  = f'--IdentityProvider.token={TOKEN} --LabApp.expose_app_in_browser=True --ServerApp.port_retries=0'

MARK     = f'NOISYLAB_BROWSER_TEST={os.getpid()}'

pytestmark = pytest.mark.browser

def api(url, method='GET'):
    ask = urllib.request.Request(url, method=method, headers={'Authorization': f'token {TOKEN}'})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(ask, timeout=5) as r: return r.read()

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

@pytest.fixture
def lab(chromium, tmp_path):
    "A running `make lab` that writes to a temporary folder only: its address and its log."
    port, log = free_port(), tmp_path/'lab.log'
    env = {k: v for k, v in os.environ.items() if k not in ('DISPLAY', 'WAYLAND_DISPLAY', 'MAKEFLAGS', 'MAKELEVEL')}
    env[MARK.split('=')[0]] = MARK.split('=')[1]
    make = ['make', 'lab', f'PORT={port}', f'VENV={sys.prefix}', 'INSTALL=:', f'LAB_DIR={tmp_path}/lab',
            f'JUPYTER_HOME={tmp_path}/jupyter', f'LAB_FLAGS={JUPYTER}']
    url = f'http://127.0.0.1:{port}'
    server = subprocess.Popen(make, cwd=ROOT, env=env, stdout=log.open('w'), stderr=subprocess.STDOUT,
                              start_new_session=True)
    try:
        end = time.time() + 60
        while True:
            assert server.poll() is None and time.time() < end, log.read_text()
            try: api(f'{url}/api/status'); break
            except OSError: time.sleep(.3)
        yield url, log
        if server.poll() is None: api(f'{url}/api/shutdown', 'POST')
        server.wait(20)
    finally:
        if server.poll() is None: os.killpg(server.pid, signal.SIGKILL)

PANEL = 'jupyterapp.shell.currentWidget'
READY = f'''() => {{ const s = window.jupyterapp && {PANEL}?.context?.sessionContext?.session?.kernel;
                     return s && s.name && s.status == "idle"; }}'''
START = '''() => { window.ended = null; jupyterapp.commands.execute("notebook:run-all-cells")
                   .then(ok => window.ended = String(ok), e => window.ended = "error: " + e) ; }'''

RICH = {'application/vnd.jupyter.widget-view+json': '.jupyter-widgets, .jp-OutputArea-output > .lm-Widget',
        'application/vnd.plotly.v1+json': '.js-plotly-plot .main-svg, .js-plotly-plot canvas',
        'image/png': 'img', 'image/svg+xml': 'svg, img'}

def rich(outputs):
    "What JupyterLab draws for these outputs: of the forms that each comes in, the first in `RICH`."
    return [next(k for k in RICH if k in o['data']) for o in outputs if RICH.keys() & o.get('data', {}).keys()]

def drawn(page, i, kinds):
    "Cell `i`, scrolled to, shows something with a size for each kind of output it holds."
    cell = page.locator('.jp-Notebook .jp-Cell').nth(i)
    cell.scroll_into_view_if_needed()
    for k in kinds: cell.locator(f':is({RICH[k]}):visible').first.wait_for(timeout=30_000)
    if 'image/png' in kinds: assert cell.locator('img').first.evaluate('e => e.naturalWidth'), 'a broken picture'

def picture(page, where):
    "What a canvas of the lab shows now."
    return page.locator(f'.noisylab {where} canvas').first.evaluate('c => c.toDataURL()')

def changes(page, *where, seconds=60):
    "Wait until each of these pictures is another one."
    before, end = {w: picture(page, w) for w in where}, time.time() + seconds
    while left := [w for w in before if picture(page, w) == before[w]]:
        assert time.time() < end, f'these stand still: {left}'
        page.wait_for_timeout(100)

def epoch(page): return float(page.locator('.noisylab').get_attribute('data-frame0').split(':')[1])
def status(page, *names, seconds=60):
    page.locator(', '.join(f'.noisylab[data-status="{n}"]' for n in names)).wait_for(timeout=1000*seconds)

def told(page, i, text, seconds=60):
    "Run cell `i` and wait until its output holds `text`."
    page.evaluate(f'{PANEL}.content.activeCellIndex = {i}; jupyterapp.commands.execute("notebook:run-cell")')
    page.locator('.jp-Notebook .jp-Cell').nth(i).locator('.jp-OutputArea-output', has_text=text).wait_for(
        timeout=1000*seconds)

KERNEL = '.jp-Notebook-ExecutionIndicator[data-status="%s"]'

def busy(page, i, end):
    "Add cell `i` and have it keep the kernel busy until the file `end` is there."
    page.evaluate(f'''{PANEL}.content.activeCellIndex = {i - 1};
        jupyterapp.commands.execute("notebook:insert-cell-below").then(() => {{ 
            {PANEL}.content.activeCell.model.sharedModel.setSource(
                "import pathlib, time\\nwhile not pathlib.Path({str(end)!r}).exists(): time.sleep(.1)");
                       jupyterapp.commands.execute("notebook:run-cell"); }})''')
    page.locator(KERNEL % 'busy').wait_for(timeout=60_000)

def left_over():
    "Processes that this test's server has begun and that are still there."
    def marked(p):
        try: return MARK.encode() in (p/'environ').read_bytes()
        except OSError: return False
    return [p.name for p in Path('/proc').glob('[0-9]*') if p.name != str(os.getpid()) and marked(p)]

def run_all(page, url):
    page.goto(f'{url}/lab/tree/lab.ipynb?token={TOKEN}')
    page.wait_for_function(READY, timeout=60_000)
    page.evaluate(START)
    page.wait_for_function('() => window.ended !== null', timeout=120_000)
    cells = page.evaluate(f'{PANEL}.content.model.toJSON()')['cells']
    outputs = {i: c['outputs'] for i, c in enumerate(cells) if c['cell_type'] == 'code'}
    broken = [o for os in outputs.values() for o in os if o['output_type'] == 'error']
    assert not broken, json.dumps(broken)[:3000]
    assert page.evaluate('window.ended') == 'true'
    skipped = [i for i in outputs if ''.join(cells[i]['source']).strip() and not cells[i]['execution_count']]
    assert not skipped, f'cells that did not run: {skipped}'
    kinds = {i: rich(os) for i, os in outputs.items()}
    assert any(kinds.values()), 'nothing to look at'
    for i, k in kinds.items(): drawn(page, i, k)

def test_the_lab_in_a_browser(lab, page, tmp_path):
    url, log = lab
    before = (ROOT/'nbs/tutorials/lab.ipynb').read_bytes()
    run_all(page, url)
    press = lambda name: page.locator(f'.nl-{name}').click()

    press('start')      # curves, pictures and points change while it trains
    status(page, 'running')
    page.locator('.noisylab[data-frame0*=":"]:not([data-frame0$="null"])').wait_for(timeout=120_000)
    changes(page, '.nl-curve', '.nl-map', '.nl-restored')
    assert page.locator('[data-view=suspects] .nl-img').count() > 5
    page.locator('[data-view=operations] .nl-op').first.wait_for(timeout=60_000)
    for wide, tall in ((1280, 720), (1400, 1000)):      # all of it in one view
        page.set_viewport_size(dict(width=wide, height=tall)); page.wait_for_timeout(500)
        page.locator('.noisylab').evaluate('e => e.scrollIntoView({block: "nearest"})'); page.wait_for_timeout(300)
        for part in ('.nl-bar', '.nl-controls', '.nl-curves', '.nl-mapcard', '.nl-restored'):
            b = page.locator(part).first.bounding_box()
            assert b['y'] >= 0 and b['y'] + b['height'] <= tall and b['x'] + b['width'] <= wide, (part, b)
            assert b['height'] > 25 and b['width'] > 200, (part, b)
    page.get_by_role('tab', name='Labels').click()
    changes(page, '.nl-third', '[data-view=confusion]')

    page.locator('[data-key=rate] input').focus()       # a slider acts, by key too, leaves an event
    page.keyboard.press('ArrowLeft')
    page.locator('.nl-curve canvas[aria-label*="rate = 0.79"]').first.wait_for(timeout=60_000)
    told(page, 3, "'rate': 0.79"); status(page, 'running')      # a cell answers while the network trains

    busy(page, 4, tmp_path/'enough')        # buttons work while a cell is busy
    press('pause'); status(page, 'paused')
    assert page.locator(KERNEL % 'busy').count(), 'else this says nothing'
    (tmp_path/'enough').touch()
    page.locator(KERNEL % 'idle').wait_for(timeout=60_000)
    seen = epoch(page)
    press('step')
    page.wait_for_function(f'() => +document.querySelector(".noisylab").dataset.frame0.split(":")[1] > {seen}')
    status(page, 'paused')

    page.locator('.nl-time').fill('1')      # back in time, and on
    page.locator('.noisylab[data-frame0^="0:1:"]').wait_for(timeout=60_000)
    press('live'); page.locator('.noisylab:not([data-frame0^="0:1:"])').wait_for(timeout=60_000)

    page.locator('.nl-map canvas').first.evaluate('c => c.scrollIntoView({block: "center"})')
    page.wait_for_timeout(300)
    box = page.locator('.nl-map canvas').first.bounding_box()      # a lasso around everything opens a grid
    page.mouse.move(box['x'] + 3, box['y'] + 3); page.mouse.down()
    for x, y in ((.99, .01), (.99, .99), (.01, .99)):
        page.mouse.move(box['x'] + x*box['width'], box['y'] + y*box['height'])
    page.mouse.up()
    assert page.locator('.nl-picked .nl-img').count() >= 100
    page.keyboard.press('Escape'); page.keyboard.press('ArrowRight')
    assert 'given' in page.locator('.nl-tip:visible').inner_text()

    press('fork'); page.locator('.noisylab[data-frame1*=":"]').wait_for(timeout=60_000)       # two runs, two maps
    assert page.locator('.nl-run').count() == 2 and page.locator('.nl-map:visible').count() == 2
    press('pause'); status(page, 'running'); press('stop'); status(page, 'stopped')

    page.evaluate('jupyterapp.commands.execute("docmanager:save")'); page.wait_for_timeout(500)
    page.reload()       # the lab is there again, as it was
    page.locator('.noisylab[data-status="stopped"][data-frame0*=":"]').wait_for(timeout=120_000)
    page.wait_for_function(READY, timeout=60_000)
    told(page, 1, ''); status(page, 'none')      # the cell again: a new lab, the old one is closed
    page.locator('[data-name=memorize]').click()        # a preset; another kernel: the face does not look alive
    page.locator('[data-name=memorize][aria-pressed=true]').wait_for()
    press('start'); status(page, 'running')
    page.evaluate(f'{PANEL}.context.sessionContext.session.kernel.restart()')
    status(page, 'gone')
    assert 'Run the cell again' in page.locator('.nl-status').inner_text() and page.locator('.nl-start').is_disabled()

    here = (url, url.replace('http', 'ws'), 'data:', 'blob:', 'about:')
    assert not page.locator('.jp-Dialog, .Toastify__toast').count(), 'JupyterLab asks something'
    left = [o for o in page.seen['urls'] if not o.startswith(here)]
    assert not left, f'asked other machines: {left}'
    assert not page.seen['errors']
    assert (ROOT/'nbs/tutorials/lab.ipynb').read_bytes() == before, 'the repository was written to'
    api(f'{url}/api/shutdown', 'POST')
    end = time.time() + 20
    while rest := left_over():
        assert time.time() < end, f'still there: {rest}'
        time.sleep(.3)
