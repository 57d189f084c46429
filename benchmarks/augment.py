"""Augmentation of 32×32 colour images: noisylab for a whole batch against what a user would otherwise write.

1. per-sample RandAugment (n=2, m=9) on one thread, against torchvision's, one image at a time, on PIL images and on
   tensors, the older and the newer (`v2`) transforms; the fastest of the four counts.
2. weak and strong view, normalised float batches of 128, against a `DataLoader` with 2 workers doing the same with
   torchvision on PIL images (the fastest of 1.).

The contestants take turns, so that a busy machine is busy for all of them; the table shows medians.
Last two lines: the two ratios. `NOISYLAB_DATA` (a folder with CIFAR-10 as torchvision leaves it) gives real images.
"""
import argparse
import os
import platform
import resource
import statistics
import time

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T
from torchvision.transforms import v2

from noisylab.augment import RandAugment, Weak, views

BATCH, CHUNK = 128, 2048
MEAN, STD = (.4914, .4822, .4465), (.2470, .2435, .2616)


def images(n):
    "uint8 N×3×32×32: CIFAR-10 where there is one, otherwise soft colours with an edge, and what they are."
    if root := os.environ.get('NOISYLAB_DATA'):
        data = torchvision.datasets.CIFAR10(root, download=False).data[:n]
        return torch.from_numpy(data).permute(0, 3, 1, 2).contiguous(), 'CIFAR-10'
    g = torch.Generator().manual_seed(0)
    soft, fine = torch.rand(n, 3, 5, 5, generator=g), torch.randn(n, 1, 32, 32, generator=g) * .03
    x = torch.nn.functional.interpolate(soft, size=32, mode='bicubic')
    edge = (torch.arange(32) > torch.randint(4, 28, (n, 1), generator=g)).float().view(n, 1, 1, 32) * .3
    return ((x + edge + fine - .1).clamp(0, 1) * 255).to(torch.uint8), 'synthetic'


class Pairs(Dataset):
    "Weak and strong view of each image, normalised, as a plain PyTorch program has them."

    def __init__(self, pil, strong):
        self.pil, self.strong = pil, strong
        self.weak = T.Compose([T.RandomCrop(32, padding=4), T.RandomHorizontalFlip()])
        self.end = T.Compose([T.ToTensor(), T.Normalize(MEAN, STD)])

    def __len__(self): return len(self.pil)

    def __getitem__(self, i):
        weak = self.weak(self.pil[i])
        return self.end(weak), self.end(self.strong(weak))


def timed(f, device):
    "(seconds, CPU-seconds of this process) of `f()`."
    wall, cpu = time.perf_counter(), time.process_time()
    f()
    if device.type == 'cuda': torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def race(contestants, rounds, device):
    "Let each of {name: (function, images)} run in turn, `rounds` times; medians of images/s and images/CPU-second."
    times = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, (f, n) in contestants.items():
            times[name].append([n / t for t in timed(f, device)])
    return {name: tuple(statistics.median(c) for c in zip(*t)) for name, t in times.items()}


def workers_cpu(loader):
    "CPU-seconds its workers have used; they end with this."
    del loader._iterator
    loader._iterator = None
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(title, rows, base):
    print(f"\n{title}\n{'':44}{'images/s':>12}{'per CPU-s':>12}{'ratio':>8}")
    for name, (rate, per_cpu) in rows.items():
        print(f'{name:44}{rate:12,.0f}{per_cpu:12,.0f}{rate / base:8.1f}')


def hardware(device):
    if device.type == 'cuda': return torch.cuda.get_device_name(device)
    try: return next(line.split(':')[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name'))
    except (OSError, StopIteration): return platform.processor() or platform.machine()


def one_by_one(x, pil, rounds, device):
    "Per-sample RandAugment: batched, and torchvision one image at a time."
    theirs = {f'{name}, one by one, {kind}': (transform(), source)
              for name, transform in (('torchvision', T.RandAugment), ('torchvision v2', v2.RandAugment))
              for kind, source in (('PIL', pil[:512]), ('tensors', x[:512].cpu().unbind()))}
    ours, draws = RandAugment(), RandAugment().draw(len(x))

    def batched(size):
        def f():
            for a in range(0, len(x), size): ours.apply(x[a:a + size], draws[a:a + size])
        return f, len(x)

    def single(transform, source):
        def f():
            for img in source: transform(img)
        return f, len(source)

    sizes = (BATCH, 512, CHUNK, len(x))
    runs = {f'noisylab, {size:,} at once': batched(size) for size in sizes}
    runs |= {name: single(*t) for name, t in theirs.items()}
    for f, _ in runs.values(): f()
    rows = race(runs, rounds, device)
    best = max(theirs, key=lambda name: rows[name][0])
    table(f'RandAugment n=2 m=9, {torch.get_num_threads()} thread', rows, rows[best][0])
    return rows[f'noisylab, {CHUNK:,} at once'][0] / rows[best][0], 'v2' in best


def pipeline(x, pil, newer, rounds, device):
    "Weak and strong view in normalised batches, each epoch shuffled: batched, and `DataLoader` with 2 workers."
    loader = DataLoader(Pairs(pil, (v2 if newer else T).RandAugment()), BATCH, shuffle=True, num_workers=2,
                        persistent_workers=True, pin_memory=device.type == 'cuda')
    weak, strong, epoch = Weak(), RandAugment(), iter(range(10**6))
    mean, scale = (255 * torch.tensor(v, device=device).view(-1, 1, 1) for v in (MEAN, STD))

    def batched():
        e = next(epoch)
        order = torch.randperm(len(x))
        crops, ops = weak.draw(len(x), 0, e), strong.draw(len(x), 0, e)
        for idx in order.split(CHUNK if device.type == 'cpu' else len(x)):
            pair = views(x.index_select(0, idx.to(device)), weak, crops[idx], strong, ops[idx])
            for batch in zip(*(v.split(BATCH) for v in pair)):
                [b.float().sub_(mean).div_(scale) for b in batch]

    def loaded():
        for batch in loader: [b.to(device, non_blocking=True) for b in batch]

    runs = {'noisylab': (batched, len(x)), 'DataLoader, 2 workers': (loaded, len(pil))}
    for f, _ in runs.values(): f()  # workers start here
    rows = race(runs, rounds, device)
    base = rows['DataLoader, 2 workers'][0]
    cpu = workers_cpu(loader) / (rounds + 1) / len(pil) + 1 / rows['DataLoader, 2 workers'][1]  # theirs and ours
    table('weak + strong view, normalised', rows | {'DataLoader, 2 workers': (base, 1 / cpu)}, base)
    return rows['noisylab'][0] / base


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--rounds', type=int, default=9, help='turns each contestant gets')
    parser.add_argument('--images', type=int, default=8192, help='images for noisylab, at least 2048')
    parser.add_argument('--threads', type=int, default=1, help='threads of PyTorch in this process')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)
    x, what = images(max(args.images, CHUNK))
    pil = [Image.fromarray(a) for a in x[:4096].permute(0, 2, 3, 1).contiguous().numpy()]
    x = x.to(device)
    print(f'{hardware(device)}, {os.cpu_count()} CPUs, {args.threads} thread; {len(x):,} {what} images, '
          f'{args.rounds} rounds\nPython {platform.python_version()}, torch {torch.__version__}, '
          f'torchvision {torchvision.__version__}, NumPy {np.__version__}, Pillow {Image.__version__}')
    alone, newer = one_by_one(x, pil, args.rounds, device)
    both = pipeline(x, pil, newer, args.rounds, device)
    print(f'\nrandaugment_vs_torchvision: {alone:.1f}\npipeline_vs_dataloader: {both:.1f}')


if __name__ == '__main__':
    main()
