"""Maps of the features of 2,000 images while a network learns: t-SNE as the live view makes it (a new map, and the next
one from it) against scikit-learn's and openTSNE's defaults, in turns.

The features are those of ResNet18 at a quarter of its width after each of five epochs; the next map has followed all of
them. Quality: the share of each image's 10 nearest neighbours among the features that are among its 10 nearest on the
map.
"""
import time

import torch

from _common import begin, images, last, parser
from noisylab.metrics.embedding import neighborhood_preservation, tsne
from noisylab.training.evaluation import network_outputs
from noisylab.training.spec import Spec
from noisylab.training.trainer import Trainer


def features(n):
    "n×128 after each of five epochs, and what the images are."
    train, test, what = images(n)
    run = Trainer(Spec(noise='none', method='ce', model='resnet18', width=.25, epochs=5, batch=64, lr=.02, watch=10,
                       schedule='constant', device='cpu'), train=train, test=test)
    seen = []
    run.callbacks.append(lambda t: seen.append(network_outputs(t, t.data.train)['features'].numpy()))
    run.fit(progress=False)
    return seen, what


def main():
    p = parser(__doc__, rounds=3, images=2000)
    args = p.parse_args()
    args.device = 'cpu'
    try: import openTSNE
    except ImportError: return print('openTSNE is not installed: pip install "noisylab[lab]"; nothing was measured')
    from sklearn.manifold import TSNE
    begin(args, f'{args.images:,} images', 'openTSNE', 'scikit-learn')
    (*before, after), what = features(args.images)
    old = None
    for f in before: old = tsne(f, old)
    runs = {'noisylab, a new map': lambda: tsne(after),
            'noisylab, from the map before': lambda: tsne(after, old),
            'scikit-learn': lambda: TSNE(n_jobs=args.threads, random_state=0).fit_transform(after),
            'openTSNE': lambda: openTSNE.TSNE(n_jobs=args.threads, random_state=0).fit(after)}
    took, maps = {k: [] for k in runs}, {}
    for _ in range(args.rounds):
        for k, f in runs.items():
            start = time.perf_counter()
            maps[k] = f()
            took[k].append(time.perf_counter() - start)
    seconds = {k: sorted(v)[len(v)//2] for k, v in took.items()}
    quality = {k: neighborhood_preservation(after, m) for k, m in maps.items()}
    print(f"\n{what}, {torch.get_num_threads()} thread\n{'':32}{'seconds':>10}{'ratio':>8}{'neighbours':>12}")
    for k in runs: print(f"{k:32}{seconds[k]:10.2f}{seconds['scikit-learn']/seconds[k]:8.1f}{quality[k]:12.1%}")
    new, warm, theirs = 'noisylab, a new map', 'noisylab, from the map before', 'scikit-learn'
    n = args.images
    last(**{f'tsne_vs_sklearn_{n}': seconds[theirs]/seconds[new], f'tsne_quality_{n}': quality[new]/quality[theirs],
            f'tsne_next_vs_sklearn_{n}': seconds[theirs]/seconds[warm],
            f'tsne_next_quality_{n}': quality[warm]/quality[theirs]})


if __name__ == '__main__': main()
