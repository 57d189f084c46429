"""A recorded step does what an eager one does. Without a GPU, a tape of traced tensor operations stands for a CUDA
graph: it, too, sees only tensors that stay, and has baked in everything else."""
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from noisylab.data import UserError
from noisylab.methods import CE
from noisylab.spec import Spec
from noisylab.step import Recorded
from noisylab.trainer import Trainer

SPEC = dict(epochs=3, batch=32, train_size=300, noise='symmetric', rate=.4, device='cpu')
# ten steps an epoch, the last one smaller

class Traced:
    "Records the tensor operations of a step, forward, backward and the optimiser's, and runs them again."
    def __init__(self, trainer): self.trainer, self.recorded, self.replayed = trainer, 0, 0

    def tensors(self):
        "All that stays."
        t, take = self.trainer, self.trainer.take
        own = [v for v in vars(t.method).values() if isinstance(v, torch.Tensor)]
        held = [*t.net.parameters(), *t.net.buffers(), *(s['momentum_buffer'] for s in t.opt.state.values()), take.lr,
                *take.s.values(), *take.sums.values(), *(v for v in take.inputs if v is not None), *own]
        return list({id(v): v for v in held}.values())

    def aside(self, f): f()

    def record(self, f):
        self.held, self.recorded = self.tensors(), self.recorded + 1
        was = [v.detach().clone() for v in self.held]
        self.graph = make_fx(lambda *_: f())(*self.held)
        with torch.no_grad():
            for v, w in zip(self.held, was): v.copy_(w)     # tracing took the step

    def replay(self):
        self.replayed += 1
        with torch.no_grad(): self.graph(*self.held)

def record(t):
    "Let `t` go on with recorded steps."
    sums, t.take = t.take.sums, Recorded(t.net, t.method, t.opt, t.spec.batch, tape=Traced(t))
    t.take.sums = sums

def run(spec, recorded, change=lambda t: None, **parts):
    t = Trainer(spec, **parts)
    if recorded: record(t)
    for _ in t.steps(): change(t)
    return t, torch.cat([v.flatten().double() for v in t.net.state_dict().values()])

def same(spec, change=lambda t: None, **parts):
    "The recorded run, after comparing it with the eager one: weights, what was measured, what was learned."
    (a, weights), (b, replayed) = run(spec, False, change, **parts), run(spec, True, change, **parts)
    strip = lambda h: [{k: v for k, v in r.items() if k not in ('seconds', 'images_per_s')} for r in h]
    assert torch.equal(weights, replayed) and strip(a.history) == strip(b.history)
    for k, v in a.method.learned().items(): assert torch.equal(v, b.method.learned()[k]), k
    return b.take.tape

@pytest.mark.parametrize('method, times', [('ce', 1), ('paper', 1), ('balanced', 1), ('gce_truncated', 2),
                                           ('forward', 2), ('jo', 3), ('pencil', 3)])
def test_every_kind_of_procedure(method, times):
    tape = same(Spec(method=method, **SPEC))
    assert tape.recorded == times and tape.replayed >= 15, 'once a stage'

def test_what_is_live_is_followed_without_recording_again():
    changes = {7: dict(lr=.03, lam=.5), 12: dict(alpha=.4, w_rec=2.), 16: dict(m=3, tau=1.), 21: dict(w_cluster=.2)}
    tape = same(Spec(method='paper', **SPEC), lambda t: t.change(**changes[t.step]) if t.step in changes else None)
    assert tape.recorded == 1 and tape.replayed == 24

def test_other_terms_and_other_labels_are_recorded_anew():
    changes = {6: dict(w_rec=0.), 15: dict(rate=.6), 22: dict(w_rec=1.)}
    tape = same(Spec(method='paper', **SPEC), lambda t: t.change(**changes[t.step]) if t.step in changes else None)
    assert tape.recorded == 4

def test_a_method_that_breaks_the_rules_would_be_noticed():
    "Else the tests above could not fail: what is no tensor is baked in, and a value that is asked for is refused."
    class Baked(CE):
        n = 1.
        def terms(self, net, b, s): self.n += .01; return {'ce': super().terms(net, b, s)['ce']*self.n}
    class Asks(CE):
        def terms(self, net, b, s): ce = super().terms(net, b, s)['ce']; return {'ce': ce*float(ce.detach())}
    with pytest.raises(AssertionError): same(Spec(**SPEC), method=Baked())
    with pytest.raises(UserError, match="engine='eager'"): same(Spec(**SPEC), method=Asks())

def test_resuming_into_a_recorded_step(tmp_path):
    _, whole = run(Spec(method='paper', **SPEC), True)
    t = Trainer(Spec(method='paper', **SPEC), tmp_path/'run')
    for step in t.steps():
        if step == 17: t.save(); break
    t = Trainer.resume(tmp_path/'run')
    record(t)
    t.fit(progress=False)
    assert torch.equal(whole, torch.cat([v.flatten().double() for v in t.net.state_dict().values()]))
