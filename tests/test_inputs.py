"""Images and labels as people have them: one rule whichever way they come in, nothing left out without a word, no label
read from the wrong column."""
import json, shutil, unicodedata
from pathlib import Path

import numpy as np, pytest, torch
from PIL import Image
from torch.utils.data import ConcatDataset, Subset, random_split
from torchvision.datasets import ImageFolder

from noisylab.data import files
from noisylab.training.defaults import advise, survey_images
from noisylab.data.validation import RATE_RANGE, SIZE_RANGE, read_csv, write_csv
from noisylab.errors import UserError
from noisylab.data.sources import load
from noisylab.label_issues.decisions import Decisions
from noisylab.training.batches import add_noise
from noisylab.training.prediction import predict
from noisylab.label_issues.find import find_label_issues
from noisylab.data.noise import inject
from noisylab.training.spec import RANGES, Spec
from noisylab.label_issues.issues import LabelIssues, read_issues
from noisylab.training.trainer import Trainer

def grey(v, size=(8, 8)): return Image.fromarray(np.full(size[::-1], v, np.uint8))

def put(root, *folders, n=5, ending='.png'):
    "`n` pictures in each of `folders`, each picture of its own level."
    for f in folders:
        (root/f).mkdir(parents=True, exist_ok=True)
        for i in range(n): grey(10*i).save(root/f/f'{i}{ending}')
    return root

def notes(images): return '; '.join(images.notes)

# --- folders

@pytest.mark.parametrize('train, test', [
    ('Train', 'Test'), ('TRAIN', 'TEST'), ('training', 'testing'), ('train', 'valid'), ('training', 'Validation'),
    ('train_set', 'test_set'), ('seg_train', 'seg_test')])
@pytest.mark.parametrize('above', ['', 'pets', 'archive/pets'])
def test_train_and_test_in_any_spelling_and_deeper(tmp_path, train, test, above):
    put(tmp_path/above, *(f'{p}/{c}' for p in (train, test) for c in ('cat', 'dog')))
    a, b = load(tmp_path)
    assert a.classes == b.classes == ('cat', 'dog') and len(a) == len(b) == 10 and not b.held_out
    assert a.ids[0] == f'{above}/{train}/cat/0.png'.lstrip('/')
    assert f'training set: {train}, test set: {test}' in notes(a) and (f'read from {above}/' in notes(a)) == bool(above)

def test_a_part_may_lie_a_folder_deeper_too(tmp_path):
    put(tmp_path, *(f'{p}/{p}/{c}' for p in ('train', 'test') for c in 'ab'))
    assert len(load(tmp_path)[0]) == 10

def test_what_is_no_part_is_a_class_and_is_said(tmp_path):
    put(tmp_path, *(f'{p}/{c}' for p in ('animals', 'pets') for c in ('cat', 'dog')))
    train, _ = load(tmp_path)
    assert train.classes == ('animals', 'pets') and 'animals (cat, dog), pets (cat, dog)' in notes(train)
    put(tmp_path/'two', 'train', 'plane')       # a class that is called train
    assert load(tmp_path/'two')[0].classes == ('plane', 'train')
    put(tmp_path/'both', *(f'{p}/{c}' for p in ('train', 'Training', 'test') for c in 'ab'))
    with pytest.raises(UserError, match='more than one may be'): load(tmp_path/'both')

def test_a_class_with_one_picture_is_trained_on(tmp_path):
    put(tmp_path, 'a', 'b', n=12); put(tmp_path, 'typo', n=1)
    train, test = load(tmp_path)
    assert train.classes == ('a', 'b', 'typo') and (train.labels == 2).sum() == 1 and not (test.labels == 2).any()
    assert 'one picture only, so that none is held out for the test: typo' in notes(train)
    found = find_label_issues(tmp_path, Spec(epochs=1, method='ce', noise='none'), progress=False)
    assert len(found.images) == 25
    with pytest.raises(UserError, match='no test pictures'): load(put(tmp_path/'few', 'a', 'b', n=1))

def test_every_file_is_read_or_counted(tmp_path):
    put(tmp_path, 'a', 'b')
    for name in 'IMG.HEIC', 'x.avif', 'y.jfif', 'z.jpe', 'w.jp2', 'download', 'old.bak':
        shutil.copy(tmp_path/'a/0.png', tmp_path/'a'/name)
    for name in 'a.txt', 'b.TXT', 'c.xml', 'LICENSE': (tmp_path/'b'/name).write_text('BMP P5 GIF of words')
    (tmp_path/'labels.csv').write_text('path,label'); grey(3).save(tmp_path/'loose.png')
    train, test = load(tmp_path)
    assert len(train) + len(test) == 17 and not train.skipped
    assert '2 files read as pictures by their first bytes: .bak (1), no ending (1)' in notes(train)
    assert '5 files not read, they are no pictures: .txt (2), ' in notes(train) and '1 picture outside' in notes(train)
    spec = Spec(data=str(tmp_path), noise='none', epochs=1, method='ce')
    Trainer(spec, out=tmp_path.parent/'run').fit(progress=False)
    got = predict(tmp_path.parent/'run', tmp_path)
    assert len(got) == 18 and not got.skipped and '.csv (1)' in '; '.join(got.notes)

def test_a_picture_that_this_pillow_cannot_read_says_what_to_install(tmp_path, monkeypatch):
    put(tmp_path, 'a', 'b')
    (tmp_path/'a/new.heic').write_bytes(b'\0\0\0\x1cftypheic' + bytes(60))
    monkeypatch.setattr(files, '_formats', lambda: ['PNG'])
    with pytest.raises(UserError, match='a/new.heic: heic is no format.*pip install pillow-heif'): load(tmp_path)
    train, test = load(tmp_path, on_bad='skip')
    assert len(train) + len(test) == 10 and {b.path for b in train.skipped + test.skipped} == {'a/new.heic'}

# --- pictures: the same rules for files, for what datasets bring, and for arrays

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8)*4
CLEAR = np.stack([RAMP]*3 + [255 - RAMP], 2)
def upside_down():
    exif = Image.Exif(); exif[274] = 3
    return exif
ON_WHITE = (RAMP.astype(int)*(255 - RAMP) + 255*RAMP.astype(int) + 127)//255

@pytest.mark.parametrize('image, name, save, want', [
    (Image.fromarray(RAMP.astype(np.uint16)*257), 'a.png', {}, RAMP),
    (Image.fromarray(RAMP.astype(np.int32)*257), 'a.tif', {}, RAMP),
    (Image.fromarray((RAMP/255).astype(np.float32)), 'a.tif', {}, RAMP),
    (Image.fromarray(RAMP), 'a.png', dict(exif=upside_down()), RAMP[::-1, ::-1]),
    (Image.fromarray(CLEAR), 'a.png', {}, ON_WHITE)], ids=['16 bits', '32 bits', 'float', 'EXIF', 'alpha'])
def test_a_file_a_datasets_picture_and_an_array_are_the_same(tmp_path, image, name, save, want):
    for c in 'ab':
        for i in range(3):
            (tmp_path/c).mkdir(exist_ok=True); image.save(tmp_path/c/f'{i}{name}', **save)
    opened = [(Image.open(tmp_path/'a'/f'{i % 3}{name}'), i % 2) for i in range(4)]
    ways = [load(tmp_path)[0], load(tmp_path, in_memory=False)[0], load((opened, opened))[0]]
    if not save:
        x, y = np.stack([np.asarray(image)]*4), [0, 1, 0, 1]
        ways += [load((x, y, x, y))[0], load((list(zip(x, y)), list(zip(x, y))))[0]]
    for way in ways: assert abs(way.take(torch.tensor([0]))[0, 0].numpy().astype(int) - want).max() <= 1

def test_sixteen_bits_of_a_pgm(tmp_path):
    x = (np.mgrid[:8, :8][1]*8191).astype('>u2')
    (tmp_path/'a.pgm').write_bytes(b'P5 8 8 65535\n' + x.tobytes())
    assert (np.asarray(files.read_image(tmp_path/'a.pgm')) == np.rint(x/257)).all()

def test_nothing_of_a_long_picture_is_cut_away(tmp_path):
    for c in 'ab': (tmp_path/c).mkdir()
    for i in range(6):
        im = Image.new('L', (20, 64)); im.paste(255, (0, 58, 20, 64))
        for c in 'ab': im.save(tmp_path/c/f'{i}.png')
    train, _ = load(tmp_path)
    spec, why = advise(tmp_path, backbone=None)
    assert train.shape[1] == spec.size == 36
    assert (train.pixels[:, 0, -1] > 200).all() and (train.pixels[:, 0, 0] == 0).all()
    assert '12 of 12 more than 2 times as long as wide, squeezed to 36×36, nothing cut off' in notes(train)
    assert 'as they are' not in why['size'] and 'root of width × height' in why['size']
    for c in 'ab': grey(9, (60, 40)).save(tmp_path/c/'wide.png')
    assert '(shorter side, centre crop; up to 33% of a picture is cut off)' in notes(load(tmp_path)[0])

# --- labels: words, none, names of classes

X = np.random.RandomState(0).randint(0, 256, (12, 8, 8)).astype(np.uint8)
WORDS = ['cat', 'dog', 'eel']*4

def ways(tmp_path, labels):
    "`labels` of the pictures X, test and training set alike, by each way in."
    x, y = X, np.array(labels, object)
    rows = ['path,label,split']
    for i, v in enumerate(labels):
        for part in 'train', 'test':
            Image.fromarray(X[i]).save(tmp_path/f'{part}{i}.png')
            rows.append(f'{part}{i}.png,{"" if v is None else v},{part}')
    (tmp_path/'list.csv').write_text('\n'.join(rows))
    yield 'CSV', tmp_path/'list.csv'
    yield 'arrays', (x, labels, x, labels)
    yield 'dataset', ([(Image.fromarray(a), v) for a, v in zip(x, y)],)*2
    rows = [dict(img=Image.fromarray(a), target=v) for a, v in zip(x, y)]
    yield 'dictionaries', dict(train=rows, validation=rows)
    if all(isinstance(v, type(labels[0])) for v in labels):
        np.savez(tmp_path/'a.npz', x_train=x, y_train=np.array(labels), x_test=x, y_test=np.array(labels))
        yield 'npz', tmp_path/'a.npz'

def test_words_are_classes_everywhere(tmp_path):
    for way, source in ways(tmp_path, WORDS):
        train, test = load(source)
        assert train.classes == test.classes == ('cat', 'dog', 'eel'), way
        assert [train.classes[c] for c in train.labels] == WORDS and train.labels.equal(test.labels), way
        assert train.pixels[:, 0].equal(torch.from_numpy(X)), way

@pytest.mark.parametrize('none, known', [(-1, [0, 1, 2]), (float('nan'), [0., 1., 2.]), (None, [0, 1, 2]),
                                         *((none, WORDS[:3]) for none in (None, '', 'nan', 'None', ' -1 '))])
def test_an_image_without_a_label_is_refused_or_listed_everywhere(tmp_path, none, known):
    labels = [none if i in (2, 7) else v for i, v in enumerate(known*4)]
    seen = [way for way, source in ways(tmp_path, labels)]
    assert {'CSV', 'arrays', 'dataset', 'dictionaries'} <= set(seen)
    for way, source in ways(tmp_path, labels):
        with pytest.raises(UserError, match=r"2.*: no label; \d more.*on_bad='skip'"): load(source)
        train, _ = load(source, on_bad='skip')
        assert len(train) == 10 and len(train.classes) == 3 and len(train.skipped) == 2, way
        assert all('2' in b.path or '7' in b.path for b in train.skipped) and '2 skipped' in repr(train), way
        assert train.pixels[:, 0].equal(torch.from_numpy(X[[i for i in range(12) if i not in (2, 7)]])), way
        assert way == 'CSV' or train.ids.tolist() == [i for i in range(12) if i not in (2, 7)], way

def test_names_of_classes_come_through_and_are_matched(tmp_path):
    put(tmp_path/'all', 'cat', 'dog', 'eel'); put(tmp_path/'some', 'dog', 'eel')
    ds = ImageFolder(tmp_path/'all')
    part, whole = random_split(ds, [14, 1])[0], Subset(ds, range(15))
    for d in part, whole, ConcatDataset([ds, part]), Subset(whole, range(15)):
        assert load((d, ds))[0].classes == ('cat', 'dog', 'eel')
    _, test = load((ds, ImageFolder(tmp_path/'some')))          # dog is 0 there
    assert [test.classes[c] for c in test.labels] == ['dog']*5 + ['eel']*5
    with pytest.raises(UserError, match='cat is in test and not in train'): load((ImageFolder(tmp_path/'some'), ds))

def test_a_hugging_face_dataset():
    hf = pytest.importorskip('datasets')
    rows = dict(image=[Image.fromarray(x).convert('RGB') for x in X], label=[0, 1, -1]*4, id=list(range(12)))
    ds = hf.Dataset.from_dict(rows)
    ds = ds.cast_column('label', hf.ClassLabel(names=['cat', 'dog']))
    train, test = load(hf.DatasetDict(train=ds, validation=ds), on_bad='skip')
    assert train.classes == ('cat', 'dog') and len(train) == len(test) == 8 and len(train.skipped) == 4
    assert 'test set: validation' in notes(train) and 'of each item read: image and label' in notes(train)

def test_dictionaries_that_are_not_clear_are_refused_with_their_keys():
    rows = lambda **more: [dict(img=Image.fromarray(x), **{k: 0 for k in more}) for x in X]
    for more, says in ((dict(fine_label=0, coarse_label=0), "'fine_label', 'coarse_label'"), ({}, "dict of 'img'"),
                       (dict(label=0, label_noisy=0), "'label_noisy'")):
        with pytest.raises(UserError, match=says) as e: load((rows(**more), rows(**more)))
        assert 'hand over pairs' in str(e.value) and 'skip' not in str(e.value)

# --- tables

def listed(folder, rows, separator=',', mark='', end='\n', head=('path', 'label')):
    text = mark + end.join(separator.join(r) for r in (head, *rows)) + end
    (folder/'list.csv').write_bytes(text.encode())
    return folder/'list.csv'

@pytest.mark.parametrize('how', [
    dict(separator=';', mark='\ufeff', end='\r\n'), dict(mark='sep=;\r\n', separator=';', end='\r\n'),
    dict(separator='\t'), dict(head=('', 'Path', ' LABEL ')), dict(head=('path', 'label', '', ''))])
def test_what_spreadsheets_and_pandas_save_is_read(tmp_path, how):
    put(tmp_path, 'ä', 'b')
    head = how.get('head', ())
    rows = [[f'{c}/{i}.png', f' {c} '] for c in 'äb' for i in range(5)]
    rows = [['7'] + r if head[:1] == ('',) else r + ['']*(len(head) - 2) for r in rows]
    train, test = load(listed(tmp_path, [*rows, ['']*max(2, len(head))], **how))
    assert train.classes == ('b', 'ä') and len(train) == 8 and len(test) == 2

def test_utf_16_of_excel_and_splits_in_any_spelling(tmp_path):
    put(tmp_path, 'a', 'b', n=3)
    text = 'path\tlabel\tsplit\r\n' + ''.join(f'{c}\\{i}.png\t{c}\t{s}\r\n' for c in 'ab'
                                              for i, s in enumerate(('Training', 'valid', 'TEST')))
    (tmp_path/'list.txt').write_bytes(text.encode('utf-16'))
    train, test = load(tmp_path/'list.txt')
    assert train.ids.tolist() == ['a/0.png', 'b/0.png'] and test.ids.tolist() == ['a/2.png', 'b/2.png']
    assert 'split valid: 2 pictures not read' in notes(train)

def test_paths_that_other_systems_wrote(tmp_path):
    put(tmp_path/'images', 'a', 'b', ending='é.png')
    names = [f'images/{c}/{i}é.png' for c in 'ab' for i in range(5)]
    nfd = lambda n: unicodedata.normalize('NFD', n)
    for form in lambda n: n.replace('/', '\\'), nfd, str.upper, lambda n: f'.\\{n} ':
        train, test = load(listed(tmp_path, [[form(n), n[7]] for n in names]))
        assert {str(Path(i)) for i in (*train.ids, *test.ids)} == set(names) and 'spelled otherwise' in notes(train)
    (tmp_path/'lists').mkdir()
    with pytest.raises(UserError) as e: load(listed(tmp_path/'lists', [[n, n[7]] for n in names]))
    assert f'no such file in {tmp_path/"lists"}, but in {tmp_path}: move the list there' in str(e.value)
    rows = [[f'C:\\{c}{i}.png', c] for c in 'ab' for i in (1, 2)]
    with pytest.raises(UserError, match=r'C:\\a.\.png: no such file'): load(listed(tmp_path, rows))

def test_numbers_that_became_floats_stay_classes(tmp_path):
    put(tmp_path, 'x', n=9)
    train, _ = load(listed(tmp_path, [[f'x/{i}.png', '' if i == 8 else f'{i % 2}.0'] for i in range(9)]), on_bad='skip')
    assert train.classes == ('0', '1')

def test_what_is_written_is_read_back(tmp_path):
    names = ['é', ' a ', 'b,c', 'd;e', 'f"g', 'h\ti', 'j\nk', 'l\rm', 'n\udce9o', '']
    write_csv(tmp_path/'a.csv', ('name', 'n'), [(n, i) for i, n in enumerate(names)])
    assert (tmp_path/'a.csv').read_bytes().startswith(b'\xef\xbb\xbf')          # for Excel
    assert [r for _, r in read_csv(tmp_path/'a.csv').rows] == [[n.strip(), str(i)] for i, n in enumerate(names)]

def test_suspects_and_decisions_come_back_from_a_spreadsheet(tmp_path):
    put(tmp_path, 'été', '007'); put(tmp_path, 'ok')
    images, _ = load(tmp_path)
    index, new = np.array([0, 5, 9]), np.array([1, 2, 0])
    found = LabelIssues(images, index, new, np.array([.9, .75, .5]), np.array([.9, .7, .4]),
                        np.array(['a, b', 'c;d', 'e'], object))
    book = Decisions(found); book.decide(0, 'relabel'); book.decide(1, 'unsure')
    found.to_csv(tmp_path/'found.csv'); book.save(tmp_path/'book.csv'); found.labels_to_csv(tmp_path/'labels.csv')
    def saved(path):        # as Excel does where commas are decimal, on another system
        table = read_csv(path)
        number = 'score', 'p_wrong', 'p_suggested'
        cell = lambda c, k: f'"{c}"' if ';' in c else c.replace('.', ',') if k in number else \
            c.lstrip('0') if k != 'id' else unicodedata.normalize('NFD', c).replace('/', '\\')
        rows = [[cell(c, k) for c, k in zip(r, table.columns)] for _, r in table.rows]
        path.write_bytes('\r\n'.join(';'.join(r) for r in [table.columns, *rows]).encode('utf-8-sig'))
    for again in range(2):
        back = read_issues(tmp_path/'found.csv', images)
        assert back.index.tolist() == index.tolist() and back.suggested.tolist() == new.tolist()
        assert back.p_wrong.tolist() == [.9, .75, .5] and back.p_suggested.tolist() == [.9, .7, .4]
        other = Decisions(found)
        assert other.load(tmp_path/'book.csv') == 2 and other.answers == book.answers
        for name in ('found', 'book')[:2*(not again)]: saved(tmp_path/f'{name}.csv')
    train, test = load(tmp_path/'labels.csv')
    assert len(train) + len(test) == len(images) and train.classes == images.classes

# --- noisy labels from the right column

TRUE = np.arange(20) % 4
NOISY = np.where(np.arange(20) < 8, (TRUE + 1) % 4, TRUE)

def write(path, kind, columns):
    columns = {k: np.asarray(v) for k, v in columns.items()}
    if kind == 'npz': np.savez(path, **columns)
    elif kind == 'json': path.write_text(json.dumps({k: v.tolist() for k, v in columns.items()}))
    elif kind == 'pt': torch.save({k: torch.tensor(v) for k, v in columns.items()}, path)
    elif kind == 'numpy.pt': torch.save(columns, path)
    else: write_csv(path, columns, zip(*columns.values()))
    return path

@pytest.mark.parametrize('kind', ['csv', 'npz', 'json', 'pt', 'numpy.pt'])
def test_noisy_labels_are_read_from_the_column_that_says_so(tmp_path, kind):
    def given(file): return inject(TRUE, 'given', None, 4, file=file)
    for i, names in enumerate([('label', 'label_noisy'), ('clean_label', 'noisy_label'), ('true', 'given'),
                               ('label_true', 'label'), ('y_true', 'target')]):
        path = write(tmp_path/f'{i}.{kind}', kind, dict(zip(names, (TRUE, NOISY))))
        noise = given(path)
        assert noise.rate == .4 and f"read from '{names[1]}' of {i}.{kind}" in repr(noise)
        assert given(f'{path}:{names[0]}').rate == 0
    for names in ('label', 'given'), ('random_label1', 'random_label2'), ('a', 'b'):
        path = write(tmp_path/f'x.{kind}', kind, dict(zip(names, (TRUE, NOISY))))
        with pytest.raises(UserError, match='not clear') as e: given(path)
        assert all(n in str(e.value) for n in names) and f"file='{path}:" in str(e.value)
        assert given(f'{path}:{names[1]}').rate == .4
    with pytest.raises(UserError, match="not 'none'"): given(f'{path}:none')
    with pytest.raises(UserError, match='there is no file'): given(f'{path}x:a')

def test_a_line_goes_to_the_sample_that_it_names(tmp_path):
    put(tmp_path, *'abcd')
    train, _ = load(tmp_path)
    given = [train.classes[(c + 1) % 4] if i < 6 else train.classes[c] for i, c in enumerate(train.labels.tolist())]
    order = np.random.RandomState(0).permutation(len(train))
    for names in (train.ids, [f'{i}'.replace('/', '\\').upper() for i in train.ids]):
        write_csv(tmp_path/'given.csv', ('path', 'label'), [(names[i], given[i]) for i in order])
        images, noise = add_noise(train, Spec(noise='given', noise_settings=dict(file=str(tmp_path/'given.csv'))))
        assert [train.classes[c] for c in images.labels] == given and noise.rate == 6/len(train)
        assert "given labels: 'label' of given.csv" in images.notes and images.true.equal(train.labels)
    write_csv(tmp_path/'given.csv', ('path', 'label'), [(train.ids[i], given[i]) for i in order[1:]])
    with pytest.raises(UserError, match=f'names {len(train)-1} of {len(train)}'):
        add_noise(train, Spec(noise='given', noise_settings=dict(file=str(tmp_path/'given.csv'))))
    order = np.random.RandomState(0).permutation(20)
    write_csv(tmp_path/'numbered.csv', ('', 'label'), [(i, NOISY[i]) for i in order])
    assert (inject(TRUE, 'given', None, 4, file=tmp_path/'numbered.csv').given == NOISY).all()
    write_csv(tmp_path/'from1.csv', ('', 'label'), [(i+1, NOISY[i]) for i in order])
    write_csv(tmp_path/'gaps.csv', ('id', 'label'), [(i, '' if i in (3, 4) else 0) for i in range(20)])
    write_csv(tmp_path/'some.csv', ('', 'label'), [(i, NOISY[i]) for i in (9, 3, 5)])
    assert inject(TRUE[[3, 5, 9]], 'given', None, 4, file=tmp_path/'some.csv', ids=[3, 5, 9]).given.tolist() == \
        NOISY[[3, 5, 9]].tolist()
    write_csv(tmp_path/'other.csv', ('label', 'label_noisy'), zip(TRUE[::-1], NOISY[::-1]))
    with pytest.raises(UserError, match='other data or another order'):
        inject(TRUE, 'given', None, 4, file=tmp_path/'other.csv')
    assert inject(TRUE, 'given', None, 4, file=f"{tmp_path/'other.csv'}:label_noisy").rate > .4
    for name, says in ('from1', 'numbers its lines neither'), ('gaps', 'none for 2 of 20'):
        with pytest.raises(UserError, match=says): inject(TRUE, 'given', None, 4, file=tmp_path/f'{name}.csv')

def test_arrays_beside_the_labels_are_not_passed_over(tmp_path):
    y = np.arange(12) % 3
    parts = dict(X_train=X, y_train=y, X_test=X, y_test=y)
    np.savez(tmp_path/'a.npz', **parts, names=np.array(['a']))
    assert 'arrays not read: names' in notes(load(tmp_path/'a.npz')[0])
    np.savez(tmp_path/'a.npz', **parts, y_train_noisy=y)
    with pytest.raises(UserError, match='y_train_noisy.*not clear'): load(tmp_path/'a.npz')

# --- numbers that agree

def test_one_range_for_size_and_rate():
    assert RANGES['size'] == SIZE_RANGE
    x, y = X[:2], [0, 1]
    for size in SIZE_RANGE: assert Spec(size=size).size == load((x, y, x, y), size=size)[0].shape[1] == size
    for rate in RATE_RANGE:
        assert inject(TRUE, 'symmetric', Spec(noise='symmetric', rate=rate).rate, 4).rate == rate
        assert Trainer(Spec(noise='symmetric', rate=rate, train_size=20, epochs=1)).data.noise.rate == rate
    for rate in (RATE_RANGE[0]-.1, RATE_RANGE[1]+.1):
        for call in (lambda: Spec(noise='symmetric', rate=rate), lambda: inject(TRUE, 'symmetric', rate, 4)):
            with pytest.raises(UserError, match=f'rate={rate}'): call()
    for size in (SIZE_RANGE[0]-1, SIZE_RANGE[1]+1):
        for call in (lambda: Spec(size=size), lambda: load('digits', size=size)):
            with pytest.raises(UserError, match=f'size={size}'): call()

def test_reasons_count_what_is_trained_on(tmp_path):
    put(tmp_path, *'abc', n=12); put(tmp_path, 'd', n=1); (tmp_path/'a'/'x.png').write_bytes(b'')
    train, _ = load(tmp_path, on_bad='skip')
    assert f'{len(train)} images' in advise(tmp_path, on_bad='skip')[1]['batch']
    assert survey_images(tmp_path)[0] == len(train)
    assert f'{len(train)} images' in advise(train)[1]['batch'] and advise(train)[0].size is None
    listed(tmp_path, [[f'a/{i}.png', '' if i < 2 else 'ab'[i % 2]] for i in range(12)])
    assert survey_images(tmp_path/'list.csv')[0] == len(load(tmp_path/'list.csv', on_bad='skip')[0])
    with pytest.raises(UserError, match='a int'): advise(3)
