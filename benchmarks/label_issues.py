"""How well wrong labels are found: noisylab's judge beside the standard (five-fold regression on the same features, the
same folds, cleanlab), on features of EfficientNet-Lite0, which come with noisylab[offline].

    python benchmarks/label_issues.py --root data --out results/label-issues.jsonl

Seed s takes images 20,000 + 10,000·s … of CIFAR-10's training set, and images 100 + 100·s … of each class of CIFAR-100;
settings were chosen on others (CIFAR-10 0–9,999, the first 100 of each class). True labels measure and nothing else.
Rows that are done are kept in --out, features in noisylab's cache.
"""
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from _common import complete_rows, row_parser
from noisylab.data.noise import inject
from noisylab.data.sources import load
from noisylab.data.validation import checksum
from noisylab.label_issues.find import find_label_issues
from noisylab.label_issues.judge import HeadLoss, held_out_logits, make_folds, standardize
from noisylab.models.features import compute_features
from noisylab.models.pretrained import load_backbone
from noisylab.training.environment import describe_hardware

SETTINGS = {        # name → data, images, noise, rate, more
    'clean': ('cifar10', 10_000, 'none', 0., {}), '1% wrong': ('cifar10', 10_000, 'symmetric', .01, {}),
    'symmetric .2': ('cifar10', 10_000, 'symmetric', .2, {}), 'symmetric .4': ('cifar10', 10_000, 'symmetric', .4, {}),
    'symmetric .8': ('cifar10', 10_000, 'symmetric', .8, {}), 'asymmetric .2': ('cifar10', 10_000, 'next', .2, {}),
    'asymmetric .4': ('cifar10', 10_000, 'next', .4, {}), 'aggregate': ('cifar10', 10_000, 'human:aggregate', None, {}),
    'worse': ('cifar10', 10_000, 'human:worse', None, {}),
    '10:1, asymmetric .2': ('cifar10', 10_000, 'next', .2, dict(imbalance=10)),
    '600, symmetric .15': ('cifar10', 600, 'symmetric', .15, {}),
    'CIFAR-100, symmetric .2': ('cifar100', 10_000, 'symmetric', .2, {}),
    'CIFAR-100, asymmetric .2': ('cifar100', 10_000, 'next', .2, {}),
    'digits, symmetric .2': ('digits', 1437, 'symmetric', .2, {}),
}


def images_of(data, n, seed, root):
    "Images of a seed, and their features: pixels for digits."
    if data == 'digits':
        train = load('digits', seed=seed)[0]
        return train, train.take(torch.arange(len(train))).flatten(1).float().numpy()
    train, true = load(data, root)[0], None
    if data == 'cifar10': at = np.arange(20_000 + 10_000*seed, 30_000 + 10_000*seed)
    else:
        true = train.labels.numpy()
        at = np.concatenate([np.flatnonzero(true == c)[100 + 100*seed:200 + 100*seed] for c in range(100)])
    train = train.subset(at)
    return train, compute_features(train, load_backbone('efficientnet_lite0'), workers=0)


def wrong_labels(train, kind, rate, seed, root):
    true, C = train.labels.numpy(), train.n_classes
    if kind == 'none': return true
    further = {c: (c + 1) % C for c in range(C)}
    if kind == 'next': return inject(true, 'asymmetric', rate, C, seed, class_map=further).given
    more = dict(file=Path(root)/'CIFAR-10_human.pt') if kind.startswith('human') else {}
    if more and not train.published: raise SystemExit('human labels need CIFAR-10 in its published order')
    return inject(true, kind, rate, C, seed, ids=train.ids, **more).given


def regression(x, given, C, seed):
    "The standard: out-of-fold probabilities of softmax regression, weight decay .3, five folds."
    def cross_entropy(p, y, n):
        g = p.clone()
        g[torch.arange(len(y)), :, y] -= 1
        return g
    fold = torch.from_numpy(make_folds(given, 5, seed))
    return held_out_logits(standardize(x, len(given)), torch.from_numpy(given), C, fold, [HeadLoss(cross_entropy, .3)],
                           seed)[0].exp().numpy()


def measured(p_wrong, listed, labels, given, true):
    wrong, n = given != true, int((given != true).sum())
    hit, bins = int(wrong[listed].sum()), np.clip((p_wrong*10).astype(int), 0, 9)
    order = np.argsort(-p_wrong, kind='stable')
    error = sum(abs(p_wrong[bins == b].mean() - wrong[bins == b].mean())*(bins == b).mean() for b in np.unique(bins))
    return dict(ap=float(average_precision_score(wrong, p_wrong)) if n else None,
                at=float(wrong[order[:n]].mean()) if n else None, listed=int(listed.sum()),
                precision=hit/max(1, int(listed.sum())), recall=hit/max(1, n),
                f1=2*hit/max(1, int(listed.sum()) + n), calibration_error=float(error), rate=float(p_wrong.mean()),
                mended=float((labels == true).mean()))


def row(name, seed, args, cache):
    from cleanlab.filter import find_label_issues as cleanlabs
    data, n, kind, rate, more = SETTINGS[name]
    if (data, seed) not in cache:
        cache.clear()
        cache[data, seed] = images_of(data, n, seed, args.root)
    train, x = cache[data, seed]
    true, at = train.labels.numpy(), np.arange(len(train))
    if ratio := more.get('imbalance'):
        at = at[np.random.default_rng(seed).random(len(at)) < float(ratio)**-(true/(train.n_classes - 1))]
    at = at[:n]
    train, x = train.subset(at), x[at]
    true, given, C = train.labels.numpy(), wrong_labels(train, kind, rate, seed, args.root), train.n_classes
    start = time.process_time()
    p = regression(x, given, C, seed)
    listed = cleanlabs(given, p, n_jobs=1)
    other = np.where(listed, p.argmax(1), given)
    seconds, start = dict(standard=time.process_time() - start), time.process_time()
    found = find_label_issues(features=x, labels=given, classes=train.classes, seed=seed)
    seconds['judge'] = time.process_time() - start
    by_p = find_label_issues(probabilities=p, labels=given, classes=train.classes)
    ours = lambda f: measured(f.judged.wrong, np.isin(np.arange(len(given)), f.index), f.mended_labels(), given, true)
    low, high = found.noise.interval
    return dict(setting=name, seed=seed, data=data, noise=kind, rate=rate, images=len(true),
                wrong=int((given != true).sum()),
                standard=measured(1 - p[np.arange(len(p)), given], listed, other, given, true), judge=ours(found),
                judge_of_probabilities=ours(by_p), interval=[low, high], seconds=seconds, checksum=checksum(given),
                device=describe_hardware('cpu'), commit=args.commit,
                versions=dict(torch=torch.__version__, cleanlab=version('cleanlab')))


def table(rows):
    mean = lambda v: sum(v)/len(v)
    print('setting | n | standard: AP, list (precision / recall, F1) | judge: AP, list, F1, calibration error, rate '
          'said (true), right labels given → mended | s')
    for name in SETTINGS:
        r = [o for o in rows if o['setting'] == name]
        if not r: continue
        def of(who, k): return mean([o[who][k] or 0. for o in r])
        true = mean([o['wrong']/o['images'] for o in r])
        print(f"{name} | {len(r)} | {of('standard', 'ap'):.3f}, {of('standard', 'listed'):.0f} "
              f"({of('standard', 'precision'):.2f} / {of('standard', 'recall'):.2f}, {of('standard', 'f1'):.2f}) | "
              f"{of('judge', 'ap'):.3f}, {of('judge', 'listed'):.0f} ({of('judge', 'precision'):.2f} / "
              f"{of('judge', 'recall'):.2f}, {of('judge', 'f1'):.2f}), {of('judge', 'calibration_error'):.3f}, "
              f"{of('judge', 'rate'):.3f} ({true:.3f}), {1 - true:.3f} → {of('judge', 'mended'):.3f} | "
              f"{mean([o['seconds']['judge'] for o in r]):.0f}")


def main():
    args, cache = row_parser(__doc__, 'results/label-issues.jsonl', SETTINGS, SETTINGS).parse_args(), {}
    rows = complete_rows(args, lambda name, seed: row(name, seed, args, cache),
                         lambda r: {k: r['judge'][k] for k in ('ap', 'f1', 'rate')})
    table(rows)
    noisy = [r for r in rows if r['wrong']]
    mean = lambda who, s, k: np.mean([r[who][k] for r in noisy if r['setting'] == s])
    ratio = lambda k: min(mean('judge', s, k)/mean('standard', s, k) for s in {r['setting'] for r in noisy})
    print(f"issues_ap_vs_cleanlab_min: {ratio('ap'):.3f}\nissues_f1_vs_cleanlab_min: {ratio('f1'):.3f}")
    for name, s, k in (('issues_asym_ap', 'asymmetric .4', 'ap'),
                       ('issues_600_precision', '600, symmetric .15', 'precision')):
        if any(r['setting'] == s for r in noisy): print(f"{name}: {mean('judge', s, k):.3f}")


if __name__ == '__main__': main()
