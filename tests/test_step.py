"""A recorded step does what an eager one does. Without a GPU, a tape of traced tensor operations stands for a CUDA
graph: it, too, sees only tensors that stay, and has baked in everything else."""
import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from noisylab.methods.base import CE
from noisylab.training.spec import Spec, read_spec
from noisylab.training.step import GraphTape, StepRecording, TrainStep
from noisylab.training.checkpoint import read_checkpoint
from noisylab.training.trainer import Trainer

SPEC = dict(epochs=3, batch=32, train_size=300, noise='symmetric', rate=.4, device='cpu')
# ten steps an epoch, the last one smaller

class Traced:
    "Records the tensor operations of a step, forward, backward and the optimizer's, and runs them again."
    def __init__(self, trainer): self.trainer, self.recorded, self.replayed = trainer, 0, 0

    def tensors(self):
        "All that stays."
        t, take = self.trainer, self.trainer.take_step
        table = getattr(t.method, 'table', None)      # of λ, of what mixes
        own = [v for m in (t.method, table) if m for v in vars(m).values() if isinstance(v, torch.Tensor)]
        kept = [v for s in t.optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
        slow = [] if take.averaged is None else [take.share, *take.averaged.parameters(), *take.averaged.buffers()]
        held = [*t.net.parameters(), *t.net.buffers(), *kept, *slow, take.lr,
                *take.scalars.values(), *take.sums.values(), *(v for v in take.recording.inputs if v is not None), *own]
        return list({id(v): v for v in held}.values())

    def aside(self, f): f()

    def record(self, f):
        self.held, self.recorded = self.tensors(), self.recorded + 1
        was = [v.detach().clone() for v in self.held]
        try: self.graph = make_fx(lambda *_: f())(*self.held)
        finally:
            with torch.no_grad():
                for v, w in zip(self.held, was): v.copy_(w)     # tracing took the step, or a part of it

    def replay(self):
        self.replayed += 1
        with torch.no_grad(): self.graph(*self.held)

    def clear(self): self.graph = None

class NoRecord(Traced):
    "Fails when all of the step has been gone through."
    def record(self, f):
        super().record(f)
        raise RuntimeError('operation failed due to a previous error during capture\nand more')

class NoReplay(Traced):
    "Fails when it has gone well for a while."
    def replay(self):
        if self.replayed == 4: raise torch.OutOfMemoryError('CUDA out of memory')
        super().replay()

def record(t, tape=Traced):
    "Let `t` go on with recorded steps."
    sums, parts = t.take_step.sums, (t.net, t.method, t.optimizer, t.spec.batch, t.spec.precision)
    t.take_step = TrainStep(*parts, average=t.take_step.average)
    t.take_step.recording = StepRecording(t.take_step, tape(t))
    t.take_step.sums = sums
    t.spec = replace(t.spec, engine='graph')        # as on a GPU

def run(spec, tape=None, change=lambda t: None, **parts):
    t = Trainer(spec, **parts)
    if tape: record(t, tape)
    for _ in t.steps(): change(t)
    return t, torch.cat([v.flatten().double() for v in t.net.state_dict().values()])

def same(spec, change=lambda t: None, tape=Traced, **parts):
    "The recorded run, after comparing it with the eager one: weights, what was measured, what was learned."
    (a, weights), (b, replayed) = run(spec, None, change, **parts), run(spec, tape, change, **parts)
    strip = lambda h: [{k: v for k, v in r.items() if k not in ('seconds', 'images_per_s')} for r in h]
    assert torch.equal(weights, replayed) and strip(a.history) == strip(b.history)
    for k, v in a.method.learned().items(): assert torch.equal(v, b.method.learned()[k]), k
    return b

@pytest.mark.parametrize('method, times', [('ce', 1), ('paper', 1), ('balanced', 1), ('gce_truncated', 2),
                                           ('forward', 2), ('jo', 3), ('pencil', 3), ('elr', 1), ('elr_forward', 2),
                                           ('sop_plus', 1), ('mixup', 1), ('nce_rce', 1), ('coteaching', 1),
                                           ('ssr', 1), ('regce', 1)])
def test_every_kind_of_procedure(method, times):
    t = same(Spec(method=method, **SPEC))
    tape = t.take_step.recording.tape
    assert tape.recorded == times and tape.replayed >= 15, 'once a stage'
    assert t.spec.engine == 'graph' and not t.take_step.failed

def test_what_is_live_is_followed_without_recording_again():
    changes = {7: dict(lr=.03, lam=.5), 12: dict(alpha=.4, w_rec=2.), 16: dict(m=3, tau=1.), 21: dict(w_cluster=.2)}
    t = same(Spec(method='paper', **SPEC), lambda t: t.change(**changes[t.step]) if t.step in changes else None)
    tape = t.take_step.recording.tape
    assert tape.recorded == 1 and tape.replayed == 24

def test_other_terms_and_other_labels_are_recorded_anew():
    changes = {6: dict(w_rec=0.), 15: dict(rate=.6), 22: dict(w_rec=1.)}
    t = same(Spec(method='paper', **SPEC), lambda t: t.change(**changes[t.step]) if t.step in changes else None)
    tape = t.take_step.recording.tape
    assert tape.recorded == 4

def test_a_method_that_breaks_the_rules_would_be_noticed():
    "Else the tests above could not fail: what is no tensor is baked in, and a value that is asked for is refused."
    class Baked(CE):
        n = 1.
        def terms(self, net, b, s): self.n += .01; return {'ce': super().terms(net, b, s)['ce']*self.n}
    class Asks(CE):
        def terms(self, net, b, s): ce = super().terms(net, b, s)['ce']; return {'ce': ce*float(ce.detach())}
    with pytest.raises(AssertionError): same(Spec(**SPEC), method=Baked())
    with pytest.warns(RuntimeWarning, match='a step of Asks cannot be recorded'): t = same(Spec(**SPEC), method=Asks())
    assert not t.take_step.recording.tape.replayed

@pytest.mark.parametrize('method', ['paper', 'gce_truncated', 'pencil'])
@pytest.mark.parametrize('tape, why', [(NoRecord, 'RuntimeError: operation failed due'),
                                       (NoReplay, 'OutOfMemoryError: CUDA out of memory')])
def test_what_fails_on_a_gpu_is_gone_on_with_eagerly(method, tape, why, tmp_path):
    "To the numbers of a run that was eager from its start, with one warning, and the run says so."
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always', RuntimeWarning)
        t = same(Spec(method=method, **SPEC), tape=tape)
    said = [str(w.message) for w in said if w.category is RuntimeWarning]
    assert len(said) == 1 and why in said[0] and 'and more' not in said[0], said
    used = t.take_step.recording.tape
    assert used.recorded == 1 and used.replayed == (0 if tape is NoRecord else 4)
    assert t.result()['spec']['engine'] == 'eager'
    t.save(tmp_path)
    assert read_checkpoint(tmp_path)['spec']['engine'] == read_spec(tmp_path).engine == 'eager'

@pytest.mark.parametrize('error', [ValueError('asked for a value'), RuntimeError('asked for a value')])
def test_a_recording_that_fails_leaves_the_stream_and_says_why(error, monkeypatch):
    "PyTorch leaves its own stream current then, and raises that recording has ended, not why."
    class Stream(str): device = 0
    now = [Stream('the default one')]
    class On:
        def __init__(self, stream): self.stream = stream
        def __enter__(self): self.was, now[0] = now[0], self.stream
        def __exit__(self, *_): now[0] = self.was
    class Graph(On):
        def __init__(self, graph, stream, capture_error_mode): super().__init__(stream)
        def __exit__(self, kind, *_):
            if kind: raise RuntimeError('operation failed due to a previous error during capture')
            super().__exit__()
    fake = SimpleNamespace(Stream=lambda device: Stream('of the tape'), CUDAGraph=object, graph=Graph, stream=On,
                           current_stream=lambda device: now[0])
    monkeypatch.setattr(torch, 'cuda', fake)
    tape, ran = GraphTape('cuda'), []
    def fails(): ran.append(now[0]); raise error
    with pytest.raises(type(error), match='asked for a value'): tape.record(fails)
    assert ran == ['of the tape'] and now == ['the default one']
    tape.record(lambda: ran.append(now[0]))
    assert ran == ['of the tape']*2 and now == ['the default one']

def test_a_sum_that_began_in_a_recording_that_failed_is_forgotten():
    "On a GPU it would never have been set to zero."
    class Late(CE):
        n = 0
        def terms(self, net, b, s):
            self.n += 1
            return super().terms(net, b, s) | ({'late': 0*b.weak.float().mean()} if self.n == 4 else {})
    t = Trainer(Spec(**SPEC), method=Late())
    record(t, NoRecord)
    steps = t.steps()
    with pytest.warns(RuntimeWarning):
        for _ in range(5): next(steps)
    assert set(t.sums) == {'ce', 'loss'}

def test_resuming_into_a_recorded_step(tmp_path):
    _, whole = run(Spec(method='paper', **SPEC), Traced)
    t = Trainer(Spec(method='paper', **SPEC), out=tmp_path/'run')
    for step in t.steps():
        if step == 17: t.save(); break
    t = Trainer.resume(tmp_path/'run')
    record(t)
    t.fit(progress=False)
    assert torch.equal(whole, torch.cat([v.flatten().double() for v in t.net.state_dict().values()]))
