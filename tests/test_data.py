"What goes wrong with people's images, and whether noisylab says so; streaming; the published files."
import http.server, io, multiprocessing, os, shutil, tarfile, threading, time, urllib.error
from functools import partial
from pathlib import Path

import numpy as np, pytest, torch
from PIL import Image

from noisylab.data import datasets as named, files, readers
from noisylab.data.images import Images
from noisylab.errors import UserError
from noisylab.data.sources import load

rng = np.random.RandomState(0)
X = rng.randint(0, 256, (12, 8, 8, 3)).astype(np.uint8)
Y = np.arange(12) % 3

def png(path: Path, shape=(8, 8, 3), mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    im = Image.fromarray(rng.randint(0, 256, shape).astype(np.uint8))
    (im.convert(mode) if mode else im).save(path)
    return path

@pytest.fixture
def pets(tmp_path):
    for c in 'cat', 'dog':
        for i in range(5): png(tmp_path/'pets'/c/f'{i}.png')
    return tmp_path/'pets'

@pytest.fixture
def split(tmp_path):
    for part, n in ('train', 4), ('test', 2):
        for c in 'cat', 'dog':
            for i in range(n): png(tmp_path/'split'/part/c/f'{i}.png')
    return tmp_path/'split'

# --- folders

def test_folder_is_read_in_natural_order_without_what_is_no_picture(split):
    for i in (10, 11): png(split/'train'/'dog'/f'{i}.png')
    png(split/'train'/'dog'/'deeper'/'1.JPG')
    png(split/'1.png'); png(split/'val'/'cat'/'1.png')
    for junk in '.DS_Store', 'Thumbs.db', 'notes.txt', '._1.png': (split/'train'/'cat'/junk).write_text('x')
    (split/'train'/'.ipynb_checkpoints').mkdir(); (split/'train'/'__MACOSX').mkdir()
    train, test = load(split)
    assert [i.split('/', 1)[1] for i in train.ids] == [
        *(f'cat/{i}.png' for i in range(4)), *(f'dog/{i}.png' for i in (0, 1, 2, 3, 10, 11)), 'dog/deeper/1.JPG']
    assert train.labels.tolist() == [0]*4 + [1]*7 and len(test) == 4 and test.classes == train.classes == ('cat', 'dog')
    assert any('val' in n for n in train.notes) and not train.published and train.true is None

def test_hold_out_is_stratified_drawn_by_seed_and_the_same_however_pixels_are_kept(pets):
    for i in range(5, 20): png(pets/'dog'/f'{i}.png')
    train, test = load(pets, seed=1)
    assert torch.bincount(test.labels).tolist() == [1, 4] and set(train.ids).isdisjoint(test.ids) and len(train) == 20
    assert (load(pets, seed=1, in_memory=False)[1].ids == test.ids).all()
    assert (load(pets, seed=2)[1].ids != test.ids).any()
    few, same = load(pets, seed=1, train_size=10)
    assert len(few) == 10 and set(few.ids) < set(train.ids) and (same.ids == test.ids).all()

# --- what is in a picture

def test_modes_of_pictures(tmp_path):
    a = rng.randint(0, 256, (8, 8, 3)).astype(np.uint8)
    rgb, grey = Image.fromarray(a), Image.fromarray(a[..., 0])
    def read(im, name='x.png', **k):
        im.save(tmp_path/name, **k)
        return files.read_image(tmp_path/name)
    assert (np.asarray(read(rgb)) == a).all() and (np.asarray(read(grey)) == a[..., 0]).all()
    assert read(grey.convert('1')).mode == 'L' and read(rgb.quantize(16)).mode == 'RGB'
    assert read(rgb.convert('CMYK'), 'x.jpg').mode == 'RGB'
    clear = rgb.convert('RGBA'); clear.putalpha(0)
    assert np.asarray(read(clear)).min() == 255 and (np.asarray(read(rgb.convert('RGBA'))) == a).all()
    assert read(grey.convert('LA')).mode == 'L' and (np.asarray(read(grey.convert('LA'))) == a[..., 0]).all()
    deep = Image.fromarray((a[..., 0].astype(np.uint16)*257))
    for name in 'deep.png', 'deep.tif': assert (np.asarray(read(deep, name)) == a[..., 0]).all()
    for name in 'a.bmp', 'a.webp', 'a.ppm', 'a.tiff': assert read(rgb, name).size == (8, 8)

@pytest.mark.parametrize('turn', range(1, 9))
def test_exif_orientation(tmp_path, turn):
    exif = Image.Exif(); exif[0x0112] = turn
    a = np.zeros((16, 8), np.uint8); a[:8] = 255          # bright on top, before the turn
    Image.fromarray(a).save(tmp_path/'x.png', exif=exif)
    bright = np.argwhere(np.asarray(files.read_image(tmp_path/'x.png')) > 128).mean(0).round(1).tolist()
    top, bottom, left, right = [3.5, 3.5], [11.5, 3.5], [3.5, 3.5], [3.5, 11.5]
    assert bright == [None, top, top, bottom, bottom, left, right, right, left][turn]

def test_mixed_sizes_and_colours_are_fitted_and_said(pets):
    for i, shape in enumerate([(30, 20, 3), (20, 30, 3), (20, 20, 3)]): png(pets/'cat'/f'b{i}.png', shape)
    png(pets/'dog'/'grey.png', (8, 8))
    train, test = load(pets)
    assert train.shape == test.shape == (3, 8, 8) and 'fitted to 8×8' in repr(train)
    assert '1 grey of 14 made colour' in repr(train)
    assert load(pets, size=20, grey=True)[0].shape == (1, 20, 20)
    for p in (pets/'dog').iterdir(): png(p, (40, 60, 3))
    for i, p in enumerate((pets/'cat').iterdir()): png(p, (400+i, 500, 3))
    assert load(pets)[0].shape == (3, 40, 40)
    for p in pets.glob('*/*'): png(p, (400, 500, 3))
    assert load(pets, in_memory=False)[0].shape == (3, 224, 224)

# --- memory or disk: the same

@pytest.mark.parametrize('workers', [0, 2])
def test_disk_and_memory_are_identical(pets, workers):
    for i in range(5, 30): png(pets/'dog'/f'{i}.png', (9+i, 30, 3))
    held, _ = load(pets, size=12)
    disk, _ = load(pets, size=12, in_memory=False)
    order = torch.from_numpy(rng.permutation(len(held)))
    torch.manual_seed(1); state = torch.get_rng_state()
    for (i, x), (j, y) in zip(held.chunks(order, 7), disk.chunks(order, 7, workers), strict=True):
        assert i.equal(j) and x.equal(y) and x.dtype == torch.uint8
    assert torch.get_rng_state().equal(state)      # reading ahead uses up none of the run's random numbers
    for a, b in zip(held.stats(), disk.stats()): assert a.equal(b)
    a, b = held.subset(order[:5]), disk.subset(order[:5])
    assert a.pixels.equal(b.take(torch.arange(5))) and (a.ids == b.ids).all() and a.labels.equal(b.labels)
    assert 'read from disk' in repr(disk) and disk.to('cpu').take(order).equal(held.take(order))

def test_large_chunks_travel_in_small_pieces_and_not_through_shared_memory(tmp_path, monkeypatch):
    for i in range(6): png(tmp_path/'p'/'ab'[i % 2]/f'{i}.png', (600, 600, 3))
    disk, _ = load(tmp_path/'p', in_memory=False)
    sizes = []
    real = files._loaded
    def spy(*a):
        for x in real(*a): sizes.append((type(x), x.nbytes)); yield x
    monkeypatch.setattr(files, '_loaded', spy)
    list(disk.chunks(torch.arange(len(disk)).repeat(4), 16, 1))
    assert {t for t, _ in sizes} == {np.ndarray} and max(n for _, n in sizes) <= 2**22

def half(path): path.write_bytes(path.read_bytes()[:120])

def test_a_worker_names_the_file_and_missing_workers_are_said(pets, monkeypatch):
    disk, _ = load(pets, in_memory=False)
    half(pets/disk.ids[2])
    with pytest.raises(UserError, match=disk.ids[2]) as e: list(disk.chunks(torch.arange(len(disk)).repeat(8), 4, 2))
    assert 'Traceback' not in str(e.value)
    assert not multiprocessing.active_children()                 # the workers end with the error, not later
    (pets/disk.ids[2]).unlink()
    with pytest.raises(UserError, match='no such file'): disk.take(torch.tensor([2]))
    real = files.DataLoader
    def refuse(*a, num_workers=0, **k):
        if num_workers: raise OSError(38, 'Function not implemented')
        return real(*a, num_workers=0, **k)
    monkeypatch.setattr(files, 'DataLoader', refuse)
    with pytest.warns(UserWarning, match='could not be started.*not implemented'):
        assert len(list(disk.chunks(torch.tensor([0, 1]).repeat(16), 16, 2))) == 2

def test_more_than_half_of_the_free_memory_stays_on_disk(pets, monkeypatch):
    assert readers.free_memory() > 2**20
    need = 10*8*8*3
    for free, held in (2*need, True), (2*need-1, False):
        monkeypatch.setattr(readers, 'free_memory', lambda: free)
        assert load(pets)[0].in_memory is held and load(pets, in_memory=not held)[0].in_memory is not held

# --- CSV

GOOD_ROWS = '\n'.join(f'{c}/{i}.png,{c}' for c in ('cat', 'dog') for i in range(5))

def test_csv(pets):
    def listed(root: Path, text: str):
        (root/'list.csv').write_text(text, encoding='utf-8', newline='')
        return load(root/'list.csv')
    train, test = listed(pets, '\ufeffPath , LABEL\r\n'+GOOD_ROWS.replace('\n', '\r\n')+'\r\n\r\n')
    assert len(train) == 8 and len(test) == 2 and train.classes == ('cat', 'dog') and train.true is None
    rows = ['"cat/0.png","a ""big"", cat",dog,train,9', f'{pets}/cat/1.png,dog,dog,TRAIN,9', 'dog/1.png,dog,dog,test,9']
    train, test = listed(pets, '\n'.join(['path,label,true,split,width', *rows]))
    assert train.classes == ('a "big", cat', 'dog')
    assert train.labels.tolist() == [0, 1] and train.true.tolist() == [1, 1]
    assert test.ids.tolist() == ['dog/1.png'] and 'columns not read: width' in repr(train) and 'known' in repr(train)

# --- arrays, npz, datasets

def test_arrays_of_every_layout_are_the_same_images():
    want = torch.from_numpy(X).permute(0, 3, 1, 2)
    grad = (torch.from_numpy(X)/255).requires_grad_()
    for x in X, X.transpose(0, 3, 1, 2), X/255, torch.from_numpy(X), grad, list(X):
        train, test = load((x, list(Y), X, Y[:, None]))
        assert train.pixels.equal(want) and test.pixels.equal(want) and train.true is None
        assert train.labels.tolist() == test.labels.tolist() == Y.tolist()
    assert load(((X, Y), (X, Y)))[1].pixels.equal(want)
    mine = X.copy()
    train, _ = load((mine, Y, X, Y)); mine[:] = 0
    assert train.pixels.equal(want)                              # not a view of somebody's array
    assert load((X[..., 0], Y, X, Y))[0].shape == (3, 8, 8)       # grey and colour: colour
    assert load((X[:, :6], Y, X, Y), size=8)[0].shape == (3, 8, 8)
    assert load((X[:, :6], Y, X[:, :6], Y))[0].shape == (3, 6, 6)

def test_npz(tmp_path):
    path = tmp_path/'a.npz'
    parts = dict(x_train=X, y_train=Y, x_test=X[:5], y_test=Y[:5])
    np.savez(path, **parts, true_train=Y[::-1])
    train, test = load(path)
    assert train.true.tolist() == Y[::-1].tolist() and len(test) == 5 and train.name == 'a' and test.true is None
    with open(path, 'wb') as f: np.save(f, X)
    with pytest.raises(UserError, match='broken|no named arrays'): load(path)

def test_datasets():
    pil = [(Image.fromarray(x), int(y)) for x, y in zip(X, Y)]
    tensors = [(torch.from_numpy(x).permute(2, 0, 1)/255, torch.tensor(y)) for x, y in zip(X, Y)]
    for ds in pil, tensors, list(zip(X, Y)), torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)):
        train, test = load((ds, pil[:4]), train_size=6)
        assert len(train) == 6 and test.pixels.equal(torch.from_numpy(X[:4]).permute(0, 3, 1, 2))
        assert train.pixels.equal(torch.from_numpy(X[train.ids]).permute(0, 3, 1, 2))
    class Fails(list):
        def __getitem__(self, i):
            if i == 5: raise RuntimeError('no disk')
            return super().__getitem__(i)
    with pytest.raises(UserError, match=r'train\[5\]: RuntimeError: no disk'): load((Fails(pil), pil))
    train, _ = load((Fails(pil), pil), on_bad='skip')
    assert len(train) == 11 and 5 not in train.ids and train.skipped == (('train[5]', 'RuntimeError: no disk'),)
    for item, why in [((X[0], 1.5), 'float'), ((X[0],), r'\(picture, label\)'), ((None, 1), 'NoneType'),
                      ((X[0]*2., 1), 'floats'), ((X[0][0, 0], 1), 'ndarray')]:
        with pytest.raises(UserError, match=r'train\[12\].*'+why): load((pil+[item], pil))
    with pytest.raises(UserError, match='test: no items'): load((pil, []))

# --- Images

def test_images_are_checked_and_frozen():
    pixels, two = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), ('a', 'b')
    ok = Images(pixels, [0, 1, 0, 1], two)
    with pytest.raises(AttributeError): ok.labels = None
    for bad in [4], [-1], [0.], [[0]], [True]:
        with pytest.raises(UserError): ok.take(torch.tensor(bad))
    assert ok.take(torch.tensor([], dtype=torch.long)).shape == (0, 1, 8, 8)
    assert repr(ok) == 'Images(images: 4 × 1×8×8, 2 classes, true labels unknown)'
    assert ok.stats()[1].tolist() == pytest.approx([1/255])      # a constant channel can be divided by

# --- published files

def test_absent_without_a_network_is_said_at_once(tmp_path, monkeypatch):
    def no(*a, **k): raise urllib.error.URLError('Name or service not known')
    monkeypatch.setattr(named, 'urlopen', no)
    for name, folder in ('cifar10', 'cifar-10-batches-py'), ('cifar100', 'cifar-100-python'):
        with pytest.raises(UserError) as e: load(name, root=tmp_path)
        for part in (str(tmp_path/folder), 'https://www.cs.toronto.edu', 'Name or service', 'root='):
            assert part in str(e.value)
    def silent(*a, **k): time.sleep(30)
    monkeypatch.setattr(named, 'urlopen', silent)
    assert 'no answer' in named._reach('https://nowhere', seconds=.1)

def test_damaged_published_files_are_said(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10
    (tmp_path/CIFAR10.base_folder).mkdir()
    (tmp_path/CIFAR10.base_folder/'data_batch_1').write_bytes(b"cos\nsystem\n(S'touch /tmp/x'\ntR.")  # never opened
    with pytest.raises(UserError, match='missing or damaged .*data_batch_1, data_batch_2.*batches.meta; delete'):
        load('cifar10', root=tmp_path)
    (tmp_path/CIFAR10.filename).write_bytes(b'half')
    with pytest.raises(UserError, match='damaged archive'): load('cifar10', root=tmp_path)

@pytest.fixture
def web_url(tmp_path, monkeypatch):
    "Address of a server on this machine that serves tmp_path/web."
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *a): pass
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=tmp_path/'web'))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown(); server.server_close()

def test_an_unpacked_archive_and_a_broken_download(tmp_path, monkeypatch, web_url):
    "A small published dataset of our own. A download that breaks off leaves nothing behind."
    import hashlib, pickle
    from torchvision import datasets
    def md5(b): return hashlib.md5(b).hexdigest()
    x = rng.randint(0, 256, (20, 3072)).astype(np.uint8)
    content = {n: pickle.dumps({'data': x, 'labels': [0, 1]*10}) for n in ('one', 'test')}
    content['meta'] = pickle.dumps({'label_names': ['a', 'b']})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w:gz') as tar:
        for n, b in content.items():
            info = tarfile.TarInfo(f'tiny/{n}'); info.size = len(b)
            tar.addfile(info, io.BytesIO(b))
    class Tiny(datasets.CIFAR10):
        base_folder, filename, url, tgz_md5 = 'tiny', 'tiny.tar.gz', web_url+'/tiny.tar.gz', md5(buffer.getvalue())
        train_list, test_list = [['one', md5(content['one'])]], [['test', md5(content['test'])]]
        meta = {'filename': 'meta', 'key': 'label_names', 'md5': md5(content['meta'])}
    monkeypatch.setattr(datasets, 'CIFAR10', Tiny)
    root, web = tmp_path/'root', tmp_path/'web'
    web.mkdir(); (web/'tiny.tar.gz').write_bytes(buffer.getvalue()[:99])
    with pytest.raises(UserError, match='could not be downloaded'): load('cifar10', root=root)
    assert not list(root.glob('*.gz'))
    (web/'tiny.tar.gz').write_bytes(buffer.getvalue())
    train, test = load('cifar10', root=root)
    assert train.published and train.true.equal(train.labels) and train.classes == ('a', 'b')
    assert train.pixels.equal(torch.from_numpy(x.reshape(-1, 3, 32, 32)))
    shutil.rmtree(root/'tiny'); shutil.rmtree(web)
    assert len(load('cifar10', root=root, download=False)[1]) == 20     # from the archive, no network

def test_cifar100_from_a_folder_has_no_published_order(tmp_path):
    for part in 'train', 'test':
        for c in 'apple', 'bear':
            for i in range(3): png(tmp_path/'cifar100'/part/c/f'{i}.png', (32, 32, 3))
    train, test = load('cifar100', root=tmp_path, download=False)
    assert not train.published and train.true.equal(train.labels) and test.true.equal(test.labels)
    with pytest.raises(UserError, match='CIFAR-100N is in the published order'): train.require_published('CIFAR-100N')
    load('digits')[0].require_published('x')
    shutil.rmtree(tmp_path/'cifar100'/'test')
    with pytest.raises(UserError, match='train/ without test/'): load('cifar100', root=tmp_path)

@pytest.mark.skipif('NOISYLAB_DATA' not in os.environ, reason='NOISYLAB_DATA names no folder with real CIFAR-10')
def test_real_cifar10():
    train, test = load('cifar10', root=os.environ['NOISYLAB_DATA'], download=False)
    assert train.shape == (3, 32, 32) and len(train) == 50_000 and len(test) == 10_000 and train.published
    assert torch.bincount(train.labels).tolist() == [5000]*10 and train.true.equal(train.labels)
    assert train.classes[0] == 'airplane' and train.labels[:5].tolist() == [6, 9, 9, 4, 1]
    mean, std = train.stats()
    assert mean.tolist() == pytest.approx([.4914, .4822, .4465], abs=2e-3)
    assert std.tolist() == pytest.approx([.247, .2435, .2616], abs=2e-3)
