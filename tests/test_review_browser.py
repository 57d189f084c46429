"""The review in a real browser: a plain page draws it, its messages are carried to Python and back."""
import base64
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from noisylab.data.images import Images
from noisylab.lab.review import Review, ReviewWidget

pytestmark = pytest.mark.browser
STATE = 'fixed', 'page', 'marks', 'chosen'
PAGE = '''<!doctype html><meta charset="utf-8"><style>%s</style><body><div id="app"></div><script type="module">
%s
const view = s => new DataView(Uint8Array.from(atob(s), c => c.charCodeAt(0)).buffer);
const read = v => !v || typeof v !== 'object' ? v : Array.isArray(v) ? v.map(read) : 'bytes64' in v ? view(v.bytes64)
  : Object.fromEntries(Object.entries(v).map(([k, o]) => [k, read(o)]));
const state = read(await window.say(null)), heard = {};
face.render({ el: document.getElementById('app'), model: { get: k => state[k], off() {}, set() {}, save_changes() {},
  widget_manager: { kernel: { statusChanged: { connect: f => window.kernel = f, disconnect() {} } } },
  on: (name, f) => (heard[name] ??= []).push(f),
  send: async m => {
    const news = read(await window.say(m));
    Object.assign(state, news);
    for (const k of Object.keys(news)) for (const f of heard['change:' + k] || []) f();
  } } });
</script>'''


def plain(v):
    "As JSON takes it."
    if isinstance(v, bytes): return dict(bytes64=base64.b64encode(v).decode())
    if isinstance(v, dict): return {k: plain(o) for k, o in v.items()}
    return [plain(o) for o in v] if isinstance(v, (list, tuple)) else v


@pytest.fixture
def review(page):
    "3,000 label issues on a page that shows them."
    rng = np.random.RandomState(0)
    n, classes = 3000, ['cat', 'dog', 'open']
    given = np.arange(n) % 3
    images = Images(torch.from_numpy(rng.randint(0, 256, (n, 3, 16, 16)).astype(np.uint8)), given, classes)
    res = Review(SimpleNamespace(images=images, index=np.arange(n), suggested=(given + 1) % 3, score=np.arange(n)/n,
                                 reason=['looks odd']*n), rng.normal(size=(n, 8)), rng.normal(size=(n, 2)))
    changed = []
    res.widget.observe(lambda change: changed.append(change['name']), STATE)

    def say(message):
        if message is None: return plain({k: getattr(res.widget, k) for k in STATE})
        changed.clear()
        res._hear(res.widget, message, [])
        return plain({k: getattr(res.widget, k) for k in dict.fromkeys(changed)})
    page.expose_function('say', say)
    page.set_content(PAGE % (ReviewWidget._css, str(ReviewWidget._esm).replace('export default', 'const face =')))
    page.locator('.nl-doubt[aria-selected="true"]').wait_for(timeout=10_000)
    return res


def until(page, ready):
    end = time.time() + 60
    while not ready():
        assert time.time() < end, 'nothing happened'
        page.wait_for_timeout(20)


def test_the_review_by_click_and_by_key(review, page):
    tile, chosen = page.locator('.nl-doubt'), lambda: page.locator('.noisylab').get_attribute('data-chosen')
    tile.nth(2).click()
    until(page, lambda: chosen() == '2')
    for key, place in zip('kru', (2, 3, 4)):                # by key; each goes on to the next one
        page.keyboard.press(key)
        until(page, lambda: chosen() == str(place + 1))
    assert review.decisions.answers == {2: 'keep', 3: 'relabel', 4: 'unsure'}
    assert '✓ kept' in tile.nth(2).inner_text() and '→ dog' in tile.nth(3).inner_text()
    page.keyboard.press('ArrowRight'); until(page, lambda: chosen() == '6')
    page.get_by_role('button', name='Relabel', exact=True).click()    # by click
    until(page, lambda: review.decisions.answers.get(6) == 'relabel')
    tile.nth(7).focus()
    page.keyboard.press('c')                                # another class: pointed at, then taken
    page.keyboard.press('ArrowDown'); page.keyboard.press('ArrowDown'); page.keyboard.press('ArrowDown')
    assert len(review.decisions.answers) == 4
    page.keyboard.press('Enter'); until(page, lambda: chosen() == '8')
    assert review.decisions.label[7] == 2 and page.evaluate('document.activeElement.className') == 'nl-doubt'
    page.keyboard.press('z'); until(page, lambda: chosen() == '7')
    assert 7 not in review.decisions.answers and len(review.changes) == 2

    page.keyboard.press('PageDown'); until(page, lambda: review.pager.first == 40 and chosen() == '40')
    page.get_by_role('button', name='Keep rest of page').click()
    until(page, lambda: review.decisions.counts()['kept'] == 41)
    page.get_by_label('given and suggested class').select_option(label='dog → open (1000)')
    until(page, lambda: tile.first.get_attribute('aria-label').startswith('1: given dog, suggested open'))
    page.get_by_label('which of them').select_option('relabelled')
    until(page, lambda: tile.count() == 0)
    assert page.locator('.nl-side').is_hidden()
    page.get_by_label('given and suggested class').select_option('')
    until(page, lambda: tile.count() == 2)

    page.get_by_label('which of them').select_option('all')
    until(page, lambda: tile.count() == 40)
    page.locator('.nl-side .nl-plot canvas').click(position=dict(x=140, y=110))
    until(page, lambda: chosen() != '0')
    assert page.locator('.nl-near canvas').count() == 10 and tile.count() == 40      # only the page is there
    mine = page.locator('.nl-doubt[data-lm-suppress-shortcuts]')
    assert mine.count() == 40, 'JupyterLab would take K, R, C, U, O and Z'
    assert not page.seen['errors']


def test_a_chosen_image_stays_the_chosen_one_when_the_filter_changes(review, page):
    tile, chosen = page.locator('.nl-doubt'), lambda: page.locator('.noisylab').get_attribute('data-chosen')
    tile.nth(0).click()
    page.keyboard.press('k')
    until(page, lambda: chosen() == '1')
    page.get_by_label('which of them').select_option('open')    # the same one is chosen, at another place on the page
    until(page, lambda: tile.first.get_attribute('aria-label').startswith('1: '))
    page.locator('.nl-doubt[aria-selected="true"]').focus(timeout=10_000)
    page.keyboard.press('r')
    until(page, lambda: review.decisions.answers == {0: 'keep', 1: 'relabel'})
    page.locator('.nl-side').get_by_role('button', name='Unsure').click()
    until(page, lambda: review.decisions.answers == {0: 'keep', 1: 'relabel', 2: 'unsure'} and chosen() == '3')
    page.keyboard.press('n')
    until(page, lambda: review.decisions.counts()['none'] == 1)
    page.get_by_role('button', name='next page').click()                # each new tile says how it stands
    until(page, lambda: page.locator('.nl-doubt').first.get_attribute('aria-label').startswith('41: '))
    assert page.locator('.nl-doubt[data-word="open"][aria-label*="open"]').count() == 40
    page.get_by_role('button', name='page before').click()
    until(page, lambda: page.locator('.nl-doubt[data-word="relabel"]').count() == 1)
    assert not page.seen['errors']


def test_a_refused_answer_is_said_and_a_dead_kernel_too(review, page):
    said = page.locator('.nl-said')
    page.evaluate("""() => { const t = document.querySelectorAll('.nl-doubt')[0]; t.focus();
        for (let i = 0; i < 2; i++) t.dispatchEvent(new KeyboardEvent('keydown', { key: 'k', bubbles: true })); }""")
    until(page, lambda: 'not taken' in said.inner_text())           # the second came before the first was answered
    assert review.decisions.answers == {0: 'keep'}
    page.evaluate("window.kernel(null, 'restarting')")
    assert 'kernel of this review has ended' in said.inner_text() and 'no file was named' in said.inner_text()
    assert page.locator('.nl-button:enabled').count() == 0
    page.locator('.nl-doubt').nth(1).focus(); page.keyboard.press('k')
    page.wait_for_timeout(200)
    assert review.decisions.answers == {0: 'keep'} and not page.seen['errors']


def test_the_page_saves_fills_its_rows_and_explains_its_map(review, page, tmp_path):
    file = tmp_path/'mine.csv'
    page.get_by_label('file of the decisions').fill(str(file))
    page.get_by_role('button', name='Save').click()
    page.get_by_text(f'kept in {file}').wait_for(timeout=10_000)
    page.locator('.nl-doubt').nth(0).focus(); page.keyboard.press('k')
    until(page, lambda: 'keep' in file.read_text('utf-8'))          # from the first key on
    page.get_by_label('given and suggested class').select_option(label='dog → open (1000)')
    page.get_by_label('wrong with a probability').fill('90')
    page.get_by_label('wrong with a probability').press('Tab')
    button = page.get_by_role('button', name='Relabel all')
    until(page, lambda: button.inner_text() == 'Relabel all 100')
    button.click()
    until(page, lambda: review.decisions.counts()['relabelled'] == 100)
    page.get_by_role('button', name='Undo').click()
    until(page, lambda: review.decisions.counts()['relabelled'] == 0 and review.decisions.counts()['kept'] == 1)
    page.get_by_label('wrong with a probability').fill('0')
    page.get_by_label('wrong with a probability').press('Tab')
    page.get_by_label('given and suggested class').select_option('')
    until(page, lambda: page.locator('.nl-doubt').count() == 40)
    for width in (1400, 1150, 1000, 800):
        page.set_viewport_size(dict(width=width, height=900))
        page.wait_for_timeout(100)
        tops = page.locator('.nl-doubt').evaluate_all('es => es.map(e => e.offsetTop)')
        rows = [tops.count(t) for t in sorted(set(tops))]
        assert len(set(rows)) == 1 and rows[0] > 1, 'whole rows'
    assert [t.strip() for t in page.locator('.nl-side .nl-key span').all_inner_texts()] == ['cat', 'dog', 'open']
    page.locator('.nl-side .nl-plot canvas').hover(position=dict(x=140, y=110))
    page.locator('.nl-side .nl-tip').wait_for(timeout=10_000)
    assert page.locator('.nl-side .nl-tip b').inner_text() in ('cat', 'dog', 'open') and not page.seen['errors']
