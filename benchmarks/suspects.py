"""How well wrong labels are found: every score of noisylab, and cleanlab's, on real CIFAR-10 images.

    python benchmarks/suspects.py --root data --images 10000 --epochs 12 --out results/suspects.jsonl

Two kinds of training of the same cost, both of a quarter-width ResNet18 on the same noisy labels:
- run:   one training on all images, E epochs; what the network says of each image after each epoch. 12 epochs and
         looking at all images after each of them cost as much as
- folds: plain cross-entropy on three folds, 2E/3 epochs each, which is what cleanlab's documentation asks for:
         out-of-sample probabilities of the last epoch.
True labels measure and nothing else. Settings that are done are kept in --out, trainings that are cut off go on.
"""
import argparse, json, time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from noisylab.data.sources import load
from noisylab.label_issues.find import TrainingDynamics, label_belief, cross_predict, training_dynamics, train_tracked
from noisylab.data.validation import checksum
from noisylab.data.noise import inject
from noisylab.label_issues.scores import (estimate_noise, area_under_margin, first_learned, mean_loss,
                                          mean_probability, normalized_margin, self_confidence)
from noisylab.training.environment import describe_hardware, git_commit, package_versions
from noisylab.training.spec import Spec

DEFAULT = 'mean probability, later half'      # `label_issues.find.label_belief`
NOISES = {'worse': ('human:worse', None), 'sym .4': ('symmetric', .4), 'asym .4': ('asymmetric', .4),
          'sym .2': ('symmetric', .2), 'aggregate': ('human:aggregate', None)}


def ours(run: TrainingDynamics, folds: TrainingDynamics, given):
    "Name → N scores, low where a label is doubted. None of them sees a true label."
    p_given = np.exp(-run.loss.astype(float))
    return {
        DEFAULT: label_belief(run),
        'self-confidence, last epoch': self_confidence(run.last, given),
        'self-confidence, mean p': self_confidence(run.p, given),
        'normalized margin, last epoch': normalized_margin(run.last, given),
        'normalized margin, mean p': normalized_margin(run.p, given),
        'area under the margin': area_under_margin(run.margin),
        'mean probability': mean_probability(p_given),
        'mean loss': mean_loss(run.loss),
        'first learned': first_learned(run.pred, given),
        'folds: ' + DEFAULT: label_belief(folds),
        'folds: mean loss': mean_loss(folds.loss),
        'folds: self-confidence, mean p': self_confidence(folds.p, given),
    }


def cleanlabs(folds: TrainingDynamics, given):
    "The same of cleanlab, on out-of-sample probabilities of the last epoch."
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    p = folds.last.astype(float)
    quality = get_label_quality_scores(given, p)
    found = find_label_issues(given, p, n_jobs=1)
    return {'cleanlab: find_label_issues': quality - found, 'cleanlab: quality score': quality,
            'cleanlab: normalized margin': get_label_quality_scores(given, p, method='normalized_margin')}, found


def measured(score, wrong):
    "Average precision, and precision among as many as are wrong."
    order = np.argsort(score, kind='stable')
    return dict(ap=float(average_precision_score(wrong, -score)), at=float(wrong[order[:wrong.sum()]].mean()))


def trained(setting, args):
    "(true labels, given labels, `TrainingDynamics` of the one training, of the folds, CPU seconds of each)"
    kind, rate = NOISES[setting]
    train, test = load('cifar10', args.root, train_size=args.images, seed=args.seed)
    more = dict(file=Path(args.root)/'CIFAR-10_human.pt') if kind.startswith('human') else {}
    noisy = inject(train.labels.numpy(), kind, rate, 10, args.seed, ids=train.ids, **more)
    images, work = train.with_labels(torch.from_numpy(noisy.given)), args.work/slug(setting, args)
    same = dict(noise='none', model='resnet18', width=args.width, batch=args.batch, lr=args.lr, schedule='cosine',
                seed=args.seed, device=args.device)
    seconds, start = {}, time.process_time()
    tr = train_tracked(images, Spec(method='ce_augmented', n=1, m=5, ops='randaugment', epochs=args.epochs, **same),
                work/'run', progress=False)
    run = training_dynamics(tr, tr.tracker, images)
    seconds['run'], start = time.process_time() - start, time.process_time()
    folds = cross_predict(images, Spec(method='ce', epochs=args.epochs*2//3, **same), 3, work/'folds', progress=False)
    seconds['folds'] = time.process_time() - start
    acc = lambda h: 100*float((h.last.argmax(1) == noisy.true).mean())
    return noisy, run, folds, dict(cpu_seconds=seconds, spec=asdict(tr.spec),
                                        right=dict(run=acc(run), folds=acc(folds)))


def slug(setting, args):
    return f"{setting.replace(' ', '')}-{args.images}-{args.epochs}-seed{args.seed}"


def row(setting, args):
    noisy, run, folds, facts = trained(setting, args)
    wrong = noisy.given != noisy.true
    theirs, found = cleanlabs(folds, noisy.given)
    scores = ours(run, folds, noisy.given) | theirs
    hit = wrong[found]
    return dict(setting=setting, noise=noisy.kind, rate=noisy.rate_asked, realised_rate=noisy.rate, data='cifar10',
                images=args.images, wrong=int(wrong.sum()), seed=args.seed,
                epochs=dict(run=args.epochs, folds=args.epochs*2//3), folds=3, width=args.width, batch=args.batch,
                lr=args.lr,
                scores={k: measured(v, wrong) for k, v in scores.items()},
                find_label_issues=dict(found=int(found.sum()), precision=float(hit.mean()),
                                       recall=float(hit.sum()/wrong.sum())),
                estimated={k: amount_of(h, noisy.given) for k, h in dict(run=run.p, folds=folds.last).items()}, **facts,
                checksum=checksum(noisy.given), device=describe_hardware(args.device), commit=args.commit,
                versions=package_versions() | dict(cleanlab=version('cleanlab')))


def amount_of(p, given):
    a = estimate_noise(p, given)
    return dict(rate=a.rate, sd=a.rate_sd)


def table(rows):
    "Average precision, and precision at the true number of wrong labels, in percent."
    names = list(rows[0]['scores'])
    print(f"\n{'':34}" + ''.join(f"{r['setting']:>14}" for r in rows))
    print(f"{'images, wrong labels':34}" + ''.join(f"{r['images']:>7,}{r['wrong']:>7,}" for r in rows))
    for k in names:
        print(f'{k + " *"*(k == DEFAULT):34}' + ''.join('{ap:>8.1%}{at:>6.0%}'.format(**r['scores'][k]) for r in rows))
    print('* what find_label_issues goes by')


def best_of_theirs(r): return max(v['ap'] for k, v in r['scores'].items() if k.startswith('cleanlab'))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--root', default='data', help='folder of CIFAR-10 as torchvision leaves it, and CIFAR-10_human.pt')
    p.add_argument('--out', type=Path, default=Path('results/suspects.jsonl'), help='rows go here')
    p.add_argument('--work', type=Path, default=Path('runs/suspects'), help='folder for trainings under way')
    p.add_argument('--settings', nargs='+', default=list(NOISES), choices=list(NOISES))
    for k, v in dict(images=10_000, epochs=12, seed=0, batch=32, threads=1, width=.25, lr=.02).items():
        p.add_argument(f'--{k}', type=type(v), default=v)
    p.add_argument('--device', default='cpu')
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    args.commit = git_commit()      # before the first row makes the tree another one
    rows = [json.loads(l) for l in args.out.read_text('utf-8').splitlines()] if args.out.exists() else []
    same = lambda r, s: all(r[k] == v for k, v in dict(setting=s, images=args.images, seed=args.seed).items()) and \
        r['epochs']['run'] == args.epochs
    for s in args.settings:
        if any(same(r, s) for r in rows): continue
        rows.append(row(s, args))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with open(args.out, 'a', encoding='utf-8') as f: f.write(json.dumps(rows[-1]) + '\n')
        print(s, {k: round(v['ap'], 3) for k, v in rows[-1]['scores'].items()}, rows[-1]['cpu_seconds'], flush=True)
    rows = [r for s in args.settings for r in rows if same(r, s)]
    table(rows)
    r = next((r for r in rows if r['setting'] == 'worse'), rows[0])
    ours, theirs, of = r['scores'][DEFAULT]['ap'], best_of_theirs(r), r['setting'].replace(' ', '')
    print(f'\nsuspects_ap_{of}: {ours:.3f}\ncleanlab_ap_{of}: {theirs:.3f}\nsuspects_vs_cleanlab: {ours/theirs:.3f}')


if __name__ == '__main__': main()
