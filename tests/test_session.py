"""Sessions under stress: many threads, odd moments, processes that are killed; and steered runs repeated exactly."""
import os, signal, subprocess, sys, textwrap, threading, time
from itertools import count
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pytest
import torch

from noisylab.session import requests
from noisylab.training import trainer as trainer_module
from noisylab.errors import UserError
from noisylab.data.sources import load
from noisylab.metrics.embedding import Mapper
from noisylab.session.fork import run_differences, replay_folder
from noisylab.methods.base import make_method
from noisylab.session.session import OPEN_SESSIONS, Session
from noisylab.session.requests import Requests, SessionEnded
from noisylab.training.evaluation import Interrupted
from noisylab.training.spec import Spec
from noisylab.training.checkpoint import training_state
from noisylab.training.trainer import Trainer

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
    for s in list(OPEN_SESSIONS): s.close()
    assert not alive(), 'a thread is left'

def test_an_epoch_that_ends_while_a_run_holds_is_said_to_hold():
    "Its evaluation was given up by a pause, and is done when an epoch more is asked for: nothing is left to train."
    r = Requests()
    r.status, r.wanted = 'running', 'pause'
    assert r.hold() and r.status == 'paused'
    r.want('epoch')
    assert r.status == 'running'
    r.end_epoch()
    holds = threading.Thread(target=r.wait)
    holds.start()
    end = time.time() + 60
    while r.status != 'paused': assert time.time() < end; time.sleep(.005)
    r.want('run')
    holds.join(10)
    assert not holds.is_alive() and r.status == 'running'

def test_a_steered_run_is_repeated_to_the_bit(session, tmp_path):
    s = session(SMALL).start()
    rng = np.random.RandomState(0)
    wishes = [dict(rate=.3), dict(m=3), dict(w_rec=0.), dict(lr=.01, alpha=.5), dict(noise='asymmetric', rate=.4),
              dict(w_rec=2., tau=1.)]
    for w in wishes:
        time.sleep(rng.rand()*.1)
        try: s.change(**w)
        except SessionEnded: break
    wait(s, 'done').save(tmp_path)
    assert s.events and [e['step'] for e in s.events] == sorted(e['step'] for e in s.events)
    again, off = replay_folder(tmp_path)
    assert not off and again.events == s.events

@pytest.mark.parametrize('method', ['balanced', 'forward'])
def test_work_that_is_given_up_at_odd_moments_is_repeated_to_the_bit(session, tmp_path, monkeypatch, method):
    "Evaluations and looks give way at once here, as those of a large network do."
    monkeypatch.setattr(requests, 'GRACE_SECONDS', -1.)
    held, real, patience, asking = [], Requests.check, {}, threading.Event()
    def check(self):    # each kind of work waits, once, until somebody asks for something
        waits = asking.is_set() and self._doing and self._doing not in held
        until = patience.setdefault(self._doing, time.time() + 20) if waits else 0
        while True:
            time.sleep(.01)
            try: real(self)
            except Interrupted: held.append(self._doing); raise
            if time.time() > until: return
    monkeypatch.setattr(Requests, 'check', check)
    calls, rng = [], np.random.RandomState(0)
    each = SimpleNamespace(**{k: lambda tr, k=k: calls.append(k) for k in ('on_start', 'on_epoch_end', 'on_end')})
    s = session(replace(SMALL, epochs=12), method=make_method(method), callbacks=each).start()
    wait(s, 'running')
    asking.set()
    end = time.time() + 60
    for i in count():
        if time.time() > end or i >= 100 and {'epoch', 'look'} <= {*held}: break
        time.sleep(rng.rand()*.05)
        try:
            s.pause()
            if i % 4 == 0: s.change(rate=round(float(rng.rand()), 2), m=int(rng.randint(30)))
            time.sleep(rng.rand()*.02)
            s.resume()
        except SessionEnded: break
    wait(s, 'done').save(tmp_path)
    assert 'epoch' in held and 'look' in held and s.events
    assert calls == ['on_start', *['on_epoch_end']*12, 'on_end'], 'whatever is given up meanwhile'
    again, off = replay_folder(tmp_path, method=make_method(method))
    assert not off and again.events == s.events and len(s.frames) == 12

def test_stopped_before_an_epoch_is_measured(session, tmp_path, monkeypatch):
    "What is saved then is repeated, and goes on to the same numbers."
    s = session(SMALL)
    def measured(trainer, *a, **k):
        if trainer.epoch == 1: s.stop(); monkeypatch.setattr(requests, 'GRACE_SECONDS', -1.); s.requests.check()
        return real(trainer, *a, **k)
    real = trainer_module.measure_epoch
    monkeypatch.setattr(trainer_module, 'measure_epoch', measured)
    wait(s.start(), 'stopped').save(tmp_path)
    monkeypatch.undo()
    assert len(s.history) == 1 and s.trainer.in_epoch == s.trainer.steps_per_epoch and s.progress.epoch == 2
    assert replay_folder(tmp_path)[1] == []
    whole, rest, fork = Trainer(SMALL), Trainer.resume(tmp_path), s.fork().start()
    for t in (whole, rest): t.fit(progress=False)
    wait(fork, 'done').save(tmp_path/'fork')
    for t in (rest, fork.trainer): assert run_differences(whole, training_state(t)) == []

def test_a_fork_of_a_fork_is_repeated(session, tmp_path):
    a = session(SMALL).step_epoch()
    wait(a, 'paused').change(rate=.5)
    b = a.fork(method='paper', settings=dict(clusters=20), epochs=5).step_epoch()
    wait(b, 'paused', 'done').change(w_cluster=.5)
    c = b.fork(method='ce', lr=.05).start()
    wait(c, 'done').save(tmp_path)
    assert c.error is None and c.trainer.step == 30 and c.latest.cluster is None
    again, off = replay_folder(tmp_path)
    assert not off

def test_everybody_pushes_every_button(session):
    s = session(SMALL).start()
    rng, errors = np.random.RandomState(1), []
    ways = [s.pause, s.resume, s.step_epoch, lambda: s.change(rate=float(rng.rand()*.9)), lambda: s.history,
            lambda: s.progress, lambda: s.change(m=int(rng.randint(30))), lambda: s.message, lambda: s.latest,
            lambda: len(s.frames), lambda: s.current_spec, lambda: s.views() if s.latest else None]
    def push(seed):
        r = np.random.RandomState(seed)
        for _ in range(60):
            t = time.perf_counter()
            try: ways[r.randint(len(ways))]()
            except SessionEnded: return
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
    assert wait(f, 'done').current_spec.rate == .2
    t = session(SMALL)
    t.stop(); assert t.status == 'stopped'
    with pytest.raises(SessionEnded): t.start()
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
        from noisylab.metrics.embedding import Mapper
        from noisylab.session.session import Session
        from noisylab.training.spec import Spec
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
