"""What a person sees and does on the page of the lab, in a real browser but without JupyterLab."""
import csv, io, time
import pytest

pytest.importorskip('anywidget')
from lab_page import lab_page
from noisylab.lab.lab import Lab
from noisylab.methods.base import METHODS
from noisylab.training.spec import Spec

pytestmark = [pytest.mark.browser, pytest.mark.once]

class QuickMap:     # in the place of the process that makes maps
    def ask(self, who, features, then, init): then(features[:, :2].astype('float32'))
    def forget(self, who): pass
    def close(self): pass

def until(what, seconds=60):
    end = time.time() + seconds
    while not what():
        assert time.time() < end, 'this took too long'
        time.sleep(.02)

@pytest.fixture
def lab():
    lab = Lab(Spec(method='balanced', noise='symmetric', rate=.8, train_size=300, epochs=400, watch=100, seed=1),
              mapper=QuickMap())
    yield lab
    lab.close()

def box(page, part): return {k: round(v) for k, v in page.locator(part).first.bounding_box().items()}

def test_all_at_once_controls_that_tell_the_truth_one_selection(lab, page):
    with lab_page(lab) as url:
        page.set_viewport_size(dict(width=825, height=598))     # what JupyterLab leaves of 1280×720
        page.goto(url)
        page.locator('.nl-start:enabled').wait_for()
        before = {p: box(page, p) for p in ('.nl-controls', '.nl-curves', '.nl-mapcard')}
        page.locator('.nl-start').click()
        page.locator('.noisylab[data-status=running][data-frame0*=":"]').wait_for(timeout=60_000)
        assert before == {p: box(page, p) for p in before}, 'a start moves nothing'
        for part in ('.nl-controls', '.nl-curves', '.nl-mapcard', '.nl-restored'):
            b = box(page, part)
            inside = b['y'] >= 0 and b['y'] + b['height'] <= 598 and b['x'] + b['width'] <= 825
            assert inside and b['height'] > 90, (part, b)
        run = lab.shown
        until(lambda: len(run.history) > 3)

        run.change(lr=.05, rate=.7)         # a script steers the run: the page says so
        row = page.locator('[data-key=lr]')
        page.locator('[data-key=lr] output', has_text='0.05').wait_for()
        assert row.locator('.nl-told').inner_text() == ''
        assert row.locator('input').get_attribute('aria-valuetext') == '0.05'
        assert page.locator('[data-key=rate] input').get_attribute('aria-valuetext') == '70%'
        assert '70%' in page.locator('.nl-run').inner_text()
        lab.do(dict(do='pause')); page.locator('.noisylab[data-status=paused]').wait_for()
        page.locator('.nl-fork').click()    # of a run that was steered: nothing waits for the next start
        page.locator('.nl-run:nth-child(2)').wait_for()
        until(lambda: len(lab.runs) == 2 and lab.shown.trainer is not None)
        page.wait_for_timeout(600)
        assert not page.locator('.nl-later').count() and lab.shown.current_spec.rate == .7
        assert page.locator('[data-key=rate] output').inner_text() == '70%'
        assert page.locator('.nl-curve canvas[aria-label*="lr = 0.05"]').count(), 'its past has its marks'

        page.locator('.nl-eye').first.click()       # hide the curves of a run
        page.wait_for_function('() => document.querySelectorAll("[data-view=accuracy] .nl-key b").length === 1')
        page.locator('.nl-eye').first.click()
        b = box(page, '.nl-curve .nl-plot')         # one cursor, its readout is below each plot
        page.mouse.move(b['x'] + b['width']/2, b['y'] + b['height']/2)
        page.locator('.nl-curves .nl-key', has_text='epoch').nth(4).wait_for()

        page.get_by_role('tab', name='Suspects').click()        # a suspect leads to its point, its past, its neighbours
        tile = page.locator('[data-view=suspects] .nl-img').first
        number = tile.get_attribute('data-image')
        points = page.locator('.nl-map canvas').first.evaluate('c => c.toDataURL()')
        tile.focus()
        page.locator(f'.nl-img.nl-lit[data-image="{number}"]').first.wait_for()
        until(lambda: page.locator('.nl-map canvas').first.evaluate('c => c.toDataURL()') != points)
        page.keyboard.press('Enter')
        page.locator('.nl-strip[aria-label*="from epoch"]').wait_for()
        assert number in page.locator('.nl-one dl').inner_text() and lab.dashboard.looked == int(number)
        picture, points = box(page, '.nl-one canvas'), box(page, '.nl-mapcard')
        assert picture['x'] > points['x'] + points['width'] and picture['y'] + 60 < 598, 'beside the map'
        assert page.locator('.nl-picked .nl-img').count() == 24
        words = page.locator('.nl-img span, .nl-img em')
        wide = words.evaluate_all('all => all.map(e => e.scrollWidth - e.clientWidth)')
        assert max(wide) <= 1, 'a name is cut'
        page.get_by_role('tab', name='Noise').click()
        b = box(page, '[data-view=believed] canvas')
        page.locator('[data-view=believed] canvas').click(position=dict(x=.6*b['width'], y=.4*b['height']))
        page.locator('.nl-picked h3', has_text='of 100 images on the map').wait_for()

        page.locator('[data-view=accuracy] .nl-help').click()   # "?": a sentence, by keyboard too
        assert 'test images' in page.locator('[data-view=accuracy] .nl-helptext').inner_text()
        page.locator('[data-view=accuracy] .nl-help').click()
        page.locator('[data-key=tau] input').focus()
        assert 'held back' in page.locator('[data-key=tau] .nl-helptext').inner_text()

        page.locator('[data-key=method] .nl-help').click()      # what the chosen method does, in its own words
        assert 'Restoration' in page.locator('[data-key=method] .nl-helptext').inner_text()
        about = page.locator('[data-key=method] option').evaluate_all('all => all.map(o => o.title)')
        assert len(about) == len(METHODS) and all(about)
        page.locator('[data-key=method] .nl-help').click()
        shapes = page.locator('.nl-mapcard .nl-symbol').evaluate_all("""all => all.map(c => String(c.getContext('2d')
            .getImageData(0, 0, 24, 24).data.filter((v, i) => i % 4 === 3)))""")
        assert len(set(shapes)) == len(shapes) == 10, 'without colours, too, each class is another one'

        lab.do(dict(do='pause')); page.locator('.noisylab[data-status=running]').wait_for()
        n = len(lab.runs)
        page.locator('.nl-start').click()           # would stop a run: it asks
        assert 'Stop' in page.locator('.nl-start').inner_text() and len(lab.runs) == n
        page.set_viewport_size(dict(width=445, height=900)); page.wait_for_timeout(300)     # settings in a drawer
        assert not page.locator('.nl-controls').is_visible() and box(page, '.nl-curves')['y'] < 500
        page.locator('.nl-settings').click(); assert page.locator('.nl-controls').is_visible()
        assert not page.seen['errors']

def test_a_run_that_is_done_trains_on(lab, page):
    lab.do(dict(do='set', key='epochs', value=3))
    with lab_page(lab) as url:
        page.goto(url)
        page.locator('.nl-start').click()
        page.locator('.noisylab[data-status=done]').wait_for(timeout=60_000)
        assert page.locator('.nl-morebox').is_visible(), 'a fork has to know how many'
        page.locator('.nl-more').fill('2')
        page.locator('.nl-on').click()
        until(lambda: lab.shown.status == 'done' and lab.shown.progress.epochs == 5)
        assert [r['epoch'] for r in lab.shown.history] == [1, 2, 3, 4, 5] and len(lab.runs) == 1
        page.locator('.nl-speed', has_text='epoch 5 of 5').wait_for(); page.locator('.nl-morebox').wait_for()
        page.locator('.nl-fork').click()
        until(lambda: len(lab.runs) == 2 and lab.shown.progress.epochs == 7)
        until(lambda: [c['do'] for c in lab.commands] == ['set', 'start', 'train_on', 'fork'])

def saved(page, view, kind):
    "What the menu of a card saves, as bytes; opened and closed by keyboard."
    card = page.locator(view)
    card.locator('.nl-dots').first.focus()
    page.keyboard.press('Enter')
    with page.expect_download() as got: card.get_by_role('button', name=f'as {kind}').click()
    page.keyboard.press('Escape')
    assert not card.locator('.nl-menubox:visible').count()
    return open(got.value.path(), 'rb').read()

def table(page, view): return list(csv.reader(io.StringIO(saved(page, view, 'a table').decode(), newline='')))

def test_every_card_is_saved_as_it_is_shown_and_curves_are_looked_at_closely(lab, page):
    from PIL import Image
    with lab_page(lab) as url:
        page.goto(url)
        run = lab.start()
        until(lambda: len(run.history) > 12)
        lab.do(dict(do='pause'))
        page.locator('.noisylab[data-status=paused]').wait_for()
        until(lambda: lab.widget.frames and lab.widget.frames[0]['epoch'] >= run.history[-1]['epoch'])
        until(lambda: len(lab.widget.curves[0]['epoch']) == len(run.history)); page.wait_for_timeout(600)
        head, *rows = table(page, '[data-view=accuracy]')
        assert head == ['epoch', lab.runs.name(run)] and len(rows) == len(run.history)
        last = run.history[-1]
        assert [float(v) for v in rows[-1]] == pytest.approx([last['epoch'], last['test_acc']], rel=1e-3)
        head, *rows = table(page, '.nl-mapcard')
        names = {str(i): k for k, i in enumerate(run.watched.index)}
        assert len(rows) == 100 and {'image', 'x', 'y', 'given', 'true'} <= set(head)
        given = {r[head.index('image')]: r[head.index('given')] for r in rows}
        assert all(run.watched.classes[run.latest.given[names[i]]] == g for i, g in given.items())
        head, *rows = table(page, '.nl-restcard')
        assert len(rows) == len(run.latest.pinned) and 0 < float(rows[0][head.index('mean absolute error')]) < 1
        assert len(table(page, '[data-view=operations]')) > 3
        page.get_by_role('tab', name='Noise').click()
        head, *rows = table(page, '[data-view=believed]')
        assert len(rows) == 10 and all(len(r) == 11 for r in rows)
        believed = sum(([float(v) for v in r[1:]] for r in rows), [])
        assert believed == pytest.approx(lab.figure('believed').data[0].z.ravel().tolist(), rel=1e-3)
        page.get_by_role('tab', name='Labels').click()
        assert sum(float(v) for r in table(page, '[data-view=losses]')[1:] for v in r[2:]) == len(run.watched.index)
        page.get_by_role('tab', name='Restoration').click()
        for view in ('[data-view=accuracy]', '.nl-mapcard', '.nl-restcard'):
            im, b = Image.open(io.BytesIO(saved(page, view, 'a picture'))), box(page, f'{view} .nl-plot')
            assert im.width >= 2*b['width'] and im.height > 2*b['height']
            assert len(im.convert('RGB').getcolors(1 << 20)) > 9, 'empty'

        shot = lambda: page.locator('[data-view=changes] canvas').evaluate('c => c.toDataURL()')
        plain, b = shot(), box(page, '[data-view=accuracy] .nl-plot')       # a drag zooms all curves
        go = lambda x: page.mouse.move(b['x'] + x*b['width'], b['y'] + b['height']/2)
        go(.5); page.mouse.down(); go(.7); go(.8); page.mouse.up(); go(.6)
        page.locator('.nl-zoomed').wait_for(); page.wait_for_timeout(200)
        assert lab.widget.at == -1, 'a drag is no click'
        close = shot()
        page.mouse.dblclick(b['x'] + .6*b['width'], b['y'] + b['height']/2)
        page.locator('.noisylab:not(.nl-zoomed)').wait_for()
        page.mouse.move(0, 0); page.wait_for_timeout(500)
        assert close != plain == shot() and lab.widget.at == -1, 'all as before'
        page.locator('[data-view=accuracy] .nl-dots').click()
        page.locator('[data-view=accuracy] .nl-smooth').check(); page.mouse.move(0, 0); page.wait_for_timeout(200)
        assert shot() != plain
        assert not page.seen['errors']

TEXT = ('.nl-preset b', '.nl-tile span', '.nl-row label', '.nl-row output', '.nl-note', 'legend', '.nl-speed',
        '.nl-when', '.nl-tabs button', '.nl-key', '.nl-name', '.nl-hint', '.nl-help', '.nl-status', '.nl-start')
LINES = [['.nl-swatch', 'borderTopColor'], ['.nl-runcolour', 'backgroundColor'], ['.nl-dot', 'backgroundColor']]

def test_text_and_lines_can_be_seen_in_both_themes(lab, page):
    with lab_page(lab) as url:
        lab.start()
        until(lambda: lab.widget.curves and len(lab.widget.curves[0]['epoch']) > 2)
        for theme in ('', 'dark'):
            page.goto(url + theme); page.locator('.nl-curves .nl-swatch').first.wait_for(); page.wait_for_timeout(300)
            text = page.evaluate('contrast', [[s, 'color'] for s in TEXT])
            lines = page.evaluate('contrast', LINES)
            weak = [x for x in text if x[1] < 4.5] + [x for x in lines if x[1] < 3]
            assert len(text) > 40 and len(lines) > 5 and not weak, (theme or 'light', weak)
