"""The rows of the paper's tables on a GPU, in pieces of time, with what the paper leaves open chosen first.

    python benchmarks/recipe.py search --minutes 9      # short runs side by side; then writes results/recipe.json
    python benchmarks/recipe.py rows --minutes 9        # the next rows into results/paper.jsonl, in order of worth

The same command again goes on where it stopped. Each reading of the paper that differs from the plainest in one point
is trained for some epochs on CIFAR-10 with 60% symmetric noise, 10% of the images held out with their noisy labels. Of
each point the reading is taken that agrees with more of these labels than the plainest by two standard errors of the
difference (images are paired); together they must not agree with fewer than the best of them alone. True labels, test
images and other noise choose nothing. All rows are then trained on all images with this one recipe.
"""
import argparse, json, sys, time
from pathlib import Path

import numpy as np
import torch

from noisylab.errors import UserError
from noisylab.experiments.grid import ResultTable
from noisylab.training.environment import describe_hardware, git_commit, package_versions
from noisylab.training.trainer import Trainer

POINTS = {  # point → what else it could mean: settings of the method, and `fields` of the spec
    'α':             {'cosine': dict(alpha_shape='cosine'), 'held for 30%': dict(alpha_hold=.3)},
    'pseudo-label':  {'of x': dict(pseudo='weak')},
    'classified':    {'x': dict(view='weak'), 'both': dict(view='both')},
    'λ':             {'0.25': dict(lam=.25), '4': dict(lam=4.)},
    'clusters':      {'20': dict(clusters=20)},
    'target of R':   {'no gradient': dict(target_grad=False)},
    'statistics':    {'of x': dict(bn='weak')},
    'decoder':       {'width 64': dict(decoder_width=64)},
    'one pass':      {'x and T(x)': dict(concat=True)},
    'augmentation':  {'N1 M5': dict(fields=dict(n=1, m=5)), 'N2 M14': dict(fields=dict(m=14)),
                      'no Cutout': dict(fields=dict(ops='randaugment'))},
}
SYM, HARD = dict(kind='symmetric', rates=[.6]), dict(kind='symmetric', rates=[.6, .8])
OFF = dict(A=dict(alpha_shape='one'), B=dict(w_rec=0.), C=dict(w_cluster=0.))


def method(name, label=None, settings=(), run=()):
    return dict(name=name, label=label or name, settings=dict(settings), run=dict(run))


def parts(reading):
    "(settings, fields of the spec) of a reading."
    return {k: v for k, v in reading.items() if k != 'fields'}, reading.get('fields', {})


def readings():
    "Label → reading, the plainest first."
    return {'plain': {}} | {f'{p}: {k}': r for p, rs in POINTS.items() for k, r in rs.items()}


def together(labels):
    "One reading of several."
    res, fields = {}, {}
    for l in labels:
        settings, own = parts(readings()[l])
        res, fields = res | settings, fields | own
    return res | (dict(fields=fields) if fields else {})


def grid(noises, methods, data=('cifar10',), **run):
    return dict(data=list(data), noise=list(noises), method=methods, run=dict(model='resnet18', **run))


def searched(rs, epochs):
    return grid([SYM], [method('paper', l, *parts(r)) for l, r in rs.items()], epochs=epochs, val=.1, eval_every=epochs)


def agreement(table, key):
    "For each image held out: does the network say its given label? Kept beside the run, whose weights may go."
    path = table.folder/key/'agreement.npy'
    if not path.exists():
        seen = Trainer.resume(table.folder/key, device='auto').train_predictions('val')
        np.save(path, (seen.p.argmax(1) == seen.labels).cpu().numpy())
    return np.load(path).astype(float)


def compared(table):
    "Label → share of agreement, difference from the plainest and its standard error, in percent."
    hits = {a.label: agreement(table, key) for key, a in table.asked.items()}
    res = {}
    for label, h in hits.items():
        d = h - hits['plain']
        res[label] = dict(val_given=100*float(h.mean()), difference=100*float(d.mean()),
                          se=100*float(d.std(ddof=1)/len(d)**.5), n=len(d))
    return res


def winners(seen):
    "Of each point, the best reading that is better than the plainest by two standard errors."
    best = {}
    for label, s in seen.items():
        point = label.split(':')[0]
        if label in readings() and s['difference'] > 2*s['se'] and \
                s['difference'] > seen.get(best.get(point), dict(difference=0.))['difference']: best[point] = label
    return list(best.values())


def run(table, args):
    "Run what is missing until the time is over; is everything there?"
    def said(key, row):
        print(f"{key}: last {row['last']:.2f}%, {row['seconds']:.0f} s", flush=True)
        if row['val_given'] is not None: agreement(table, key)
    left = (args.until - time.time())/60
    if left > 0:
        for key, e in table.run(args.workers, said=said, minutes=left).items(): print(f'{key} failed: {e}', flush=True)
    missing = sum(table.state(k) != 'finished' for k in table.asked)
    if missing: print(f'{missing} of {len(table.asked)} runs are not finished; the same command goes on with them')
    return not missing


def search(args):
    out, more = args.out/'search.jsonl', given(args)
    table = ResultTable(searched(readings(), args.epochs), out, **more)
    if not run(table, args): return 0
    seen = compared(table)
    chosen = winners(seen)
    if len(chosen) > 1:
        both = ' + '.join(chosen)
        table = ResultTable(searched(readings() | {both: together(chosen)}, args.epochs), out, **more)
        if not run(table, args): return 0
        seen = compared(table)
        single = max(chosen, key=lambda l: seen[l]['val_given'])
        if seen[both]['val_given'] < seen[single]['val_given']: chosen = [single]
    a = next(iter(table.asked.values()))
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    recipe = dict(chosen=chosen, reading=together(chosen), epochs=a.spec.epochs, data=a.spec.data, noise='symmetric',
                  rate=.6, seed=a.spec.seed, compared=seen, spec=more,
                  hardware=describe_hardware(device), versions=package_versions(),
                  commit=git_commit())
    (args.out/'recipe.json').write_text(json.dumps(recipe, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
    print(f"\n{'':40}{'agrees':>8}{'difference':>12}{'SE':>6}")
    for label, s in seen.items(): print(f"{label:40}{s['val_given']:8.2f}{s['difference']:+12.2f}{s['se']:6.2f}")
    print(f"chosen: {', '.join(chosen) or 'the plainest reading'}")
    return 0


def row_grids(reading, epochs):
    "In order of worth."
    settings, fields = parts(reading)
    paper = method('paper', settings=settings)
    terms = [method('paper', '+'.join(on), settings | {k: v for t in 'ABC' if t not in on for k, v in OFF[t].items()})
             for on in ('A', 'B', 'C', 'AB', 'AC')]
    ours = [method(m) for m in ('balanced', 'ce_augmented', 'ce')]
    kinds = [dict(kind='symmetric', rates=[.2, .4]), dict(kind='asymmetric', rates=[.4]), dict(kind='none')]
    rest = dict(epochs=epochs) | fields
    return {
        'the full method': grid([HARD], [paper], **rest),
        'beside it, and its terms': grid([HARD], ours + terms, **rest),
        'other noise': grid(kinds, [paper], **rest),
        'baselines': grid([HARD], [method('gce'), method('sl')], **rest),
        'human labels': grid([dict(kind='human:worse')], [paper, *ours], **rest),
        'a hundred classes': grid([dict(kind='symmetric', rates=[.8])], [paper, *ours], ['cifar100'], **rest),
    }


def rows(args):
    path = args.out/'recipe.json'
    if not path.exists(): raise UserError(f'{path} does not exist; run: python benchmarks/recipe.py search')
    recipe = json.loads(path.read_text(encoding='utf-8'))
    print(f"recipe: {', '.join(recipe['chosen']) or 'the plainest reading'}")
    for what, g in row_grids(recipe['reading'], args.epochs).items():
        table = ResultTable(g, args.out/'paper.jsonl', **given(args))
        print(f'{what}: {len(table.asked)} runs', flush=True)
        if not run(table, args) and time.time() >= args.until: break
    return 0


def given(args):
    "Fields of every spec, from the command line."
    from noisylab.cli import _settings
    return {k: v for k, v in dict(root=args.root, device=args.device).items() if v} | _settings(args.with_, '--with')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=('search', 'rows'))
    p.add_argument('--minutes', type=float, default=1e6, help='after which runs are saved where they stand')
    p.add_argument('--workers', type=int, help='runs side by side (4 in the search, 1 for rows)')
    p.add_argument('--epochs', type=int, help='of each run (20 in the search, 300 for rows)')
    p.add_argument('--out', type=Path, default=Path(__file__).resolve().parent.parent/'results', help='folder')
    p.add_argument('--root', help='folder of CIFAR-10 as torchvision leaves it')
    p.add_argument('--device')
    p.add_argument('--with', dest='with_', action='append', default=[], metavar='FIELD=VALUE', help='of every run')
    args = p.parse_args()
    short = args.what == 'search'
    args.workers, args.epochs = args.workers or (4 if short else 1), args.epochs or (20 if short else 300)
    args.until = time.time() + 60*(args.minutes - min(1., .2*args.minutes))     # the rest is for comparing and saving
    try: return search(args) if short else rows(args)
    except UserError as e: print(f'recipe: {e}', file=sys.stderr); return 2


if __name__ == '__main__': sys.exit(main())
