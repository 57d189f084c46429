"""The HTML page of label issues in a real browser: sorted, filtered, linked."""
import numpy as np
import pytest
from PIL import Image

from noisylab.data.sources import load_all
from noisylab.label_issues.issues import LabelIssues
from noisylab.viz.gallery import write_gallery

pytestmark = pytest.mark.browser


def test_the_page_of_label_issues_sorts_filters_and_links(page, tmp_path):
    rng = np.random.RandomState(0)
    for c in ('cat', 'dog', 'x #1'):
        (tmp_path/'photos'/c).mkdir(parents=True)
        for i in range(4): Image.fromarray(rng.randint(0, 256, (20, 20, 3)).astype(np.uint8)).save(
            tmp_path/'photos'/c/f'{i}.png')
    images = load_all(tmp_path/'photos')
    index = np.array([9, 0, 4, 5])
    issues = LabelIssues(images, index, np.array([0, 1, 2, 0]), np.array([.9, .8, .7, .6]), np.full(4, .5),
                         np.array(['odd']*4, object))
    write_gallery(issues, tmp_path/'out'/'doubt.html')
    page.goto((tmp_path/'out'/'doubt.html').as_uri())
    shown = lambda: page.locator('li[data-id]').evaluate_all('es => es.map(e => e.dataset.id)')
    assert shown() == images.ids[index].tolist()
    page.locator('select[name=by]').select_option('name')
    assert shown() == sorted(images.ids[index])
    page.locator('select[name=given]').select_option('dog')
    assert shown() == ['dog/0.png', 'dog/1.png'] and page.locator('output').inner_text() == '2 of 4'
    page.locator('input[name=least]').fill('65')
    assert shown() == ['dog/0.png']
    page.locator('input[name=least]').fill('0'); page.locator('select[name=given]').select_option('any')
    page.locator('input[name=text]').fill('X #')
    assert shown() == ['x #1/1.png']
    link = page.locator('li[data-id] a').first.evaluate('e => e.href')
    assert page.locator('li[data-id] a').first.get_attribute('href') == '../photos/x%20%231/1.png'
    page.goto(link)
    assert page.locator('img').evaluate('e => e.naturalWidth') == 20 and not page.seen['errors']
