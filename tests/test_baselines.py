"""Baselines through the trainer: resumed in any stage to the same numbers, new noise, what is recorded."""
from dataclasses import replace

import pytest, torch

from noisylab.errors import UserError
from noisylab.methods.base import METHODS, make_method
from noisylab.training.spec import Spec
from noisylab.training.trainer import Trainer

# three steps an epoch, and a last batch of one that is left out
def spec(method, epochs=6, **kw):
    return Spec(method=method, epochs=epochs, train_size=129, batch=43, noise='symmetric', rate=.4, device='cpu',
                watch=100, seed=1, **kw)

STAGED = 'forward', 'gce_truncated', 'jo', 'pencil'

def same(a, b):
    if isinstance(a, torch.Tensor): return torch.equal(a, b)
    if isinstance(a, dict): return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)): return len(a) == len(b) and all(map(same, a, b))
    return a == b

def plain(records):
    return [{k: v for k, v in r.items() if k not in ('seconds', 'images_per_s')} for r in records]

@pytest.mark.parametrize('method', STAGED)
@pytest.mark.parametrize('schedule', ['author', 'cosine'])
def test_resumes_in_any_stage_to_the_same_numbers(tmp_path, method, schedule):
    whole = Trainer(spec(method, schedule=schedule))
    cuts = sorted({whole.steps_per_epoch*b + d for b in whole.bounds[:-1] for d in (0, 1)})
    parts = Trainer(spec(method, schedule=schedule), out=tmp_path/'a')
    for _ in whole.steps(): pass
    for cut in cuts:        # broken off at the start of each stage, and within its first epoch
        while parts.step < cut: next(parts.steps())
        parts.save(); parts = Trainer.resume(tmp_path/'a')
        assert parts.step == cut and parts.method.stage == parts.phase
    for _ in parts.steps(): pass
    assert same(whole.net.state_dict(), parts.net.state_dict())
    assert same(whole.method.state(), parts.method.state()) and plain(whole.history) == plain(parts.history)

@pytest.mark.parametrize('method', METHODS)
def test_every_method_trains(method):
    t = Trainer(spec(method, max(2, len(make_method(method).phases(10))), schedule='author'))
    said = list(t)
    spans = zip(t.phases, t.bounds, t.bounds[1:])
    assert [s.stage for s in said] == [stage.name for stage, a, b in spans for _ in range(a, b)]
    own = said[-1].learned
    if method in ('jo', 'pencil', 'pencil_summed'):
        right = own['labels'] == t.data.train.true[t.data.watch_index].numpy()
        assert len(right) == len(t.data.watch_index) and abs(said[-1].learned_true - 100*right.mean()) < 1e-3
    if method == 'gce_truncated': assert own['kept'].dtype == bool and 'pruned' in said[-1].record
    if method == 'forward': assert own['T'].shape == (10, 10) and abs(own['T'].sum(1) - 1).max() < 1e-5

def test_new_noise_brings_the_labels_back():
    for method in ('jo', 'pencil'):
        t = Trainer(spec(method)); t.method.lam = 5000.
        for _ in range(t.bounds[2]*t.steps_per_epoch + 1): next(t.steps())
        given = t.labels
        assert (t.method.learned()['labels'].argmax(1) != given).any(), 'learned labels differ by then'
        t.change(rate=.6)
        assert not torch.equal(t.labels, given) and torch.equal(t.method.learned()['labels'].argmax(1), t.labels)
    t = Trainer(spec('gce_truncated')); t.method.kept[:] = False; t.change(rate=.6); assert t.method.kept.all()

def test_true_labels_reach_no_method():
    "Different truth, same given labels: the same network."
    from noisylab.data.sources import load
    train, test = load('digits', train_size=129, seed=1)
    nets = []
    for true in (train.labels, train.labels.flip(0)):
        data = replace(train, true=true)
        for method in STAGED:
            s = Spec(method=method, noise='none', epochs=4, batch=43, device='cpu', seed=1, schedule='author')
            t = Trainer(s, train=data, test=test)
            for _ in t.steps(): pass
            nets.append(t.net.state_dict())
    assert all(same(a, b) for a, b in zip(nets, nets[len(STAGED):]))

def test_the_best_epoch_is_of_the_last_network():
    t = Trainer(spec('jo', 8, schedule='author'))
    for _ in t.steps(): pass
    t.history[0]['test_acc'] = 100.
    from noisylab.training.callbacks import result_row
    r = result_row(t)
    assert r['best'] < 100 and r['schedule'] == 'author' and r['bounds'] == t.bounds and 'learned_true' in r['learned']

def test_forward_needs_images_held_out():
    t = Trainer(spec('forward', val=0.))
    with pytest.raises(UserError, match='held out'):
        for _ in t.steps(): pass
    assert len(Trainer(spec('forward')).data.val_index) == 13
    T = [[.9 if i == j else .1/9 for j in range(10)] for i in range(10)]
    t = Trainer(spec('forward', settings=dict(T=T)))            # lists, as JSON gives
    assert len(t.data.val_index) == 0 and len(t.phases) == 1
    for _ in t.steps(): pass
    assert make_method('forward', T=T).cost() <= 7/6
