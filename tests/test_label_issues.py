"""Folds that are cut off and go on, and cleanlab: what an example in a notebook is wrong for."""
import subprocess
import sys
import tempfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from noisylab.training.defaults import training_advice
from noisylab.errors import UserError
from noisylab.data.sources import load
from noisylab.data.images import Images
from noisylab.label_issues.find import (TrackHeldOut, cross_predict, find_label_issues, train_tracked,
                                        training_for_issues)
from noisylab.data.noise import inject
from noisylab.training.spec import Spec
from noisylab.label_issues.issues import read_issues
from noisylab.training.trainer import Trainer

SPEC = Spec(noise='none', method='ce', model='small', epochs=4, batch=32, lr=.05, schedule='cosine', device='cpu')


@pytest.fixture(scope='module')
def images():
    digits, _ = load('digits')
    noisy = inject(digits.labels.numpy(), 'symmetric', .3, 10, 0)
    return digits.with_labels(noisy.given).subset(range(150))


def same(a, b): return all((getattr(a, k) == getattr(b, k)).all() for k in ('loss', 'margin', 'pred', 'p', 'last'))


@pytest.mark.parametrize('when', [
    ('save', 2),    # before the checkpoint of the epoch is written: the one before it counts
    ('on_epoch_end', 3),    # while the held-out images are looked at
    ('on_epoch_end', 4),    # at the very end
])
def test_folds_go_on_to_the_same_bits(images, tmp_path, monkeypatch, when):
    whole = cross_predict(images, SPEC, 2, progress=False)
    name, epoch = when
    kind = Trainer if name == 'save' else TrackHeldOut
    own, cut = getattr(kind, name), []

    def cut_off(self, *args):
        tr = args[0] if args else self
        if tr.epoch == epoch and 'fold1' in str(tr.out) and not cut:
            cut.append(tr.epoch)
            raise KeyboardInterrupt
        return own(self, *args)

    monkeypatch.setattr(kind, name, cut_off)
    with pytest.raises(KeyboardInterrupt): cross_predict(images, SPEC, 2, tmp_path, progress=False)
    assert cut == [epoch]
    done = (tmp_path/'fold0'/'checkpoint.pt').stat().st_mtime_ns
    trained, step = [], Trainer._take_step
    monkeypatch.setattr(Trainer, '_take_step', lambda self: (trained.append(str(self.out)), step(self))[1])
    assert same(cross_predict(images, SPEC, 2, tmp_path, progress=False), whole)
    assert (tmp_path/'fold0'/'checkpoint.pt').stat().st_mtime_ns == done
    steps = 4*-(-75//32)    # of a whole fold: those before the checkpoint are not taken again
    assert all('fold1' in o for o in trained) and len(trained) < steps


def test_another_training_does_not_pass_for_this_one(images, tmp_path):
    short = replace(SPEC, epochs=1)
    train_tracked(images, short, tmp_path, progress=False)
    with pytest.raises(UserError, match='lr=0.05'):
        train_tracked(images, replace(short, lr=.01), tmp_path, progress=False)
    with pytest.raises(UserError, match='checksum'):
        train_tracked(images.with_labels(images.labels.flip(0)), short, tmp_path, progress=False)


def test_classes_of_any_size(images):
    short, given = replace(SPEC, epochs=1), images.labels.numpy()
    with pytest.raises(UserError, match='two classes'):
        find_label_issues(images.subset(np.flatnonzero(given == 3)), short, progress=False)
    with pytest.raises(UserError, match='Images'): cross_predict([1, 2], short)
    one_of_4 = np.r_[np.flatnonzero(given < 4), np.flatnonzero(given == 4)[:1]]     # and none of 5 to 9
    for folds in (None, 2):
        found = find_label_issues(images.subset(one_of_4), short, folds, progress=False)
        assert '4 (1)' in str(found) and np.isfinite(found.matrix).all() and 0 <= found.rate <= 1
        assert np.allclose(found.matrix.sum(1), 1)


def test_cleanlab_there_and_back(images):
    pytest.importorskip('cleanlab', reason='cleanlab is not installed: pip install "noisylab[cleanlab]"')
    pytest.importorskip('datasets', reason='Datalab needs datasets: pip install "noisylab[cleanlab]"')
    from noisylab.label_issues.exchange import from_cleanlab, cleanlab_issues, to_datalab
    rng = np.random.default_rng(0)
    true = load('digits')[0].labels[:150].numpy()
    z = 4*np.eye(10)[true] + rng.normal(size=(150, 10))
    p, wrong = np.exp(z)/np.exp(z).sum(1, keepdims=True), images.labels.numpy() != true
    for found in (cleanlab_issues(images, p), from_cleanlab(images, to_datalab(images, p), p)):
        assert wrong[found.index].mean() > .8 and wrong[found.index].sum() > .5*wrong.sum()
        hit = wrong[found.index]
        assert (found.suggested[hit] == true[found.index][hit]).mean() > .9
    at = np.flatnonzero(images.labels.numpy() != 3)     # a class without a label: its number stays its number
    some = cleanlab_issues(images.subset(at), p[at])
    assert len(some) and set(some.given) <= set(range(10)) - {3}


@pytest.mark.parametrize('seed', range(3))
def test_what_is_listed_is_wrong_and_mending_makes_it_right(seed):
    "Trainings from scratch: most of what is listed is wrong, most of what is wrong is listed."
    digits, _ = load('digits', train_size=600)
    true = digits.labels.numpy()
    given = inject(true, 'symmetric', .15, 10, seed).given
    found, wrong = find_label_issues(digits.with_labels(given), progress=False), given != true
    right = lambda images: (images.labels.numpy() == true).mean()
    assert wrong[found.index].mean() > .85 and wrong[found.index].sum() > .5*wrong.sum()
    assert right(found.images) + .05 < right(found.mended())


def test_what_is_chosen_is_said_and_can_be_given(images, tmp_path, capsys):
    from PIL import Image
    rng = np.random.default_rng(0)
    for i in range(40):
        (tmp_path/'pets'/'ab'[i % 2]).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (80, 80, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path/'pets'/'ab'[i % 2]/f'{i}.png')
    spec = replace(SPEC, method='ce_augmented', epochs=1, size=16)
    found = find_label_issues(tmp_path/'pets', spec, progress=False)
    assert found.images.shape == (3, 16, 16) and len(found.images) == 40
    assert any('fitted to 16×16' in n for n in found.notes) and not any(n.startswith('epochs = ') for n in found.notes)
    assert capsys.readouterr().err == ''
    chosen, why = training_for_issues(images, 'cpu')
    shared = training_advice(len(images), 8, 'cpu')
    assert all(getattr(chosen, k) == shared[k][0] for k in ('noise', 'width', 'method', 'batch'))
    assert set(why) == {'noise', 'width', 'method', 'batch', 'epochs', 'lr', 'schedule'}
    found = find_label_issues(images, progress=True, device='cpu')
    told = [n for n in found.notes if n.startswith('epochs = 20: ')]
    assert told and told[0] in capsys.readouterr().err and len(found.features) == len(images)


def test_large_pictures_are_read_smaller(tmp_path, monkeypatch):
    from PIL import Image
    for i in range(8):
        (tmp_path/'ab'[i % 2]).mkdir(exist_ok=True)
        Image.new('RGB', (90, 90), (i*30, 0, 0)).save(tmp_path/'ab'[i % 2]/f'{i}.png')
    one = lambda images, *args, **kw: train_tracked(images, replace(SPEC, epochs=1, batch=4), progress=False)
    monkeypatch.setattr('noisylab.label_issues.find.train_tracked', one)
    found = find_label_issues(tmp_path, progress=False, device='cpu', backbone=None)
    assert found.images.shape == (3, 64, 64) and any(n.startswith('size = 64: 90 pixels a side') for n in found.notes)


def test_features_in_bounded_memory(images, monkeypatch):
    short = replace(SPEC, epochs=1)
    found = find_label_issues(images, short, progress=False)
    assert found.features.dtype == np.float16 and np.isfinite(found.features).all()
    assert find_label_issues(images, short, 2, progress=False).features is None # of several
    monkeypatch.setattr('noisylab.label_issues.find.FEATURE_MEMORY', found.features.nbytes - 1)
    assert find_label_issues(images, short, progress=False).features is None


def test_only_what_is_likely_is_mended_unasked(images):
    n, C = len(images), 10
    given, other = images.labels.numpy(), (images.labels.numpy() + 1) % 10
    says = lambda top, to: (1 - top)/(C - 1)*(1 - np.eye(C)[to]) + top*np.eye(C)[to]
    at = np.arange(n) % 10 == 0
    p = np.where(at[:, None], says(.95, other), says(.9, given))
    found = find_label_issues(images, probabilities=p, share=.1)
    assert set(found.index) == set(np.flatnonzero(at)) and len(found.changes()) == at.sum()
    unlikely = replace(found, p_suggested=found.p_suggested/3)
    assert not unlikely.changes()
    assert len(unlikely.changes(threshold=.1)) == len(unlikely.changes(found.index)) == at.sum()
    p = says(.9, np.random.default_rng(0).integers(C, size=n))     # a guess is no network to believe
    found = find_label_issues(images, probabilities=p)
    assert len(found) == 0 and 'has not learned' in str(found) and found.mended().labels.equal(images.labels)


def test_what_a_list_leaves_out_is_read_as_sure(tmp_path):
    images = Images(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), ('a', 'b'))
    rows = ''.join(f"{i},{'ab'[i % 2]},{'ba'[i % 2]},{p}\n" for i, p in enumerate(('0.9', '0.2', '', '0,7')))
    (tmp_path/'list.csv').write_text('id;given;suggested;p_suggested\n' + rows.replace('0,7', '0#7').replace(',', ';')
                                     .replace('#', ','))
    back = read_issues(tmp_path/'list.csv', images)
    assert back.p_suggested.tolist() == [.9, .2, 1, .7] and [c['index'] for c in back.changes()] == [0, 2, 3]
    (tmp_path/'list.csv').write_text('id,suggested,p_suggested\n0,b,perhaps\n')
    with pytest.raises(UserError, match='number from 0 to 1'): read_issues(tmp_path/'list.csv', images)


def clouds(n, C, spread, seed, dims=32, share=None):
    rng = np.random.default_rng(seed)
    true = rng.choice(C, n, p=share)
    return (np.eye(C, max(C, dims))[true] + spread*rng.normal(size=(n, max(C, dims)))).astype(np.float32), true


def swapped(true, C, rate, seed, step=None):
    "Labels, a share of them wrong: any other class, or the one `step` further."
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(true)) < rate
    return np.where(wrong, (true + (step or rng.integers(1, C, len(true)))) % C, true), wrong


@pytest.mark.parametrize('n, C, rate, step, share', [
    (1500, 5, .2, None, None), (1500, 5, .4, 1, None), (1500, 5, .6, None, None), (300, 3, .15, None, None),
    (500, 2, .15, None, None), (1000, 2, .1, None, (.95, .05)), (3000, 100, .2, None, None)])
def test_the_judge_finds_wrong_labels_and_knows_how_many(n, C, rate, step, share):
    x, true = clouds(n, C, .25, 0, share=share)
    given, wrong = swapped(true, C, rate, 1, step)
    found = find_label_issues(features=x, labels=given)
    assert wrong[found.index].mean() > .85 and wrong[found.index].sum() > .8*wrong.sum(), found
    assert abs(found.rate - wrong.mean()) < .04, found
    assert (found.mended_labels() == true).mean() > (given == true).mean() + .5*rate, found


def test_the_judge_leaves_right_labels_alone():
    x, true = clouds(2000, 8, .35, 0)       # classes overlap
    found = find_label_issues(features=x, labels=true)
    assert len(found) < .02*len(true) and found.rate < .03 and found.noise.learned, found


@pytest.mark.parametrize('C', [2, 10])
def test_features_that_tell_nothing_make_nobody_sure(C):
    rng = np.random.default_rng(0)
    found = find_label_issues(features=rng.normal(size=(400, 20)), labels=rng.integers(C, size=400))
    assert len(found) == 0 and not found.changes() and 'has not learned' in str(found)


def test_classes_with_one_image_and_images_without_a_label():
    x, true = clouds(400, 4, .2, 0)
    given, _ = swapped(true, 4, .1, 0)
    given[:2], given[2:40] = (4, 5), -1
    found = find_label_issues(features=x, labels=given, classes=('a', 'b', 'c', 'd', 'e', 'f'))
    assert not set(found.index) & {0, 1} and 'too few images to judge labels by: e (1), f (1)' in str(found)
    suggested = found.unlabelled()
    assert len(suggested) == 38 and not set(found.index) & set(range(2, 40))
    assert np.mean(['abcd'[true[r['index']]] == r['suggested'] for r in suggested]) > .9


def test_many_classes_take_the_memory_of_a_few_matrices():
    C, n = 1000, 2000
    rng = np.random.default_rng(0)
    y = np.r_[np.arange(C), rng.integers(0, C, n - C)]
    x = (rng.normal(size=(C, 16))[y] + .3*rng.normal(size=(n, 16))).astype(np.float32)
    code = ('import resource, sys, numpy as np; from noisylab.label_issues.judge import judge_features\n'
            'd = np.load(sys.argv[1]); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n'
            'judge_features(d["x"], d["y"], folds=2)\n'
            'print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)')
    with tempfile.TemporaryDirectory() as d:
        np.savez(f'{d}/a.npz', x=x, y=y)
        used = int(subprocess.run([sys.executable, '-c', code, f'{d}/a.npz'], capture_output=True, text=True,
                                  check=True).stdout)
    assert used*1024 < 60*4*C*C + 8*20*n*C


@pytest.mark.parametrize('bad, said', [
    (dict(features=np.zeros((5, 3)), labels=[0, 1, 0]), 'a row of numbers for each of 3 labels'),
    (dict(features=[[0.], [np.nan], [1.]], labels=[0, 1, 0]), 'NaN or infinite in 1 rows, the first is row 1'),
    (dict(features=np.zeros((3, 2)), labels=[1, 1, 1]), 'two classes'),
    (dict(features=np.zeros((3, 2))), 'labels are missing'), (dict(), 'nothing to judge'),
    (dict(features=np.zeros((3, 2)), probabilities=np.full((3, 2), .5), labels=[0, 1, 0]), 'one of them'),
    (dict(probabilities=[[2., 3.]], labels=[0]), 'no distribution')])
def test_what_cannot_be_judged_is_said(bad, said):
    with pytest.raises(UserError, match=said): find_label_issues(**bad)


def test_what_has_learned_nothing_says_no_rate_and_mends_nothing():
    "Noise for pictures: no number of wrong labels is told, and no suggestion is likely, also where more are listed."
    rng, n = np.random.RandomState(0), 60
    x, y = rng.randint(0, 255, (n, 8, 8)).astype(np.uint8), np.arange(n) % 2
    x[50:] = x[:10]
    y[50:] = 1 - y[:10]         # the same pictures in both classes
    images = Images(torch.from_numpy(x)[:, None], y, ('a', 'b'))
    for share in None, .5:
        found = find_label_issues(images, features=rng.randn(n, 20), share=share, progress=False)
        assert not found.noise.learned and 'cannot be told' in str(found) and 'labels look wrong' not in str(found)
        assert len(found) and '0 of the suggestions are likely' in str(found) and 'worst class' not in str(found)
        assert (found.mended().labels.numpy() == y).all() and (found.mended_labels() == y).all()


def test_too_few_images_are_told_as_that():
    for n in 2, 3:
        with pytest.raises(UserError, match=f'{n} labelled images; 4 or more'):
            find_label_issues(features=np.eye(n), labels=np.arange(n) % 2)
    with pytest.raises(UserError, match='2 labelled images'):
        find_label_issues(features=np.eye(6), labels=[0, 1, -1, -1, -1, -1])
