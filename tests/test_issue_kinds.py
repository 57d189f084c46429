"""Kinds of issues from files to files: what a folder with copies, leaks and bad pictures becomes in the list, in the
program and on the page; images that stay on disk; kinds of one's own."""
import csv
import json
import re
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from noisylab.cli import main
from noisylab.data.images import Images
from noisylab.data.sources import load, load_all
from noisylab.errors import UserError
from noisylab.label_issues.find import find_label_issues
from noisylab.label_issues.issues import read_issues
from noisylab.label_issues.kinds import ISSUE_KINDS, Dark, IssueKind, NearDuplicate, image_parts, measure_images
from noisylab.models.pretrained import Backbone
from noisylab.viz.gallery import write_gallery

OWN = '''
import numpy as np
from noisylab.label_issues.kinds import IssueKind

class Purple(IssueKind):
    "Hardly any green."
    name, needs = 'purple', ('images',)
    def measure(self, pixels):
        r, g, b = pixels.float().mean((2, 3)).T
        return (g/(r + b + 1)).clamp(max=1)
    def find(self, seen):
        green = seen.measured
        return green, {i: f'purple: green is {green[i]:.0%} of red and blue' for i in np.flatnonzero(green < .1)}

class Short(Purple):
    def measure(self, pixels): return pixels[1:, 0, 0, 0]
'''


def scene(rng, hue, size=(48, 48)):
    "A picture with soft and sharp things in it, mostly of one colour."
    w, h = size
    soft = np.asarray(Image.fromarray(rng.integers(0, 256, (5, 5), np.uint8)).resize(size, Image.BICUBIC), float)
    x = soft[..., None]*np.array([(.9, .5, .4), (.3, .5, .9)][hue])
    for _ in range(12):
        a, b = rng.integers(0, w - 8), rng.integers(0, h - 8)
        x[b:b + rng.integers(3, 9), a:a + rng.integers(3, 9)] = rng.integers(0, 256, 3)
    return Image.fromarray((x + rng.normal(0, 6, x.shape)).clip(0, 255).astype(np.uint8))


def colours(x):     # a backbone that sees colours and where they are
    return torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "Class folders warm/ and cold/, and a folder of test pictures."
    at, rng = tmp_path_factory.mktemp('pets'), np.random.default_rng(0)
    pictures = {}
    for i in range(60):
        name = f"{('warm', 'cold')[i % 2]}/{i:02}.png"
        pictures[name] = scene(rng, i % 2)
    p = pictures
    p['warm/00.png'] = p['warm/00.png'].point(lambda v: v//8)           # dark
    p['cold/01.png'] = p['cold/01.png'].filter(ImageFilter.GaussianBlur(3))
    p['warm/02.png'] = scene(rng, 0, (200, 48))                          # odd-shaped
    p['warm/copy.png'] = p['cold/03.png']                                # in two classes
    p['cold/again.png'] = p['cold/05.png']                               # in one
    p['cold/near.png'] = p['cold/07.png'].point(lambda v: min(255, int(v*1.2)))
    for name, im in p.items():
        (at/'all'/name).parent.mkdir(parents=True, exist_ok=True)
        im.save(at/'all'/name)
    test = {'warm/x.png': scene(rng, 0), 'cold/y.png': scene(rng, 1), 'cold/leak.png': p['cold/09.png']}
    for name, im in test.items():
        (at/'test'/name).parent.mkdir(parents=True, exist_ok=True)
        im.save(at/'test'/name)
    return at


PLANTED = dict(dark={'warm/00.png'}, blurred={'cold/01.png'}, odd_shaped={'warm/02.png'},
               exact_duplicate={'warm/copy.png', 'cold/03.png', 'cold/again.png', 'cold/05.png', 'cold/09.png'},
               near_duplicate={'cold/near.png', 'cold/07.png'})


def found_in(source, **more):
    return find_label_issues(source, backbone=Backbone('colours', colours, 48), progress=False, device='cpu', **more)


@pytest.mark.parametrize('in_memory', [True, False])
def test_everything_that_is_planted_in_a_folder_is_found_and_nothing_else(folder, in_memory):
    images = load_all(folder/'all', in_memory=in_memory)
    found = found_in(images, test=folder/'test')
    for kind, ids in PLANTED.items(): assert set(found.only(kind).ids) == ids, (kind, found.only(kind).ids)
    why = {r['id']: r['reason'] for r in found.rows()}
    assert 'the same picture as cold/03.png (cold); in two classes: one label is wrong' in why['warm/copy.png']
    assert 'in two classes' not in why['cold/again.png'] and 'nearly the same picture as' in why['cold/near.png']
    assert 'test cold/leak.png (cold); in train and test: a leak' in why['cold/09.png']
    assert 'leak' not in why['warm/copy.png'] and '200 × 48' in why['warm/02.png']
    assert set(found.counts()) == {'label', *ISSUE_KINDS}
    for f in found.found:
        assert f.score.shape == (len(images),) and 0 <= f.score.min() and f.score.max() <= 1
        listed = np.isin(np.arange(len(images)), list(f.reason))
        assert f.score[listed].max(initial=0) <= f.score[~listed].min()
    label = found.of_kind()     # doubted labels first; where no label is doubted, none is changed
    assert label[:label.sum()].all() and not label[label.sum():].any()
    assert (found.suggested[~label] == found.given[~label]).all()
    assert {c['index'] for c in found.changes(found.index)} <= set(found.index[label])


def test_train_and_test_in_one_folder_are_told_apart(folder, tmp_path):
    for part, at in (('Train', 'all'), ('Test', 'test')): (tmp_path/part).symlink_to(folder/at)
    found = found_in(tmp_path, kinds='exact_duplicate')
    leaks = {i for i, why in zip(found.ids, found.reason) if 'in train and test: a leak' in why}
    assert leaks == {'Train/cold/09.png', 'Test/cold/leak.png'} and len(found) == 6
    assert set(image_parts(np.array(['train[0]', 'test[3]']))) == {'train', 'test'}
    assert set(image_parts(np.array(['cats/1.png', 'test/2.png']))) == {''}


def test_the_program_lists_writes_and_shows_them(folder, tmp_path, capsys, monkeypatch):
    (tmp_path/'mine.py').write_text('from noisylab.models.pretrained import Backbone\nimport torch\ndef sees(x): '
                                    'return torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)\n' + OWN)
    monkeypatch.chdir(tmp_path)
    line = ['issues', str(folder/'all'), '--test', str(folder/'test'), '--backbone', 'mine:sees', '--device', 'cpu']
    assert main([*line, '--csv', 'doubt.csv', '--html', 'doubt.html']) == 0
    said = capsys.readouterr().out
    for kind, ids in PLANTED.items(): assert re.search(rf'^{kind}: {len(ids)} image', said, re.M), said
    rows = list(csv.DictReader(open('doubt.csv', encoding='utf-8-sig')))
    for kind, ids in PLANTED.items(): assert {r['id'] for r in rows if kind in r['kinds'].split()} == ids
    page = (tmp_path/'doubt.html').read_text('utf-8')
    assert all(f'<h2 id="{kind}">{kind}: {len(ids)} images</h2>' in page for kind, ids in PLANTED.items())
    looks = re.search(r'^to find 80, 90, 95% of the wrong labels, look at the first .*$', said, re.M)
    assert looks and looks[0] in page and re.search(r'^worst class: (warm|cold), \d+%', said, re.M)[0] in page
    assert main([*line, '--kinds', 'dark, mine:Purple']) == 0
    said = capsys.readouterr().out
    assert 'purple: 0 images' in said and 'dark: 1 image\n' in said and 'warm/00.png: warm; dark: ' in said
    for bad, word in (('drak', 'exact_duplicate'), ('mine:Short', 'a row for each'), ('mine:None_', 'has no')):
        assert main([*line, '--kinds', bad]) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said.startswith('noisylab: ') and word in said


def test_a_list_with_kinds_goes_to_files_and_back(folder, tmp_path):
    images = load_all(folder/'all')
    found = found_in(images)
    found.to_csv(tmp_path/'a.csv'), found.to_json(tmp_path/'a.json')
    written = json.loads((tmp_path/'a.json').read_text('utf-8'))
    assert written['kinds'] == found.counts()
    place = int(found.index[found.of_kind()][0])
    near, own = found.disagreeing(place), images.classes[images.labels[place]]
    assert near and all(o['label'] != own and images.ids[o['index']] == o['id'] for o in near)
    assert written['issues'][0]['neighbours'] == [o['id'] for o in near]
    for back in (read_issues(tmp_path/f'a.{k}', images) for k in ('csv', 'json')):
        assert back.kinds == found.kinds and (back.index == found.index).all()
        assert set(back.only('dark').ids) == PLANTED['dark'] and (back.suggested == found.suggested).all()
        assert back.changes() == found.changes()
        write_gallery(back, tmp_path/'a.html')
    few = read_issues(tmp_path/'a.csv', images).only('odd_shaped')
    few.to_csv(tmp_path/'b.csv')
    assert set(read_issues(tmp_path/'b.csv', images).ids) == PLANTED['odd_shaped']


def test_kinds_of_ones_own_and_what_they_get_wrong(folder, monkeypatch):
    space = {}
    exec(OWN, space)
    images = load_all(folder/'all')
    pixels = images.pixels.clone()
    pixels[5, 1] = 0
    images = Images(pixels, images.labels, images.classes)
    monkeypatch.setitem(ISSUE_KINDS, 'purple', space['Purple'])      # from then on it is one of all
    assert found_in(images).only('purple').index.tolist() == [5]
    only = found_in(images, kinds=[space['Purple'](), Dark(below=0.)])
    assert only.index.tolist() == [5] and only.counts() == dict(label=0, purple=1, dark=0)

    def three(seen): return np.ones(3), {}
    def two(seen, more): return np.ones(63), {}
    def beyond(seen): return np.ones(len(seen.given)), {999: 'none'}
    def undefined(seen): return np.full(len(seen.given), np.nan), {}
    for bad, said in ((three, 'three: scores of shape'), (beyond, 'position below'), (undefined, 'from 0'),
                      (two, 'of kind two takes'), (space['Short'], 'for 63 pictures'), ('drak', 'exact_duplicate'),
                      (5, 'an IssueKind'), (object, 'an IssueKind'), (IssueKind(), 'a word'),
                      ('odd_shaped', 'needs files'), ('outlier', 'needs features')):
        with pytest.raises(UserError, match=said):
            find_label_issues(images, probabilities=np.full((63, 2), .5), kinds=bad, progress=False)
    with pytest.raises(UserError, match='test images of 1×8×8'): found_in(images, test=load('digits')[1])
    with pytest.raises(UserError, match='no images'):
        find_label_issues(probabilities=np.full((63, 2), .5), labels=images.labels, test=images)


def test_images_on_disk_are_measured_some_at_a_time(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(24):
        (tmp_path/'ab'[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)).save(tmp_path/'ab'[i % 2]/f'{i}.png')
    images = load_all(tmp_path, in_memory=False)
    kinds, most, sizes = tuple(k() for k in ISSUE_KINDS.values()), {}, []

    class Watch(IssueKind):
        name = 'watch'
        def measure(self, pixels): sizes.append(len(pixels))
    for chunk in (4, 24):
        tracemalloc.start()
        try:
            got = measure_images(images, (*kinds, Watch()), chunk=chunk)
            most[chunk] = tracemalloc.get_traced_memory()[1]
        finally: tracemalloc.stop()
    assert sizes == [4]*6 + [24] and most[4] < most[24]
    assert sum(g.nbytes for g in got if g is not None) < 500*len(images)      # what is kept of a picture


def test_ten_thousand_blank_pictures_are_one_group():
    x = np.zeros((3000, 1, 8, 8), np.uint8)
    x[:1000] = np.random.default_rng(0).integers(0, 256, (1000, 1, 8, 8))
    p = np.full((3000, 2), .5)
    found = find_label_issues(Images(torch.from_numpy(x), np.arange(3000) % 2, ('a', 'b')), probabilities=p,
                              kinds=['exact_duplicate', NearDuplicate(pixels=.01)], progress=False)
    assert found.counts() == dict(label=0, exact_duplicate=2000, near_duplicate=0)
    assert 'and 1,996 more; in two classes' in found.reason[0] and max(map(len, found.reason)) < 120


def test_cleanvisions_kinds(folder):
    pytest.importorskip('cleanvision', reason='cleanvision is not installed: pip install "noisylab[cleanvision]"')
    from noisylab.label_issues.exchange import CleanVision
    for in_memory in (True, False):
        found = found_in(load_all(folder/'all', in_memory=in_memory), kinds=CleanVision('dark'))
        assert set(found.ids) == PLANTED['dark'] and found.counts() == dict(label=0, cleanvision_dark=1)
    with pytest.raises(UserError, match='cleanvision says'): found_in(folder/'all', kinds=CleanVision('heavy'))
