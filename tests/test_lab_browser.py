"""`make lab` in a real browser: open the notebook, run all of it, look at what is on the page."""
import json, os, shutil, signal, socket, subprocess, sys, time, urllib.request
from pathlib import Path
import pytest

ROOT     = Path(__file__).resolve().parent.parent
TOKEN    = 'test'
CHROMIUM = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
            '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage']
JUPYTER  = f'--IdentityProvider.token={TOKEN} --LabApp.expose_app_in_browser=True --ServerApp.port_retries=0'

pytestmark = pytest.mark.browser

@pytest.fixture(scope='module')
def chromium():
    "The browser that is there; without one, a visible skip, or a failure where it is required."
    names = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
    if found := next(filter(None, map(shutil.which, names)), None): return found
    if os.environ.get('NOISYLAB_REQUIRE_BROWSER') == '1': pytest.fail('NOISYLAB_REQUIRE_BROWSER=1, but no Chromium')
    pytest.skip('no Chromium: apt install chromium')

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
        api(f'{url}/api/shutdown', 'POST')
        server.wait(20)
    finally:
        if server.poll() is None: os.killpg(server.pid, signal.SIGKILL)

@pytest.fixture
def page(chromium, tmp_path):
    "An empty page; everything it asks for and everything it complains about is in `page.seen`."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch_persistent_context(
            tmp_path/'chromium', executable_path=chromium, headless=True, args=CHROMIUM,
            viewport=dict(width=1400, height=1000), env={**os.environ, 'HOME': str(tmp_path)})
        page = browser.pages[0]
        page.seen = dict(urls=[], errors=[])
        browser.on('request', lambda r: page.seen['urls'].append(r.url))
        page.on('console', lambda m: page.seen['errors'].append(m.text) if m.type == 'error' else None)
        page.on('pageerror', lambda e: page.seen['errors'].append(str(e)))
        yield page
        page.screenshot(path=tmp_path/'last.png')
        browser.close()

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

def test_make_lab_runs_the_notebook_to_its_end(lab, page):
    url, log = lab
    before = (ROOT/'nbs/tutorials/lab.ipynb').read_bytes()
    page.goto(f'{url}/lab/tree/lab.ipynb?token={TOKEN}')
    page.wait_for_function(READY, timeout=60_000)
    page.evaluate(START)
    page.wait_for_function('() => window.ended !== null', timeout=300_000)
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

    here = (url, url.replace('http', 'ws'), 'data:', 'blob:', 'about:')
    assert not page.locator('.jp-Dialog, .Toastify__toast').count(), 'JupyterLab asks something'
    left = [o for o in page.seen['urls'] if not o.startswith(here)]
    assert not left, f'asked other machines: {left}'
    assert not page.seen['errors']
    assert (ROOT/'nbs/tutorials/lab.ipynb').read_bytes() == before, 'the repository was written to'
