"""What happened to people who used it: one test for each kind of fault that was found in their hands, where no other
file has it. (How images and labels come in: test_inputs; what is refused: test_bad_input, test_any_value.)"""
import os, tracemalloc

import numpy as np, pytest, torch
from PIL import Image

from noisylab.cli import main
from noisylab.errors import UserError
from noisylab.data.sources import load
from noisylab.label_issues.decisions import Decisions
from noisylab.label_issues.find import find_label_issues
from noisylab.label_issues.judge import judge_probabilities
from noisylab.session.session import Session
from noisylab.training.spec import Spec
from noisylab.training.trainer import Trainer
from test_session import wait

SPEC = Spec(method='ce', epochs=1, batch=8, device='cpu')

def blobs(n=24, C=2, side=16, seed=0, strength=12):
    "Images whose classes can be told apart the better the larger `strength` is, and their classes."
    rng = np.random.RandomState(seed)
    proto, y = rng.randn(C, side, side), np.arange(n) % C
    return np.clip(128 + strength*proto[y] + 40*rng.randn(n, side, side), 0, 255).astype(np.uint8), y

@pytest.fixture
def pets(tmp_path):
    x, y = blobs()
    for i, c in enumerate(y):
        (tmp_path/'pets'/'ab'[c]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[i]).save(tmp_path/'pets'/'ab'[c]/f'{i}.png')
    return tmp_path/'pets'

def call(capsys, *line):
    "Status, and what was printed."
    status = main([str(a) for a in line])
    said = capsys.readouterr()
    return status, said.out + said.err

def test_no_label_is_made_wrong_unasked(pets, tmp_path, capsys):
    train, test = load(pets)
    for t in Trainer(Spec(data=str(pets), epochs=1)), Trainer(Spec(epochs=1), train=train, test=test), Trainer():
        assert t.data.noise is None and t.labels.equal(t.data.loaded.labels)
    status, said = call(capsys, 'train', '--data', pets, '--epochs', 1, '--out', tmp_path/'run')
    assert status == 0 and 'labels as they are' in said and Trainer.resume(tmp_path/'run').data.noise is None

def test_a_mask_is_a_mask_wherever_positions_are_taken():
    x, y = blobs(6, side=8)
    images, p = load((x, y, x, y))[0], np.where((np.arange(6) < 3)[:, None] == np.eye(2, dtype=bool)[y], .1, .9)
    found = find_label_issues(images, probabilities=p, share=.5)
    first = found.index == found.index[0]
    here = np.arange(6) == found.index[0]
    other = {int(found.index[0]): int(1 - y[0])}
    for accept in first, here, torch.from_numpy(here), here.tolist(), found.index[:1], other:
        changed = np.flatnonzero(found.mended(accept).labels.numpy() != y)
        assert changed.tolist() == found.index[:1].tolist(), accept
    book = Decisions(found)
    book.decide(first, 'relabel')
    assert list(book.answers) == found.index[:1].tolist() and images.subset(here).ids.tolist() == [found.index[0]]
    for wrong in here[:4], np.r_[here, True], 'all':
        with pytest.raises(UserError): found.mended(wrong)

def test_one_broken_file_does_not_stop_the_others(pets, capsys):
    (pets/'a'/'zero.jpg').write_bytes(b'')
    status, said = call(capsys, 'issues', pets, '--epochs', 1)
    assert status == 2 and 'a/zero.jpg: empty file' in said and '--on-bad skip' in said
    status, said = call(capsys, 'issues', pets, '--epochs', 1, '--on-bad', 'skip')
    assert status == 0 and '1 left out: a/zero.jpg (empty file (0 bytes))' in said
    found = find_label_issues(pets, SPEC, on_bad='skip', progress=False)
    assert len(found.images) == 24 and sum('zero.jpg' in n for n in found.notes) == 1

def test_what_makes_no_sense_is_said_before_the_training(pets, tmp_path, capsys, monkeypatch):
    def trained(self): raise AssertionError('trained first')
    monkeypatch.setattr(Trainer, 'steps', trained)
    (tmp_path/'file').write_text('')
    for more in (['--share', 1.5], ['--csv', tmp_path], ['--html', tmp_path], ['--out', tmp_path/'file'],
                 ['--csv', tmp_path/'file'/'a.csv'], ['--csv', tmp_path/'a', '--html', tmp_path/'a']):
        status, said = call(capsys, 'issues', pets, *more)
        assert status == 2 and said.splitlines()[-1].startswith('noisylab: '), said
    for bad in dict(share='0.1'), dict(folds=1), dict(epochs=0), dict(spec='ce'), dict(size=8, on_bad='leave'):
        with pytest.raises(UserError): find_label_issues(pets, progress=False, **bad)
    with pytest.raises(UserError, match='loaded already'): find_label_issues(load(pets)[0], size=8, progress=False)

@pytest.mark.parametrize('C', [2, 3, 5])
def test_a_network_that_has_not_learned_says_so_and_is_sure_of_nothing(C):
    "Two classes: any disagreement is above a half, so that without a rule of its own right labels were made wrong."
    for seed in range(2):
        x, y = blobs(200, C, seed=seed, strength=3)
        found = find_label_issues(load((x, y, x[:20], y[:20]))[0], progress=False)
        assert 'has not learned' in str(found), found
        assert (found.mended().labels.numpy() != y).mean() < .05

def test_what_was_trained_on_is_not_called_a_test(pets, capsys):
    find_label_issues(pets)
    assert 'test' not in capsys.readouterr().err

def test_a_run_is_opened_elsewhere_and_with_images_that_have_moved(pets, tmp_path, capsys, monkeypatch):
    "Runs of a folder, and of images that were handed over; from another folder than they were made in."
    monkeypatch.chdir(tmp_path)
    for line in ('train --data pets --epochs 2 --out named', 'issues pets --epochs 2 --out handed'):
        assert call(capsys, *line.split())[0] == 0
    monkeypatch.chdir('/')
    runs, opened = [tmp_path/'named', tmp_path/'handed'], ('issues', 'report', 'replay')
    for run in runs:
        for what in opened:
            status, said = call(capsys, what, run)
            assert status == 0 and 'not in the page' not in said, said
    pets.rename(tmp_path/'moved')
    for run in runs:
        for what in 'issues', 'replay':
            status, said = call(capsys, what, run)
            assert status == 2 and 'no such file' in said and 'Traceback' not in said, said
        for what in (*opened, 'train --resume --out'):
            status, said = call(capsys, *what.split(), run, '--data', tmp_path/'moved')
            assert status == 0 and 'not in the page' not in said, said
        assert wait(Session.load(run, data=tmp_path/'moved'), 'done').trainer.epoch == 2

def test_the_amount_of_noise_of_many_classes_fits_into_memory():
    C, n = 400, 1200
    rng = np.random.RandomState(0)
    p, y = rng.dirichlet(np.ones(C), n), np.r_[np.arange(C), rng.randint(0, C, n - C)]
    tracemalloc.start()
    try: judge_probabilities(p, y); peak = tracemalloc.get_traced_memory()[1]
    finally: tracemalloc.stop()
    assert peak < 40*8*C*C

def test_the_same_picture_in_two_classes_comes_first_whatever_the_network_says():
    x, y = blobs(60, 3)
    y[1], x[1] = (y[0] + 1) % 3, x[0]
    images, p = load((x, y, x, y))[0], .97*np.eye(3)[y] + .01     # it believes every label
    found = find_label_issues(images, probabilities=p, share=1/60)
    first = found.only('label')
    assert set(first.index) <= {0, 1} and len(first) == 1 and 'the same picture as' in first.reason[0]
    assert first.index[0] == found.index[0] and set(found.only('exact_duplicate').index) == {0, 1}
    only = find_label_issues(images, probabilities=p, share=1/60, kinds='label')
    assert (only.index == first.index).all() and 'the same picture as' in only.reason[0]
    assert any('the same picture with different labels' in n and '0 = 1' in n for n in found.notes)

def test_where_no_widget_can_be_drawn_there_are_words():
    from noisylab.lab.lab import Lab
    from noisylab.lab.review import Review
    images, _ = load('digits', train_size=60)
    lab = Lab(SPEC, train=images)
    for shown in (lab, lab.widget, Review(find_label_issues(images, SPEC, share=.1, progress=False))):
        data, _ = shown._repr_mimebundle_()
        assert ' object at 0x' not in data['text/plain'] and '<p>' in data['text/html']
    lab.close()

def test_a_run_of_a_device_that_is_not_here_goes_on_on_the_cpu(tmp_path, capsys):
    run = tmp_path/'run'
    Trainer(Spec(epochs=1, train_size=60, device='cpu'), out=run).fit(progress=False)
    st = torch.load(run/'checkpoint.pt', weights_only=True)
    st['spec'].update(device='cuda:99', engine='graph'); torch.save(st, run/'checkpoint.pt')
    for what in 'replay', 'issues', 'report', 'train --resume --out':
        for more in [], ['--device', 'cpu']:
            status, said = call(capsys, *what.split(), run, *more)
            assert status == 0 and bool(more) != ('goes on on the CPU' in said), said

def test_several_pictures_and_folders_are_predicted_at_once(pets, tmp_path, capsys):
    Trainer(SPEC, out=tmp_path/'run', train=load(pets)[0]).fit(progress=False)
    one, two = sorted((pets/'a').iterdir())[:2]
    status, said = call(capsys, 'predict', tmp_path/'run', one, two, pets/'b', '--csv', tmp_path/'p.csv')
    assert status == 0 and f'{2 + len(os.listdir(pets/"b"))} pictures' in said
