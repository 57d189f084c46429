"""Does a device compute what the CPU computes? Augmentation, training curves, recorded steps, measuring, resuming,
steering, pausing. Each line is a check, with what was found and what was allowed; a check that raises has failed, and
says where. The exit status is 1 if one failed.

On a machine without a GPU it compares the CPU with itself: a rehearsal. What needs a GPU is then named and left out.
"""
import sys, tempfile, threading, time, traceback, warnings
from pathlib import Path

import torch

from _common import begin, images, parser
from noisylab.training import step
from noisylab.data.augment import DIGIT_OPS, OPS, OPS_CUTOUT, RandAugment, WeakAugment
from noisylab.training.evaluation import network_outputs
from noisylab.training.spec import Spec
from noisylab.training.trainer import Trainer

METHODS = 'ce', 'paper', 'balanced', 'gce_truncated', 'jo', 'pencil', 'forward'
CHECKS, NEEDS_GPU = [], []


def check(f):
    CHECKS.append(f)
    return f


def gpu(f):
    NEEDS_GPU.append(f)
    return check(f)


def weights(t): return torch.cat([v.flatten().double().cpu() for v in t.net.state_dict().values()])


class Bench:
    "Runs of a few dozen steps on the same images."
    def __init__(self, args):
        self.steps, self.device = args.steps, args.device
        n = args.steps*args.batch
        self.train, self.test, self.what = images(n)
        self.base = dict(model='resnet18', width=args.width, batch=args.batch, epochs=4, noise='symmetric', rate=.4,
                         watch=200, lr=.05, schedule='constant', eval_every=4, precision='fp32')

    def trainer(self, method='paper', out=None, **fields):
        return Trainer(Spec(**self.base | dict(method=method, device=self.device) | fields), out=out,
                       train=self.train, test=self.test)

    def curve(self, method='paper', **fields):
        "(the trainer, its loss at each of `steps` steps)"
        t, seen, before, of_epoch = self.trainer(method, **fields), [], 0., 0
        for n in t.steps():
            total = float(t.take_step.sums['loss'])  # also there after the epoch: a method may hold images out
            images = min(t.spec.batch, len(t.data.fit_index) - of_epoch)
            seen.append((total - before)/images)
            before, of_epoch = (total, of_epoch + images) if t.in_epoch else (0., 0)
            if n == self.steps: break
        return t, torch.tensor(seen, dtype=torch.float64)

    def recorded(self, t):
        "Raise if the steps of `t`, which were to be recorded, were not."
        if t.spec.engine != 'graph': raise RuntimeError(f'{t.spec.engine} instead of graph: {t.take_step.failed}')
        return t

    def off(self, method, **fields):
        """Relative difference from the CPU's fp32 curve: of the first loss, of the second, of the mean.

        Later ones say nothing alone: initial weights that differ by 1e-6 change the fifth by a hundredth.
        """
        if method not in self.__dict__: self.__dict__[method] = self.curve(method, device='cpu', engine='eager')[1]
        theirs, ours = self.__dict__[method], self.curve(method, **fields)[1]
        rel = ((ours - theirs).abs()/theirs.abs())
        return float(rel[0]), float(rel[1]), float((ours.mean() - theirs.mean()).abs()/theirs.mean().abs())


@check
def augmentation_is_the_same_to_the_bit(b):
    x, n = b.train.pixels, 0
    for ops in (OPS, OPS_CUTOUT, DIGIT_OPS):
        for count, m in ((1, 5), (2, 9), (3, 30)):
            ra, weak = RandAugment(count, m, ops), WeakAugment()
            for a in (ra, weak):
                draws = a.draw(len(x), 7, 3)
                same = torch.equal(a.apply(x, draws), a.apply(x.to(b.device), draws).cpu())
                n += 1
                if not same: return False, f'{a} differs'
    return True, f'{n} ways, {len(x):,} images'


def follows(b, allowed, **fields):
    found = [max(w) for w in zip(*(b.off(m, engine='eager', **fields) for m in METHODS))]
    said = (f'{v:.1e} (< {most})' for v, most in zip(found, allowed))
    return all(v < most for v, most in zip(found, allowed)), f"first loss, second, mean off by {', '.join(said)}"


@check
def fp32_follows_the_cpu(b): return follows(b, (1e-5, 1e-3, .03))


@gpu
def bf16_stays_near(b): return follows(b, (.02, .05, .05), precision='bf16')


@gpu
def recorded_steps_give_the_same_bits(b):
    bad = []
    for method in METHODS:
        (a, _), (c, _) = (b.curve(method, engine=e, precision='bf16') for e in ('eager', 'graph'))
        if not torch.equal(weights(a), weights(b.recorded(c))): bad.append(method)
    return not bad, f"all of {', '.join(METHODS)}" if not bad else f"{', '.join(bad)} differ"


@gpu
def steering_a_recorded_run(b):
    "Weights, α, lr and M change without recording anew, and to the same bits."
    made, record = [], step.GraphTape.record
    def counted(self, f): made.append(1); record(self, f)
    changes = {8: dict(lr=.02, lam=.5), 14: dict(alpha=.4, w_rec=2.), 20: dict(m=3)}
    step.GraphTape.record, found = counted, []
    try:
        for engine in ('eager', 'graph'):
            t = b.trainer(engine=engine)
            for n in t.steps():
                if n in changes: t.change(**changes[n])
                if n == min(b.steps - 1, 30): break
            found.append(weights(t))
    finally: step.GraphTape.record = record
    b.recorded(t)
    return torch.equal(*found) and len(made) == 1, f'recorded {len(made)} time(s), the same bits: {torch.equal(*found)}'


@gpu
def what_cannot_be_recorded_or_replayed_is_trained_eagerly(b):
    "A step that asks for a value while it is recorded, and a replay that raises; then one that goes well again."
    eager, here = weights(b.curve(engine='eager')[0]), torch.cuda.current_stream()
    record, replay, done, wrong = step.GraphTape.record, step.GraphTape.replay, [], []
    def asking(self, f): record(self, lambda: (f(), float(torch.ones((), device=b.device))))
    def failing(self):
        done.append(1)
        if len(done) == 5: raise RuntimeError('made to fail')
        replay(self)
    for name, put in dict(record=asking, replay=failing).items():
        was = getattr(step.GraphTape, name)
        setattr(step.GraphTape, name, put)
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter('always', RuntimeWarning)
                t = b.curve(engine='graph')[0]
        finally: setattr(step.GraphTape, name, was)
        said = [w for w in said if 'cannot be recorded' in str(w.message)]
        if len(said) != 1: wrong.append(f'{len(said)} warnings of {name}')
        if t.spec.engine != 'eager': wrong.append(f'{name} did not fail')
        if not torch.equal(eager, weights(t)): wrong.append(f'other bits after {name} failed')
        if torch.cuda.current_stream() != here: wrong.append(f'another stream after {name} failed')
        print(f'          {name}: {t.take_step.failed}', flush=True)
    if not torch.equal(eager, weights(b.recorded(b.curve(engine='graph')[0]))): wrong.append('other bits afterwards')
    return not wrong, ', '.join(wrong) or 'the same bits, one warning each, and recorded again afterwards'


@gpu
def compiled_steps_stay_near(b):
    start = time.perf_counter()
    first, _, mean = b.off('paper', engine='compiled')
    print(f'          {time.perf_counter() - start:.0f} s, kernels and all', flush=True)
    return first < 1e-2 and mean < .03, f'first losses off by {first:.1e} (< 1e-2), mean by {mean:.1e} (< 3e-2)'


@check
def measuring_gives_the_cpus_numbers(b):
    t, cpu = b.curve('ce')[0], b.trainer('ce', device='cpu')
    cpu.net.load_state_dict(t.net.state_dict())
    ours, theirs = (network_outputs(v, v.data.test)['logits'].cpu() for v in (t, cpu))
    off = float((ours - theirs).abs().max()/theirs.abs().max())
    same = float((ours.argmax(1) == theirs.argmax(1)).float().mean())
    said = f"logits off by {off:.1e} of the largest (< 1e-3), {same:.1%} of classes the same"
    return off < 1e-3 and same > .995, said


@check
def equal_runs_give_equal_bits(b):
    (one, a), (two, c) = b.curve(precision='auto'), b.curve(precision='auto')
    return torch.equal(weights(one), weights(two)) and torch.equal(a, c), f'{one.spec.engine}, {one.spec.precision}'


@check
def resumed_within_an_epoch_to_the_same_bits(b):
    whole = weights(b.curve()[0])
    with tempfile.TemporaryDirectory() as folder:
        t = b.trainer(out=folder)
        for n in t.steps():
            if n == b.steps//2: t.save(); break
        t = Trainer.resume(folder, train=b.train, test=b.test)
        for n in t.steps():
            if n == b.steps: break
    return torch.equal(whole, weights(t)), f'{t.spec.engine}, after {b.steps//2} of {b.steps} steps'


@check
def a_checkpoint_moves_between_devices(b):
    with tempfile.TemporaryDirectory() as folder:
        t, said = b.trainer(out=folder), []
        for n in t.steps():
            if n == b.steps//3: t.save(); break
        for device in ('cpu', b.device):
            again = Trainer.resume(folder, train=b.train, test=b.test, device=device)
            before = weights(again)
            next(again.steps())
            said.append(torch.equal(before, weights(t)) and bool(weights(again).isfinite().all())
                        and again.spec.device.split(':')[0] == device.split(':')[0])
            again.out = Path(folder)
            again.save()
            t = again
    return all(said), f'{b.device} → cpu → {b.device}'


@check
def stops_soon(b):
    t = b.trainer(precision='auto')
    asked = []
    def ask():
        while t.step < b.steps//2: time.sleep(.001)
        asked.append(time.perf_counter())
        t.stop()
    other = threading.Thread(target=ask)
    other.start()
    start = time.perf_counter()
    for _ in t.steps(): pass
    if b.device.startswith('cuda'): torch.cuda.synchronize()
    other.join()
    waited, a_step = time.perf_counter() - asked[0], (asked[0] - start)/t.step
    allowed = max(1., 40*a_step)
    return waited < allowed, f'{1000*waited:.0f} ms after it was asked for (< {1000*allowed:.0f})'


def main():
    p = parser(__doc__)
    p.add_argument('--steps', type=int, default=50, help='of each run')
    p.add_argument('--batch', type=int, default=64, help='images a step')
    p.add_argument('--width', type=float, default=.25, help='factor on the channels of ResNet18')
    names = {f.__name__: f for f in CHECKS}
    p.add_argument('--only', nargs='+', choices=names, default=list(names), metavar='NAME', help=' '.join(names))
    args = p.parse_args()
    device = begin(args, f'{args.steps} steps of {args.batch} images')
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    b, failed = Bench(args), 0
    print(f'{b.what} images, ResNet18 at width {args.width:g}, {device} against the CPU\n')
    for f in map(names.get, args.only):
        name = f.__name__.replace('_', ' ')
        if f in NEEDS_GPU and device.type != 'cuda': print(f'left out  {name}: needs a GPU', flush=True); continue
        try: good, said = f(b)
        except Exception as e:
            traceback.print_exc()
            good, said = False, f'{type(e).__name__}: {(str(e).splitlines() or [""])[0]}'
        failed += not good
        print(f"{'ok' if good else 'FAILED':8}  {name}: {said}", flush=True)
    print(f'\nparity_failures: {failed}')
    return failed > 0


if __name__ == '__main__': sys.exit(main())
