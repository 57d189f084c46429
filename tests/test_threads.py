"""What two threads touch: sessions that are forked, saved, steered and read while they train, from callbacks, too; and
the process they run in, which is as it was when they are gone."""
import copy, gc, os, random, signal, socket, threading, time, warnings, weakref
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import SimpleNamespace
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from noisylab.errors import UserError
from noisylab.data.sources import load
from noisylab.session.fork import run_differences
from noisylab.training.evaluation import network_outputs
from noisylab.methods.base import CE
from noisylab.models.robust_net import model_cost, make_model
from noisylab.session.session import OPEN_SESSIONS, Session
from noisylab.training.spec import Spec
from noisylab.session.frames import Frame, Frames
from noisylab.session.requests import Requests, SessionEnded, fulfil
from noisylab.training.checkpoint import read_checkpoint, training_state
from noisylab.training.trainer import Trainer
from test_session import FINAL, alive, wait

SMALL = Spec(noise='symmetric', rate=.8, train_size=300, epochs=4, batch=50, watch=300, seed=2, device='cpu')

class Own(nn.Module):
    "Somebody's network, with random numbers of its own."
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(.3))
        self.head = nn.Linear(8, 10)
    def forward(self, x): return self.head(self.body(x).mean((2, 3)))

def own():
    with torch.random.fork_rng(): torch.manual_seed(0); return Own()

@dataclass
class Mixing(CE):
    "Somebody's method, which draws random numbers and keeps tensors."
    def terms(self, net, b, s):
        order = torch.randperm(len(b.index))
        out = net(b.weak)
        self.kept = out.logits.detach()
        return {'mix': nn.functional.cross_entropy((out.logits + .1*out.logits[order]).float(), b.labels)}

@pytest.fixture
def session():
    yield Session
    for s in list(OPEN_SESSIONS): s.close()
    assert not alive(), 'a thread is left'

def finish(s, seconds=120):
    "Resume a session that others pause, until it has ended."
    end = time.time() + seconds
    while s.status not in FINAL and time.time() < end:
        with suppress(SessionEnded):
            if s.status == 'paused': s.resume()
        time.sleep(.02)
    return wait(s, 'done', seconds=1)

def weights(t): return torch.cat([p.detach().flatten() for p in t.net.parameters()])

# --- the parts alone, without a training

def together(*works):
    "Call functions in a thread each, and raise what one of them raised."
    errors = []
    def run(work):
        try: work()
        except BaseException as e: errors.append(e)
    threads = [threading.Thread(target=run, args=(w,)) for w in works]
    for t in threads: t.start()
    for t in threads: t.join(60)
    if errors: raise errors[0]

def test_no_request_is_lost_or_done_twice():
    "Many threads ask, one takes; a reader sees each change at any moment."
    r, events, done = Requests(), [], []
    def take():
        r.worker, r.status = threading.current_thread(), 'running'
        while r.wanted != 'stop':
            new, jobs = r.take()
            time.sleep(.0005)       # a change is being made
            if new: events.append(new)
            r.settle()
            for j in jobs: fulfil(*j)
        late, jobs = r.end('stopped')
        if late: events.append(late)
        for j in jobs: fulfil(*j)
    def ask(i):
        for k in range(100):
            r.change({f'{i}': k})
            unsettled = r.unsettled
            seen = [*events, *unsettled]
            assert [e[f'{i}'] for e in seen if f'{i}' in e][-1] == k, 'what was asked for last is there'
            future = r.do(lambda k=k: done.append((i, k)) or k)
            if k % 3 == 0: assert future.result(60) == k
    def asks():
        together(*(lambda i=i: ask(i) for i in range(4)))
        r.want('stop')
    together(take, asks)
    assert sorted(done) == [(i, k) for i in range(4) for k in range(100)]
    for i in range(4): assert [e[f'{i}'] for e in events if f'{i}' in e][-1] == 99

def test_frames_are_read_while_two_threads_write():
    "One adds, one fills in maps; readers see frames in order and no frame half done."
    frames, stop = Frames(200_000), threading.Event()
    x, none = np.zeros((2, 4, 4, 1), np.uint8), np.zeros(0)
    def add():
        for e in range(1, 400):
            pred = np.full(500, e, np.int16)
            frames.add(Frame(e, e, {}, pred, none, none, None, np.arange(2), x, x, None, ('', ''), None))
        stop.set()
    def fill():
        while not stop.is_set():
            for f in frames.copy(): frames.put(f.step, xy=np.full((3, 2), f.step, np.float16))
    def read():
        while not stop.is_set():
            fs = list(frames)
            assert [f.epoch for f in fs] == sorted({f.epoch for f in fs})
            assert all((f.pred == f.step).all() and (f.xy is None or (f.xy == f.step).all()) for f in fs)
            if fs: assert frames.at(fs[-1].epoch).epoch <= fs[-1].epoch
    together(add, fill, read, read)
    assert frames.size <= frames.memory and frames[0].epoch == 1 and frames[-1].epoch == 399

# --- sessions of somebody's own network and method

def test_a_running_session_of_ones_own_parts_is_forked_at_any_moment(session):
    net = own()
    s = session(replace(SMALL, epochs=30), net=net, layer='body', method=Mixing()).start()
    wait(s, 'running')
    forks = []
    for i in range(8):
        time.sleep(.03)
        forks.append(s.fork(**[{}, dict(lr=.01), dict(epochs=31), dict(method='ce')][i % 4]))
    wait(s.stop(), 'stopped')
    for f in forks: wait(f.step_epoch(), 'paused', 'done')
    parts = [net, *(f.parts['net'] for f in forks)]
    assert len({id(p) for p in parts}) == 9 and not any(m._forward_hooks for p in parts for m in p.modules())
    assert all(f.trainer.step > 0 and f.history for f in forks), 'each has gone on'
    for f in forks: f.close()

def test_a_fork_goes_on_as_its_run_does(session, tmp_path):
    s = session(replace(SMALL, epochs=6), net=own(), layer='body', method=Mixing())
    def fork(tr):
        if tr.step == 13: forks.append(s.fork())
    forks, whole = [], Trainer(replace(SMALL, epochs=6), net=own(), layer='body', method=Mixing())
    wait(s.step_epoch(), 'paused')
    s.trainer.callbacks.append(SimpleNamespace(on_step_end=fork))
    wait(s.resume(), 'done'); wait(forks[0].start(), 'done')
    whole.fit(progress=False)
    assert torch.equal(weights(s), weights(whole)) and torch.equal(weights(forks[0]), weights(whole))

def test_what_cannot_be_copied_is_said(session):
    class Keeps(Own):
        def __init__(self): super().__init__(); self.twice = 2*self.head.weight     # a tensor that torch does not copy
    s = session(replace(SMALL, epochs=200), net=Keeps(), layer='body').start()
    wait(s, 'running')
    while not s.trainer.step: time.sleep(.01)
    f = s.fork().start()
    assert 'cannot be copied' in wait(f, 'failed').message and s.status == 'running'
    with pytest.raises(UserError, match='cannot be copied'): s.net
    wait(s.stop(), 'stopped')
    with pytest.raises(UserError, match='cannot be copied'): s.fork()

def test_two_sessions_do_not_share_a_network(session):
    net, method = own(), Mixing()
    a = session(replace(SMALL, epochs=200), net=net, layer='body', method=method).start()
    for parts in dict(net=net, layer='body'), dict(method=method):
        with pytest.raises(UserError, match='of another session'): session(SMALL, **parts).start()
    a.close()
    wait(session(replace(SMALL, epochs=1), net=net, layer='body').start(), 'done')

def test_the_network_of_a_running_session_is_a_copy(session):
    s = session(replace(SMALL, epochs=200)).start()
    wait(s, 'running')
    x = torch.zeros(5, 1, 8, 8, dtype=torch.uint8)
    a = s.net; before = a(x).logits
    a.train(); a(x)
    assert s.net is not a and torch.equal(a.eval()(x).features.shape and before, before)
    wait(s.stop(), 'stopped')
    assert s.net is s.trainer.net

# --- from a callback, in the thread that trains

def test_a_callback_may_do_all_of_it(session, tmp_path):
    "In the thread that trains nobody waits for that thread."
    s, said, forks = session(replace(SMALL, epochs=5)), [], []
    def each(tr):
        if tr.step == 8: s.save(tmp_path/'a'); said.append(read_checkpoint(tmp_path/'a')['step'])
        if tr.step == 9: forks.append(s.fork(epochs=3)); s.change(rate=.3); assert s.net is not tr.net
        if tr.step == 11: s.pause()
        if tr.step == 20: forks[0].start(); s.stop()
    def epoch(tr): said.append(('epoch', tr.epoch)); s.save(tmp_path/f'e{tr.epoch}')
    wait(s.step_epoch(), 'paused')
    s.trainer.callbacks.append(SimpleNamespace(on_step_end=each)); s.trainer.callbacks.append(epoch)
    s.resume()
    wait(s, 'paused'); assert s.trainer.step == 11 and s.events == [dict(step=9, rate=.3)]
    wait(s.resume(), 'stopped'); assert s.trainer.step == 20
    assert said[0] == 8 and ('epoch', 2) in said and read_checkpoint(tmp_path/'e2')['epoch'] == 2
    assert wait(forks[0], 'done').progress.step == 18
    t = session(SMALL)
    wait(t.step_epoch(), 'paused')
    t.trainer.callbacks.append(SimpleNamespace(on_step_end=lambda tr: t.close()))
    wait(t.resume(), 'stopped'); assert t.trainer.step == 7

def test_within_a_step_it_is_said_that_it_is_too_early(session, tmp_path):
    class Eager(Mixing):
        def terms(self, net, b, s):
            try: held['session'].save(tmp_path)
            except UserError as e: said.append(str(e))
            return super().terms(net, b, s)
    held, said = {}, []
    s = held['session'] = session(replace(SMALL, epochs=1), method=Eager())
    wait(s.start(), 'done')
    assert len(said) >= 5 and all('between two steps' in t for t in said)

def test_a_callback_that_evaluates_is_not_given_up(session, monkeypatch):
    "Whoever presses Pause waits for it, and no callback is lost."
    from noisylab.session import requests
    monkeypatch.setattr(requests, 'GRACE_SECONDS', -1.)
    s, said = session(replace(SMALL, epochs=3)), []
    wait(s.step_epoch(), 'paused')
    def measure(tr): s.pause(); network_outputs(tr, tr.data.test); said.append(tr.epoch)
    s.trainer.callbacks += [measure, lambda tr: said.append(-tr.epoch)]
    finish(s)
    assert said == [2, -2, 3, -3]

# --- everybody at once

def test_many_threads_change_fork_save_pin_and_read(session, tmp_path):
    "What somebody reads fits together at any time, and nothing is lost."
    s = session(replace(SMALL, epochs=40), net=own(), layer='body', method=Mixing(), n_map=50).start()
    wait(s, 'running')
    while s.latest is None: time.sleep(.01)
    end, errors, forks, saved = time.time() + 8, [], [], []
    def steer(r): s.change(rate=float(r.rand()*.9)) if r.rand() < .5 else s.change(m=int(r.randint(30)))
    def push(r): [s.pause, s.resume, s.resume][r.randint(3)]()
    def pin(r): s.pinned = r.permutation(300)[:1 + r.randint(8)]
    def fork(r):
        if len(forks) < 4: forks.append(s.fork(**[{}, dict(lr=.02), dict(epochs=60)][r.randint(3)]).start())
    def save(r):
        name = tmp_path/str(r.randint(2))
        s.save(name); saved.append(name); read_checkpoint(name)
    def look(r):
        f, p, h, e = s.latest, s.progress, s.history, s.events
        assert len(f.pinned) == len(f.original) == len(f.augmented), 'pictures of those that are pinned'
        assert p.epoch <= p.epochs and p.epoch == p.step/s.trainer.steps_per_epoch
        assert [x['epoch'] for x in h] == [*range(1, len(h) + 1)]
        assert [x['step'] for x in e] == sorted(x['step'] for x in e)
        frames = s.frames.copy()
        assert [x.epoch for x in frames] == sorted(x.epoch for x in frames)
        assert s.views().original.shape[1:] == (8, 8, 1)
        s.current_spec, s.message, s.curve.points
    def use(r):     # what belongs to the thread that trains, by those who hold its lock
        s.trainer.views(20); s.trainer.result() if s.trainer.history else None
        assert not s.net.training
    def told(r): s.messages.tell('map', f'{r.rand()}'); s.messages.tell('map', '')
    def run(work, seed):
        r = np.random.RandomState(seed)
        while time.time() < end:
            try: work(r)
            except SessionEnded: return
            except Exception as e: errors.append(f'{work.__name__}: {type(e).__name__}: {e}'); return
            time.sleep(r.rand()*.02)
    threads = [threading.Thread(target=run, args=(w, i)) for i, w in
               enumerate((steer, push, pin, fork, save, save, look, look, use, told))]
    for t in threads: t.start()
    for t in threads: t.join(120)
    assert not errors and s.status != 'failed', (errors, s.error)
    assert saved and len(forks) == 4
    for f in forks: assert f.status != 'failed', f.error; f.close()
    if s.status not in FINAL: wait(s.pause(), 'paused', 'done', 'failed')
    assert s.error is None
    s.save(tmp_path/'end')
    again = Trainer.resume(tmp_path/'end', net=own(), layer='body', method=Mixing())
    assert run_differences(again, training_state(s.trainer)) == []

def test_two_threads_save_one_file(tmp_path):
    s, errors = Trainer(replace(SMALL, epochs=1), out=tmp_path/'run'), []
    s.fit(progress=False)
    def save():
        try:
            for _ in range(20): s.save(tmp_path/'both'); read_checkpoint(tmp_path/'both')
        except Exception as e: errors.append(e)
    threads = [threading.Thread(target=save) for _ in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert not errors and sorted(p.name for p in (tmp_path/'both').iterdir()) == [
        'checkpoint.pt', 'history.jsonl', 'result.json', 'spec.json']

def test_a_map_that_comes_while_pins_change_is_not_lost(session):
    "Both put something into the newest frame."
    s = session(SMALL, n_map=50)
    wait(s.step_epoch(), 'paused')
    from noisylab.session import observer as module
    def slow(trainer, pinned):
        s.observer.take_map(s.latest.epoch, s.latest.step, np.zeros((50, 2)))     # a map comes in the middle
        return real(trainer, pinned)
    real, module.pinned_views = module.pinned_views, slow
    try:
        s.pinned = [3, 4]
        s.change(m=1)
        end = time.time() + 20
        while len(s.latest.pinned) != 2 and time.time() < end: time.sleep(.01)
    finally: module.pinned_views = real
    assert s.latest.pinned.tolist() == [3, 4] and s.latest.xy is not None

@pytest.mark.parametrize('at', [[300], ['a'], [-1], [[1, 2]], .5])
def test_what_cannot_be_pinned_is_refused_at_once(session, at):
    s = session(SMALL)
    wait(s.step_epoch(), 'paused')
    before = s.pinned
    with pytest.raises(UserError): s.pinned = at
    assert s.pinned is before
    s.pinned = []
    assert wait(s.step_epoch(), 'paused').latest is not None and s.error is None

# --- the process

def process():
    "What the whole process shares, as values that can be compared."
    # the settings that a training or a reader of pictures might touch
    cudnn = torch.backends.cudnn
    return dict(
        torch=torch.get_rng_state().tolist(), numpy=str(np.random.get_state()), python=random.getstate(),
        cudnn=(cudnn.deterministic, cudnn.benchmark, cudnn.enabled), threads=torch.get_num_threads(),
        kind=torch.get_default_dtype(), grad=torch.is_grad_enabled(), environment=dict(os.environ),
        deterministic=torch.are_deterministic_algorithms_enabled(), timeout=socket.getdefaulttimeout(),
        signals=[signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
        filters=list(warnings.filters), cwd=os.getcwd(), hooks=len(nn.modules.module._global_forward_hooks))

@contextmanager
def untouched():
    before = process()
    yield
    after = process()
    assert [k for k in before if before[k] != after[k]] == []

@pytest.fixture
def pets(tmp_path):
    "A folder of pictures, which stay on disk."
    rng = np.random.RandomState(0)
    for c in 'cat', 'dog', 'emu':
        (tmp_path/'pets'/c).mkdir(parents=True)
        for i in range(40):
            Image.fromarray(rng.randint(0, 256, (32, 32, 3), np.uint8)).save(tmp_path/'pets'/c/f'{i}.png')
    return load(tmp_path/'pets', in_memory=False)

ON_DISK = Spec(noise='none', method='ce', model='small', epochs=2, batch=16, workers=2, device='cpu')

def test_a_session_leaves_the_process_as_it_was(session, pets, tmp_path):
    train, test = pets
    ways = [dict(spec=SMALL), dict(spec=SMALL, net=own(), layer='body', method=Mixing()),
            dict(spec=ON_DISK, train=train, test=test)]
    def go(spec, **parts):
        s = session(spec, **parts).start()
        wait(s, 'done').save(tmp_path/'run'); s.close()
    go(SMALL)       # what is imported with the first one may say something to the process
    for kw in ways:
        with untouched(): go(**kw)

def test_two_bf16_trainings_at_once_give_the_bits_of_one():
    "The weights of a network are used twice in a step, by the gradients of both views."
    def once(out):
        t = Trainer(replace(SMALL, method='paper', epochs=1, precision='bf16'))
        t.fit(progress=False); out.append(weights(t))
    alone, together = [], []
    once(alone)
    for _ in range(3):
        threads = [threading.Thread(target=once, args=(together,)) for _ in range(2)]
        for t in threads: t.start()
        for t in threads: t.join()
    assert len(together) == 6 and all(torch.equal(w, *alone) for w in together)

def test_two_sessions_at_once_leave_it_as_it_was_and_the_caller_draws_what_was_due(session, pets):
    "They begin and end one within the other, many times; meanwhile this thread draws."
    torch.manual_seed(5); np.random.seed(5); random.seed(5)
    due = [(float(torch.rand(1)), np.random.rand(), random.random()) for _ in range(3000)]
    torch.manual_seed(5); np.random.seed(5); random.seed(5)
    train, test = pets
    parts = lambda: dict(net=own(), layer='body', method=Mixing())
    steps = [session(replace(SMALL, epochs=6, seed=i), **parts()).start() for i in (1, 2)]
    third = session(ON_DISK, train=train, test=test).start()
    drawn = []
    while len(drawn) < 3000 and not all(s.status in FINAL for s in (*steps, third)):
        drawn.append((float(torch.rand(1)), np.random.rand(), random.random()))
        time.sleep(.002)
    for s in (*steps, third): wait(s, 'done')
    assert len(drawn) > 50 and drawn == due[:len(drawn)], 'the numbers of this thread are its own'
    assert not torch.backends.cudnn.deterministic
    alone = Trainer(replace(SMALL, epochs=6, seed=1), **parts()); alone.fit(progress=False)
    assert torch.equal(weights(alone), weights(steps[0])), 'and theirs are those of their seed'

def test_settings_that_two_need_at_once_are_put_back_by_the_last(pets, tmp_path):
    from noisylab.data.files import read_headers
    from noisylab.training.step import deterministic_cudnn
    with untouched():
        a, b = deterministic_cudnn(), deterministic_cudnn()
        a.__enter__(); b.__enter__(); a.__exit__(None, None, None)
        assert torch.backends.cudnn.deterministic, 'the second one is not through'
        b.__exit__(None, None, None)
    folder, names = tmp_path/'pets', [f'cat/{i}.png' for i in range(40)]*5
    with untouched():
        some = lambda k: [read_headers(folder, names[:20*k]) for _ in range(8)]
        threads = [threading.Thread(target=some, args=(k,)) for k in (1, 5, 9)]
        for t in threads: t.start()
        for t in threads: t.join()

def test_counting_the_work_of_a_network_does_not_listen_to_others():
    "torch's own counter hooks the modules of all threads."
    net, other, calls = make_model('small', (1, 8, 8), 10), own(), []
    plain, stop = model_cost(net), threading.Event()
    def train():
        while not stop.is_set():
            other(torch.randn(4, 1, 8, 8)).sum().backward()
            if nn.modules.module._global_forward_hooks: calls.append('hook')
    t = threading.Thread(target=train); t.start()
    try: assert all(model_cost(net) == plain for _ in range(50)) and not calls
    finally: stop.set(); t.join()

def test_somebodys_module_is_as_it_was(session):
    net = own()
    s = session(replace(SMALL, epochs=1), net=net, layer='body')
    wait(s.start(), 'done')
    hooks = lambda: [h for m in net.modules() for h in (*m._forward_hooks, *m._forward_pre_hooks, *m._backward_hooks)]
    assert not hooks()
    gone = weakref.ref(s.trainer.net)
    s.close(); del s
    for _ in range(3): gc.collect()
    assert gone() is None, 'nothing of the run is held by the module'
    copy.deepcopy(net)

# --- pictures that stay on disk

def readers():
    import multiprocessing
    return multiprocessing.active_children()

def test_streamed_is_in_memory_to_the_bit_with_any_number_of_readers(pets, tmp_path):
    held = load(tmp_path/'pets', in_memory=True)
    want = Trainer(ON_DISK, train=held[0], test=held[1]); want.fit(progress=False)
    for workers in 0, 1, 2:
        t = Trainer(replace(ON_DISK, workers=workers), train=pets[0], test=pets[1])
        seen = []
        t.callbacks.append(SimpleNamespace(on_step_end=lambda t: seen.append(len(readers()))))
        t.fit(progress=False)
        assert torch.equal(weights(t), weights(want)) and max(seen) == workers and not readers()
        assert [r['test_acc'] for r in t.history] == [r['test_acc'] for r in want.history]

def test_readers_end_however_a_training_ends(session, pets, tmp_path):
    train, test = pets
    spec = replace(ON_DISK, epochs=50)
    t = Trainer(spec, train=train, test=test)
    for step in t.steps():
        if step == 3: assert readers(); break
    assert not readers(), 'a loop that is left'
    next(t.steps()); assert t.step == 4, 'and gone on with'
    def fail(t): raise ValueError('somebody else')
    t.callbacks.append(SimpleNamespace(on_step_end=fail))
    with pytest.raises(ValueError): t.fit(progress=False)
    assert not readers(), 'an error'
    s = session(spec, train=train, test=test).start()
    wait(s, 'running'); time.sleep(.3); wait(s.stop(), 'stopped')
    assert not readers(), 'a session that is stopped'

def test_a_reader_that_is_killed_is_said_in_a_sentence(pets, monkeypatch):
    from noisylab.data.files import ImageFiles
    real = ImageFiles.one
    monkeypatch.setattr(ImageFiles, 'one', lambda files, i: (time.sleep(.05), real(files, i))[1])
    def kill():
        while not readers(): time.sleep(.02)
        os.kill(readers()[0].pid, signal.SIGKILL)
    train, _ = pets
    threading.Thread(target=kill).start()
    with pytest.raises(UserError, match='processes that read the pictures has ended.*memory.*workers=0') as e:
        list(train.chunks(torch.arange(len(train)), 32, 2))
    assert '\n' not in str(e.value) and not readers()

def test_whether_readers_pay_is_decided_by_the_machine(monkeypatch):
    from noisylab.data import files
    cores = lambda n: monkeypatch.setattr(files.os, 'sched_getaffinity', lambda _: set(range(n)), raising=False)
    for n, expected in (1, 0), (2, 0), (4, 2), (16, 8), (64, 8):
        cores(n)
        assert files.reader_count(False) == (expected if files.WORKER_START else 0) and files.reader_count(True) == 0
        assert files.reader_count(False, 5) == 5
    with pytest.raises(UserError, match='workers=-1'): Spec(workers=-1)
