"""Folds that are cut off and go on, and cleanlab: what an example in a notebook is wrong for."""
from dataclasses import replace

import numpy as np
import pytest

from noisylab.checks import UserError
from noisylab.data import load
from noisylab.issues import HeldOut, cross_predict, find_suspects, listen
from noisylab.noise import inject
from noisylab.spec import Spec
from noisylab.trainer import Trainer

SPEC = Spec(noise='none', method='ce', model='small', epochs=4, batch=32, lr=.05, schedule='cosine', device='cpu')


@pytest.fixture(scope='module')
def images():
    digits, _ = load('digits')
    noisy = inject(digits.labels.numpy(), 'symmetric', .3, 10, 0)
    return digits.with_labels(noisy.given).subset(range(150))


def same(a, b): return all((getattr(a, k) == getattr(b, k)).all() for k in ('loss', 'margin', 'pred', 'p', 'last'))


@pytest.mark.parametrize('when', [
    ('save', 2),    # before the checkpoint of the epoch is written: the one before it counts
    ('note', 3),    # while the held-out images are looked at
    ('note', 4),    # at the very end
])
def test_folds_go_on_to_the_same_bits(images, tmp_path, monkeypatch, when):
    whole = cross_predict(images, SPEC, 2, progress=False)
    name, epoch = when
    kind = Trainer if name == 'save' else HeldOut
    own, cut = getattr(kind, name), []

    def cut_off(self, *args):
        if self.epoch == epoch and 'fold1' in str(self.out) and not cut:
            cut.append(self.epoch)
            raise KeyboardInterrupt
        return own(self, *args)

    monkeypatch.setattr(kind, name, cut_off)
    with pytest.raises(KeyboardInterrupt): cross_predict(images, SPEC, 2, tmp_path, progress=False)
    assert cut == [epoch]
    done = (tmp_path/'fold0'/'checkpoint.pt').stat().st_mtime_ns
    trained, one = [], Trainer.one
    monkeypatch.setattr(Trainer, 'one', lambda self: (trained.append(str(self.out)), one(self))[1])
    assert same(cross_predict(images, SPEC, 2, tmp_path, progress=False), whole)
    assert (tmp_path/'fold0'/'checkpoint.pt').stat().st_mtime_ns == done
    steps = 4*-(-75//32)    # of a whole fold: those before the checkpoint are not taken again
    assert all('fold1' in o for o in trained) and len(trained) < steps


def test_another_training_does_not_pass_for_this_one(images, tmp_path):
    short = replace(SPEC, epochs=1)
    listen(images, short, tmp_path, progress=False)
    with pytest.raises(UserError, match='lr=0.05'): listen(images, replace(short, lr=.01), tmp_path, progress=False)
    with pytest.raises(UserError, match='checksum'):
        listen(images.with_labels(images.labels.flip(0)), short, tmp_path, progress=False)


def test_classes_of_any_size(images):
    short, given = replace(SPEC, epochs=1), images.labels.numpy()
    with pytest.raises(UserError, match='two classes'):
        find_suspects(images.subset(np.flatnonzero(given == 3)), short, progress=False)
    with pytest.raises(UserError, match='Images'): cross_predict([1, 2], short)
    one_of_4 = np.r_[np.flatnonzero(given < 4), np.flatnonzero(given == 4)[:1]]     # and none of 5 to 9
    for folds in (None, 2):
        found = find_suspects(images.subset(one_of_4), short, folds, progress=False)
        assert '4 (1)' in str(found) and np.isfinite(found.matrix).all() and 0 <= found.rate <= 1
        assert np.allclose(found.matrix.sum(1), 1)


def test_cleanlab_there_and_back(images):
    pytest.importorskip('cleanlab', reason='cleanlab is not installed: pip install "noisylab[cleanlab]"')
    pytest.importorskip('datasets', reason='Datalab needs datasets: pip install "noisylab[cleanlab]"')
    from noisylab.exchange import from_cleanlab, label_issues, to_datalab
    rng = np.random.default_rng(0)
    true = load('digits')[0].labels[:150].numpy()
    z = 4*np.eye(10)[true] + rng.normal(size=(150, 10))
    p, wrong = np.exp(z)/np.exp(z).sum(1, keepdims=True), images.labels.numpy() != true
    for found in (label_issues(images, p), from_cleanlab(images, to_datalab(images, p), p)):
        assert wrong[found.index].mean() > .8 and wrong[found.index].sum() > .5*wrong.sum()
        hit = wrong[found.index]
        assert (found.suggested[hit] == true[found.index][hit]).mean() > .9
    at = np.flatnonzero(images.labels.numpy() != 3)     # a class without a label: its number stays its number
    some = label_issues(images.subset(at), p[at])
    assert len(some) and set(some.given) <= set(range(10)) - {3}
