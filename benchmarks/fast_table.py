"""Rows of grids/fast-table.toml within MINUTES: all of CIFAR-10, FastNet, methods × noises × seeds, in order of worth.

Several processes share the device; each reads the images once and trains one cell after another. A cell that would not
end in time is not begun. Rows go to OUT/fast-table.jsonl, one by one; the next call goes on with what is missing.
"""
import argparse, json, time
from functools import lru_cache, partial
from pathlib import Path

import torch

from _common import last
from noisylab.data.sources import load
from noisylab.experiments.grid import expand_grid, read_grid, read_rows
from noisylab.experiments.runner import process_pool, run_jobs
from noisylab.methods.base import make_method
from noisylab.training.trainer import Trainer

SPEED = []      # of this process: seconds for a unit of work


@lru_cache(maxsize=1)
def images(data, root, train_size):
    "To train and to test on, read once a process."
    return load(data, root, train_size=train_size, download=False)


def work(spec):
    "Passes over the training images."
    return spec.epochs*make_method(spec.method, **spec.settings).cost()


def cell(spec, until):
    "The row of one run; None: there is no time for it."
    torch.set_num_threads(1)
    start = time.time()
    if start + work(spec)*max(SPEED, default=0) > until: return None
    train, test = images(spec.data, spec.root, spec.train_size)
    trainer = Trainer(spec, train=train, test=test)
    for _ in trainer.steps():
        if time.time() > until: return None
    row = trainer.result()
    SPEED.append((time.time() - start)/work(spec))
    row['spec'] |= dict(data=spec.data)     # these images are those of that name
    return row


def table(rows, runs):
    "Mean accuracy at the end, and of how many seeds, by method and noise."
    noise = lambda r: f"{r['noise']} {'' if r['rate'] is None else r['rate']}".strip()
    cells = {}
    for r in rows: cells.setdefault((r['label'], noise(r)), []).append(r['last'])
    labels, noises = (list(dict.fromkeys(v)) for v in zip(*((a.label, noise(vars(a.spec))) for a in runs)))
    said = lambda v: f'{sum(v)/len(v):.1f} ({len(v)})' if v else '–'
    lines = [['last accuracy (seeds)', *noises], *([m, *(said(cells.get((m, n))) for n in noises)] for m in labels)]
    return '\n'.join(f'{line[0]:22}' + ''.join(f'{v:>16}' for v in line[1:]) for line in lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--minutes', type=float, default=8)
    p.add_argument('--root', default='data', help='folder with CIFAR-10 and CIFAR-10N')
    p.add_argument('--out', type=Path, default=Path('results'))
    p.add_argument('--workers', type=int, default=4 if torch.cuda.is_available() else 1, help='processes')
    p.add_argument('--cells', type=int, help='at most so many of the runs that are missing')
    p.add_argument('--with', dest='more', action='append', default=[], metavar='FIELD=VALUE', help='of every Spec')
    args = p.parse_args()
    until = time.time() + 60*args.minutes - 5       # for what ends a process
    more = {k: json.loads(v) for k, v in (f.split('=') for f in args.more)}
    runs = expand_grid(read_grid('fast-table.toml'), root=args.root, **more)
    file = args.out/'fast-table.jsonl'
    args.out.mkdir(parents=True, exist_ok=True)
    known = {r['key'] for r in read_rows(file)}
    missing = {a.key: a for a in runs if a.key not in known}
    missing = dict(list(missing.items())[:args.cells])
    print(f'{len(runs)} runs, {len(runs) - len(known)} missing, {args.workers} processes, {args.minutes:g} minutes',
          flush=True)

    def ended(key, row):
        if row is None: return
        row |= dict(label=missing[key].label, key=key)
        with open(file, 'a', encoding='utf-8') as f: f.write(json.dumps(row) + '\n')
        print(f"{row['last']:6.2f}% {row['seconds']:6.1f} s  {key}", flush=True)

    jobs = {k: (cell, a.spec, until) for k, a in missing.items()}
    failed = run_jobs(jobs, partial(process_pool, args.workers), ended)[1]
    for key, e in failed.items(): print(f'{key}: {type(e).__name__}: {e}')
    rows = [r for r in read_rows(file) if r['key'] in {a.key for a in runs}]
    print(table(rows, runs))
    last(table_rows=len(rows), table_failed=len(failed))


if __name__ == '__main__': main()
