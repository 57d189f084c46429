"""A review that learns: wrong labels found after 50, 100, 300 decisions, where the true labels answer as the reviewer.

    python benchmarks/review.py --root data --out results/review.jsonl

Three orders of the same labels: `refit`, noisylab's judge, refitted after every page of decisions to the labels that
these verified; `static`, the judge's first order; `cleanlab`, its list by self-confidence, from five-fold
softmax regression on the same features. Images, noise and features are those of label_issues.py; true labels answer and
measure.
"""
import time
from importlib.metadata import version

import numpy as np
import torch

from _common import complete_rows, row_parser
from label_issues import SETTINGS, images_of, regression, wrong_labels
from noisylab.data.validation import checksum
from noisylab.label_issues.find import find_label_issues
from noisylab.label_issues.verified import VerifiedJudge
from noisylab.training.environment import describe_hardware

NAMES = 'worse', 'asymmetric .4', 'symmetric .2', 'aggregate', '1% wrong'
AFTER = 50, 100, 300    # decisions


def found_after(order, wrong): return [int(wrong[order[:k]].sum()) for k in AFTER]


def refitted(found, true, page):
    "Positions in the order in which they come up, and the seconds of each refit."
    judge, wrong, seen, seconds = VerifiedJudge(found.judged, found.labels, found.features), found.judged.wrong, [], []
    judge.refit({})         # features are reduced once, before the first answer
    while len(seen) < max(AFTER):
        order = np.argsort(-wrong, kind='stable')
        seen += order[~np.isin(order, seen)][:page].tolist()
        start = time.process_time()
        wrong = judge.refit({i: int(true[i]) for i in seen}).wrong
        seconds.append(time.process_time() - start)
    return np.array(seen), seconds


def cleanlabs(x, given, C, seed):
    from cleanlab.filter import find_label_issues
    p = regression(x, given, C, seed)
    listed = find_label_issues(given, p, return_indices_ranked_by='self_confidence', n_jobs=1)
    rest = np.argsort(p[np.arange(len(p)), given], kind='stable')
    return np.r_[listed, rest[~np.isin(rest, listed)]]


def row(name, seed, args, cache):
    data, n, kind, rate, _ = SETTINGS[name]
    if seed not in cache:
        cache.clear()
        cache[seed] = images_of(data, n, seed, args.root)
    train, x = cache[seed]
    true, C = train.labels.numpy(), train.n_classes
    given = wrong_labels(train, kind, rate, seed, args.root)
    wrong = given != true
    found = find_label_issues(features=x, labels=given, classes=train.classes, seed=seed)
    order, seconds = refitted(found, true, args.page)
    static = np.argsort(-found.judged.wrong, kind='stable')
    return dict(setting=name, seed=seed, images=len(true), wrong=int(wrong.sum()), page=args.page, after=AFTER,
                refit=found_after(order, wrong), static=found_after(static, wrong),
                cleanlab=found_after(cleanlabs(x, given, C, seed), wrong), seconds=[float(np.median(seconds)),
                max(seconds)], checksum=checksum(given), device=describe_hardware('cpu'), commit=args.commit,
                versions=dict(torch=torch.__version__, cleanlab=version('cleanlab')))


def main():
    p = row_parser(__doc__, 'results/review.jsonl', SETTINGS, NAMES)
    p.add_argument('--page', type=int, default=10, help='decisions from one refit to the next')
    args, cache = p.parse_args(), {}
    rows = complete_rows(args, lambda name, seed: row(name, seed, args, cache),
                         lambda r: {k: r[k] for k in ('refit', 'static', 'cleanlab', 'seconds')})
    print(f'setting | n | wrong | found after {AFTER}: refit | static | cleanlab | s a refit, median')
    for name in args.settings:
        r = [o for o in rows if o['setting'] == name]
        mean = lambda k: ' '.join(f'{v:.0f}' for v in np.mean([o[k] for o in r], 0))
        print(f"{name} | {len(r)} | {np.mean([o['wrong'] for o in r]):.0f} | {mean('refit')} | {mean('static')} | "
              f"{mean('cleanlab')} | {np.mean([o['seconds'][0] for o in r]):.2f}")
    some = [r for r in rows if r['setting'] in args.settings]
    for k in ('static', 'cleanlab'):
        print(f"review_found_vs_{k}: {np.sum([r['refit'] for r in some])/np.sum([r[k] for r in some]):.3f}")


if __name__ == '__main__': main()
