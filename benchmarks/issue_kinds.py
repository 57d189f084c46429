"""How well other issues than wrong labels are found: copies, leaks, strangers, dark and blurred pictures planted among
CIFAR-10's, beside cleanlab's Datalab on the same features and, where it is installed, cleanvision.

    python benchmarks/issue_kinds.py --root data --out results/issue-kinds.jsonl

Seed s takes images 10,000, 30,000 or 40,000 … of CIFAR-10's training set; thresholds were chosen on 20,000–29,999.
What is listed and was not planted counts as natural: CIFAR-10 has near copies and strange pictures of its own.
Strangers are pictures of CIFAR-100 with any label. Features of EfficientNet-Lite0, 128 pixels.
"""
import argparse
import io
import json
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from sklearn.metrics import average_precision_score

from noisylab.data.images import Images
from noisylab.data.sources import load
from noisylab.label_issues.find import find_label_issues
from noisylab.models.features import compute_features
from noisylab.models.pretrained import load_backbone
from noisylab.training.environment import describe_hardware, git_commit

STARTS = 10_000, 30_000, 40_000
RNG = np.random.default_rng(0)


def jpeg(im):
    file = io.BytesIO()
    im.save(file, 'JPEG', quality=40)
    return Image.open(file).convert('RGB')


def noise(im): return Image.fromarray((np.asarray(im) + RNG.normal(0, 10, (32, 32, 3))).clip(0, 255).astype(np.uint8))
def shift(im): return Image.fromarray(np.pad(np.asarray(im), ((2, 0), (2, 0), (0, 0)), mode='edge')[:32, :32])


NEAR = dict(
    jpeg=jpeg, brighter=lambda im: ImageEnhance.Brightness(im).enhance(1.3), noise=noise, mirrored=ImageOps.mirror,
    flatter=lambda im: ImageEnhance.Contrast(im).enhance(.7), grey=lambda im: im.convert('L').convert('RGB'),
    shift=shift, halved=lambda im: im.resize((16, 16), Image.BILINEAR).resize((32, 32), Image.BICUBIC),
    cropped=lambda im: im.crop((2, 2, 30, 30)).resize((32, 32), Image.BILINEAR),
    turned=lambda im: im.rotate(5, Image.BILINEAR))


def changed(pixels, how):
    "uint8 3×32×32 through a function of a picture."
    return torch.from_numpy(np.asarray(how(Image.fromarray(pixels.permute(1, 2, 0).numpy()))).transpose(2, 0, 1).copy())


def planted(train, test, others, start, seed):
    "Images, test images, and the positions of what is planted: kind → positions."
    rng, n = np.random.default_rng(seed), 10_000
    x = train.pixels[start:start + n].clone()
    y = train.labels[start:start + n].numpy()
    pick, place, new, labels = iter(rng.permutation(n).reshape(-1, 20)), {}, [], []
    take = lambda k: np.concatenate([next(pick) for _ in range(k)])

    def add(kind, pixels, of):
        place[kind] = np.arange(n + len(labels), n + len(labels) + len(of))
        new.extend(pixels), labels.extend(of)
    same, other, leaked = take(2), take(2), take(5)
    sources = [same, other]
    add('exact, one class', x[same], y[same])
    add('exact, two classes', x[other], (y[other] + rng.integers(1, 10, len(other))) % 10)
    for name, how in NEAR.items():
        at = take(1)
        add(f'near, {name}', [changed(x[i], how) for i in at], y[at])
        sources.append(at)
    known = [others.classes.index(c) for c in ('bus', 'pickup_truck')]
    strange = rng.choice(np.flatnonzero(~np.isin(others.labels, known)), 200, replace=False)
    add('outlier', others.pixels[strange], rng.integers(0, 10, 200))
    for kind, how in dict(dark=lambda im: im.point(lambda v: v//4),
                          blurred=lambda im: im.filter(ImageFilter.GaussianBlur(1.5))).items():
        place[kind] = take(5)
        for i in place[kind]: x[i] = changed(x[i], how)
    near = take(5)
    copies = [changed(x[i], list(NEAR.values())[k % 7]) for k, i in enumerate(near)]
    place |= {'leak, exact': leaked, 'leak, near': near, 'sources': np.concatenate(sources)}
    images = Images(torch.cat([x, torch.stack(list(new))]), np.concatenate([y, np.array(labels)]), train.classes)
    tests = Images(torch.cat([test.pixels[1000*seed:1000*seed + 1000], x[leaked], torch.stack(copies)]),
                   np.concatenate([test.labels[1000*seed:1000*seed + 1000], y[leaked], y[near]]), train.classes)
    return images, tests, place


def share(listed, at): return float(np.isin(at, listed).mean())


def measured(listed, scores, at, also):
    "Of a kind: recall, how many are listed that were not planted (nor belong to what was: `also`), average precision."
    listed = np.asarray(sorted(listed), int)
    is_one = np.isin(np.arange(len(scores)), at)
    natural = int((~np.isin(listed, np.concatenate([at, also]))).sum())
    return dict(recall=share(listed, at), listed=len(listed), natural=natural,
                precision=1 - natural/len(listed) if len(listed) else None,
                ap=float(average_precision_score(is_one, -np.asarray(scores))))


def datalab(x, y, kinds):
    from cleanlab.datalab.datalab import Datalab
    lab = Datalab({'label': y.tolist()}, label_name='label', verbosity=0)
    lab.find_issues(features=np.asarray(x, np.float32), issue_types={'outlier': {}, 'near_duplicate': {}})
    table = {k: lab.get_issues(k) for k in kinds}
    return {k: (np.flatnonzero(t[f'is_{k}_issue']), t[f'{k}_score'].to_numpy()) for k, t in table.items()}


def cleanvision(images):
    from cleanvision.imagelab import Imagelab
    pictures = [(Image.fromarray(x.permute(1, 2, 0).numpy()), 0) for x in images.pixels]
    lab = Imagelab(torchvision_dataset=pictures)
    lab.find_issues({'dark': {}, 'blurry': {}}, n_jobs=1, verbose=False)
    return {ours: (np.flatnonzero(lab.issues[f'is_{k}_issue']), lab.issues[f'{k}_score'].to_numpy())
            for ours, k in (('dark', 'dark'), ('blurred', 'blurry'))}


def row(seed, args):
    train, test = load('cifar10', args.root)
    images, tests, place = planted(train, test, load('cifar100', args.root)[0], STARTS[seed], seed)
    start = time.process_time()
    found = find_label_issues(images, test=tests, backbone='efficientnet_lite0', progress=False)
    seconds = time.process_time() - start
    kinds, given = {f.name: f for f in found.found}, images.labels.numpy()
    near = np.concatenate([v for k, v in place.items() if k.startswith('near, ')])
    exact = np.concatenate([v for k, v in place.items() if k.startswith('exact, ')])
    of = lambda kind, at, also=(): measured(kinds[kind].reason, kinds[kind].score, at, also)
    leaks = [i for k in ('exact_duplicate', 'near_duplicate') for i, why in kinds[k].reason.items() if 'a leak' in why]
    two = [i for i, why in kinds['exact_duplicate'].reason.items() if 'two classes' in why]
    both = np.concatenate([place['leak, exact'], place['leak, near']])
    ours = dict(exact_duplicate=share(list(kinds['exact_duplicate'].reason), exact),
                two_classes=share(two, place['exact, two classes']),
                near_duplicate=of('near_duplicate', near, np.concatenate([place['sources'], exact, both])),
                near={k[6:]: share(list(kinds['near_duplicate'].reason), v) for k, v in place.items() if 'near, ' in k},
                leaks=dict(exact=share(leaks, place['leak, exact']), near=share(leaks, place['leak, near']),
                           natural=len(set(leaks) - set(both.tolist()))),
                **{k: of(k, place[k]) for k in ('outlier', 'dark', 'blurred')})
    x = compute_features(images, load_backbone('efficientnet_lite0'), progress=False)
    theirs = datalab(x, given, ('outlier', 'near_duplicate'))
    rival = dict(outlier=measured(*theirs['outlier'], place['outlier'], ()),
                 near_duplicate=measured(*theirs['near_duplicate'], near, np.concatenate([place['sources'], exact])))
    versions = dict(torch=torch.__version__, cleanlab=version('cleanlab'))
    if find_spec('cleanvision'):
        versions['cleanvision'] = version('cleanvision')
        rival |= {k: measured(*v, place[k], ()) for k, v in cleanvision(images).items()}
    return dict(seed=seed, start=STARTS[seed], images=len(images), ours=ours, rival=rival, seconds=seconds,
                device=describe_hardware('cpu'), commit=args.commit, versions=versions)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--root', default='data', help='folder of CIFAR-10 and CIFAR-100')
    p.add_argument('--out', type=Path, default=Path('results/issue-kinds.jsonl'), help='rows go here')
    p.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    args = p.parse_args()
    torch.set_num_threads(1)
    args.commit = git_commit()
    args.out.unlink(missing_ok=True)
    for seed in args.seeds:
        r = row(seed, args)
        print(json.dumps({k: r[k] for k in ('seed', 'ours', 'rival')}, indent=1))
        with args.out.open('a', encoding='utf-8') as f: f.write(json.dumps(r) + '\n')


if __name__ == '__main__': main()
