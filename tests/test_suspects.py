"""Folds that are cut off and go on, and cleanlab: what an example in a notebook is wrong for."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from noisylab.advice import advice
from noisylab.checks import UserError
from noisylab.data import load
from noisylab.images import Images
from noisylab.issues import HeldOut, cross_predict, find_suspects, listen, training_for
from noisylab.noise import inject
from noisylab.spec import Spec
from noisylab.suspects import Suspects, listed
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


@pytest.mark.parametrize('seed', range(3))
def test_what_is_listed_is_wrong_and_mending_makes_it_right(seed):
    "The margins are wide: how much is found depends on the seed."
    digits, _ = load('digits', train_size=600)
    true = digits.labels.numpy()
    given = inject(true, 'symmetric', .15, 10, seed).given
    found, wrong = find_suspects(digits.with_labels(given), progress=False), given != true
    right = lambda images: (images.labels.numpy() == true).mean()
    assert wrong[found.index].mean() > .85 and wrong[found.index].sum() > .5*wrong.sum()
    assert right(found.images) + .02 < right(found.mended()) < right(found.mended(found.index))


def test_what_is_chosen_is_said_and_can_be_given(images, tmp_path, capsys):
    from PIL import Image
    rng = np.random.default_rng(0)
    for i in range(40):
        (tmp_path/'pets'/'ab'[i % 2]).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (80, 80, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path/'pets'/'ab'[i % 2]/f'{i}.png')
    spec = replace(SPEC, method='ce_augmented', epochs=1, size=16)
    found = find_suspects(tmp_path/'pets', spec, progress=False)
    assert found.images.shape == (3, 16, 16) and len(found.images) == 40
    assert any('fitted to 16×16' in n for n in found.notes) and not any(n.startswith('epochs = ') for n in found.notes)
    assert capsys.readouterr().err == ''
    chosen, why = training_for(images, 'cpu')
    shared = advice(len(images), 8, 'cpu')
    assert all(getattr(chosen, k) == shared[k][0] for k in ('noise', 'width', 'method', 'batch'))
    assert set(why) == {'noise', 'width', 'method', 'batch', 'epochs', 'lr', 'schedule'}
    found = find_suspects(images, progress=True, device='cpu')
    told = [n for n in found.notes if n.startswith('epochs = 20: ')]
    assert told and told[0] in capsys.readouterr().err and len(found.features) == len(images)


def test_large_pictures_are_read_smaller(tmp_path, monkeypatch):
    from PIL import Image
    for i in range(8):
        (tmp_path/'ab'[i % 2]).mkdir(exist_ok=True)
        Image.new('RGB', (90, 90), (i*30, 0, 0)).save(tmp_path/'ab'[i % 2]/f'{i}.png')
    one = lambda images, *args, **kw: listen(images, replace(SPEC, epochs=1, batch=4), progress=False)
    monkeypatch.setattr('noisylab.issues.listen', one)
    found = find_suspects(tmp_path, progress=False, device='cpu')
    assert found.images.shape == (3, 64, 64) and any(n.startswith('size = 64: 90 pixels a side') for n in found.notes)


def test_features_in_bounded_memory(images, monkeypatch):
    short = replace(SPEC, epochs=1)
    found = find_suspects(images, short, progress=False)
    assert found.features.dtype == np.float16 and np.isfinite(found.features).all()
    assert find_suspects(images, short, 2, progress=False).features is None     # of several networks: not comparable
    monkeypatch.setattr('noisylab.issues.ROOM', found.features.nbytes - 1)
    assert find_suspects(images, short, progress=False).features is None


def test_only_what_is_sure_is_mended_unasked(images):
    n, C = len(images), 10
    given, other = images.labels.numpy(), (images.labels.numpy() + 1) % 10
    says = lambda top, to: (1 - top)/(C - 1)*(1 - np.eye(C)[to]) + top*np.eye(C)[to]
    at = np.arange(n) % 10 == 0
    for top, sure in ((.4, False), (.9, True)):
        found = listed(images, np.where(at[:, None], says(top, other), says(.9, given)), 1. - at, share=.1)
        assert set(found.index) == set(np.flatnonzero(at)) and found.sure.all() == sure and found.sure.any() == sure
        assert len(found.changes()) == sure*at.sum() and len(found.changes(found.index)) == at.sum()
    found = listed(images, says(.9, other), np.arange(n)/n)     # that all labels are wrong is no network to believe
    assert len(found) == n and not found.sure.any() and found.mended().labels.equal(images.labels)


def test_what_a_list_says_of_sure_is_read_as_it_is_meant(tmp_path):
    images = Images(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), ('a', 'b'))
    def read(*sure):
        rows = ''.join(f"{i},{'ab'[i % 2]},{'ba'[i % 2]},0.1,{s}\n" for i, s in enumerate(sure))
        (tmp_path/'list.csv').write_text('id,given,suggested,score,sure\n' + rows)
        return Suspects.read(tmp_path/'list.csv', images).sure.tolist()
    assert read('yes', 'No', 'FALSE', '') == [True, False, False, True]
    with pytest.raises(UserError, match='expected yes or no'): read('maybe')
