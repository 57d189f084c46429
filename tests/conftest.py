"""Before anything imports torch: one thread for each process, and threads that wait do not spin. Cores are shared.
Which tests need no second precision. And the browser, for the tests that look at a page."""
import os, shutil
import pytest

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

CHROMIUM = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
            '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage']

ONCE = set('augment bad_input cifar100 clothing data device fuzz hostile issue_kinds noise precision processes repo '
           'report site tracker wheel'.split())

def pytest_collection_modifyitems(items):
    "What trains nothing, or says itself in which precision, is marked `once`: see `make test`."
    for i in items:
        if i.path.stem.removeprefix('test_') in ONCE: i.add_marker(pytest.mark.once)

@pytest.fixture(scope='session')
def chromium():
    "The browser that is there; without one, a visible skip, or a failure where it is required."
    names = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
    if found := next(filter(None, map(shutil.which, names)), None): return found
    if os.environ.get('NOISYLAB_REQUIRE_BROWSER') == '1': pytest.fail('NOISYLAB_REQUIRE_BROWSER=1, but no Chromium')
    pytest.skip('no Chromium: apt install chromium')

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
