"Augmentation: torchvision's pixels; the same pictures at any chunk size, order and device; the same draws for good."
import dataclasses
import hashlib
import json
import pickle

import pytest
import torch
from torchvision.transforms import InterpolationMode, RandAugment as Torchvision
from torchvision.transforms.autoaugment import _apply_op
from torchvision.transforms.functional import crop, hflip, pad

from noisylab.data.augment import (DIGIT_OPS, OPS, OPS_CUTOUT, OPERATIONS, Draws, Operation, RandAugment, WeakAugment,
                                   two_views)
from noisylab.errors import UserError

SIZES = [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 32, 32), (3, 33, 20), (3, 64, 64), (1, 2, 5), (3, 96, 96),
         (3, 224, 224)]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pictures(n, c=3, h=32, w=32, seed=0):
    "Smooth, noisy, dark, one-coloured and two-valued images in turn."
    g = torch.Generator().manual_seed(seed)
    soft = torch.nn.functional.interpolate(torch.rand(n, c, 3, 3, generator=g), size=(h, w), mode='bilinear') * 255
    noise = torch.rand(n, c, h, w, generator=g) * 256
    flat = torch.randint(0, 256, (n, c, 1, 1), generator=g).float().expand_as(noise)
    kinds = torch.stack([soft, noise, soft / 4 + 20, flat, (noise > 200) * 255.])
    return kinds[torch.arange(n) % 5, torch.arange(n)].to(torch.uint8)


def reference(img, ra, op, minus):
    "One operation by torchvision on one C×H×W image."
    magnitudes, signed = Torchvision()._augmentation_space(ra.bins, img.shape[1:])[ra.ops[op]]
    v = float(magnitudes[ra.m]) if magnitudes.ndim else 0.
    fill = [float(ra.fill)] * len(img) if ra.fill else None
    return _apply_op(img, ra.ops[op], -v if signed and minus else v, InterpolationMode.NEAREST, fill)


def one_by_one(x, ra, draws):
    out = []
    for i, img in enumerate(x):
        for op, minus in zip(draws.op[:, i], draws.sign[:, i]): img = reference(img, ra, op, minus)
        out.append(img)
    return torch.stack(out)


@pytest.mark.parametrize('c, h, w', SIZES)
def test_every_operation_and_sign(c, h, w):
    big = h * w > 10_000
    x = pictures(5, c, h, w)
    every = torch.arange(len(OPS)).repeat_interleave(2 * len(x))[None].to(torch.uint8)
    sign = torch.arange(2).repeat_interleave(len(x)).repeat(len(OPS))[None] == 1
    draws = Draws(every, sign, torch.zeros(*every.shape, 2, dtype=torch.int16))
    many = x.repeat(2 * len(OPS), 1, 1, 1)
    for m in (9, 30) if big else range(0, 31, 3) if h > 32 else range(31):
        for fill in (0,) if m % 10 else (0, 77):
            ra = RandAugment(1, m, fill=fill)
            got, want = ra.apply(many, draws), one_by_one(many, ra, draws)
            wrong = {ra.ops[o] for o in every[0, (got != want).flatten(1).any(1)]}
            assert not wrong, (m, fill, wrong)


@pytest.mark.parametrize('n', [0, 1, 2, 3, 5])
@pytest.mark.parametrize('c, h, w', [(1, 8, 8), (3, 32, 32), (3, 17, 30)])
def test_several_operations(n, c, h, w):
    x = pictures(60, c, h, w, seed=n)
    for m, bins in ((9, 31), (30, 31), (4, 11)):
        ra = RandAugment(n, m, bins=bins)
        draws = ra.draw(60, seed=n, epoch=m)
        before = x.clone()
        want = one_by_one(x, ra, draws) if n else x
        assert torch.equal(ra.apply(x, draws), want)
        assert torch.equal(x, before)  # the weak view is still needed


@pytest.mark.parametrize('ops', [OPS, OPS_CUTOUT, DIGIT_OPS])
def test_chunk_and_order_change_nothing(ops):
    x, ra, weak = pictures(4100, 3, 12, 12), RandAugment(2, 12, ops), WeakAugment()
    crops, draws = weak.draw(4100, 1, 2), ra.draw(4100, 1, 2)
    whole = two_views(x, weak, crops, ra, draws)
    for size, upto in ((1, 150), (7, 700), (4096, 4100)):
        slices = [slice(a, min(a + size, upto)) for a in range(0, upto, size)]
        parts = [two_views(x[s], weak, crops[s], ra, draws[s]) for s in slices]
        for view, part in zip(whole, zip(*parts)): assert torch.equal(view[:upto], torch.cat(part))
    order = torch.randperm(4100, generator=torch.Generator().manual_seed(0))
    for view, again in zip(whole, two_views(x[order], weak, crops[order], ra, draws[order])):
        assert torch.equal(view[order], again)
    assert torch.equal(ra.apply(x.contiguous(memory_format=torch.channels_last), draws), ra.apply(x, draws))


def test_strong_view_is_made_of_the_weak_one():
    x, weak, ra = pictures(40), WeakAugment(), RandAugment()
    crops, draws = weak.draw(40), ra.draw(40)
    w, s = two_views(x, weak, crops, ra, draws)
    assert torch.equal(w, weak.apply(x, crops)) and torch.equal(s, ra.apply(w, draws))


@pytest.mark.parametrize('c, h, w, p, flip', [
    (1, 8, 8, 1, False), (3, 32, 32, 4, True), (3, 20, 33, 4, True), (3, 9, 9, 0, True)])
def test_weak_view_is_crop_and_flip(c, h, w, p, flip):
    x, weak = pictures(200, c, h, w), WeakAugment(p, flip)
    draws = weak.draw(200, seed=3)
    got = weak.apply(x, draws)
    for img, one, (row, column, mirrored) in zip(x, got, draws.tolist()):
        want = crop(pad(img, p), row, column, h, w)
        assert torch.equal(one, hflip(want) if mirrored else want)
    assert draws[:, :2].max() == 2 * p and draws[:, :2].min() == 0
    assert draws[:, 2].any() == flip


def test_draws_are_the_same_for_good():
    d, w = RandAugment().draw(1000, seed=1, epoch=2), WeakAugment().draw(1000, seed=1, epoch=2)
    sums = [hashlib.sha256(t.numpy().tobytes()).hexdigest()[:12] for t in (d.op, d.sign, d.spot, w)]
    assert sums == ['c65678f3e57a', 'dd5b4b6afa47', '3b90624d42ce', '15a475894ff0']


def test_draws_are_uniform_and_independent():
    ra = RandAugment()
    d = ra.draw(70_000)
    counts = torch.stack([row.bincount(minlength=14) for row in d.op.long()])
    assert (counts - 5000).abs().max() < 350                                 # five standard deviations
    pairs = (d.op[0].long() * 14 + d.op[1]).bincount(minlength=196)
    assert (pairs - 70_000 / 196).abs().max() < 100
    assert (d.sign.float().mean(1) - .5).abs().max() < .01
    assert (d.spot.float().mean((0, 1)) - 16383.5).abs().max() < 150 and d.spot.min() >= 0
    more = ra.draw(80_000)
    assert torch.equal(more.op[:, :70_000], d.op)                            # more images: the first keep theirs
    assert not torch.equal(ra.draw(100, epoch=1).op, d.op[:, :100])
    assert not torch.equal(ra.draw(100, seed=1).op, d.op[:, :100])
    assert torch.equal(d[torch.tensor([5, 3])].op, d.op[:, [5, 3]]) and len(d[2:7]) == 5


def test_magnitude_is_not_drawn():
    x, ra = pictures(100), RandAugment(m=5)
    draws, stronger = ra.draw(100), dataclasses.replace(ra, m=25)
    assert torch.equal(stronger.draw(100).op, draws.op)
    assert not torch.equal(ra.apply(x, draws), stronger.apply(x, draws))


def test_cutout():
    ra = RandAugment(1, 30, ('Cutout',))
    x = torch.full((500, 3, 16, 16), 200, dtype=torch.uint8)
    lost = (ra.apply(x, ra.draw(500)) == 0)
    assert lost.all(1).equal(lost.any(1))                                    # all channels alike
    area = lost[:, 0].sum((1, 2))
    assert area.max() == 64 and area.min() >= 16          # half the side; a quarter of that in a corner
    assert lost[:, 0].any(0).all()                                           # everywhere in the image
    assert torch.equal(RandAugment(1, 0, ('Cutout',)).apply(x, ra.draw(500)), x)
    grey = RandAugment(1, 30, ('Cutout',), fill=9).apply(x, ra.draw(500))
    assert torch.equal(grey == 9, lost)
    sides = [(RandAugment(1, m, ('Cutout',)).apply(x, ra.draw(500)) == 0)[:, 0].any(1).sum(1).max() for m in range(31)]
    assert sides == sorted(sides)


def test_names_and_plain_values():
    ra = RandAugment(2, 9, OPS_CUTOUT)
    draws = ra.draw(50)
    names = ra.names(draws)
    first = [n.split(', ')[0] for n in names]
    assert [f.rstrip('+-') for f in first] == [ra.ops[o] for o in draws.op[0]]
    assert all((f[-1] in '+-') == OPERATIONS[f.rstrip('+-')].signed for f in first)
    assert RandAugment(**json.loads(json.dumps(dataclasses.asdict(ra)))) == ra
    assert pickle.loads(pickle.dumps(ra)) == ra and hash(ra) == hash(RandAugment(2, 9, OPS_CUTOUT))


def test_an_operation_of_ones_own(monkeypatch):
    monkeypatch.setitem(OPERATIONS, 'Invert', Operation(lambda x, v, fill, spot: 255 - x))
    x, ra = pictures(20), RandAugment(1, 0, ('Invert', 'Identity'))
    draws = ra.draw(20)
    inverted = (draws.op[0] == 0).view(-1, 1, 1, 1)
    assert torch.equal(ra.apply(x, draws), torch.where(inverted, 255 - x, x))


def test_everything_stays_on_the_device_of_the_images():
    x, weak = torch.empty(50, 3, 32, 32, dtype=torch.uint8, device='meta'), WeakAugment()
    ra = RandAugment(3, 9, OPS_CUTOUT)
    for view in two_views(x, weak, weak.draw(50), ra, ra.draw(50)):        # mixing devices raises, without a GPU too
        assert view.device.type == 'meta' and view.shape == x.shape


def test_nothing_to_do():
    ra, weak, none = RandAugment(), WeakAugment(), torch.empty(0, 3, 32, 32, dtype=torch.uint8)
    assert ra.apply(none, ra.draw(0)).shape == none.shape == weak.apply(none, weak.draw(0)).shape
    x = pictures(3)
    assert torch.equal(WeakAugment(0, False).apply(x, weak.draw(3)[:] * 0), x)


@pytest.mark.parametrize('make, says', [
    (lambda: RandAugment(ops=('Rotate', 'Blur')), "['Blur']"),
    (lambda: RandAugment(ops=('Blur',)), 'AutoContrast'),
    (lambda: RandAugment(ops=()), 'or operations such as'),
    (lambda: RandAugment(m=31), 'm is 31; expected a whole number 0 … 30'),
    (lambda: RandAugment(m=9.5), 'm is 9.5'),
    (lambda: RandAugment(n=-1), 'n is -1'),
    (lambda: RandAugment(fill=256), 'fill is 256'),
    (lambda: WeakAugment(pad=-1), 'pad is -1'),
    (lambda: RandAugment().draw(5, seed=-1), 'seed'),
    (lambda: RandAugment().apply(torch.rand(2, 3, 8, 8), RandAugment().draw(2)), 'expected uint8'),
    (lambda: WeakAugment().apply(torch.rand(2, 3, 8, 8), WeakAugment().draw(2)), 'expected uint8'),
    (lambda: RandAugment().apply(pictures(2)[0], RandAugment().draw(3)), 'N×C×H×W'),
    (lambda: RandAugment().apply(pictures(2, 2), RandAugment().draw(2)), '1 or 3 channels'),
    (lambda: RandAugment().apply(pictures(2), RandAugment().draw(3)), '2 images, draws for 3'),
    (lambda: WeakAugment(1).apply(pictures(50), WeakAugment(4).draw(50)), 'do not fit WeakAugment(pad=1'),
    (lambda: WeakAugment(flip=False).apply(pictures(50), WeakAugment().draw(50)), 'do not fit'),
    (lambda: RandAugment(3).apply(pictures(2), RandAugment(2).draw(2)), 'draws of 2 steps'),
    (lambda: RandAugment().apply(pictures(50), RandAugment(ops=OPS_CUTOUT).draw(50)), 'do not fit'),
])
def test_errors_say_what_to_do(make, says):
    with pytest.raises(UserError) as e: make()
    assert says in str(e.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_gpu_gives_the_same_bytes():
    for c, h, w in ((1, 8, 8), (3, 32, 32), (3, 33, 20), (3, 224, 224)):
        x, weak = pictures(300 if h < 100 else 60, c, h, w), WeakAugment()
        for m in (0, 9, 17, 30):
            ra = RandAugment(3, m, OPS_CUTOUT)
            crops, draws = weak.draw(len(x), m), ra.draw(len(x), m)
            for cpu, gpu in zip(two_views(x, weak, crops, ra, draws), two_views(x.cuda(), weak, crops, ra, draws)):
                assert torch.equal(cpu, gpu.cpu())
