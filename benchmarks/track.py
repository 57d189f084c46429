"""What a `Tracker` adds to a training step of ResNet18 on images of 32×32 pixels in a plain PyTorch loop (fp32, plain
cross-entropy, no augmentation): the share of `update` and of `end_epoch`, divided over the epoch's steps. Steps
with and without a tracker take turns. On a GPU each part is waited for, which a training does not do: at most so much.
"""
import statistics

import torch
import torch.nn.functional as F

from _common import begin, last, parser, pixels, timed
from noisylab.models.robust_net import make_model
from noisylab.metrics.tracker import Tracker


def main():
    p = parser(__doc__, images=50_000)
    p.add_argument('--batch', type=int, help='images a step (128 on a GPU, else 32)')
    p.add_argument('--width', type=float, default=1., help='factor on the channels of ResNet18')
    p.add_argument('--classes', type=int, default=10)
    args = p.parse_args()
    device = begin(args, f'{args.images:,} images tracked')
    args.batch = args.batch or (128 if device.type == 'cuda' else 32)
    x, y, _ = pixels(min(args.images, 2048))
    net = make_model('resnet18', x.shape[1:], args.classes, width=args.width).to(device).train()
    opt = torch.optim.SGD(net.parameters(), .01, .9)
    tracker, per_epoch, rng = Tracker(args.images, args.classes), -(-args.images//args.batch), torch.Generator()

    def step(i):
        out = net(x[i].to(device)).logits
        loss = F.cross_entropy(out, y[i].to(device))
        opt.zero_grad()
        loss.backward()
        opt.step()
        return out.detach()

    took = dict(plain=[], tracked=[], update=[], end=[])
    for turn in range(args.rounds + 1):         # the first one warms up
        i = torch.randperm(len(x), generator=rng)[:args.batch]
        plain = timed(lambda: step(i), device)[0]
        out = []
        tracked = timed(lambda: out.append(step(i)), device)[0]
        update = timed(lambda: tracker.update(i, out[0], y[i]), device)[0]
        for j in torch.arange(args.batch, args.images).split(args.batch):    # the rest of an epoch
            tracker.update(j, out[0][:len(j)], y[i][:len(j)])
        end = timed(tracker.end_epoch, device)[0]
        if turn:
            for k, v in dict(plain=plain, tracked=tracked + update, update=update, end=end/per_epoch).items():
                took[k].append(1000*v)
    ms = {k: statistics.median(v) for k, v in took.items()}
    print(f"\nbatch {args.batch}, width {args.width:g}, medians in ms: step {ms['plain']:.2f}, with a tracker "
          f"{ms['tracked']:.2f}; of it update {ms['update']:.3f}, end_epoch over {per_epoch:,} steps {ms['end']:.3f}\n"
          f'{tracker}')
    last(tracker_step_share=(ms['update'] + ms['end'])/ms['plain'])


if __name__ == '__main__': main()
