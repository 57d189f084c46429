"""Bad input, all of it in one table: each is refused soon, in one sentence that says what was wrong and what to do,
with nothing lost of what was there before and without running what a file asks for. A picture that cannot be used may
be skipped instead, and is listed then."""
import contextlib, errno, io, os, pickle, re, shutil, struct, threading, time, warnings, zipfile, zlib
from pathlib import Path

import numpy as np, pytest, torch
from PIL import Image

from noisylab.training.defaults import advise
from noisylab.cli import main
from noisylab.data.images import Images
from noisylab.errors import UserError
from noisylab.data.sources import load
from noisylab.data.listing import list_folder
from noisylab.training.prediction import predict
from noisylab.data.noise import inject
from noisylab.training.spec import Spec, read_spec, spec_from_dict
from noisylab.training.checkpoint import CHECKPOINT_CONTENT
from noisylab.training.trainer import Trainer

rng = np.random.RandomState(0)
X = rng.randint(0, 256, (12, 8, 8, 3)).astype(np.uint8)
Y = np.arange(12) % 3
DIGITS = load('digits')
RUN = Spec(noise='none', train_size=60, epochs=1, device='cpu')
CASES = {}      # name → (function of an empty folder, words): it puts there what is needed and returns the bad call

def png(path: Path, shape=(8, 8, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.randint(0, 256, shape).astype(np.uint8)).save(path)

def pets(place: Path) -> Path:
    for c in 'cat', 'dog':
        for i in range(5): png(place/'pets'/c/f'{i}.png')
    return place/'pets'

def split(place: Path) -> Path:
    for part, n in ('train', 4), ('test', 2):
        for c in 'cat', 'dog':
            for i in range(n): png(place/'split'/part/c/f'{i}.png')
    return place/'split'

def cases(kind, table, prepare):
    "Put `table` (name → what differs, words) among the cases."
    for name, (what, says) in table.items():
        CASES[f'{kind}: {name}'] = lambda place, what=what: prepare(place, what), says

# --- what a picture file can be

class Touch:
    "Unpickled, it writes a file: code that is run can be seen."
    def __init__(self, place): self.place = place
    def __reduce__(self): return Path.touch, (self.place/'executed',)

def bomb(path: Path):
    "A PNG header that claims 30,000 × 30,000 pixels."
    def chunk(kind, body): return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind+body))
    head = struct.pack('>IIBBBBB', 30_000, 30_000, 8, 2, 0, 0, 0)
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head)
                     + chunk(b'IDAT', zlib.compress(b'\0'*100)) + chunk(b'IEND', b''))

def half(path): path.write_bytes(path.read_bytes()[:120])
def frames(kind):
    def write(path):
        several = [Image.new('L', (8, 8), i) for i in (0, 99)]
        several[0].save(path, kind, save_all=True, append_images=several[1:])
    return write
def instead(make): return lambda path: (path.unlink(), make(path))

PICTURES = {
    'empty':    (lambda p: p.write_bytes(b''), 'empty file (0 bytes)'),
    'words':    (lambda p: p.write_text('hello'), 'not a picture'),
    'half':     (half, 'broken picture'),
    'half a JPEG': (lambda p: (Image.fromarray(X[0]).resize((99, 99)).save(p, 'JPEG'), half(p)), 'broken picture'),
    'flipped bits': (lambda p: p.write_bytes(p.read_bytes()[:60] + b'\xff'*20 + p.read_bytes()[80:]), 'broken picture'),
    'bomb':     (bomb, 'pixels'),
    'strip':    (lambda p: Image.new('L', (1, 80)).save(p), '50 times'),
    'animated GIF': (frames('GIF'), '2 frames'),
    'animated PNG': (frames('PNG'), '2 frames'),
    'two pages':    (frames('TIFF'), '2 frames'),
    'float':    (lambda p: Image.new('F', (8, 8), 9).save(p, 'TIFF'), 'floats from 9'),
    '32 bits':  (lambda p: Image.new('I', (8, 8), 70_000).save(p, 'TIFF'), 'int32 pixels'),
    'EPS':      (lambda p: p.write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n'), 'not a picture'),
    'SVG':      (lambda p: p.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>'), 'not a picture'),
    'pickle':   (lambda p: p.write_bytes(pickle.dumps(Touch(p.parent.parent.parent))), 'not a picture'),
    'dangling link':  (instead(lambda p: p.symlink_to('nowhere.png')), 'a link to nothing'),
    'link to itself': (instead(lambda p: p.symlink_to(p)), 'dog/3.png'),
    'a pipe':   (instead(os.mkfifo), 'not a file')}

def a_picture(in_memory):
    def prepare(place, spoil):
        root = pets(place)
        spoil(root/'dog'/'3.png')
        def read():
            for t in load(root, in_memory=in_memory): t.take(torch.arange(len(t)))
        return read
    return prepare

cases('picture', PICTURES, a_picture(True))
cases('picture on disk', PICTURES, a_picture(False))

@pytest.mark.parametrize('kind', PICTURES)
@pytest.mark.parametrize('in_memory', [True, False])
def test_a_picture_is_skipped_and_listed(tmp_path, kind, in_memory):
    root = pets(tmp_path)
    PICTURES[kind][0](root/'dog'/'3.png')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        train, test = load(root, in_memory=in_memory, on_bad='skip')
    assert [b.path for b in (*train.skipped, *test.skipped)] == ['dog/3.png'] and len(train) + len(test) == 9
    for t in (train, test):
        assert len(t.ids) == len(t) == len(t.take(torch.arange(len(t)))) and 'dog/3.png' not in t.ids
    assert not (tmp_path/'executed').exists()

def test_predictions_skip_and_list_them_all(tmp_path, finished):
    for k, (spoil, _) in enumerate(PICTURES.values()):
        png(tmp_path/'a/b/new'/f'{k}.png'); spoil(tmp_path/'a/b/new'/f'{k}.png')
    png(tmp_path/'a/b/new'/'good.png')
    got = predict(finished, tmp_path/'a/b/new')
    assert [Path(i).name for i in got.ids] == ['good.png'] and len(got.skipped) == len(PICTURES)
    assert not (tmp_path/'a'/'executed').exists()

def test_a_file_without_permission(tmp_path, monkeypatch):
    "Root may read everything, so that the refusal is Pillow's, by hand."
    root, real = pets(tmp_path), Image.open
    def refuse(path, *a, **k):
        if Path(path).name == '3.png': raise PermissionError(errno.EACCES, 'Permission denied', str(path))
        return real(path, *a, **k)
    monkeypatch.setattr(Image, 'open', refuse)
    with pytest.raises(UserError, match='3.png: permission denied'): load(root)
    assert len(load(root, on_bad='skip')[0].skipped) == 2

def test_a_folder_of_200_000_files_is_listed_soon(tmp_path, monkeypatch):
    "The names are made up; what is measured is what noisylab does with them, which asks the disk about none of them."
    class Entry:
        def __init__(self, name): self.name = name
        def is_dir(self): return False
    real, made = os.scandir, [Entry(f'img_{i}.png') for i in range(100_000)]
    def scandir(path): return contextlib.nullcontext(made) if Path(path).name in ('cat', 'dog') else real(path)
    for c in 'cat', 'dog': (tmp_path/c).mkdir()
    asked, stat = [], Path.stat
    def counted(*a, **k):
        asked.append(a)
        return stat(*a, **k)
    with monkeypatch.context() as m:
        m.setattr(os, 'scandir', scandir); m.setattr(Path, 'stat', counted)
        start = time.process_time()
        rows, _ = list_folder(tmp_path)
        took = time.process_time() - start
    assert len(asked) < 100 and len(rows) == 200_000 and rows[2].path == 'cat/img_2.png' and took < 10

# --- folders

def rm(*names): return lambda root: [shutil.rmtree(root/n) for n in names]

cases('folder', {
    'one class':        ((pets,  rm('dog')), 'one class only (cat)'),
    'no class':         ((pets,  rm('cat', 'dog')), 'no class folders'),
    'empty class':      ((pets,  lambda r: (r/'bird').mkdir()), 'bird: no pictures'),
    'other files only': ((pets,  lambda r: ((r/'bird').mkdir(), (r/'bird'/'a.heic').touch())), '.heic'),
    'pictures only':    ((pets,  lambda r: (rm('cat', 'dog')(r), png(r/'1.png'))), 'pictures lie in it'),
    'a loop of links':  ((pets,  lambda r: (r/'cat'/'up').symlink_to(r)), 'a loop; remove the link'),
    'no test':          ((split, rm('test')), 'train/ without test/'),
    'no train':         ((split, rm('train')), 'test/ without train/'),
    'empty test':       ((split, rm('test/cat', 'test/dog')), 'test: no class folders'),
    'new in test':      ((split, lambda r: png(r/'test'/'bird'/'1.png')), 'class bird is in test and not in'),
    'empty in test':    ((split, lambda r: (r/'test'/'bird').mkdir()), 'bird: no pictures')},
    lambda place, what: (root := what[0](place), what[1](root), lambda: load(root))[-1])

def no_good_dog(place, in_memory):
    root = pets(place)
    for p in (root/'dog').iterdir(): half(p)
    return lambda: load(root, on_bad='skip', in_memory=in_memory)
cases('no good picture', {'in memory': (True, 'no training image of class dog'),
                          'on disk':   (False, 'no training image of class dog')}, no_good_dog)

cases('path', {
    'a name of none':   ('cifar', 'no such file'), 'capitals': ('CIFAR10', "Did you mean 'cifar10'"),
    'not there':        ('none', 'no such file'), 'no name': ('', 'an empty name'),
    'NUL':              ('a\0b', 'no such file'), 'two lines': ('a\nb', 'no such file'),
    'endless':          ('/dev/zero', 'no .csv or .npz'), 'bytes': (b'digits', 'a bytes'),
    'a number':         (3, 'a int'), 'nothing': (None, 'a NoneType')}, lambda place, what: lambda: load(what))

# --- CSV

GOOD_ROWS = '\n'.join(f'{c}/{i}.png,{c}' for c in ('cat', 'dog') for i in range(5))

def a_csv(place, text):
    path = pets(place)/'list.csv'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return lambda: load(path)

cases('CSV', {
    'no header':    (GOOD_ROWS, 'a header with path and label'),
    'BOM, no header': ('\ufeff'+GOOD_ROWS, 'a header with path and label'),
    'no column label': ('path,class\n'+GOOD_ROWS, 'a header with path and label'),
    'bars':         ('path|label\ncat/1.png|cat', 'a header with path and label'),
    'empty':        ('', 'a header with path and label'),
    'twice':        ('path,label,label\ncat/1.png,a,b', 'a header with path and label'),
    'header only':  ('path,label\n', 'no pictures are listed'),
    'a field more': ('path,label\ncat/1.png,cat,x', 'line 2: 3 fields, 2 expected'),
    'no label':     ('path,label\ncat/1.png,', 'cat/1.png: no label'),
    'some labels':  ('path,label\n'+GOOD_ROWS+'\nw.png,nan\nv.png,-1', 'w.png: no label; 1 more: v.png'),
    'no path':      ('path,label\n,cat', 'line 2: path is empty'),
    'no true':      ('path,label,true\ncat/1.png,cat,', 'line 2: true is empty'),
    'split':        ('path,label,split\ncat/1.png,cat,new', "split is 'new'"),
    'only val':     ('path,label,split\ncat/1.png,cat,val', 'no train pictures'),
    'noisy, too':   ('path,label,label_noisy\ncat/1.png,cat,dog', 'not clear'),
    'listed twice': ('path,label\n'+GOOD_ROWS+'\ncat/1.png,dog', 'line 12: cat/1.png is listed in line 3'),
    'twice by another name': ('path,label\n'+GOOD_ROWS+'\n./cat/../cat/1.png,dog', 'is listed in line 3'),
    'only train':   ('path,label,split\ncat/1.png,cat,train\ndog/1.png,dog,train', 'no test pictures'),
    'not there':    ('path,label\n'+GOOD_ROWS+'\ncat/77.png,cat', 'cat/77.png: no such file'),
    'addresses':    ('path,label\n'+GOOD_ROWS+'\nhttp://localhost/1.png,cat', 'http://localhost/1.png: no such file'),
    'open quote':   ('path,label\n"cat/1.png,cat\n', 'not a CSV'),
    'quote within': ('path,label\n"cat"/1.png,cat\n', 'not a CSV'),
    'one class':    ('path,label\ncat/1.png,cat\ncat/2.png,cat', 'one class only'),
    'Latin-1':      ('path,label\ncat/1.png,Kätzchen'.encode('latin1'), 'UTF-8'),
    'UTF-16, no mark': ('path,label\ncat/1.png,cat'.encode('utf-16-le'), 'not a CSV|a header with'),
    'a picture':    (b'\x89PNG\r\n\x1a\n\xff', 'UTF-8'),
    'endless field': ('path,label\n'+'x'*200_000+',b\n', 'not a CSV')}, a_csv)

# --- arrays, archives, datasets, options

cases('arrays', {
    'floats over 1':  ((X*1., Y, X, Y), 'floats from 0 to 255'),
    'normalized':     ((X/60-2, Y, X, Y), 'not normalized yet'),
    'NaN':            ((X*np.nan, Y, X, Y), 'nan'),
    'infinite':       ((X+np.inf, Y, X, Y), 'floats from'),
    'int64 pixels':   ((X.astype(int), Y, X, Y), 'int64 pixels'),
    'complex pixels': ((X.astype(complex), Y, X, Y), 'complex128 pixels'),
    'bool pixels':    ((X > 9, Y, X, Y), 'bool pixels'),
    'flat':           ((X.reshape(12, -1), Y, X, Y), 'shape (12, 192)'),
    'five channels':  ((np.zeros((12, 8, 8, 5), np.uint8), Y, X, Y), 'shape (12, 8, 8, 5)'),
    '8 bits in 16':   ((X.astype(np.uint16), Y, X, Y), 'uint16 pixels from 0 to 255'),
    'no images':      ((X[:0], Y[:0], X, Y), 'there are no pixels'),
    'ragged':         (([X[0], X[1, :4]], [0, 1], X, Y), 'several shapes'),
    'too few labels': ((X, Y[:9], X, Y), 'y_train: 9 for 12 images'),
    'float labels':   ((X, Y+.5, X, Y), 'float64 values'),
    'NaN labels':     ((X, Y*np.nan, X, Y), 'x_train[0]: no label; so none of 12'),
    'bool labels':    ((X, Y > 0, X, Y), 'bool values'),
    'one-hot':        ((X, np.eye(3, dtype=int)[Y], X, Y), 'argmax'),
    'ragged labels':  ((X, [[0], [1, 2]]*6, X, Y), 'several lengths'),
    'names':          ((X, ['a', 'b', 'c']*4, X, Y), 'class 0, 1, 2 is in test and not in train'),
    'a dict a label': ((X, [{}]*12, X, Y), 'type dict'),
    'no labels':      ((X, None, X, Y), 'whole numbers'),
    'negative':       ((X, -2-Y, X, Y), 'from -4 to -2'),
    'unlabelled':     ((X, Y-1, X, Y), 'x_train[0]: no label; 3 more'),
    'from 1':         ((X, Y+1, X, Y+1), 'no training image of class 0'),
    'new in test':    ((X, Y, X, Y+1), 'no training image of class 3'),
    'one class':      ((X, Y*0, X, Y*0), 'one class only'),
    'huge label':     ((X, Y*10**12, X, Y), 'labels up to 2,000,000,000,000'),
    'overflow':       ((X, Y.astype(np.uint64)+2**63, X, Y), 'labels'),
    'five':           ((X, Y, X, Y, Y), 'four arrays'),
    'two arrays':     ((X, Y), 'four arrays'),
    'an iterator':    ((iter([]), iter([])), 'len(ds)')}, lambda place, what: lambda: load(what))

def an_archive(place, content):
    parts, path = dict(x_train=X, y_train=Y, x_test=X[:5], y_test=Y[:5]), place/'a.npz'
    np.savez(path, **content(parts, place) if callable(content) else parts)
    if isinstance(content, bytes): path.write_bytes(content)
    if isinstance(content, float): path.write_bytes(path.read_bytes()[:int(content*path.stat().st_size)])
    return lambda: load(path)

cases('npz', {
    'a part':   (lambda p, _: dict(x_train=X), 'holds x_train; x_train, y_train'),
    'objects':  (lambda p, _: p | {'y_train': np.array([{}]*12, object)}, 'y_train: broken, or not plain numbers'),
    'code':     (lambda p, d: p | {'y_train': np.array([Touch(d)]*12, object)}, 'y_train: broken, or not plain'),
    'labels out of range': (lambda p, _: p | {'y_test': Y[:5]+9}, 'no training image of class'),
    'empty':    (b'', 'broken'), 'words': (b'hello', 'broken'), 'half': (.5, 'broken'),
    'a pickle': (b"cos\nsystem\n(S'touch x'\ntR.", 'broken')}, an_archive)

cases('option', {f'{k}={v!r}': ((k, v), f'{k}={v!r}') for k, v in [
    ('train_size', 2), ('train_size', 99), ('train_size', True), ('train_size', 4.), ('seed', -1), ('seed', None),
    ('seed', 2**32), ('size', 2.5), ('size', 1), ('size', 99_999), ('grey', 'yes'), ('grey', 1), ('on_bad', 'ignore'),
    ('in_memory', False), ('in_memory', 1)]}, lambda place, kv: lambda: load((X, Y, X, Y), **dict([kv])))

PIXELS = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
cases('Images', {
    'float':        ((PIXELS.float(), [0]*4, 'ab'), 'uint8 N×C×H×W'),
    'one image':    ((PIXELS[0], [0], 'ab'), 'uint8 N×C×H×W'),
    'not square':   ((PIXELS[:, :, :5], [0]*4, ['a', 'b']), 'a square'),
    'none':         ((PIXELS[:0], [], ['a', 'b']), 'no images'),
    'an array':     ((PIXELS.numpy(), [0]*4, ['a', 'b']), 'pixels: ndarray'),
    'label 2':      ((PIXELS, [0, 2, 0, 0], ['a', 'b']), 'from 0 to 2'),
    'one label':    ((PIXELS, [0], ['a', 'b']), '1 for 4'),
    'true 9':       ((PIXELS, [0]*4, ['a', 'b'], [0, 9, 0, 0]), 'true: from 0 to 9'),
    'one id':       ((PIXELS, [0]*4, ['a', 'b'], None, [1]), 'ids: 1 for 4'),
    'same names':   ((PIXELS, [0]*4, ['a', 'a']), 'all different'),
    'no names':     ((PIXELS, [0]*4, None), 'a list of names'),
    'a text of names': ((PIXELS, [0]*4, 'ab'), 'a list of names')}, lambda place, what: lambda: Images(*what))
cases('index', {repr(v): (v, 'index') for v in ([4], [-1], [0.], [[0]], [True], ['a'], None)},
      lambda place, v: lambda: Images(PIXELS, [0]*4, ['a', 'b']).subset(v))

# --- noise

NOISE = [
    (dict(kind='symetric'), 'there is no noise of kind'), (dict(kind=3), 'choose one of none, symmetric'),
    (dict(labels=[0, 1, 3]), 'hold 3 at position 2'), (dict(labels=[-1, 0]), 'hold -1'),
    (dict(labels=[0., 1.]), 'float64'), (dict(labels=[[0], [1]]), 'shape'), (dict(labels=[]), 'shape'),
    (dict(labels=['cat']), 'give integers'), (dict(labels=[0, None]), 'object'),
    (dict(labels=[[0], [1, 2]]), 'different lengths'), (dict(labels=3), 'shape'),
    (dict(rate=1.1), 'a number from 0 to 1'), (dict(rate=-.1), 'rate=-0.1'), (dict(rate=float('nan')), 'nan'),
    (dict(rate=None), 'None'), (dict(rate='0.2'), "'0.2'"), (dict(rate=True), 'True'), (dict(rate=[.2, .3]), 'rate'),
    (dict(n_classes=1), 'n_classes is 1'), (dict(n_classes=2.), 'n_classes is 2.0'), (dict(seed=-1), 'seed is -1'),
    (dict(seed=2**32), 'seed'), (dict(seed=.5), 'seed'), (dict(seed=None), 'seed'),
    (dict(class_map='cifar10'), "no setting 'class_map'"), (dict(matrix=np.eye(3)), "no setting 'matrix'"),
    (dict(file='x'), "no setting 'file'"),
    (dict(kind='none'), 'takes no rate'), (dict(kind='asymmetric', inclusive=True), "no setting 'inclusive'"),
    (dict(kind='asymmetric', class_map='cifar10'), 'needs 10 classes'),
    (dict(kind='asymmetric', class_map='cats'), 'cifar10 or cifar100'),
    (dict(kind='asymmetric', class_map={0: 3}), '0: 3'), (dict(kind='asymmetric', class_map={'cat': 1}), "'cat': 1"),
    (dict(kind='asymmetric', class_map={0: 1.}), '0: 1.0'),
    (dict(kind='asymmetric', class_map=[1, 0]), '2 entries for 3'), (dict(kind='asymmetric', class_map=7), 'shape'),
    (dict(kind='instance'), 'features='), (dict(kind='instance', features=np.ones((2, 4))), '(2, 4)'),
    (dict(kind='instance', features=np.ones(3)), '(3,)'),
    (dict(kind='instance', features=np.full((3, 4), np.nan)), 'NaN'),
    (dict(kind='instance', features=[['a']]*3), 'numbers'),
    (dict(kind='given', rate=None), 'needs its labels or its matrix'),
    (dict(kind='given', rate=None, file=[0], matrix=np.eye(3)), 'give one of them'),
    (dict(kind='given', rate=.1, matrix=np.eye(3)), 'takes no rate'),
    (dict(kind='given', rate=None, matrix=np.eye(2)), '(2, 2)'),
    (dict(kind='given', rate=None, matrix=np.ones((3, 3))), 'sums to 3'),
    (dict(kind='given', rate=None, matrix='x'), 'no table'),
    (dict(kind='given', rate=None, matrix=[[2, -1, 0], [0, 1, 0], [0, 0, 1]]), 'negative'),
    (dict(kind='given', rate=None, matrix=np.array([[.5, 0, 0], [.5, 1, 0], [0, 0, 1]])), 'matrix.T'),
    (dict(kind='given', rate=None, file=[0, 1]), '2 entries and there are 3'),
    (dict(kind='given', rate=None, file=[0, 1, 5]), 'hold 5'),
    (dict(kind='given', rate=None, file=[0, 1], ids=[0, 1, 2]), 'up to 2 of the whole'),
    (dict(kind='given', rate=None, file='no.csv'), 'no file no.csv'),
    (dict(kind='human:worse', rate=None), 'reads labels from a file'),
    (dict(kind='human:worse', rate=.4, file='x'), 'takes no rate'),
    (dict(kind='human:bad', rate=None), 'human:aggregate, human:random1')]
cases('noise', {', '.join(f'{k}={v!r}' for k, v in change.items()).replace('\n', ''): (change, says)
                for change, says in NOISE},
      lambda place, new: lambda: inject(**dict(labels=[0, 1, 2], kind='symmetric', rate=.2, n_classes=3) | new))

def labels_file(place, what):
    name, content = what
    (place/name).write_bytes(pickle.dumps(Touch(place)) if content is Touch else content)
    kind = 'human:worse' if name.endswith('.pt') else 'given'
    return lambda: inject([0, 1, 2], kind, None, 3, file=place/name)

cases('file of labels', {
    'a pickle as .npy': (('a.npy', Touch), 'a.npy'), 'a pickle as .pt': (('a.pt', Touch), 'a.pt'),
    'half JSON':    (('a.json', b'[0, 1'), 'a.json'), 'words': (('a.txt', b'cat\ndog\ncat'), 'a.txt'),
    'no numbers':   (('a.csv', b'path,label\na,x\nb,y\nc,z'), 'a.csv'), 'empty': (('a.npy', b''), 'a.npy'),
    'out of range': (('a.txt', b'0\n1\n7'), 'hold 7'), 'NaN': (('a.txt', b'0\nnan\n1'), 'a.txt')}, labels_file)

# --- Spec and Trainer

SPECS = dict(
    data=[5], root=[5, None], train_size=['a', 1], size=[3, True], grey=['x'], on_bad=['x'], noise=['x', None, ['a']],
    rate=[.4, True, ''], noise_settings=[3, {'x': 1}, {'rate': .1}], method=['x', None, ['a']],
    settings=[{'tau': 'x'}, {'nope': 1}, {'tau': float('nan')}, {'x': object()}], model=[5, 'nope', ''],
    width=[0, float('nan')], ops=['nope', ('Rotate', 'Nope'), 5, (), (1, 2)], n=[-1, 2.5], m=[31], crop=[100],
    flip=['yes'], epochs=[0, 1e9], batch=[1, 10**9], lr=[-1, float('nan'), True], schedule=['x', None], momentum=[1],
    weight_decay=[-1], seed=[-1, 1.5], val=[.9, 'x'], eval_every=[0], watch=[0],
    device=['tpu', 'cuda:99', 'cpu:7', 5, '', 'cuda:x'], precision=['fp64'], engine=['x', 'graph'])
WORDS = dict(settings='tau|setting|plain value', noise_settings='noise_settings|setting', ops='unknown operations|ops')
cases('Spec', {f'{k}={v!r}'[:60]: ((k, v), WORDS.get(k, k)) for k, vs in SPECS.items() for v in vs},
      lambda place, kv: lambda: Trainer(Spec(**{'train_size': 60, 'epochs': 1, 'device': 'cpu', **dict([kv])})))
cases('rate', {f'{kind}, rate={r!r}': ((kind, r), f'rate={r!r}') for kind in ('symmetric', 'asymmetric', 'instance')
               for r in (None, -1, 1.01, 2., 'a', True, float('nan'), [.2])},
      lambda place, kr: lambda: Spec(noise=kr[0], rate=kr[1]))

def a_spec(place, content):
    (place/'spec.json').write_bytes(content)
    return lambda: read_spec(place)
cases('spec.json', {
    'empty': (b'', 'is not JSON'), 'a list': (b'[]', 'holds list'), 'nothing': (b'null', 'holds NoneType'),
    'another field': (b'{"epoch": 3}', "no field 'epoch'"), 'a text': (b'{"epochs": "3"}', "epochs='3'"),
    'no text': (b'\xff\xfe', 'is not JSON'), 'half': (b'{"epochs": 1', 'is not JSON'),
    'NaN': (b'{"lr": NaN}', 'lr=nan'),
    'deep': (b'['*100_000, 'is not JSON')}, a_spec)
cases('fields', {'none': (None, 'a NoneType'), 'a list': ([1], 'a list')}, lambda place, d: lambda: spec_from_dict(d))

GREY = load((X[..., 0], Y, X[..., 0], Y))
cases('Trainer', {
    'test alone':   (lambda d: Trainer(RUN, test=GREY[0]), 'without train='),
    'train alone, no Images': (lambda d: Trainer(RUN, train=[1]), 'train is a list'),
    'lists':        (lambda d: Trainer(RUN, train=[1], test=[2]), 'train is a list'),
    'other classes': (lambda d: Trainer(RUN, train=DIGITS[0], test=GREY[1]), 'n_classes: 10 in train and 3 in test'),
    'other size':   (lambda d: Trainer(RUN, train=DIGITS[0], test=load('digits', size=16)[1]), 'shape: (1, 8, 8)'),
    'net':          (lambda d: Trainer(RUN, net=5), 'net is a int'),
    'net of other classes': (lambda d: Trainer(RUN, net=torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3))),
                             '3 logits'),
    'a dict of no spec': (lambda d: Trainer({'epoch': 1}), "no field 'epoch'"),
    'a list':       (lambda d: Trainer([1]), 'a list'),
    'a number':     (lambda d: Trainer(3), 'int'),
    'checkpoint':   (lambda d: Trainer(RUN, out=d/'run', checkpoint_every=0), 'checkpoint_every=0'),
    'change epochs': (lambda d: Trainer(RUN).change(epochs=3), "'epochs' can't change"),
    'change lr':    (lambda d: Trainer(RUN).change(lr=float('nan')), 'lr=nan'),
    'advice of nothing': (lambda d: advise(d/'none'), 'no such file')}, lambda place, do: lambda: do(place))

# --- checkpoints

@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp('finished')/'run'
    Trainer(RUN, out=folder).fit(progress=False)
    return folder

def cut(share): return lambda p, place: p.write_bytes(p.read_bytes()[:int(share*p.stat().st_size)])
def flip(p, place):
    "In what the archive holds: between its members torch leaves room, where a changed byte does no harm."
    with zipfile.ZipFile(p) as z: largest = max(z.infolist(), key=lambda m: m.file_size)
    raw = bytearray(p.read_bytes())
    raw[largest.header_offset + largest.file_size//2 + 512] ^= 255
    p.write_bytes(raw)
def with_(**new):
    def spoil(p, place):
        st = torch.load(p)
        for k, v in new.items(): st[k] = v(st[k]) if callable(v) else v
        torch.save({k: v for k, v in st.items() if v is not None}, p)
    return spoil
def old_format(p, place):
    torch.save(torch.load(p), p, _use_new_zipfile_serialization=False)
def hidden_code(p, place):
    with zipfile.ZipFile(p) as z: parts = {n: z.read(n) for n in z.namelist()}
    with zipfile.ZipFile(p, 'w') as z:
        for n, raw in parts.items(): z.writestr(n, pickle.dumps(Touch(place)) if n.endswith('data.pkl') else raw)

BROKEN = {
    'empty':    (cut(0), 'damaged'), 'a hundredth': (cut(.01), 'damaged'), 'half': (cut(.5), 'damaged'),
    'all but the end': (cut(.99), 'damaged'), 'a flipped bit': (flip, 'damaged'), 'old format': (old_format, 'damaged'),
    'absent':   (lambda p, place: p.unlink(), 'does not exist'),
    'a folder': (lambda p, place: (p.unlink(), p.mkdir()), 'damaged'),
    'a pickle that runs code': (lambda p, place: p.write_bytes(pickle.dumps(Touch(place))), 'damaged'),
    'torch.save of code': (lambda p, place: torch.save(Touch(place), p), 'damaged'),
    'code in a good archive': (hidden_code, 'damaged'),
    'other content': (lambda p, place: torch.save([1], p), 'no checkpoint of noisylab'),
    'weights alone': (lambda p, place: torch.save({'a': torch.ones(2)}, p), 'no checkpoint of noisylab'),
    **{f'no {k}': (with_(**{k: None}), k) for k in CHECKPOINT_CONTENT},
    'spec of no field': (with_(spec={'a': 1}), "no field 'a'"),
    'a bad field': (with_(spec=lambda s: s | {'epochs': 'x'}), "epochs='x'"),
    'another width': (with_(spec=lambda s: s | {'width': 2.}), 'another network'),
    'another network': (with_(spec=lambda s: s | {'model': 'resnet18'}), 'another network'),
    'no weights': (with_(net={}), 'another network'),
    'weights of another shape': (with_(net=lambda n: {k: torch.zeros(1) for k in n}), 'another network'),
    'weights that are NaN': (with_(net=lambda n: n | {'backbone.fc.bias': n['backbone.fc.bias']*float('nan')}),
                             'no numbers')}
ONLY_RESUME = {
    'other data': (with_(spec=lambda s: s | {'seed': 5, 'train_size': 61}), 'checksum'),
    'data gone': (with_(spec=lambda s: s | {'data': 'nowhere'}), 'no such file'),
    'an epoch after the last': (with_(epoch=99), 'epoch 99'),
    'an epoch before the first': (with_(epoch=-1), 'epoch -1'),
    'a step of another epoch': (with_(step=10**6), 'step 1000000'),
    'past the end of an epoch': (with_(in_epoch=10**6), '1000000 of the epoch'),
    'images seen': (with_(n_seen=-1), '-1 images'),
    'another event': (with_(events=[{'step': 0, 'nope': 3}]), "'nope' can't change"),
    'no state of the optimizer': (with_(opt={}), 'another method or optimizer')}
ONLY_PREDICT = {
    'no class names': (with_(images=None), 'what its classes are called'),
    'images are a text': (with_(images='x'), 'what its classes are called'),
    'another shape': (with_(images=lambda i: i | {'shape': [3, 8, 8]}), 'another network'),
    'another class': (with_(images=lambda i: i | {'classes': ['a', 'b']}), 'another network')}

def of_run(use):
    def prepare(place, spoil):
        spoil(place/'run'/'checkpoint.pt', place)
        return lambda: use(place)
    return prepare

def resume(place): return Trainer.resume(place/'run')
def predict_one(place):
    png(place/'one.png')
    return predict(place/'run', place/'one.png')
cases('resume', BROKEN | ONLY_RESUME, of_run(resume))
cases('predict', BROKEN | ONLY_PREDICT, of_run(predict_one))

NEW = {'a number': (lambda d: predict(d/'run', 3), 'a folder, a picture'),
       'nothing': (lambda d: predict(d/'run', []), 'empty'),
       'an empty folder': (lambda d: ((d/'e').mkdir(), predict(d/'run', d/'e')), 'no pictures'),
       'not there': (lambda d: predict(d/'run', d/'none.png'), 'no such file'),
       'on_bad': (lambda d: predict(d/'run', d, on_bad='x'), "on_bad='x'"),
       'device': (lambda d: predict(d/'run', d, device='tpu'), "device='tpu'"),
       'larger Images': (lambda d: predict(d/'run', load('digits', size=16)[0]), 'size=8, grey=True'),
       'a loop': (lambda d: ((d/'l').mkdir(), (d/'l'/'l').symlink_to(d/'l'), predict(d/'run', d/'l')), 'a loop')}
cases('new pictures', NEW, lambda place, do: lambda: do(place))

# --- nowhere to write

def full(path):
    "The disk takes not a byte more of `path`: what is written first, beside it, goes to /dev/full."
    path.parent.mkdir(exist_ok=True)
    path.with_name(path.name + '.part').symlink_to('/dev/full')

WRITES = {
    'checkpoint on a full disk': (lambda d: (t := resume(d), full(d/'run'/'checkpoint.pt'), t.save()), 'checkpoint.pt'),
    'history on a full disk':    (lambda d: (t := resume(d), full(d/'run'/'history.jsonl'), t.save()), 'No space left'),
    'spec on a full disk':       (lambda d: (full(d/'new'/'spec.json'), Trainer(RUN, out=d/'new')), 'No space left'),
    'predictions on a full disk': (lambda d: (full(d/'p.csv'), predict_one(d).to_csv(d/'p.csv')), 'No space left'),
    'a run in a file':           (lambda d: Trainer(RUN, out=d/'run'/'spec.json'), 'could not be written'),
    'a run below a device':      (lambda d: Trainer(RUN, out='/dev/null/run'), 'could not be written'),
    'a run where nothing can be made': (lambda d: Trainer(RUN, out='/proc/run'), 'could not be written'),
    'a run over a run':          (lambda d: Trainer(RUN, out=d/'run'), 'holds a run already'),
    'predictions as a folder':   (lambda d: predict_one(d).to_csv(d), 'could not be written')}
cases('write', WRITES, lambda place, do: lambda: do(place))

def test_a_folder_that_is_read_only(tmp_path, finished, monkeypatch):
    "Root may write everywhere, so that the refusal is the system's, by hand."
    shutil.copytree(finished, tmp_path/'run')
    t, before = Trainer.resume(tmp_path/'run'), {p: p.read_bytes() for p in (tmp_path/'run').iterdir()}
    def refuse(a, b): raise PermissionError(errno.EROFS, 'Read-only file system', str(b))
    monkeypatch.setattr(os, 'replace', refuse)
    with pytest.raises(UserError, match='Read-only file system.*unchanged'): t.save()
    assert {p: p.read_bytes() for p in (tmp_path/'run').iterdir()} == before

# --- the program

def refused_command(place, line):
    args = [a.replace('HERE', str(place)) for a in line.split()]
    if 'pets' in line: pets(place)
    (place/'t.toml').write_text('x = ['); (place/'picture.png').write_bytes(b'\x89PNG\xff')
    def run():
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try: status = main(args)
            except SystemExit as e: status = e.code
        if status == 2:     # argparse shows the usage before its sentence
            lines = said.getvalue().strip().splitlines()
            assert lines[-1].startswith('noisylab') and (len(lines) == 1 or lines[0].startswith('usage:')), lines
            raise UserError(lines[-1].partition(': ')[2] + ('; expected is what the usage says' if lines[1:] else ''))
    return run

COMMANDS = {
    '': 'required', 'nope': 'invalid choice', 'train --epochs x': 'epochs', 'train --epochs 0': 'epochs=0',
    'train --noise symmetric --rate 2': 'rate=2.0', 'train --rate 0.2 --noise none': 'takes no rate',
    'train --rate 0.2': 'takes no rate', 'train --noise symmetric': 'needs a rate', 'train --lr nan': 'lr=nan',
    'train --seed -1': 'seed=-1', 'train --method papre': "method 'papre'",
    'train --model nope --epochs 1': "model 'nope'",
    'train --weight x': 'unrecognized', 'train --set tau': 'NAME=VALUE', 'train --set =1': "no setting ''",
    'train --noise-set file=/none --noise given': 'no file /none', 'train --noise-set x=1': "no setting 'x'",
    'train --data HERE/none': 'no such file', 'train --data HERE/pets/cat': 'no class folders',
    'train --data HERE/picture.png': 'no .csv or .npz', 'train --data HERE/pets --size 2': 'size=2',
    'train --data HERE/pets --train-size 1': 'train_size=1',
    'train --data HERE/pets --method balanced --set x=1': 'no setting',
    'train --out HERE/run': 'holds a run already', 'train --out /proc/x --epochs 1': 'could not be written',
    'train --resume': 'needs --out', 'train --resume --out HERE/none': 'does not exist',
    'train --resume --out HERE/run --epochs 9': 'has 1 and keeps it', 'train --spec HERE/none.json': 'does not exist',
    'train --spec HERE/picture.png': 'is not JSON', 'train --checkpoint-every 0': 'whole number from 1',
    'train --frames --epochs 1': 'needs --out', 'train --device cuda:99 --epochs 1': "device='cuda:99'",
    'predict': 'required', 'predict HERE/run': 'required', 'predict HERE HERE/pets': 'does not exist',
    'predict HERE/run HERE/none': 'no such file', 'predict HERE/run HERE/picture.png': 'not a picture',
    'predict HERE/run HERE/pets --csv /proc/x.csv': 'could not be written',
    'predict HERE/run HERE/pets --csv HERE': 'written',
    'predict HERE/run HERE/picture.png --on-bad raise': 'not a picture',
    'predict HERE/run HERE --on-bad x': 'invalid choice',
    'issues': 'required', 'issues HERE/none': 'no such file', 'issues HERE/pets/cat': 'no class folders',
    'issues HERE/picture.png': 'no .csv or .npz',
    'report': 'required', 'report HERE': 'has no spec.json',
    'replay HERE': 'does not exist', 'replay HERE/run --out HERE/run': 'holds a run already',
    'demo --workers 0': 'whole number from 1', 'grid none.toml --out HERE/r.jsonl': 'does not exist',
    'grid HERE/t.toml --out HERE/r.jsonl': 'no TOML', 'grid HERE/t.toml': '--out', 'grid show': 'needs one or more',
    'grid show HERE/picture.png': 'cannot be read', 'grid show HERE': 'does not exist',
    'grid HERE/t.toml --out HERE/r.jsonl --workers 0': 'whole number from 1'}
cases('noisylab', {line or '(nothing)': (line, says) for line, says in COMMANDS.items()}, refused_command)

# --- the table

FIX = re.compile(r'expected|;|[Mm]end|remove|leave|give|choose|name another|needed|required|needs|did you mean', re.I)

def files(place):
    return {p: p.read_bytes() for p in place.rglob('*') if p.is_file() and not p.is_symlink()}

@pytest.mark.parametrize('name', CASES)
def test_refused_in_a_sentence(name, tmp_path, request):
    prepare, says = CASES[name]
    if name.split(':')[0] in ('resume', 'predict', 'new pictures', 'write', 'noisylab'):
        shutil.copytree(request.getfixturevalue('finished'), tmp_path/'run')
    call, got = prepare(tmp_path), []
    before = files(tmp_path)
    def run():
        try: got.append(call())
        except BaseException as e: got.append(e)
    thread = threading.Thread(target=run, daemon=True)
    thread.start(); thread.join(20)
    assert got, 'it hangs'
    if not isinstance(got[0], UserError):
        raise AssertionError(f'accepted: {got[0]!r}') from got[0] if isinstance(got[0], BaseException) else None
    said = str(got[0])
    assert re.search('|'.join(map(re.escape, says.split('|'))), said), said
    assert '\n' not in said and 'Traceback' not in said and FIX.search(said), said
    after = files(tmp_path)
    assert {p: after.get(p) for p in before} == before, 'something was lost or changed'
    assert not any(p.name == 'executed' for p in after), 'code of a file was run'

def test_the_table_is_as_long_as_it_says(): assert len(CASES) > 350
