"""Pretrained backbones, their features, and a folder of pictures judged by them: what an example is wrong for."""
import csv
import urllib.error
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from noisylab.cli import main
from noisylab.data.images import Images
from noisylab.data.noise import inject
from noisylab.data.sources import load
from noisylab.errors import UserError
from noisylab.label_issues.find import find_label_issues
from noisylab.models.features import compute_features
from noisylab.models.pretrained import Backbone, default_backbone, is_here, load_backbone

here = pytest.mark.skipif(not is_here('efficientnet_lite0'), reason='needs noisylab[offline]')


@pytest.fixture
def wrong_labels(tmp_path, monkeypatch):
    "A folder of 160 PNGs of four digits, of which 24 lie in the wrong folder, and the true labels by name."
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'cache'))
    digits, _ = load('digits')
    some = digits.subset(np.flatnonzero(digits.labels.numpy() < 4)[:160])
    given, true = inject(some.labels.numpy(), 'symmetric', .15, 4, 0).given, {}
    for i, (x, y) in enumerate(zip(some.pixels[:, 0].numpy(), given)):
        (tmp_path/'mine'/f'c{y}').mkdir(parents=True, exist_ok=True)
        Image.fromarray(x).resize((40, 40), Image.BICUBIC).save(tmp_path/'mine'/f'c{y}'/f'{i}.png')
        true[f'c{y}/{i}.png'] = f'c{int(some.labels[i])}'
    return tmp_path/'mine', true


@here
def test_a_folder_of_badly_labelled_pictures_from_the_command_line(wrong_labels, tmp_path, capsys):
    folder, true = wrong_labels
    out = [tmp_path/'doubt.csv', tmp_path/'doubt.html']
    command = ['issues', str(folder), '--backbone', 'efficientnet_lite0', '--csv', str(out[0]), '--html', str(out[1])]
    assert main(command) == 0
    said = capsys.readouterr()
    assert 'backbone = efficientnet_lite0, 128 pixels' in said.out and 'of 160 labels are doubted' in said.out
    with open(out[0], encoding='utf-8-sig') as f: rows = list(csv.DictReader(f))
    wrong = {i for i, y in true.items() if not i.startswith(y)}
    listed = {r['id'] for r in rows}
    assert len(listed & wrong) > .7*len(wrong) and len(listed & wrong) > .7*len(listed), said.out
    hit = [r for r in rows if r['id'] in wrong]
    assert sum(r['suggested'] == true[r['id']] for r in hit) > .8*len(hit)
    assert '<html' in out[1].read_text('utf-8')[:500].lower() and len(list((tmp_path/'cache').rglob('*.npy'))) == 1
    main(['issues', str(folder), '--backbone', 'none', '--epochs', '1'])
    assert 'found by one training' in capsys.readouterr().out


def pictures(n, side=32):
    pixels = torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Images(pixels, torch.arange(n) % 2, ('a', 'b'))


def test_features_are_computed_once_and_gone_on_with(tmp_path, monkeypatch):
    images, asked = pictures(600), []
    def counting(fail=False):
        def net(x):
            asked.append(len(x))
            if fail and sum(asked) > 520: raise KeyboardInterrupt
            return x[:, :, ::4, ::4].flatten(1)
        return Backbone('corners', net, 32, kept=True)
    with pytest.raises(KeyboardInterrupt): compute_features(images, counting(True), tmp_path, False)
    asked.clear()
    x = compute_features(images, counting(), tmp_path, False)
    assert sum(asked) == 600 - 512 and x.shape == (600, 192)       # the first piece was kept
    asked.clear()
    assert (compute_features(images, counting(), tmp_path, False) == x).all() and not asked
    other = Images(255 - images.pixels, images.labels, images.classes)
    assert not (compute_features(other, counting(), tmp_path, False) == x).all() and sum(asked) == 600
    (next(tmp_path.glob('*.npy'))).write_bytes(b'cut off')
    assert (compute_features(images, counting(), tmp_path, False) == x).all()
    (tmp_path/'file').write_text('')
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        assert (compute_features(images, counting(), tmp_path/'file', False) == x).all()
    assert sum('features are not kept' in str(w.message) for w in told) == 1


def test_without_network_it_is_said_what_goes_where(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs): raise urllib.error.URLError('no route to host')
    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', unreachable)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    with pytest.raises(UserError) as e: load_backbone('resnet18')
    said = str(e.value)
    assert 'https://' in said and str(tmp_path/'checkpoints') in said and 'noisylab[offline]' in said
    assert 'backbone=None' in said and '\n' not in said
    monkeypatch.setattr('noisylab.models.pretrained.find_spec', lambda name: None)
    assert default_backbone() is None
    with pytest.raises(UserError, match='cannot be fetched'): find_label_issues(
        pictures(8, 40), progress=False)
    (tmp_path/'checkpoints').mkdir()
    path = next(p for p in said.split() if p.startswith(str(tmp_path))).rstrip(',')
    with open(path, 'wb') as f: f.write(b'PK cut off')
    with pytest.raises(UserError, match='cannot be read .* cut off; remove it'): load_backbone('resnet18')
    torch.save({'fc.bias': torch.zeros(3)}, path)
    with pytest.raises(UserError, match='weights of another network'): load_backbone('resnet18')


def test_a_network_of_ones_own_is_used_and_left_as_it_is(tmp_path, monkeypatch):
    (tmp_path/'my_backbone.py').write_text('def corners(x): return x[:, :, ::8, ::8].flatten(1)\n')
    monkeypatch.chdir(tmp_path)
    images = pictures(20)
    network = load_backbone('my_backbone:corners', 32)
    assert compute_features(images, network, progress=False).shape == (20, 3*16)
    own = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).train()
    compute_features(images, load_backbone(own), progress=False)
    assert own.training and own[1].num_batches_tracked == 0 and own[0].weight.dtype == torch.float32
    with pytest.raises(UserError, match='features B×D were expected'):
        compute_features(images, load_backbone(lambda x: x.sum()), progress=False)
    with pytest.raises(UserError, match="has no 'edges'"): load_backbone('my_backbone:edges')
