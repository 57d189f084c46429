"""Batches of pictures that stay on disk: noisylab's beside torchvision's `ImageFolder` and `DataLoader`, with as many
worker processes, over the same JPEG files: random crop and flip (plain), and RandAugment n=2 m=9 on top (where noisylab
gives the weak view, too). They take turns; the table shows medians. Last, a training on a folder of these files: the
memory that it and its workers take above an interpreter that has imported torch.

    python benchmarks/stream.py --images 20000 --memory     # only the memory, of a folder of 3.9 GB of pixels
"""
import os, subprocess, sys, tempfile
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from _common import begin, last, parser, race, table

BATCH, CLASSES = 128, 10


def write_jpegs(folder, n, side):
    "`n` JPEG files in class folders: a hundred that differ, and links to them."
    rng = np.random.RandomState(0)
    for i in range(n):
        file = folder/str(i % CLASSES)/f'{i}.jpg'
        if i < CLASSES: file.parent.mkdir(parents=True)
        if i >= 100: os.link(folder/str(i % CLASSES)/f'{i % 100}.jpg', file); continue
        soft = Image.fromarray(rng.randint(0, 256, (side//16, side//16, 3), np.uint8)).resize((side, side))
        fine = np.asarray(soft) + rng.normal(0, 6, (side, side, 1))
        Image.fromarray(fine.clip(0, 255).astype(np.uint8)).save(file, quality=90)


def private_mb(process):
    "Memory that only this process has, in MB."
    text = Path(f'/proc/{process}/smaps_rollup').read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith('Private'))/1024


def peak_mb():
    "The most memory that this process had, in MB; `ru_maxrss` would remember the process that started this one."
    text = Path('/proc/self/status').read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith('VmHWM'))/1024


def train(folder, workers, size):
    "The memory in MB that a training on `folder` takes, this process and its workers, above torch."
    torch.set_num_threads(1)
    Path('/proc/self/clear_refs').write_text('5')
    before, beside = peak_mb(), [0]
    from noisylab.data.sources import load
    from noisylab.training.spec import Spec
    from noisylab.training.trainer import Trainer
    images, test = load(folder, in_memory=False, size=size)
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(192, CLASSES))
    spec = Spec(noise='symmetric', rate=.4, method='balanced', epochs=1, batch=8, workers=workers, device='cpu')
    trainer = Trainer(spec, train=images, test=test, net=net, layer='1')
    for _ in trainer.steps(): beside.append(sum(private_mb(p.pid) for p in active_children()))
    return peak_mb() - before + max(beside)


def memory(folder, workers, size):
    "The same in a process of its own."
    size = [] if size is None else ['--size', str(size)]
    res = subprocess.run([sys.executable, __file__, '--train', folder, '--workers', str(workers), *size],
                         capture_output=True, text=True)
    if res.returncode: sys.exit(res.stderr)
    return float(res.stdout.split()[-1])


def loader(folder, workers, size, strong):
    "What a user would otherwise write."
    from torch.utils.data import DataLoader
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder
    fit = [T.Resize(size), T.CenterCrop(size)]
    more = [T.RandAugment()] if strong else []
    data = ImageFolder(folder, T.Compose([*fit, T.RandomCrop(size, padding=4), T.RandomHorizontalFlip(), *more,
                                          T.PILToTensor()]))
    return DataLoader(data, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0, drop_last=True)


def compare(folder, args, device):
    "Both in turns, plain and with RandAugment; the ratios."
    from noisylab.data.augment import RandAugment, WeakAugment
    from noisylab.data.sources import load_all
    from noisylab.training.batches import Batches, epoch_order
    images = load_all(folder, in_memory=False, size=args.size)
    size, epoch = images.shape[1], iter(range(10**6))
    n = len(images)//BATCH*BATCH

    def ours(strong):
        def f():
            e = next(epoch)
            feed = Batches(images, epoch_order(torch.arange(n), 0, e), BATCH, WeakAugment(4),
                           RandAugment() if strong else None, 0, e, str(device), workers=args.workers)
            for _, weak, augmented, _ in feed: (augmented if strong else weak).float().div_(255)
        return f, n

    def theirs(strong):
        batches = loader(folder, args.workers, size, strong)
        def f():
            for x, _ in batches: x.to(device).float().div_(255)
        return f, n

    ratios = {}
    for what, strong in (('plain', False), ('randaugment', True)):
        rows = race({'noisylab': ours(strong), 'ImageFolder, DataLoader': theirs(strong)}, args.rounds, device)
        base = rows['ImageFolder, DataLoader'][0]
        table(f'{what}, {args.workers} workers, {args.side} px to {size} px', rows, base)
        ratios[f'stream_{what}_ratio'] = rows['noisylab'][0]/base
    return ratios


def main():
    p = parser(__doc__, rounds=5, images=1280)
    p.add_argument('--workers', type=int, default=2, help='processes that read, of each contestant')
    p.add_argument('--side', type=int, default=256, help='of the files, pixels')
    p.add_argument('--size', type=int, help='that they are read at, pixels; as they are, if it is left out')
    p.add_argument('--memory', action='store_true', help='only the memory of a training')
    p.add_argument('--train', metavar='FOLDER', help='print the memory that a training on FOLDER takes')
    args = p.parse_args()
    if args.train: return print(train(args.train, args.workers, args.size))
    device = begin(args, f'{args.images:,} JPEG files of {args.side} px, {args.workers} workers', 'pillow')
    with tempfile.TemporaryDirectory() as folder:
        write_jpegs(Path(folder), args.images, args.side)
        ratios = {} if args.memory else compare(folder, args, device)
        last(**ratios, stream_rss_mb=memory(folder, args.workers, args.size))


if __name__ == '__main__': main()
