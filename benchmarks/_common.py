"""What the benchmarks share: images, turns, tables, the machine in words."""
import argparse, json, os, platform, time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

from noisylab.data.images import Images
from noisylab.training.environment import describe_hardware, git_commit


def parser(doc, **defaults):
    "The options that all have; `defaults` of rounds, images, threads."
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    p.add_argument('--rounds', type=int, default=defaults.get('rounds', 9), help='turns each contestant gets')
    p.add_argument('--images', type=int, default=defaults.get('images', 8192), help='images that are used')
    p.add_argument('--threads', type=int, default=defaults.get('threads', 1), help='threads of PyTorch in this process')
    return p


def begin(args, what, *packages):
    "Set the threads, say where numbers come from, return the device."
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    def found(name):
        try: return version(name)
        except PackageNotFoundError: return 'not installed'
    names = ', '.join(f'{n} {found(n)}' for n in ('torch', 'torchvision', 'numpy', *packages))
    print(f'{describe_hardware(args.device)}, {os.cpu_count()} CPUs; {what}, {args.rounds} rounds\n'
          f'Python {platform.python_version()}, {names}, noisylab at {git_commit()}', flush=True)
    return torch.device(args.device)


def pixels(n):
    "uint8 N×3×32×32 and labels: CIFAR-10 where there is one, otherwise soft colours with an edge, and what they are."
    if root := os.environ.get('NOISYLAB_DATA'):
        from torchvision.datasets import CIFAR10
        data = CIFAR10(root, download=False)
        x, y = torch.from_numpy(data.data[:n]).permute(0, 3, 1, 2).contiguous(), torch.tensor(data.targets[:n])
        return x, y, 'CIFAR-10'
    g = torch.Generator().manual_seed(0)
    y, colour = torch.arange(n) % 10, torch.rand(10, 3, 5, 5, generator=g)
    soft = .6*torch.rand(n, 3, 5, 5, generator=g) + .4*colour[y]
    x = torch.nn.functional.interpolate(soft, size=32, mode='bicubic')
    edge = (torch.arange(32) > torch.randint(4, 28, (n, 1), generator=g)).float().view(n, 1, 1, 32)*.3
    fine = torch.randn(n, 1, 32, 32, generator=g)*.03
    return ((x + edge + fine - .1).clamp(0, 1)*255).to(torch.uint8), y, 'synthetic'


def images(n):
    "The same as `Images`, to train and to test on, and what they are."
    x, y, what = pixels(n)
    classes = [str(c) for c in range(10)]
    few = torch.arange(min(n, 1000))
    return Images(x, y, classes, name=what), Images(x[few], y[few], classes, name=what), what


def wait(device):
    if device.type == 'cuda': torch.cuda.synchronize(device)


def timed(f, device):
    "(seconds, CPU-seconds of this process) of `f()`."
    wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    f()
    wait(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def race(contestants, rounds, device):
    "Let each of {name: (function, images)} run in turn, `rounds` times; medians of images/s and images/CPU-second."
    times = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, (f, n) in contestants.items():
            times[name].append([n/t for t in timed(f, device)])
    return {name: tuple(np.median(t, 0)) for name, t in times.items()}


def table(title, rows, base):
    print(f"\n{title}\n{'':44}{'images/s':>12}{'per CPU-s':>12}{'ratio':>8}")
    for name, (rate, per_cpu) in rows.items():
        print(f'{name:44}{rate:12,.0f}{per_cpu:12,.0f}{rate/base:8.2f}')



def last(**ratios):
    "The last lines: one ratio each."
    print()
    for name, v in ratios.items(): print(f'{name}: {v:.3g}')


def row_parser(doc, out, settings, chosen):
    "The options of a benchmark that keeps rows, one for each of its settings and seeds."
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--root', default='data', help='folder of the datasets and of CIFAR-10_human.pt')
    p.add_argument('--out', type=Path, default=Path(out), help='rows go here; those that are there are kept')
    p.add_argument('--settings', nargs='+', default=list(chosen), choices=list(settings))
    p.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    p.add_argument('--threads', type=int, default=1, help='threads of PyTorch')
    return p


def complete_rows(args, row, show):
    "All rows: those in `args.out`, and what `row(setting, seed)` makes, written as they come and shown by `show`."
    torch.set_num_threads(args.threads)
    args.commit = git_commit()
    rows = [json.loads(o) for o in args.out.read_text('utf-8').splitlines()] if args.out.exists() else []
    for seed in args.seeds:
        for name in args.settings:
            if any((r['setting'], r['seed']) == (name, seed) for r in rows): continue
            rows.append(row(name, seed))
            args.out.parent.mkdir(parents=True, exist_ok=True)
            with open(args.out, 'a', encoding='utf-8') as f: f.write(json.dumps(rows[-1]) + '\n')
            print(name, seed, show(rows[-1]), flush=True)
    return rows
