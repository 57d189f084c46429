"""From images in memory to batches that a network takes (weak and strong view, shuffled, normalized, 128 a batch), as
the trainer has them, against a `DataLoader` with 2 workers that does the same with torchvision on PIL images.

`NOISYLAB_DATA` (a folder with CIFAR-10 as torchvision leaves it) gives real images.
"""
import resource

import torch

from _common import begin, images, last, parser, race, table
from _plain import BATCH, loader
from noisylab.data.augment import RandAugment, WeakAugment
from noisylab.training.batches import Batches, epoch_order


def workers_cpu(ours):
    "CPU-seconds its workers have used; they end with this."
    del ours._iterator
    ours._iterator = None
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    args = parser(__doc__).parse_args()
    train, _, what = images(args.images)
    device = begin(args, f'{len(train):,} {what} images', 'pillow')
    theirs = loader(train.pixels[:4096], train.labels[:4096], device)
    train, epoch = train.to(device), iter(range(10**6))
    mean, scale = (255*v.view(-1, 1, 1).to(device) for v in train.stats())
    normal = lambda v: v.float().sub_(mean).div_(scale)

    def fed():
        index = torch.arange(len(train))
        e = next(epoch)
        order = epoch_order(index, 0, e)
        feed = Batches(train, order, BATCH, WeakAugment(), RandAugment(), 0, e, str(device))
        for _, weak, strong, _ in iter(lambda: next(feed, None), None): normal(weak), normal(strong)

    def loaded():
        for _, _, *views in theirs:
            for v in views: normal(v.to(device, non_blocking=True))

    n = len(theirs)*BATCH
    runs = {'noisylab': (fed, len(train)), 'DataLoader, 2 workers': (loaded, n)}
    for f, _ in runs.values(): f()  # workers start here
    rows = race(runs, args.rounds, device)
    base, own = rows['DataLoader, 2 workers']
    cpu = workers_cpu(theirs)/(args.rounds + 1)/n + 1/own   # theirs and ours
    table('weak + strong view, normalized', rows | {'DataLoader, 2 workers': (base, 1/cpu)}, base)
    last(pipeline_vs_dataloader=rows['noisylab'][0]/base)


if __name__ == '__main__': main()
