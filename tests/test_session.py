"""Sessions under stress: many threads, odd moments, processes that are killed; and steered runs repeated exactly."""
import itertools, os, signal, subprocess, sys, textwrap, threading, time
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest
import torch

from noisylab import steering, trainer as trainer_module
from noisylab.data import UserError, load
from noisylab.embed import Mapper
from noisylab.fork import differences, replay_run
from noisylab.methods import make
from noisylab.session import Session
from noisylab.steering import _OPEN, Ended
from noisylab.spec import Spec
from noisylab.trainer import Trainer, state

SMALL = Spec(noise='symmetric', rate=.8, train_size=300, epochs=4, batch=50, watch=300, seed=2)
FINAL = ('done', 'stopped', 'failed')

def wait(s, *status, seconds=120):
    end = time.time() + seconds
    while s.status not in status:
        assert time.time() < end, (s.status, s.message, s.error)
        time.sleep(.005)
    return s

def alive(): return [t.name for t in threading.enumerate() if t.name.startswith('noisylab')]

@pytest.fixture
def session():
    yield Session
    for s in list(_OPEN): s.close()
    assert not alive(), 'a thread is left'

def test_a_steered_run_is_repeated_to_the_bit(session, tmp_path):
    s = session(SMALL).start()
    rng = np.random.RandomState(0)
    wishes = [dict(rate=.3), dict(m=3), dict(w_rec=0.), dict(lr=.01, alpha=.5), dict(noise='asymmetric', rate=.4),
              dict(w_rec=2., tau=1.)]
    for w in wishes:
        time.sleep(rng.rand()*.1)
        try: s.change(**w)
        except Ended: break
    wait(s, 'done').save(tmp_path)
    assert s.events and [e['step'] for e in s.events] == sorted(e['step'] for e in s.events)
    again, off = replay_run(tmp_path)
    assert not off and again.events == s.events

@pytest.mark.parametrize('method', ['balanced', 'forward'])
def test_work_that_is_given_up_at_odd_moments_is_repeated_to_the_bit(session, tmp_path, monkeypatch, method):
    "Evaluations and looks give way at once here, as those of a large network do."
    monkeypatch.setattr(steering, 'GRACE', -1.)
    held, real, patience, asking = [], steering.Yielding._ask, {}, threading.Event()
    def ask(self):      # once somebody asks for things, each kind of work waits until it has been given up
        waits = asking.is_set() and self._work not in held
        until = patience.setdefault(self._work, time.time() + 20) if waits else 0
        while True:
            time.sleep(.01)
            try: real(self)
            except steering.Held: held.append(self._work); raise
            if time.time() > until: return
    monkeypatch.setattr(steering.Yielding, '_ask', ask)
    s, rng = session(replace(SMALL, epochs=12), method=make(method)).start(), np.random.RandomState(0)
    wait(s, 'running')
    asking.set()
    for i in itertools.count():     # on a slow machine a hundred times are over before the first look
        if i >= 100 and {'epoch', 'look'} <= set(held): break
        time.sleep(rng.rand()*.05)
        try:
            s.pause()
            if i % 4 == 0: s.change(rate=round(float(rng.rand()), 2), m=int(rng.randint(30)))
            time.sleep(rng.rand()*.02)
            s.resume()
        except Ended: break
    wait(s, 'done').save(tmp_path)
    assert 'epoch' in held and 'look' in held and s.events
    again, off = replay_run(tmp_path, method=make(method))
    assert not off and again.events == s.events and len(s.frames) == 12

def test_stopped_before_an_epoch_is_measured(session, tmp_path, monkeypatch):
    "What is saved then is repeated, and goes on to the same numbers."
    s = session(SMALL)
    def measured(trainer, *a, **k):
        if trainer.epoch == 1: s.stop(); s._called -= 1; s._ask()
        return real(trainer, *a, **k)
    real = trainer_module.record
    monkeypatch.setattr(trainer_module, 'record', measured)
    wait(s.start(), 'stopped').save(tmp_path)
    monkeypatch.undo()
    assert len(s.history) == 1 and s.trainer.in_epoch == s.trainer.steps_per_epoch and s.progress.epoch == 2
    assert replay_run(tmp_path)[1] == []
    whole, rest, fork = Trainer(SMALL), Trainer.resume(tmp_path), s.fork().start()
    for t in (whole, rest): t.fit(progress=False)
    wait(fork, 'done').save(tmp_path/'fork')
    for t in (rest, fork.trainer): assert differences(whole, state(t)) == []

def test_a_fork_of_a_fork_is_repeated(session, tmp_path):
    a = session(SMALL).step_epoch()
    wait(a, 'paused').change(rate=.5)
    b = a.fork(method='paper', settings=dict(clusters=20), epochs=5).step_epoch()
    wait(b, 'paused', 'done').change(w_cluster=.5)
    c = b.fork(method='ce', lr=.05).start()
    wait(c, 'done').save(tmp_path)
    assert c.error is None and c.trainer.step == 30 and c.latest.cluster is None
    again, off = replay_run(tmp_path)
    assert not off

def test_everybody_pushes_every_button(session):
    s = session(SMALL).start()
    rng, errors = np.random.RandomState(1), []
    ways = [s.pause, s.resume, s.step_epoch, lambda: s.change(rate=float(rng.rand()*.9)), lambda: s.history,
            lambda: s.progress, lambda: s.change(m=int(rng.randint(30))), lambda: s.message, lambda: s.latest,
            lambda: len(s.frames), lambda: s.now, lambda: s.live, lambda: s.views() if s.latest else None]
    def push(seed):
        r = np.random.RandomState(seed)
        for _ in range(60):
            t = time.perf_counter()
            try: ways[r.randint(len(ways))]()
            except Ended: return
            except Exception as e: errors.append(repr(e)); return
            if time.perf_counter() - t > .5: errors.append('blocked')
            time.sleep(r.rand()*.01)
    threads = [threading.Thread(target=push, args=(i,)) for i in range(4)]
    for t in threads: t.start()
    for t in threads: t.join(60)
    assert not errors and s.status != 'failed', (errors, s.error)
    if s.status not in FINAL: wait(s.resume(), 'done')
    assert s.progress.step == 24 and len(s.history) == len(s.frames) == 4

def test_odd_moments(session):
    s = session(SMALL)
    s.pause(); assert s.status == 'ready'
    s.change(rate=.2)                                       # before it starts: acts before the first step
    s.start().pause().stop()                                # while it starts
    wait(s, 'stopped')
    assert s.events == [{'step': 0, 'rate': .2}] and s.trainer.step == 0
    f = s.fork(epochs=1).start()                            # of one that ended
    assert wait(f, 'done').now.rate == .2
    t = session(SMALL)
    t.stop(); assert t.status == 'stopped'
    with pytest.raises(Ended): t.start()
    with pytest.raises(UserError, match='nothing to fork'): t.fork()
    with pytest.raises(UserError, match='nothing to save'): t.save('x')
    u = session(Spec(data='no/such/folder')).start()
    assert 'no/such/folder' in wait(u, 'failed').message and 'Traceback' in u.error
    with pytest.raises(UserError): u.fork()

def test_own_images_without_true_labels(session, tmp_path):
    train, test = load('digits')
    train = train.subset(torch.arange(200)).with_labels(train.labels[:200], None)
    s = session(Spec(noise='none', epochs=2, method='paper'), train=train, test=test, n_map=50).start()
    wait(s, 'done')
    f = s.latest
    assert f.noise is None and f.cluster is not None and len(s.watched.shown) == 50
    s.save(tmp_path)
    back = Session.load(tmp_path, train=train, test=test)
    wait(back, 'done')
    assert back.history == s.history and back.frames[0].record == s.frames[0].record

def test_maps_survive_a_killed_worker(session):
    mapper = Mapper(rest=0)
    try:
        s = session(SMALL, mapper=mapper, n_map=100).step_epoch()
        wait(s, 'paused')
        end = time.time() + 120
        while s.latest.xy is None and time.time() < end: time.sleep(.01)
        assert s.latest.xy.shape == (100, 2) and s.frames[-1].xy is s.latest.xy
        os.kill(mapper.worker.process.pid, signal.SIGKILL)
        s.step_epoch(); time.sleep(.1); wait(s, 'paused')
        while s.latest.xy is None and time.time() < end: time.sleep(.01)
        assert s.latest.xy is not None and s.map[0] == 2 and not s.error
    finally: mapper.close()

def test_nothing_is_left_when_python_ends(tmp_path):
    "A script that forgets to close, one that is killed: their workers end too."
    text = textwrap.dedent('''
        import sys, time
        from noisylab.embed import Mapper
        from noisylab.session import Session
        from noisylab.spec import Spec
        m = Mapper(); s = Session(Spec(epochs=300), mapper=m).start()
        while s.latest is None: time.sleep(.01)
        print(m.worker.process.pid, flush=True)
        if sys.argv[1] == 'wait': time.sleep(100)''')
    start = lambda how: subprocess.Popen([sys.executable, '-c', text, how], stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True)
    for how, p in {how: start(how) for how in ('end', 'wait')}.items():
        worker = int(p.stdout.readline())
        if how == 'wait': p.kill()
        _, err = p.communicate(timeout=60)
        assert p.returncode == (0 if how == 'end' else -9) and 'Traceback' not in err, err
        stat, end = Path(f'/proc/{worker}/stat'), time.time() + 120
        gone = lambda: not stat.exists() or stat.read_text().split(')')[1].split()[0] == 'Z'
        while not gone() and time.time() < end: time.sleep(.05)
        assert gone(), 'the worker lives on'

def test_pictures_of_a_paused_run_follow_the_augmentation(session):
    s = session(SMALL).step_epoch()
    wait(s, 'paused')
    before = s.latest
    s.change(m=0)
    end = time.time() + 120
    while s.latest is before and time.time() < end: time.sleep(.01)
    f = s.latest
    assert (f.augmented != before.augmented).any() and f.step == before.step and s.status == 'paused'
    assert s.frames[-1].augmented is before.augmented, 'the epoch looked as it looked'
