"""Per-sample RandAugment (n=2, m=9) of 32×32 colour images, a whole batch at once, against torchvision's, one image at
a time, on PIL images and on tensors, the older and the newer (`v2`) transforms; the fastest of the four counts.

The contestants take turns, so that a busy machine is busy for all of them; the table shows medians.
`NOISYLAB_DATA` (a folder with CIFAR-10 as torchvision leaves it) gives real images.
"""
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms import v2

from _common import begin, last, parser, pixels, race, table
from noisylab.data.augment import RandAugment

AT_ONCE = 2048      # images, for the ratio


def main():
    args = parser(__doc__).parse_args()
    x, _, what = pixels(max(args.images, AT_ONCE))
    device = begin(args, f'{len(x):,} {what} images', 'pillow')
    pil = [Image.fromarray(a) for a in x[:512].permute(0, 2, 3, 1).contiguous().numpy()]
    one, x, draws = x[:512].unbind(), x.to(device), RandAugment().draw(len(x))
    theirs = {f'{name}, one by one, {kind}': (transform(), source)
              for name, transform in (('torchvision', T.RandAugment), ('torchvision v2', v2.RandAugment))
              for kind, source in (('PIL', pil), ('tensors', one))}

    def batched(size):
        def f():
            for a in range(0, len(x), size): RandAugment().apply(x[a:a + size], draws[a:a + size])
        return f, len(x)

    def single(transform, source):
        def f():
            for img in source: transform(img)
        return f, len(source)

    runs = {f'noisylab, {size:,} at once': batched(size) for size in (128, 512, AT_ONCE, len(x))}
    runs |= {name: single(*t) for name, t in theirs.items()}
    for f, _ in runs.values(): f()
    rows = race(runs, args.rounds, device)
    best = max(theirs, key=lambda name: rows[name][0])
    table(f'RandAugment n=2 m=9, {args.threads} thread', rows, rows[best][0])
    last(randaugment_vs_torchvision=rows[f'noisylab, {AT_ONCE:,} at once'][0]/rows[best][0])


if __name__ == '__main__': main()
