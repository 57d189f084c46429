"""The lab without a browser: it ends cleanly, survives what goes wrong, and says so."""
import os, signal, threading, time
from dataclasses import replace
from pathlib import Path

import numpy as np, pytest, torch

pytest.importorskip('anywidget'); pytest.importorskip('openTSNE')
from noisylab.data.images import Images
from noisylab.data.sources import load
from noisylab.errors import UserError
from noisylab.lab.lab import FIGURE_NAMES, Lab
from noisylab.lab.review import Review
from noisylab.methods.base import METHODS
from noisylab.metrics.tracker import Tracker
from noisylab.training.spec import Spec
from noisylab.training.trainer import Trainer
from noisylab.viz.report import read_run, report_page
from noisylab.viz.timeline import make_timeline
from noisylab.viz.views import UNKNOWN, VIEWS, View

SMALL = Spec(noise='symmetric', rate=.8, train_size=300, epochs=400, watch=100, seed=1)

def until(what, seconds=120):
    def there():
        try: return what()
        except (IndexError, KeyError): return False     # not sent yet
    end = time.time() + seconds
    while not there():
        assert time.time() < end, 'this took too long'
        time.sleep(.02)

def press(lab, do, **more): lab._hear(lab.widget, {'do': do, **more}, [])

def threads(): return [t.name for t in threading.enumerate() if t.name.startswith('noisylab')]

def alive(pid):
    try: return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError: return False

@pytest.fixture
def lab():
    lab = Lab(SMALL)
    yield lab
    lab.close()
    assert not threads()

def test_a_killed_map_worker_comes_back_and_nothing_is_left(lab):
    run = lab.start()
    until(lambda: run.map[1] is not None)
    first, epoch = lab.dashboard.mapper.worker.process.pid, run.map[0]
    os.kill(first, signal.SIGKILL)
    until(lambda: run.map[0] > epoch)
    second = lab.dashboard.mapper.worker.process.pid
    assert second != first and run.status == 'running'
    lab.close()
    until(lambda: not alive(second), 5)
    assert run.status == 'stopped' and run.history and not threads()
    press(lab, 'start')         # a closed lab says so and starts nothing
    assert 'closed' in lab.dashboard.said[1] and len(lab.runs) == 1

def test_a_crash_in_training_is_told_and_the_lab_goes_on(lab):
    press(lab, 'set', key='lr', value=1.)
    bad = lab.start()
    until(lambda: bad.trainer is not None)
    def broken(*a): raise RuntimeError('the dog ate it')
    bad.trainer.method.terms = broken
    until(lambda: bad.status == 'failed')
    until(lambda: lab.widget.state['kind'] == 'error')
    assert 'the dog ate it' in lab.widget.state['say'] and 'RuntimeError' in bad.error
    good = lab.start()
    until(lambda: good.history and lab.widget.state['selected'] == 1 and lab.widget.state['kind'] != 'error')

def test_what_a_person_could_do_wrong_is_a_sentence(lab):
    for wrong in (dict(do='pause'), dict(do='fork'), dict(do='save', folder='/tmp/x'),
                  dict(do='set', key='lr', value=-1), dict(do='set', key='data', value='/nowhere'),
                  dict(do='load', folder=' '), dict(do='load', folder='/nowhere')):
        lab._hear(lab.widget, wrong, [])
        said = lab.dashboard.said
        if said: assert said[0] == 'error' and len(said[1]) > 20, wrong
    press(lab, 'start')         # with data that are not there
    until(lambda: lab.runs[-1].status == 'failed')
    assert '/nowhere' in lab.runs[-1].message

def test_closing_while_it_starts(lab):
    lab.start()
    lab.close()
    assert not threads()

def test_changes_made_before_the_first_step_count(lab):
    run = lab.start()
    press(lab, 'set', key='rate', value=.2)
    until(lambda: run.history)
    assert run.current_spec.rate == .2 or lab.dashboard.pending == ['rate']

def test_saved_and_loaded(lab, tmp_path):
    run = lab.start()
    until(lambda: len(run.history) > 2)
    press(lab, 'save', folder=str(tmp_path/'run'))
    until(lambda: (tmp_path/'run'/'spec.json').exists())
    press(lab, 'load', folder=str(tmp_path/'run'))
    until(lambda: lab.runs[-1].status == 'paused')
    assert len(lab.runs) == 2 and len(lab.runs[-1].history) >= 3 and lab.shown is lab.runs[-1]

def test_many_classes_in_colour_whose_true_labels_nobody_knows():
    rng = np.random.RandomState(0)
    x, y = rng.randint(0, 256, (600, 12, 12, 3), dtype=np.uint8), rng.randint(0, 100, 600)
    y[:100] = np.arange(100)
    images = Images(torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(y),
                    tuple(f'class {i}' for i in range(100)))
    lab = Lab(Spec(epochs=3, batch=64), train=images, test=images)
    try:
        run = lab.start()
        until(lambda: run.status == 'done' and run.map[1] is not None)
        until(lambda: lab.widget.curves and lab.widget.curves[0]['epoch'] == [1, 2, 3] and lab.widget.frames)
        assert lab.widget.curves[0]['views']['memorized'] == UNKNOWN and lab.widget.images[0]['true'] is None
        assert 'nothing was injected' in lab.widget.frames[0]['views']['injected']
        assert len(lab.widget.images[0]['classes']) == 100 and lab.widget.images[0]['shape'][1:] == [12, 12, 3]
        assert 'error' != lab.widget.state['kind'], lab.widget.state['say']
        with pytest.raises(UserError, match='not known'): lab.figure('confusion')
        untold = {'confusion', 'injected', 'memorized', 'memorization', 'right'}
        for name in set(FIGURE_NAMES) - untold: lab.figure(name)
        assert lab.dashboard.pending == [] and 'data' in lab.dashboard.form.unused
        press(lab, 'set', key='data', value='digits')
        assert 'your own' in lab.dashboard.said[1] or 'of your own' in lab.dashboard.said[1]
    finally: lab.close()

def test_what_a_run_does_now_stands_in_the_controls_and_each_keeps_its_own_images(lab):
    first = lab.start()
    until(lambda: first.history)
    press(lab, 'set', key='w_rec', value=.5)
    assert lab.dashboard.pending == [] and first.current_spec.settings == {'w_rec': .5}
    press(lab, 'set', key='seed', value=7)
    other = lab.start()
    until(lambda: other.history)
    press(lab, 'select', run=0)
    values = lab.dashboard.form.values
    assert values['w_rec'] == .5 and values['seed'] == 1 and lab.dashboard.pending == []
    press(lab, 'beside', run=1)
    until(lambda: len(lab.widget.frames) == 2 and all(lab.widget.frames))
    sets = {im['key']: np.frombuffer(im['index'], np.int32) for im in lab.widget.images}
    for run, f in zip((first, other), lab.widget.frames): assert (sets[f['key']] == run.watched.index).all()
    assert len(sets) == 2

def test_a_run_that_is_looked_at_again_is_whole(lab):
    first = lab.start()
    until(lambda: first.history)
    first.stop()
    until(lambda: first.status == 'stopped' and lab.widget.frames)
    press(lab, 'set', key='data', value='/nowhere')
    press(lab, 'start')
    until(lambda: lab.runs[-1].status == 'failed' and not lab.widget.frames)
    press(lab, 'select', run=0)
    until(lambda: lab.widget.frames and lab.widget.frames[0]['run'] == 0)

def test_true_labels_that_become_known_are_sent():
    rng = np.random.RandomState(0)
    images = Images(torch.from_numpy(rng.randint(0, 256, (200, 1, 8, 8), dtype=np.uint8)),
                    torch.from_numpy(rng.randint(0, 4, 200)), tuple('abcd'))
    lab = Lab(Spec(epochs=400, batch=64), train=images, test=images)
    try:
        run = lab.start()
        until(lambda: run.history and lab.widget.images)
        assert lab.widget.images[0]['true'] is None
        press(lab, 'set', key='noise', value='symmetric')
        until(lambda: lab.widget.images[0]['true'] is not None)
        run.stop()
        until(lambda: 'Stopped' in lab.widget.state['say'])
        run._do(run.trainer.result).result()
        with pytest.raises(UserError, match='are done'): run.fork(epochs=run.trainer.epoch - 1)
    finally: lab.close()

def test_a_second_lab_leaves_the_runs_of_the_first_one_alone(lab):
    run = lab.start()
    until(lambda: run.history)
    second = Lab('digits', method='ce', noise='symmetric', rate=.5, train_size=300, watch=100, epochs=400)
    try:
        other = second.start()
        until(lambda: other.history)
        before = len(run.history)
        until(lambda: len(run.history) > before)
        assert run.status == 'running' and not lab.closed and other.spec.method == 'ce' and other.spec.rate == .5
    finally: second.close()
    assert other.status == 'stopped' and run.status == 'running'

def test_a_view_that_fails_says_so_in_its_place_and_nothing_else_stops(lab, monkeypatch):
    def broken(run, frame): raise KeyError('nowhere')
    monkeypatch.setitem(VIEWS, 'broken', View('Broken', broken, 'bars'))
    second = Lab(SMALL)
    try:
        run = second.start()
        until(lambda: len(run.history) > 1 and second.widget.frames)
        views = second.widget.frames[0]['views']
        assert 'failed' in views['broken'] and 'nowhere' in views['broken'] and isinstance(views['losses'], dict)
        assert second.widget.state['kind'] != 'error' and run.status == 'running'
    finally: second.close()

def test_a_review_of_images_finds_their_issues_first():
    images = load('digits')[0].subset(range(300))
    given = images.labels.clone()
    given[:20] = (given[:20] + 1) % 10
    review = Review(images.with_labels(given))
    assert len(set(review.decisions.index.tolist()) & set(range(20))) > 10, 'most of the wrong labels are listed'
    place = review.pager.place
    review._hear(review.widget, dict(do='decide', place=place, what='relabel', label=None), [])
    assert review.changes and review.mended().labels[review.decisions.index[place]] == review.decisions.suggested[place]

def test_a_view_of_ones_own_stands_in_the_lab_and_in_the_report_with_the_same_numbers(monkeypatch, tmp_path):
    def class_losses(run, frame):
        return {name: frame.loss[frame.given == c].mean() for c, name in enumerate(run.watched.classes)}
    monkeypatch.setitem(VIEWS, 'class_losses', View('Loss of each class', class_losses, 'bars'))
    lab = Lab(replace(SMALL, epochs=2))
    try:
        run = lab.start()
        until(lambda: run.status == 'done' and lab.widget.frames and lab.widget.frames[0]['epoch'] == 2)
        shown = lab.widget.frames[0]['views']['class_losses']
        run.save(tmp_path/'run')
    finally: lab.close()
    saved = read_run(tmp_path/'run')
    own = make_timeline(*saved.frames, history=saved.history)[1][-1]
    assert own.title == 'Loss of each class' and [b for b, in shown.values()] == pytest.approx(
        list(own.figures[-1].data[0].x), rel=1e-3)
    assert 'Loss of each class' in report_page([saved])

def own_images(n=200):
    rng = np.random.RandomState(0)
    return Images(torch.from_numpy(rng.randint(0, 256, (n, 3, 20, 20), dtype=np.uint8)),
                  torch.from_numpy(rng.randint(0, 4, n)), tuple('abcd'))

def test_labels_of_ones_own_are_never_called_true_and_none_is_made_wrong_unasked():
    lab = Lab(train=own_images(), test=own_images(80))
    try:
        assert lab.spec.noise == 'none' and lab.spec.model == 'fastnet' and lab.spec.epochs <= 60
        lab.set('epochs', 400); lab.set('width', .125)
        run = lab.start()
        until(lambda: run.history and lab.widget.images and lab.widget.state['tiles'][0]['value'] != '–')
        assert lab.widget.state['tiles'][0]['name'] == 'test: as given'
        until(lambda: list(lab.widget.curves[0]['views']['accuracy']) == ['Test: as given'])
        lab.do(dict(do='set', key='noise', value='symmetric'))      # on top of them: now there are two kinds of labels
        until(lambda: lab.widget.images[0]['true'] is not None)
        until(lambda: lab.widget.images[0]['truth'] == 'your label')
        until(lambda: lab.widget.state['tiles'][2]['note'] == 'predicted as your label')
    finally: lab.close()

def test_a_network_that_has_only_begun_has_not_collapsed():
    def first(epochs):      # of a network that learns nothing
        trainer = Trainer(replace(SMALL, epochs=epochs, lr=1e-9))
        for _ in trainer.steps():
            if trainer.history: return trainer.history[0]
    begun, late = first(400), first(2)      # a four-hundredth of its steps, and half of them
    assert begun['classes_predicted'] == late['classes_predicted'] <= 5
    assert late['warnings'] and not begun['warnings']

def test_the_lab_follows_a_loop_of_ones_own():
    images, tracker, rng = own_images(), Tracker(200, 4), np.random.RandomState(0)
    lab = Lab(tracker, train=images)
    try:
        until(lambda: lab.widget.state.get('status') == 'tracked')
        assert not lab.widget.frames and 'loop of your own' in lab.widget.state['say']
        for epoch in range(1, 4):
            logits = torch.from_numpy(rng.normal(size=(200, 4)))
            tracker.update(torch.arange(200), logits, images.labels)
            tracker.end_epoch()
            until(lambda: lab.widget.frames and lab.widget.frames[0]['epoch'] == epoch)
        until(lambda: len(lab.widget.curves[0]['epoch']) == 3)
        assert 'no map' in lab.widget.frames[0]['no_map'] and lab.widget.images[0]['shape'][0] == 200
        with pytest.raises(UserError, match='no features'): lab.figure('map')
        with pytest.raises(UserError, match='of your own'): lab.do(dict(do='pause'))
        lab.do(dict(do='look', image=7))
        until(lambda: lab.widget.picked.get('image') == 7 and len(lab.widget.picked['pred']) == 3)
        assert 'epochs of 200 images' in repr(lab.shown)
    finally: lab.close()

def test_what_was_done_in_one_lab_is_done_again_in_another(lab):
    lab.do(dict(do='preset', name='memorize'))
    lab.do(dict(do='set', key='train_size', value=200))
    lab.do(dict(do='start'))
    with pytest.raises(UserError, match='expected such as'): lab.do('start')
    assert [c['do'] for c in lab.commands] == ['preset', 'set', 'start']
    second = Lab(SMALL)
    try:
        assert 'nother lab' in second.dashboard.said[1]
        for c in lab.commands: second.do(c)
        until(lambda: 'auto' not in (lab.shown.spec.device, second.shown.spec.device))      # it is settled in a thread
        assert second.shown.spec == lab.shown.spec and second.values == lab.values
    finally: second.close()

def test_a_loss_of_ones_own_is_a_method_of_the_lab(tmp_path, monkeypatch):
    (tmp_path/'mylosses.py').write_text('def gently(logits, labels, power=1.):\n'
        '    return (1 - logits.softmax(1).gather(1, labels[:, None])).pow(power).mean()\n')
    monkeypatch.syspath_prepend(tmp_path)
    import mylosses
    lab = Lab(replace(SMALL, method='mylosses:gently', epochs=2))
    try:
        first = lab.start()
        until(lambda: first.status == 'done')
        monkeypatch.setitem(METHODS, 'gently', mylosses.gently)
        press(lab, 'set', key='method', value='gently')
        second = lab.start()
        until(lambda: second.status == 'done')
        press(lab, 'set', key='method', value='mylosses:nothing')
        assert 'nothing' in lab.dashboard.said[1]
    finally: lab.close()
    assert [r.spec.method for r in (first, second)] == ['mylosses:gently', 'gently']
    assert first.history[-1]['terms'] == second.history[-1]['terms'] and 'gently' in first.history[-1]['terms']
