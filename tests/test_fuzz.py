"""Whatever is typed: a `Spec`, a command line, arguments of public functions. What makes no sense is refused in a
sentence, without a bare traceback. The examples are drawn the same way every time."""
import contextlib, io, json, math, subprocess
from dataclasses import fields
from pathlib import Path

import numpy as np, pytest, torch

pytest.importorskip('hypothesis')
from hypothesis import HealthCheck, given, settings, strategies as st

from noisylab.cli import main, option_types
from noisylab.errors import UserError
from noisylab.training.spec import Spec, spec_from_dict
from noisylab.training.trainer import Trainer

SETTINGS = settings(max_examples=150, derandomize=True, deadline=None, database=None,
                    suppress_health_check=list(HealthCheck))
TEXTS = st.sampled_from(['', ' ', 'auto', 'none', 'nonsense', 'ce', 'digits', 'cpu', 'cuda:99', 'module:name', '%s{}',
                         'os:getcwd', 'math:pi', ':', 'a:b:c', 'resnet18:', 'resnet18:none.pt', 'human:worse', 'own: x',
                         'raise', 'a\0b', '../..', '/', '\ud800', 'é'*300, '1e3', 'timm:x'])
NUMBERS = st.sampled_from([0, 1, -1, 2, 3, .5, 1., 1e-300, 1e30, 10**30, math.nan, math.inf, -math.inf, True, False])
OBJECTS = st.sampled_from([b'x', object(), np.zeros(0), np.float32(2), torch.ones(2), Path('x'), lambda: 1])
VALUES = st.recursive(st.none() | NUMBERS | TEXTS | OBJECTS,
                      lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXTS, v, max_size=2), max_leaves=4)
FIELDS = [f.name for f in fields(Spec)]

@SETTINGS
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=3))
def test_a_spec_is_right_or_refused(said):
    try: spec = Spec(**said)
    except UserError as e: assert '\n' not in str(e) and len(str(e)) < 2000; return
    assert spec_from_dict(json.loads(spec.to_json())) == spec and isinstance(hash(spec), int)

SMALL = dict(train_size=20, epochs=1, device='cpu', data='digits')

@settings(SETTINGS, max_examples=25)
@given(st.dictionaries(st.sampled_from([f for f in FIELDS if f not in ('data', 'train_size', 'width', 'size')]),
                       NUMBERS | TEXTS | st.none(), min_size=1, max_size=2))
def test_a_run_is_made_or_refused(said):
    try: Trainer(**SMALL | said)
    except UserError as e: assert '\n' not in str(e)

WORDS = TEXTS | NUMBERS.map(str)
COMMANDS = 'train', 'predict', 'issues', 'report', 'replay', 'grid', 'lab', 'info', 'methods', 'demo', ''
OPTIONS = [f'--{k}'.replace('_', '-') for k in option_types()] + [
    '--set', '--noise-set', '--resume', '--spec', '--frames', '--csv', '--html', '--share', '--backbone', '--with',
    '--dry-run', '--ray', '--minutes', '--workers', '--port', '--ip', '--checkpoint-every']

@settings(SETTINGS, max_examples=60)
@given(st.sampled_from([*COMMANDS, 'train', 'train']), st.lists(st.tuples(st.sampled_from(OPTIONS), WORDS), max_size=3),
       st.lists(WORDS, max_size=2))
def test_a_command_line_ends_in_words(command, options, places):
    with pytest.MonkeyPatch.context() as m:
        m.chdir(EMPTY)
        m.setattr(Trainer, 'fit', lambda *a, **k: stop())
        m.setattr(subprocess, 'call', lambda *a, **k: 0)
        m.setattr('noisylab.experiments.demo.run_demo', lambda *a, **k: {})
        line = [command, *places, *(w for o in options for w in o)] + ['--train-size', '20']*(command == 'train')
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try: status = main(line)
            except SystemExit as e: status = e.code
    assert status in (0, 1, 2) and 'Traceback' not in said.getvalue(), said.getvalue()
    assert status == 0 or said.getvalue().strip(), line

def stop(): raise UserError('that is enough')

@pytest.fixture(autouse=True, scope='module')
def empty(tmp_path_factory):
    global EMPTY
    EMPTY = tmp_path_factory.mktemp('empty')

# --- public functions

SILLY = [None, True, -1, 3, 10**30, math.nan, '', 'nonsense', 'a\0b', b'x', [], [None], {'a': 1}, object(), range(3),
         np.full((3, 4), np.nan), np.zeros(0), np.zeros((2, 3, 4, 5, 6)), np.array(['a'], object), torch.zeros(0),
         torch.ones(3, dtype=torch.complex64), lambda: 1, '\ud800']

def calls(place):
    "name → (function, arguments that are right), each to be called with one of them silly."
    from noisylab import (Images, Lab, Review, Session, Tracker, advise, find_label_issues, inject, load, load_all,
                          predict)
    from noisylab.data.augment import RandAugment, WeakAugment, named_operations
    from noisylab.data.noise import transition_matrix
    from noisylab.experiments.grid import ResultTable, expand_grid, read_grid, read_rows
    from noisylab.experiments.runner import run_spec
    from noisylab.label_issues.decisions import Decisions
    from noisylab.label_issues.issues import LabelIssues, read_issues
    from noisylab.label_issues.judge import judge_features, judge_probabilities
    from noisylab.label_issues.scores import normalized_margin, self_confidence
    from noisylab.metrics.embedding import neighborhood_preservation
    from noisylab.methods.base import make_method
    from noisylab.models.features import compute_features
    from noisylab.models.pretrained import load_backbone
    from noisylab.models.robust_net import make_model
    from noisylab.session.frames import read_frames
    from noisylab.training.callbacks import TimeLimit, make_callbacks
    from noisylab.training.checkpoint import read_checkpoint
    from noisylab.training.spec import read_spec
    from noisylab.viz.gallery import gallery_page, write_gallery
    from noisylab.viz.report import read_run, report_page, write_report
    rng = np.random.RandomState(0)
    X, Y = rng.randint(0, 256, (12, 8, 8)).astype(np.uint8), np.arange(12) % 3
    P, F = rng.dirichlet(np.ones(3), 12), rng.randn(12, 4).astype(np.float32)
    train, test = load((X, Y, X, Y))
    own = dict(train=train, test=test, method='ce', epochs=1)
    tr = Trainer(**own, batch=6, device='cpu', out=place/'run'); Trainer.fit(tr, progress=False)
    why = np.array(['a']*4, object)
    issues = LabelIssues(train, np.arange(4), (Y[:4] + 1) % 3, np.full(4, .9), np.full(4, .8), why)
    book, tracker, csv = Decisions(issues), Tracker(12, 3), place/'a.csv'
    tracker.update(np.arange(12), torch.randn(12, 3), torch.tensor(Y)); tracker.end_epoch(); tracker.save(place/'t.npz')
    book.save(place/'book.csv'); issues.to_csv(place/'issues.csv')
    closed = lambda kind: lambda **k: kind(**k).close()
    seen = lambda kind: lambda **k: (a := kind(**k)).apply(train.pixels, a.draw(12, 0, 0))
    grid = dict(method=[dict(name='ce')])
    found = {k: (getattr(issues, k), v) for k, v in dict(
        changes=dict(accept=None, threshold=.5), mended=dict(accept=None, threshold=.5), to_json=dict(path=csv),
        labels_to_csv=dict(path=csv, accept=None, threshold=.5), to_csv=dict(path=csv)).items()}
    tables = {f'grid {k}': (lambda v, k=k: expand_grid(grid | {k: v}), dict(v=[])) for k in
              ('seeds', 'data', 'schedules', 'run', 'common', 'author', 'noise', 'method')}
    tables |= {f'grid method {k}': (lambda v, k=k: expand_grid(dict(method=[dict(name='ce') | {k: v}])), dict(v='x'))
               for k in ('name', 'label', 'settings', 'run', 'when')}
    how = dict(root='data', size=None, grey=None, on_bad='raise', in_memory=None)
    return found | tables | {
        'load': (load, dict(source=(X, Y, X, Y), train_size=None, seed=0, **how)),
        'load_all': (load_all, dict(source=(X, Y), **how)),
        'Images': (Images, dict(pixels=train.pixels, labels=Y, classes=['a', 'b', 'c'], true=None, ids=None)),
        'take': (train.take, dict(idx=[0])), 'subset': (train.subset, dict(idx=[0])),
        'join': (train.join, dict(other=test)),
        'chunks': (lambda **k: list(train.chunks(**k)), dict(order=[0], size=3)),
        'with_labels': (train.with_labels, dict(given=Y, true=None)), 'to': (train.to, dict(device='cpu')),
        'inject': (inject, dict(labels=Y, kind='symmetric', rate=.3, n_classes=3, seed=0)),
        'instance': (lambda **k: inject(Y, 'instance', .3, 3, 0, **k), dict(features=F)),
        'given': (lambda **k: inject(Y, 'given', None, 3, 0, **k), dict(file=None, matrix=None)),
        'transition_matrix': (transition_matrix, dict(true=Y, given=Y, n_classes=3)),
        'advise': (advise, dict(data=train)),
        'Trainer': (Trainer, own | dict(spec=None, net=None, layer=None, noise=None, optimizer=None, lr_schedule=None,
                                        callbacks=(), out=None, checkpoint_every=10)),
        'Trainer(spec)': (Trainer, dict(spec='digits', epochs=1)), 'evaluate': (tr.evaluate, dict(images=test)),
        'predict': (tr.predict, dict(images=X)), 'views': (tr.views, dict(n=5)),
        'save': (tr.save, dict(folder=place/'b')),
        'train_predictions': (tr.train_predictions, dict(which='train')), 'change': (tr.change, dict(lr=.1)),
        'change noise': (tr.change, dict(noise='symmetric', rate=.1)),
        'resume': (Trainer.resume, dict(folder=place/'run', device=None, data=None, root=None, workers=None,
                                        checkpoint_every=None, train=train, test=test)),
        'predict of a run': (predict, dict(run=place/'run', images=X, device='cpu', on_bad='skip')),
        'Tracker': (Tracker, dict(n=12, n_classes=3, memory=2**20)),
        'Tracker.load': (Tracker.load, dict(path=place/'t.npz')),
        'update': (tracker.update, dict(indices=np.arange(12), logits=torch.randn(12, 3), labels=torch.tensor(Y))),
        'Tracker.save': (tracker.save, dict(path=place/'u.npz')), 'Lab': (closed(Lab), dict(spec='digits')),
        'Session': (closed(Session), own | dict(net=None, n_map=10, memory=2**20)),
        'features': (find_label_issues, dict(features=F, labels=Y, classes=None, share=None)),
        'probabilities': (find_label_issues, dict(probabilities=P, labels=Y)),
        'judge_features': (judge_features, dict(features=F, labels=Y)),
        'judge_probabilities': (judge_probabilities, dict(probabilities=P, labels=Y)),
        'scores': (normalized_margin, dict(p=P, given=Y)), 'confidence': (self_confidence, dict(p=P, given=Y)),
        'Review': (Review, dict(images_or_issues=issues, features=F, xy=None, per_page=4, side=10)),
        'Decisions': (Decisions, dict(issues=issues)), 'decide': (book.decide, dict(places=0, what='keep', label=None)),
        'where': (book.where, dict(state='all', given=None, suggested=None)),
        'Decisions.save': (book.save, dict(path=csv)),
        'Decisions.load': (book.load, dict(path=place/'book.csv')),
        'read_issues': (read_issues, dict(path=place/'issues.csv', images=train)),
        'neighborhood': (neighborhood_preservation, dict(x=F, y=F, k=5)),
        'compute_features': (compute_features, dict(images=train, backbone=load_backbone(torch.nn.Flatten()), batch=16,
                                                    folder=place/'f', progress=False, device='cpu', precision='fp32')),
        'load_backbone': (load_backbone, dict(backbone=torch.nn.Flatten(), side=None)),
        'make_model': (make_model, dict(model='small', shape=(1, 8, 8), n_classes=3, mean=(.5,), std=(.2,), width=1.,
                                        seed=0)),
        'RandAugment': (seen(RandAugment), dict(n=2, m=9, ops='digits')), 'ops': (named_operations, dict(ops='Rotate')),
        'WeakAugment': (seen(WeakAugment), dict(pad=2, flip=True)), 'make_method': (make_method, dict(name='ce')),
        'read_checkpoint': (read_checkpoint, dict(folder=place/'run')),
        'read_spec': (read_spec, dict(path=place/'run')),
        'spec_from_dict': (spec_from_dict, dict(d={})), 'read_grid': (read_grid, dict(path='paper-table1')),
        'expand_grid': (expand_grid, dict(grid=grid)),
        'ResultTable': (ResultTable, dict(grid=grid, out=place/'r.jsonl')),
        'read_rows': (read_rows, dict(path=place/'r.jsonl')), 'read_frames': (read_frames, dict(path=place/'f.npz')),
        'run_spec': (run_spec, dict(spec=tr.spec, folder=place/'n', until=0.)),
        'read_run': (read_run, dict(folder=place/'run')),
        'report_page': (report_page, dict(runs=[], title=None, table=None)),
        'write_report': (write_report, dict(runs=[], path=place/'r.html')),
        'gallery_page': (gallery_page, dict(issues=issues, title='x', most=10)),
        'write_gallery': (write_gallery, dict(issues=issues, path=place/'g.html')),
        'TimeLimit': (TimeLimit, dict(minutes=1.)), 'make_callbacks': (make_callbacks, dict(callbacks=()))}

@pytest.mark.filterwarnings('ignore')
def test_public_functions_refuse_what_makes_no_sense(tmp_path, monkeypatch):
    "Any argument of any of them may be of any kind: it is taken, or refused by a `UserError`."
    pytest.importorskip('anywidget')
    monkeypatch.chdir(tmp_path)
    bare, refused = [], 0
    for name, (function, right) in calls(tmp_path).items():
        for argument in right:
            for silly in SILLY:
                try: function(**right | {argument: silly})
                except UserError: refused += 1
                except ImportError: pass        # of an extra that is not installed
                except Exception as e: bare.append(f'{name}({argument}={silly!r:.40}): {type(e).__name__}: {e}')
    assert not bare, '\n'.join(bare)
    assert refused > 2000
