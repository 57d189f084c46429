"""Kill processes at random moments: no row of results is lost, no file is left that cannot be read, and what is gone on
with becomes the same to the bit as what was never killed. `python benchmarks/kills.py [--kills 200]`

Each process trains, fills a grid, keeps features, saves a review or saves what the lab shows, until it is killed: half
of them after a random time, half just before or after they rename a file that they have written."""
import argparse, multiprocessing, os, signal, sys, tempfile, time, warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from noisylab.data.sources import load
from noisylab.experiments.grid import ResultTable, read_rows
from noisylab.label_issues.decisions import Decisions
from noisylab.models.features import compute_features
from noisylab.models.pretrained import Backbone
from noisylab.session.session import Session
from noisylab.training.checkpoint import read_checkpoint
from noisylab.training.spec import Spec
from noisylab.training.trainer import Trainer

SPEC = Spec(noise='symmetric', rate=.4, method='elr', train_size=200, epochs=6, batch=50, watch=50, device='cpu')
GRID = dict(seeds=[0, 1, 2], run=dict(data='digits', train_size=100, epochs=2, device='cpu', watch=50),
            method=[dict(name='ce')])

# What a process does in `place`, from where the one before was killed; `look` raises where something was lost.

def train(place):
    "A training with a checkpoint after each epoch."
    begun = (place/'run'/'spec.json').exists()
    tr = Trainer.resume(place/'run') if begun else Trainer(SPEC, out=place/'run', checkpoint_every=1)
    tr.checkpoint_every = 1
    tr.fit(progress=False)
    return tr.evaluated.state_dict(), [without_time(r) for r in tr.history]

def look_train(place, known):
    return look_run(place/'run', known)

def look_run(folder, known):
    if not (folder/'checkpoint.pt').exists(): assert not known; return 0
    epoch = read_checkpoint(folder)['epoch']
    assert epoch >= (known or 0), f'epoch {epoch} after {known}'
    return epoch

def grid(place):
    "All runs of a grid, a row each."
    assert not ResultTable(GRID, place/'rows.jsonl').run(pool=partial(ThreadPoolExecutor, 1), threads=1)
    return [{k: r[k] for k in ('key', 'last', 'best', 'checksum')} for r in read_rows(place/'rows.jsonl')]

def look_grid(place, known):
    rows = [r['key'] for r in read_rows(place/'rows.jsonl')]
    assert len(set(rows)) == len(rows) and set(known or ()) <= set(rows), f'{known} before, {rows} after'
    return rows

def features(place):
    "Features of images, kept by content."
    images, _ = load('digits')
    def slow(x): time.sleep(.002); return x.flatten(1)
    pixels = Backbone('pixels', slow, 8, (.5,)*3, (.5,)*3, True)
    return compute_features(images, pixels, place/'features', progress=False)

def look_features(place, known):
    kept = [p.name for p in (place/'features').glob('*.npy')]
    for p in (place/'features').glob('*.npy'): np.load(p)
    assert set(known or ()) <= set(kept)
    return kept

def review(place):
    "Answers about label issues, saved after each."
    images, _ = load('digits', train_size=60)
    k = np.arange(60)
    issues = SimpleNamespace(images=images, index=k, suggested=(images.labels.numpy() + 1) % 10, score=k/60,
                             reason=['']*60)
    book = Decisions(issues)
    if (place/'decisions.csv').exists(): book.load(place/'decisions.csv')
    for i in range(len(book.answers), 60):
        book.decide(i, ('keep', 'relabel', 'unsure')[i % 3])
        book.save(place/'decisions.csv')
    return book.label

def look_review(place, known):
    if not (place/'decisions.csv').exists(): return known or 0
    rows = (place/'decisions.csv').read_text('utf-8-sig').splitlines()
    done = sum(',open,' not in r for r in rows[1:])
    assert len(rows) == 61 and done >= (known or 0), f'{done} answers after {known}'
    return done

def lab(place):
    "A session that is saved after each epoch, as the lab's Save does it."
    folder = place/'lab'
    s = Session.load(folder) if (folder/'checkpoint.pt').exists() else Session(SPEC)
    try:
        while s.status != 'done':
            s.step_epoch()
            while s.status not in ('paused', 'done', 'failed'): time.sleep(.002)
            assert s.status != 'failed', s.error
            s.save(folder)
        return s.trainer.net.state_dict(), [without_time(r) for r in s.history]
    finally: s.close()

def look_lab(place, known): return look_run(place/'lab', known)

def without_time(r): return {k: v for k, v in r.items() if k not in ('seconds', 'images_per_s')}

WORK = dict(train=(train, look_train), grid=(grid, look_grid), features=(features, look_features),
            review=(review, look_review), lab=(lab, look_lab))

def same(a, b):
    "Equal to the bit."
    if isinstance(a, dict): return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)): return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor): return torch.equal(a, b)
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b or a != a and b != b

def doomed(what, place, at):
    "Work in a process of its own; `at`: before (even) or after (odd) which renaming it kills itself; None: never."
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    real, left = os.replace, [-1 if at is None else at]
    def now():
        if left[0] == 0: os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
    def replace(a, b): now(); real(a, b); now()
    os.replace = replace
    WORK[what][0](Path(place))

def run(kills, seed=0, works=tuple(WORK), said=print):
    "Kill so many processes; what was lost, in words."
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    rng, lost, done = np.random.RandomState(seed), [], 0
    context = multiprocessing.get_context('forkserver')       # which imports everything once
    context.set_forkserver_preload(['kills', 'noisylab.methods.rivals', 'sklearn.datasets'])
    for what in works:
        work, look = WORK[what]
        left, turn = kills//len(works) + (what in works[:kills % len(works)]), 0
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder)/'whole').mkdir()
            start = time.perf_counter()
            whole = work(Path(folder)/'whole')
            took = time.perf_counter() - start
            while left:
                place, known, turn = Path(folder)/f'{turn}', None, turn + 1
                place.mkdir()
                for _ in range(min(left, 3)):       # one after the other in the same folder
                    by_time = rng.rand() < .5
                    p = context.Process(target=doomed, args=(what, place, None if by_time else int(rng.randint(12))))
                    p.start()
                    p.join(rng.rand()*took if by_time else 3*took + 60)
                    if p.is_alive(): p.kill()
                    p.join()
                    done, left = done + 1, left - 1
                    try: known = look(place, known)
                    except Exception as e: lost.append(f'{what}: {type(e).__name__}: {e}')
                try:
                    if not same(work(place), whole): lost.append(f'{what}: went on to other numbers')
                except Exception as e: lost.append(f'{what}: cannot go on: {type(e).__name__}: {e}')
            said(f'{what}: {done} so far, {took:.1f} s each')
    return done, lost

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--kills', type=int, default=200)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--only', nargs='*', default=list(WORK), choices=list(WORK))
    args = p.parse_args()
    import kills
    done, lost = kills.run(args.kills, args.seed, tuple(args.only), lambda s: print(s, flush=True))
    for line in lost: print(line)
    print(f'\nkills: {done}, lost: {len(lost)}')
    sys.exit(bool(lost))
