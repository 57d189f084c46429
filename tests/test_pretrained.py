"""Pretrained backbones, their features, and a folder of pictures judged by them: what an example is wrong for."""
import csv
import errno
import signal
import subprocess
import sys
import time
import urllib.error
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from noisylab.cli import main
from noisylab.data.augment import RandAugment, WeakAugment
from noisylab.data.files import ImageFiles
from noisylab.data.images import Images
from noisylab.data.noise import inject
from noisylab.data.sources import load, load_all
from noisylab.errors import UserError
from noisylab.label_issues.find import find_label_issues
from noisylab.models.features import AugmentedView, compute_features
from noisylab.methods.base import METHODS
from noisylab.models.pretrained import Backbone, default_backbone, is_here, load_backbone
from noisylab.session.fork import replay, run_differences
from noisylab.session.session import Session
from noisylab.training.checkpoint import training_state
from noisylab.training.evaluation import calibration_error, fit_temperature
from noisylab.training.prediction import predict
from noisylab.training.spec import named_code
from noisylab.training.trainer import Trainer

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


@pytest.mark.parametrize('said, dtype', [('fp32', torch.float32), ('bf16', torch.bfloat16)])
def test_one_switch_says_the_precision_of_features_too(monkeypatch, tmp_path, said, dtype):
    monkeypatch.setenv('NOISYLAB_PRECISION', said)
    seen = set()
    def corners(x):
        seen.add(x.dtype)
        return x[:, :, ::4, ::4].flatten(1)
    find_label_issues(pictures(40), backbone=Backbone('corners', corners, 16), keep=tmp_path, progress=False)
    assert seen == {dtype}


@pytest.fixture
def some_digits(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'cache'))
    (tmp_path/'my_features.py').write_text(
        'from noisylab.models.pretrained import Backbone\n'
        'grid = Backbone("grid", lambda x: x[:, 0].flatten(1), side=8, kept=True)\n')
    monkeypatch.syspath_prepend(tmp_path)
    train, test = load('digits', size=None)
    return train.subset(np.arange(300)), test.subset(np.arange(100))


HEAD = dict(backbone='my_features:grid', noise='symmetric', rate=.3, device='cpu', epochs=3, lr=.1,
            batch=32, ops='digits', flip=False, m=5)


@pytest.mark.parametrize('method', METHODS)
def test_every_method_trains_a_head(some_digits, method):
    train, test = some_digits
    tr = Trainer(train=train, test=test, method=method, **HEAD | dict(epochs=6))
    row = tr.fit(False)
    assert tr.spec.model == 'linear' and np.isfinite(list(tr.history[-1]['terms'].values())).all()
    assert row['memorized'] is not None and (len(tr.phases) > 1 or row['last'] > 15)    # a procedure takes longer
    if getattr(tr.method, 'w_rec', 0): assert tr.views(20).restored.shape == tr.views(20).original.shape


def test_a_head_goes_on_and_is_repeated_to_the_same_numbers(some_digits, tmp_path):
    train, test = some_digits
    whole = Trainer(train=train, test=test, method='balanced', **HEAD)
    whole.fit(False)
    part = Trainer(train=train, test=test, method='balanced', out=tmp_path/'run', **HEAD)
    steps = part.steps()
    for _ in range(part.steps_per_epoch + 2): next(steps)
    part.save()
    again = Trainer.resume(tmp_path/'run', train=train, test=test)
    again.fit(False)
    assert all(torch.equal(a, b) for a, b in zip(whole.net.state_dict().values(), again.net.state_dict().values()))
    assert whole.data.train.features.shape[1] == 3 and again.history[-1]['test_acc'] == whole.history[-1]['test_acc']
    with pytest.raises(UserError, match='augments no pixels'): again.change(m=3)
    repeated = replay(whole.spec, whole.events, train=train, test=test)
    assert run_differences(repeated, training_state(whole)) == []


def test_new_pictures_are_predicted_from_pixels_and_features_alike(some_digits, tmp_path):
    train, test = some_digits
    tr = Trainer(train=train, test=test, method='elr_forward', out=tmp_path/'run', **HEAD)
    tr.fit(False)
    tr.save()
    own, file = tr.predict(test), predict(tmp_path/'run', test)
    pixels = predict(tmp_path/'run', test.pixels.permute(0, 2, 3, 1).numpy())
    assert np.allclose(own.probs, file.probs, atol=1e-3) and np.allclose(own.probs, pixels.probs, atol=1e-3)
    assert 100*(pixels.labels == test.labels.numpy()).mean() == pytest.approx(tr.history[-1]['test_acc'], abs=3)
    assert tr.evaluate(test.subset(np.arange(50)))['n'] == 50       # which has no features yet
    own = Trainer(train=tr.data.loaded, method='elr', device='cpu', epochs=2)       # features without a name
    own.fit(False)
    with pytest.raises(UserError, match='features that it was handed'): own.predict(test)
    assert len(own.predict(tr.data.test)) == 100
    for bad in (dict(net=torch.nn.Flatten()), dict(model='resnet18'), dict(schedule='author'), dict(backbone='none')):
        with pytest.raises(UserError): Trainer(train=train, **HEAD | bad)
    with pytest.raises(UserError, match='alone'): Trainer(train=tr.data.loaded, test=test)


def test_a_session_shows_a_head_with_its_restorations(some_digits):
    train, test = some_digits
    session = Session(train=train, test=test, method='paper', **HEAD).start()
    for _ in range(6000):
        if session.requests.ended: break
        time.sleep(.01)
    assert session.status == 'done', session.message
    frame = session.frames[-1]
    assert frame.restored.shape == frame.original.shape and frame.record['terms'].keys() >= {'rec', 'cluster'}
    assert frame.restoration_errors is None and (frame.augmented != frame.original).any()


def test_the_temperature_is_found_through_the_noise():
    rng = torch.Generator().manual_seed(0)
    z = 2*torch.randn(3000, 5, generator=rng)
    true = torch.multinomial(z.softmax(1), 1, generator=rng)[:, 0]
    given = torch.where(torch.rand(3000, generator=rng) < .4, (true + 1) % 5, true)
    known = .6*torch.eye(5) + .4*torch.eye(5).roll(1, 1)
    error = lambda t: calibration_error((4*z/t).softmax(1).numpy(), true.numpy())
    by_known, _ = fit_temperature(4*z, given, known)
    by_counts, T = fit_temperature(4*z, given)
    naive, _ = fit_temperature(4*z, given, torch.eye(5))
    assert 3.2 < by_known < 5 and error(by_known) < .03 < error(1.)
    assert error(by_counts) < .5*min(error(1.), error(naive)) and (T - known).abs().max() < .15


def test_the_temperature_of_many_images_is_fitted_to_a_draw():
    rng, seen = torch.Generator().manual_seed(0), []
    z = 2*torch.randn(8000, 100, generator=rng)
    given = torch.multinomial(z.softmax(1), 1, generator=rng)[:, 0]
    softmax = torch.softmax
    def counting(x, dim): seen.append(x.numel()); return softmax(x, dim)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(torch, 'softmax', counting)
        t, _ = fit_temperature(3*z, given)
        again, _ = fit_temperature(3*z, given)
    assert 2 < t < 4.5 and t == again and sum(seen)/2 < 120*z.numel(), 'a tenth of ten rounds over 91 temperatures'


def test_a_backbone_is_code_that_a_file_may_not_name_unasked():
    assert named_code(dict(backbone='os:getcwd')) == ['os:getcwd'] and not named_code(dict(backbone='timm:resnet18'))


def test_a_killed_computation_goes_on_where_it_was(tmp_path):
    text = '''if True:
        import os, signal, sys, torch
        from noisylab.data.images import Images
        from noisylab.models.features import compute_features
        from noisylab.models.pretrained import Backbone
        pixels = torch.arange(1200*48).view(1200, 3, 4, 4).remainder(251).byte()
        seen = 0
        def net(x):
            global seen
            seen += len(x)
            if sys.argv[2] == 'die' and seen > 700: os.kill(os.getpid(), signal.SIGKILL)
            return x.flatten(1)
        images = Images(pixels, torch.arange(1200) % 2, ('a', 'b'))
        compute_features(images, Backbone('flat', net, 4, kept=True), sys.argv[1], False)
        print(seen)'''
    run = lambda how: subprocess.run([sys.executable, '-c', text, str(tmp_path), how], capture_output=True, text=True)
    first = run('die')
    assert first.returncode == -signal.SIGKILL and len(list(tmp_path.glob('*.npy'))) == 1
    assert run('live').stdout.split() == ['688'], 'only what had not been kept'


def test_what_goes_wrong_while_features_are_computed_is_said_and_loses_nothing(tmp_path, monkeypatch):
    for i in range(520): (tmp_path/'p'/'ab'[i % 2]).mkdir(parents=True, exist_ok=True)
    for i in range(520): Image.new('L', (8, 8), i % 256).save(tmp_path/'p'/'ab'[i % 2]/f'{i:03}.png')
    images, net = load_all(tmp_path/'p', size=8), Backbone('flat', lambda x: x.flatten(1), 8, kept=True)
    images = replace(images, pixels=ImageFiles(tmp_path/'p', images.ids, 8, 1))
    whole = compute_features(images, net, tmp_path/'kept', False)
    for f in (tmp_path/'kept').glob('*.npy'):
        if f.stat().st_size < 10_000: f.unlink()        # the last piece
    gone = tmp_path/'p'/str(images.ids[-1])
    gone.rename(tmp_path/'gone.png')
    with pytest.raises(UserError, match=f'{gone.name}: no such file') as e:
        compute_features(images, net, tmp_path/'kept', False)
    assert '\n' not in str(e.value) and len(list((tmp_path/'kept').glob('*.npy'))) == 1
    (tmp_path/'gone.png').rename(gone)
    def full(*args, **more): raise OSError(errno.ENOSPC, 'No space left on device')
    with monkeypatch.context() as m, pytest.warns(UserWarning, match='No space left on device') as told:
        m.setattr(np, 'save', full)
        assert (compute_features(images, net, tmp_path/'kept', False) == whole).all() and len(told) == 1
    assert len(list((tmp_path/'kept').iterdir())) == 1, 'no part of a file stays'


def test_features_of_ones_own_are_restored_from_and_asked_for_again(some_digits, tmp_path):
    images = load('digits', size=None)[0].subset(np.arange(200))
    images = replace(images, features=images.pixels.flatten(1).float())
    tr = Trainer(train=images, method='balanced', device='cpu', epochs=1, out=tmp_path/'run')
    tr.fit(False)
    assert tr.views(5).restored.shape == tr.views(5).original.shape
    with pytest.raises(UserError, match='hand over train= and test= again, with features'):
        Trainer.resume(tmp_path/'run')
    assert Trainer.resume(tmp_path/'run', train=images).done
    with pytest.raises(UserError, match='network of pixels'): Trainer(train=images, model='resnet18', device='cpu')


def test_an_augmented_view_of_an_image_does_not_depend_on_the_others(some_digits):
    view, at = AugmentedView(2, WeakAugment(1, False), RandAugment(2, 5, 'digits')), torch.arange(300)
    x = some_digits[0].pixels
    assert torch.equal(view(at, x), torch.cat([view(i, x[i]) for i in at.split(7)]))
