"Label noise: what must hold for every seed, rate and class size, and the bytes that must come out everywhere"
import os, pickle, subprocess, zipfile
from pathlib import Path

import numpy as np
import pytest

from noisylab.errors import UserError
from noisylab.data.validation import checksum
from noisylab.data.label_files import read_human
from noisylab.data.noise import inject, instance, noisy_count, transition_matrix

RATES = (0, .001, .05, .2, .29, .5, .8, .95, .999)
SIZES = (1, 2, 3, 10, 47, 500)
KWARGS = {'symmetric': {}, 'inclusive': dict(inclusive=True), 'asymmetric': {},
          'map': dict(class_map={0: 2, 2: 0, 4: 1}), 'instance': {}}


def kind_of(name): return {'inclusive': 'symmetric', 'map': 'asymmetric'}.get(name, name)


def uneven(seed, n_classes=6):
    "Labels of `n_classes` classes of very unlike sizes, in some order, and features for them"
    r = np.random.RandomState(seed)
    labels = np.repeat(np.arange(n_classes), SIZES[:n_classes])
    r.shuffle(labels)
    return labels, r.randint(0, 256, (len(labels), 12), dtype=np.uint8)


def noisy(name, rate, seed, labels, features, n_classes=6):
    return inject(labels, kind_of(name), rate, n_classes, seed, features=features, **KWARGS[name])


# --- properties -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('name', KWARGS)
@pytest.mark.parametrize('seed', range(5))
def test_more_noise_keeps_every_wrong_label_of_less(name, seed):
    labels, features = uneven(seed)
    before = noisy(name, 0, seed, labels, features)
    assert (before.given == labels).all()
    for rate in RATES[1:]:
        now = noisy(name, rate, seed, labels, features)
        wrong = before.given != labels
        assert (now.given[wrong] == before.given[wrong]).all()
        before = now


@pytest.mark.parametrize('seed', range(5))
def test_counts_are_exact_in_every_class(seed):
    labels, features = uneven(seed)
    sizes = np.bincount(labels)
    for rate in RATES:
        asked = [noisy_count(rate, n) for n in sizes]
        for name in ('symmetric', 'asymmetric'):
            out = noisy(name, rate, seed, labels, features)
            assert np.bincount(labels[out.given != labels], minlength=6).tolist() == asked
        mapped = noisy('map', rate, seed, labels, features)
        assert np.bincount(labels[mapped.given != labels], minlength=6).tolist() == [
            k if c in (0, 2, 4) else 0 for c, k in enumerate(asked)]


def test_asymmetric_goes_where_the_map_says():
    labels, features = uneven(0)
    moved = noisy('asymmetric', .5, 0, labels, features)
    assert set(((moved.given - labels) % 6).tolist()) == {0, 1}
    mapped = noisy('map', .999, 0, labels, features)
    assert {(a, b) for a, b in zip(labels.tolist(), mapped.given.tolist()) if a != b} == {(0, 2), (2, 0), (4, 1)}


def test_rounding_is_half_up_of_the_rate_as_written():
    for rate, n, k in ((.29, 50, 15), (.5, 1, 1), (.5, 3, 2), (.145, 100, 15), (1e-9, 10, 0), (.999, 3, 3)):
        assert noisy_count(rate, n) == k


@pytest.mark.parametrize('name', KWARGS)
def test_a_class_does_not_feel_the_others(name):
    labels, features = uneven(3)
    whole = noisy(name, .5, 3, labels, features)
    for c in range(6):
        at = np.flatnonzero(labels == c)
        assert (noisy(name, .5, 3, labels[at], features[at]).given == whole.given[at]).all()


def test_targets_are_uniform():
    # Pearson's chi-square over the C-1 = 9 (inclusive: C = 10) targets, within six standard deviations of its mean
    labels = np.repeat(np.arange(10), 1000)
    for seed in range(10):
        for inclusive, df in ((False, 8), (True, 9)):
            out = inject(labels, 'symmetric', .9, 10, seed, inclusive=inclusive)
            for c, row in enumerate(out.matrix*1000):
                n = np.delete(row, c) if not inclusive else row - (np.arange(10) == c)*100      # the untouched 10%
                assert ((n - n.mean())**2).sum()/n.mean() < df + 6*(2*df)**.5


def test_seeds_differ_and_repeat():
    labels, features = uneven(0)
    for name in KWARGS:
        sums = [noisy(name, .5, seed, labels, features).checksum for seed in range(8)]
        assert sums == [noisy(name, .5, seed, labels, features).checksum for seed in range(8)]
        assert len(set(sums)) == 8


def test_what_is_reported_is_what_was_done():
    labels, features = uneven(1)
    out = inject(labels, 'symmetric', .5, 8, 1)                       # classes 6 and 7 have no sample
    assert out.rate == (out.given != labels).mean() and out.rate_asked == .5 and out.kind == 'symmetric'
    assert out.given.dtype == out.true.dtype == np.int64 and (out.true == labels).all()
    assert out.checksum == checksum(out.given) and len(out.checksum) == 16
    for c in range(6):
        for g in range(8): assert out.matrix[c, g] == (out.given[labels == c] == g).mean()
    assert (out.matrix[6:] == 0).all() and (out.matrix == transition_matrix(out.true, out.given, 8)).all()
    assert '50%' in repr(out) and out.checksum in repr(out)
    with pytest.raises(AttributeError): out.rate = 0


def test_labels_come_in_any_integer_form_and_are_not_touched():
    torch = pytest.importorskip('torch')
    labels, _ = uneven(2)
    sums = {inject(x, 'symmetric', .3, 6).checksum
            for x in (labels, labels.tolist(), labels.astype('>i2'), torch.tensor(labels), torch.tensor(labels).byte())}
    keep = labels.copy()
    none = inject(labels, 'none', None, 6)
    none.given[:] = 0
    assert len(sums) == 1 and (labels == keep).all() and (none.true == keep).all() and none.rate_asked is None


# --- instance-dependent noise against the published algorithm, sample by sample -----------------------------------

def test_instance_follows_the_algorithm():
    # P(given | sample) by Algorithm 2 with the same W; flip rates by a fine midpoint sum over the cut normal
    r, C, c, seed, rate = np.random.RandomState(0), 5, 3, 4, .3
    x = r.randint(0, 256, (4000, 6), dtype=np.uint8)/300
    w = np.random.RandomState([0x6e6f6973, seed, c, 1]).standard_normal((6, C))
    p = np.zeros((len(x), C))
    for i, row in enumerate(x):
        a = np.exp([row @ w[:, j] if j != c else -np.inf for j in range(C)])
        p[i] = a/a.sum()
    q = (np.arange(10_000) + .5)/10_000
    density = np.exp(-.5*((q - rate)/.1)**2)
    mean = (q*density).sum()/density.sum()
    given = instance(np.full(len(x), c), rate, C, seed, x)
    for j in range(C):
        expected = mean*p[:, j] if j != c else np.full(len(x), 1 - mean)
        assert abs((given == j).sum() - expected.sum()) < 5*(expected*(1 - expected)).sum()**.5
    # and it is the sample that decides: those whose p favours a class get it more often
    for j in {0, 1, 2, 4}:
        likely = p[:, j] > np.quantile(p[:, j], .75)
        assert (given[likely] == j).mean() > (given[~likely] == j).mean()


# --- golden bytes ---------------------------------------------------------------------------------------------------

GOLDEN = {'symmetric': '8b05b77df73cac12', 'inclusive': 'a2784c4370ab6ec1', 'asymmetric': '8b266184241132af',
          'map': '4bc0347353bbf5aa', 'instance': 'a8100e52b38cb857', 'given': 'ad30e37ce8c55402',
          'none': '48d82858561f3ebc', 'symmetric100': '30bdbb8700b003b1', 'map100': 'e6c8a03319d00f00',
          'top_seed': '6a6ad660cbf87a48'}


def golden():
    labels = np.arange(5000) % 10
    features = np.random.RandomState(1).randint(0, 256, (5000, 64), dtype=np.uint8)
    hundred = np.arange(20_000) % 100
    return {'symmetric': inject(labels, 'symmetric', .6, 10),
            'inclusive': inject(labels, 'symmetric', .6, 10, inclusive=True),
            'asymmetric': inject(labels, 'asymmetric', .4, 10),
            'map': inject(labels, 'asymmetric', .4, 10, class_map='cifar10'),
            'instance': inject(labels, 'instance', .4, 10, features=features),
            'given': inject(labels, 'given', None, 10, matrix=.7*np.eye(10) + .03),
            'none': inject(labels, 'none', None, 10),
            'symmetric100': inject(hundred, 'symmetric', .8, 100, seed=7),
            'map100': inject(hundred, 'asymmetric', .4, 100, seed=7, class_map='cifar100'),
            'top_seed': inject(labels, 'symmetric', .2, 10, seed=2**32-1)}


def test_golden_checksums():
    assert {k: n.checksum for k, n in golden().items()} == GOLDEN


# --- a matrix, a file -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('seed', range(5))
def test_a_matrix_comes_out_as_nearly_as_counts_allow(seed):
    r = np.random.RandomState(seed)
    labels, _ = uneven(seed)
    m = r.dirichlet(np.ones(6), 6)
    out = inject(labels, 'given', None, 6, seed, matrix=m)
    assert (np.abs(out.matrix - m)*np.bincount(labels)[:, None] < 1).all()
    assert inject(labels, 'given', None, 6, seed, matrix=np.eye(6)).rate == 0
    assert out.checksum != inject(labels, 'given', None, 6, seed + 1, matrix=m).checksum


def test_files_of_labels(tmp_path):
    new, true = [0, 2, 1, 1], [0, 1, 1, 2]
    np.save(tmp_path/'a.npy', new)
    texts = {'a.json': '[0, 2, 1, 1]', 'a.txt': '0\n2\n1\n1', 'b.csv': 'noisy\n0\n2\n1\n1\n',
             'a.csv': '\ufeffpath,label\na,0\nb,2\nc,1\nd,1\n'}
    for name, text in texts.items(): (tmp_path/name).write_text(text, 'utf-8')
    for file in [*tmp_path.iterdir(), str(tmp_path/'a.npy'), new, np.array(new)]:
        out = inject(true, 'given', None, 3, file=file)
        assert out.given.tolist() == new and out.rate == .5 and out.rate_asked is None
    assert inject([2, 0], 'given', None, 3, file=new, ids=[3, 0]).given.tolist() == [1, 0]


# --- people's labels ------------------------------------------------------------------------------------------------

CLEAN = np.arange(40) % 10
WORSE = np.where(np.arange(40) < 16, 9, CLEAN)


def save(path, content, name='archive/data.pkl', protocol=2):
    "What torch.save leaves of a dict of arrays"
    data = content if isinstance(content, bytes) else pickle.dumps(content, protocol)
    with zipfile.ZipFile(path, 'w') as z: z.writestr(name, data)
    return path


@pytest.mark.parametrize('dtype', ['<i8', '>i4', 'u1', '<i2'])
def test_human_labels_of_any_integer_type(tmp_path, dtype):
    file = save(tmp_path/'h.pt', {'clean_label': CLEAN.astype(dtype), 'worse_label': WORSE.astype(dtype)})
    out = inject(CLEAN, 'human:worse', None, 10, file=file)
    assert (out.given == WORSE).all() and out.rate == (WORSE != CLEAN).mean()
    ids = np.array([39, 3, 5])
    assert (inject(CLEAN[ids], 'human:worse', 0, 10, file=file, ids=ids).given == WORSE[ids]).all()


def test_human_files_as_torch_writes_them(tmp_path):
    torch = pytest.importorskip('torch')
    torch.save({'clean_label': CLEAN, 'noisy_label': WORSE}, tmp_path/'h.pt')
    assert (read_human(tmp_path/'h.pt', 'fine')[0] == WORSE).all()
    torch.save({'clean_label': CLEAN}, tmp_path/'old.pt', _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match='before 1.6'): read_human(tmp_path/'old.pt', 'fine')
    with pytest.raises(UserError, match='it has fine'): read_human(tmp_path/'h.pt', 'random1')


def test_another_order_is_refused(tmp_path):
    file = save(tmp_path/'h.pt', {'clean_label': CLEAN, 'worse_label': WORSE})
    swapped = CLEAN.copy()
    swapped[[0, 1]] = 1, 0
    for labels, n, says in ((swapped, 10, 'differ from these for 5.00%'), (CLEAN[:5], 5, 'run from 0 to 4'),
                            (CLEAN[:39], 10, '40 entries and there are 39')):
        with pytest.raises(UserError, match=says): inject(labels, 'human:worse', None, n, file=file)


class Call:
    "Pickles as a call of `f` with `args`"
    def __init__(self, f, *args): self.call = f, args
    def __reduce__(self): return self.call


def test_nothing_that_a_pickle_names_is_called(tmp_path):
    seen = tmp_path/'seen'
    for f, args in ((os.mkdir, (str(seen),)), (exec, (f'open({str(seen)!r}, "w")',)),
                    (subprocess.call, (['touch', str(seen)],)),
                    (np.fromfile, ('x',)), (np.ndarray, ((10**15,),)), (getattr, ('x', 'upper'))):
        for content in (Call(f, *args), {'worse_label': Call(f, *args), 'clean_label': CLEAN}):
            with pytest.raises(UserError): read_human(save(tmp_path/'evil.pt', content), 'worse')
    for raw in (b'', b'\x80\x02.', b'\x80\x02]q\x00.', b'\x80\x02K\x01.', b'garbage', b'cnumpy\ndtype\n.',
                b'cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.'):
        with pytest.raises(UserError): read_human(save(tmp_path/'raw.pt', raw), 'worse')
    assert not seen.exists() and np.dtype('i8') == np.int64


def test_misshapen_human_files(tmp_path):
    bad = [[1, 2], CLEAN/2, CLEAN.reshape(4, 10), CLEAN.astype(object), 'text', None]
    for content in [[1, 2], {}, {'worse_label': CLEAN}, *({'worse_label': b, 'clean_label': CLEAN} for b in bad)]:
        with pytest.raises(UserError): read_human(save(tmp_path/'h.pt', content), 'worse')
    other = save(tmp_path/'other.pt', {'worse_label': WORSE, 'clean_label': CLEAN}, name='readme')
    with pytest.raises(UserError, match='no item named'): read_human(other, 'worse')
    with pytest.raises(UserError, match='no file'): read_human(tmp_path/'absent.pt', 'worse')
    whole = save(tmp_path/'h.pt', {'clean_label': CLEAN, 'worse_label': WORSE}).read_bytes()
    for n in range(0, len(whole), 37):                                # cut short anywhere
        (tmp_path/'cut.pt').write_bytes(whole[:n])
        with pytest.raises(UserError): read_human(tmp_path/'cut.pt', 'worse')


# --- the real files -------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def cifar10():
    root = os.environ.get('NOISYLAB_DATA')
    if not root or not (Path(root)/'CIFAR-10_human.pt').exists():
        pytest.skip('NOISYLAB_DATA names no folder with CIFAR-10_human.pt and CIFAR-10')
    from torchvision.datasets import CIFAR10
    data = CIFAR10(root, train=True)
    return Path(root)/'CIFAR-10_human.pt', np.array(data.targets), data.data


def test_real_human_labels(cifar10):
    file, true, _ = cifar10
    for which, rate in dict(aggregate=9.01, random1=17.23, random2=18.12, random3=17.64, worse=40.21).items():
        out = inject(true, f'human:{which}', None, 10, file=file)
        assert round(100*out.rate, 2) == rate and (out.true == true).all()
    ids = np.arange(7, 50_000, 10)
    assert (inject(true[ids], 'human:worse', None, 10, file=file, ids=ids).given == out.given[ids]).all()
    with pytest.raises(UserError, match='another order'): inject(np.sort(true), 'human:worse', None, 10, file=file)
    with pytest.raises(UserError, match='aggregate, random1, random2, random3, worse'): read_human(file, 'fine')


REAL = {'symmetric .6': '20798538cf67a2ff', 'asymmetric .4': '450e1f17b2baca7e',
        'instance .4': '68c6281fb41e365a'}


def test_real_golden_checksums(cifar10):
    _, true, images = cifar10
    out = {'symmetric .6': inject(true, 'symmetric', .6, 10), 'asymmetric .4': inject(true, 'asymmetric', .4, 10),
           'instance .4': inject(true, 'instance', .4, 10, features=images.transpose(0, 3, 1, 2))}
    assert abs(out['instance .4'].rate - .4) < 5*(.24/50_000)**.5
    assert {k: n.checksum for k, n in out.items()} == REAL
