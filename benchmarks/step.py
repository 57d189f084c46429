"""A training step of ResNet18 on images of 32×32 pixels, augmentation included: the trainer's against what one would
otherwise write (`_plain.py`: a `DataLoader` with 2 workers, torchvision's RandAugment on PIL images, fp32), with
cross-entropy and with the paper's method, in turns of an epoch each.

On a GPU, or with --full, whole epochs as well: seconds, images/s, memory, the share of the matrix products' measured
speed that the counted FLOPs make, what 300 epochs take, and what it costs that equal runs give equal bits.
"""
from contextlib import nullcontext

import torch
from torch.utils.flop_counter import FlopCounterMode

from _common import begin, images, last, parser, pixels, race, table, timed
from _plain import PlainLoop
from noisylab.training import step
from noisylab.methods.base import Batch
from noisylab.training.environment import auto_precision
from noisylab.training.spec import Spec
from noisylab.training.evaluation import measure_epoch
from noisylab.training.trainer import Trainer

NEVER = 100_000


def trainer(args, method, **fields):
    "A run that nothing measures."
    train, test, _ = images(args.images)
    spec = Spec(noise='none', method=method, model='resnet18', width=args.width, batch=args.batch, epochs=NEVER,
                eval_every=NEVER, watch=1000, device=args.device, **fields)
    return Trainer(spec, train=train, test=test)


def epoch(run):
    "A function that trains for an epoch."
    steps = run.steps()
    return lambda: [next(steps) for _ in range(run.steps_per_epoch)]


def against_plain(args, device):
    "Ratios of images/s."
    x, y, _ = pixels(args.images)
    own = auto_precision(args.device, 'resnet18')
    ratios = {}
    for method in ('ce', 'paper'):
        run = trainer(args, method)
        plain = PlainLoop(run, x, y)
        runs = {f'noisylab, {run.spec.precision}, {run.spec.engine}': epoch(run)}
        if own == 'bf16': runs['noisylab, fp32'] = epoch(trainer(args, method, precision='fp32'))
        runs['plain loop'] = lambda: [plain.step() for _ in range(len(plain.loader))]
        for f in runs.values(): f()     # kernels are chosen, a graph is recorded, workers start
        rows = race({name: (f, args.images) for name, f in runs.items()}, args.rounds, device)
        base, own_rate = rows['plain loop'][0], next(iter(rows.values()))[0]
        table(f'{method}: {args.batch} images a step, width {args.width:g}', rows, base)
        ratios['step_vs_plain_loop' + ('' if method == 'paper' else '_ce')] = own_rate/base
        if own == 'bf16' and method == 'paper': ratios['bf16_vs_fp32'] = own_rate/rows['noisylab, fp32'][0]
        ratios[f'{method} images/s'] = own_rate
    ratios['full_vs_ce_step'] = ratios.pop('ce images/s')/ratios.pop('paper images/s')
    if own == 'fp32': print(f'\nbf16_vs_fp32 is not measured: fp32 is what is taken on this {args.device}')
    return ratios


def flops(args, method):
    "Of a training step, forward and back, counted."
    run = trainer(args, method, precision='fp32', engine='eager')
    i = torch.arange(args.batch)
    x, s = run.data.train.take(i), run.method.scalars(.5)
    run.take_step.prepare(.1, s)
    with FlopCounterMode(display=False) as counter: run.take_step(Batch(i.to(run.spec.device), run.labels[i], x, x))
    return counter.get_total_flops()


def peak(device, precision, n):
    "FLOP/s of a matrix product."
    kind = torch.bfloat16 if precision == 'bf16' else torch.float32
    a, b = torch.randn(2, n, n, device=device, dtype=kind)
    def products():
        for _ in range(10): a @ b
    products()
    return max(20*n**3/timed(products, device)[0] for _ in range(5))


def whole_epoch(run, device):
    "Seconds of training, of measuring, and bytes on the GPU; the first epoch is not counted."
    f = epoch(run)
    f()
    if device.type == 'cuda': torch.cuda.reset_peak_memory_stats(device)
    train = min(timed(f, device)[0] for _ in range(2))
    next(run.steps())       # measuring wants an epoch that has begun
    measure_epoch(run)
    return train, timed(lambda: measure_epoch(run), device)[0], \
        torch.cuda.max_memory_allocated(device) if device.type == 'cuda' else 0


def in_full(args, device):
    "The table of epochs."
    print(f"\n{args.images:,} images an epoch\n{'':32}{'s/epoch':>10}{'measuring':>10}{'images/s':>10}"
          f"{'GB':>7}{'of peak':>9}{'300 epochs':>12}", flush=True)
    tops, ratios = {p: peak(device, p, args.matrix) for p in ('bf16', 'fp32')}, {}
    def line(name, method, precision='auto', engine='auto'):
        run = trainer(args, method, precision=precision, engine=engine)
        try: train, measure, memory = whole_epoch(run, device)
        except RuntimeError as e:       # torch.compile without a C compiler, too little memory: the other lines stand
            print(f'{name:32} failed: {type(e).__name__}: {str(e).splitlines()[0]}', flush=True)
            return float('nan')
        if run.take_step.failed: name += ': eager'
        share = flops(args, method)*run.steps_per_epoch/train/tops[run.spec.precision]
        print(f'{name:32}{train:10.2f}{measure:10.2f}{args.images/train:10,.0f}{memory/2**30:7.2f}{share:9.1%}'
              f'{300*(train + measure)/60:8.1f} min', flush=True)
        return train
    engines = ('eager', 'graph', 'compiled') if device.type == 'cuda' else ('eager',)
    for method in ('ce', 'paper', 'balanced'):
        for engine in engines: line(f'{method}, {engine}', method, engine=engine)
    own = line('paper, as it is by default', 'paper')
    line('paper, fp32', 'paper', precision='fp32')
    with_bits, step.deterministic_cudnn = step.deterministic_cudnn, nullcontext
    try: ratios['any_bits_vs_same_bits'] = own/line('paper, bits that may differ', 'paper')
    finally: step.deterministic_cudnn = with_bits
    ratios['minutes_of_300_epochs'] = 300*own/60
    print('peak: ' + ', '.join(f'{k} {v/1e12:.1f} TFLOP/s' for k, v in tops.items()) + f' of products {args.matrix}²')
    return ratios


def main():
    p = parser(__doc__, rounds=3, images=0)
    p.add_argument('--batch', type=int, help='images a step (128 on a GPU, else 32)')
    p.add_argument('--width', type=float, default=1., help='factor on the channels of ResNet18')
    p.add_argument('--full', action='store_true', help='whole epochs, too, without a GPU')
    p.add_argument('--matrix', type=int, help='side of the matrices that are multiplied for the peak')
    args = p.parse_args()
    gpu = args.device.startswith('cuda')
    args.batch, args.matrix = args.batch or (128 if gpu else 32), args.matrix or (8192 if gpu else 1024)
    full, args.images = args.images or 50_000, (args.images or (8192 if gpu else 128))//args.batch*args.batch
    device = begin(args, f'{args.images:,} images a turn', 'pillow')
    ratios = against_plain(args, device)
    args.images = full
    if gpu or args.full: ratios |= in_full(args, device)
    last(**ratios)


if __name__ == '__main__': main()
