"""The parts of a trainer by themselves and together: callbacks, optimizer, schedule, average, data."""
from dataclasses import FrozenInstanceError, replace
from types import SimpleNamespace
import pytest
import torch

from noisylab.errors import UserError
from noisylab.methods.base import CE, Batch, DEFAULT_PHASE
from noisylab.training.batches import prepare_data
from noisylab.training.checkpoint import read_checkpoint
from noisylab.training.lr_schedule import LRSchedule
from noisylab.training.spec import Spec, spec_from_dict
from noisylab.training.trainer import Trainer

SMALL = Spec(method='ce', noise='symmetric', rate=.4, epochs=3, train_size=100, batch=32, device='cpu')

MINE = '''
import torch
def adam(parameters, lr): return torch.optim.Adam(parameters, lr=lr, betas=(.8, .9))
def fall(t): return (1 - t)**2
class Steer:
    def on_step_end(self, trainer):
        if trainer.step == 5 and not trainer.events: trainer.change(rate=.2, lr=.004)
'''

def weights(net): return torch.cat([v.flatten().float() for v in net.state_dict().values()])

@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path/'my_parts.py').write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    return replace(SMALL, optimizer='my_parts:adam', schedule='my_parts:fall', callbacks=('my_parts:Steer',), lr=.01,
                   warmup=.5, average=.8)

def test_parts_that_a_spec_names_go_on_from_a_folder_to_the_bit(mine, tmp_path):
    whole = Trainer(mine); whole.fit(progress=False)
    begun = Trainer(mine, out=tmp_path/'run')
    for step in begun.steps():
        if step == 6: begun.save(); break
    again = Trainer.resume(tmp_path/'run'); again.fit(progress=False)
    assert again.events == whole.events == [dict(step=5, rate=.2, lr=.004)]
    for a, b in (again.net, whole.net), (again.evaluated, whole.evaluated):
        assert torch.equal(weights(a), weights(b))
    assert not torch.equal(weights(whole.evaluated), weights(whole.net))
    assert [r['test_acc'] for r in again.history] == [r['test_acc'] for r in whole.history]
    assert spec_from_dict(read_checkpoint(tmp_path/'run')['spec']) == whole.spec

@pytest.mark.parametrize('kind', ['sgd', 'adam', 'adamw'])
def test_every_optimizer_goes_on_to_the_bit(tmp_path, kind):
    spec = replace(SMALL, optimizer=kind, nesterov=kind == 'sgd', schedule='linear', lr=.01)
    whole = Trainer(spec); whole.fit(progress=False)
    begun = Trainer(spec, out=tmp_path/'run')
    for step in begun.steps():
        if step == 4: begun.save(); break
    again = Trainer.resume(tmp_path/'run'); again.fit(progress=False)
    assert torch.equal(weights(again.net), weights(whole.net))
    assert {k: v for k, v in begun.optimizer.defaults.items() if k == 'nesterov'}.get('nesterov', kind != 'sgd')

@pytest.mark.parametrize('bad', ['on_start', 'on_step_end', 'on_epoch_end', 'on_end'])
def test_whatever_fails_all_callbacks_learn_of_the_end(bad):
    def fail(trainer): raise ZeroDivisionError(bad)
    ended = []
    last = SimpleNamespace(on_end=lambda trainer: ended.append(trainer.step))
    t = Trainer(SMALL, callbacks=[SimpleNamespace(**{bad: fail}), last])
    with pytest.raises(ZeroDivisionError, match=bad): t.fit(progress=False)
    assert ended == [dict(on_start=0, on_step_end=1, on_epoch_end=t.steps_per_epoch, on_end=t.step)[bad]]

def test_callbacks_of_a_run_are_called_in_order_and_before_the_checkpoint(tmp_path):
    def steer(trainer): trainer.change(lr=.01*trainer.epoch)
    Trainer(SMALL, out=tmp_path/'run', checkpoint_every=1, callbacks=steer).fit(progress=False)
    assert [e['lr'] for e in read_checkpoint(tmp_path/'run')['events']] == [.01, .02, .03]

def test_the_data_of_a_run_are_frozen_and_replaced_whole():
    spec, data = prepare_data(SMALL)
    with pytest.raises(FrozenInstanceError): data.train = None
    t = Trainer(SMALL)
    assert t.data.noise.checksum == data.noise.checksum and t.labels.equal(data.labels)
    was = t.data
    t.change(rate=.6)
    assert t.data is not was and t.data.loaded is was.loaded and was.noise.checksum == data.noise.checksum
    assert (t.labels != was.labels).any() and t.data.train.true.equal(was.train.true)

@pytest.mark.parametrize('views', [('weak',), ('weak', 'strong'), ('strong2',), ('weak', 'strong', 'strong2')])
def test_a_method_gets_the_views_that_it_asks_for(views):
    seen = []
    class Views(CE):
        def terms(self, net, b, s):
            seen.append(b)
            return super().terms(net, b, s)
    Views.views = views
    Trainer(replace(SMALL, epochs=1), method=Views()).fit(progress=False)
    for b in seen:
        assert isinstance(b, Batch) and (b.strong is None) == (not {'strong', 'strong2'} & {*views})
        assert (b.strong2 is None) == ('strong2' not in views)
        if b.strong2 is not None: assert not b.strong.equal(b.strong2)

def test_a_learning_rate_that_is_changed_scales_what_is_left_of_the_schedule():
    a, b = (LRSchedule((DEFAULT_PHASE,), [0, 4], 5, lr, 'cosine', warmup=1) for lr in (.1, .2))
    assert [b.lr(k) for k in range(20)] == pytest.approx([2*a.lr(k) for k in range(20)])
    a.base = .2
    assert [a.lr(k) for k in range(10, 20)] == [b.lr(k) for k in range(10, 20)]

@pytest.mark.parametrize('given, said', [
    (dict(optimizer='adam', nesterov=True), 'SGD'), (dict(optimizer='adam', momentum=.9), 'SGD'),
    (dict(nesterov=True, momentum=0.), 'momentum above 0'), (dict(schedule='author', warmup=1), 'warmup'),
    (dict(optimizer='adamm'), 'adamw'), (dict(schedule='cosin'), 'cosine'), (dict(callbacks=('json',)), 'module:name'),
    (dict(optimizer='json:dumps'), 'optimizer'), (dict(lr_schedule=3), 'lr_schedule'), (dict(epoch=3), 'epochs'),
])
def test_what_cannot_be_is_refused_in_a_sentence(given, said):
    with pytest.raises(UserError, match=said): Trainer('digits', **dict(epochs=2, train_size=50) | given)
