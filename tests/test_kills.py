"""Processes that are killed, disks that are full, two processes in one folder: `benchmarks/kills.py` in small, and what
it cannot do."""
import os, signal, subprocess, sys
from pathlib import Path

import numpy as np, pytest, torch

from noisylab.cli import main
from noisylab.data.sources import load
from noisylab.errors import UserError
from noisylab.experiments.grid import ResultTable
from noisylab.label_issues.decisions import Decisions
from noisylab.label_issues.issues import LabelIssues
from noisylab.metrics.tracker import Tracker
from noisylab.models.features import compute_features
from noisylab.models.pretrained import load_backbone
from noisylab.session.frames import save_frames
from noisylab.session.session import Session
from noisylab.training.spec import Spec
from noisylab.training.trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent
SMALL = Spec(method='ce', train_size=60, epochs=2, batch=30, device='cpu')

@pytest.mark.skipif(os.name == 'nt', reason='signals')
def test_nothing_is_lost_when_processes_are_killed():
    done = subprocess.run([sys.executable, 'kills.py', '--kills', '6'], capture_output=True, text=True,
                          cwd=ROOT/'benchmarks', timeout=900)
    assert done.returncode == 0 and 'kills: 6, lost: 0' in done.stdout, done.stdout + done.stderr

def test_a_run_killed_before_its_first_checkpoint_begins_anew(tmp_path, capsys):
    whole = Trainer(SMALL); whole.fit(progress=False)
    Trainer(SMALL, out=tmp_path/'run')                                  # and here it ends
    with pytest.warns(UserWarning, match='no checkpoint yet: the run begins anew'): tr = Trainer.resume(tmp_path/'run')
    tr.fit(progress=False)
    assert all(torch.equal(v, whole.net.state_dict()[k]) for k, v in tr.net.state_dict().items())
    Trainer(SMALL, out=tmp_path/'b')
    assert main(['train', '--resume', '--out', str(tmp_path/'b'), '--quiet']) == 0
    assert 'begins anew' in capsys.readouterr().err and (tmp_path/'b'/'result.json').exists()
    own = load('digits', train_size=60)
    Trainer(SMALL, train=own[0], test=own[1], out=tmp_path/'c')
    with pytest.warns(UserWarning), pytest.raises(UserError, match='hand over train= again'):
        Trainer.resume(tmp_path/'c')
    with pytest.warns(UserWarning): Trainer.resume(tmp_path/'c', train=own[0], test=own[1]).fit(progress=False)

def test_a_second_process_in_a_run_folder_is_told(tmp_path):
    pytest.importorskip('fcntl')
    code = 'import fcntl, sys; f = open(sys.argv[1], "a"); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()'
    run = tmp_path/'run'
    tr = Trainer(SMALL, out=run)
    other = subprocess.Popen([sys.executable, '-c', code, str(run/'.lock')], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    other.stdout.readline()
    with pytest.raises(UserError, match='another process trains in this folder; wait for it'): tr.fit(progress=False)
    assert tr.step == 0
    other.send_signal(signal.SIGKILL); other.wait()
    tr.fit(progress=False)
    assert (run/'result.json').exists()

# --- every place where something is written, on a disk that takes no more

def issues():
    images, y = load('digits', train_size=60)[0], np.arange(60)
    return LabelIssues(images, y[:4], (images.labels.numpy()[:4] + 1) % 10, np.full(4, .9), np.full(4, .8),
                       np.array(['a']*4, object))

def trained(place):
    tr = Trainer(SMALL, out=place/'run')
    tr.fit(progress=False)
    return tr

def frames(place):
    s = Session(SMALL)
    try:
        s.step_epoch()
        while s.status not in ('paused', 'done'): pass
        save_frames(place/'f.npz', s.frames, s.observer.watched)
    finally: s.close()

def table(place): ResultTable(dict(method=[dict(name='ce')]), place/'rows.jsonl').add(
    next(iter(ResultTable(dict(method=[dict(name='ce')])).asked)), dict(last=1.))

def pages(name):
    def write(place):
        if name == 'gallery':
            from noisylab.viz.gallery import write_gallery
            write_gallery(issues(), place/'a.html')
        else:
            from noisylab.viz.report import read_run, write_report
            trained(place)
            write_report([read_run(place/'run')], place/'a.html')
    return write

WRITES = {
    'run': trained, 'frames': frames, 'rows': table, 'report': pages('report'), 'gallery': pages('gallery'),
    'tracker': lambda place: Tracker(3, 2).save(place/'t.npz'),
    'decisions': lambda place: Decisions(issues()).save(place/'d.csv'),
    'issues': lambda place: issues().to_csv(place/'i.csv'), 'JSON': lambda place: issues().to_json(place/'i.json'),
    'labels': lambda place: issues().labels_to_csv(place/'l.csv'),
    'lab': lambda place: main(['lab', '--folder', str(place)])}

@pytest.mark.parametrize('what', WRITES)
def test_a_full_disk_is_said_and_spoils_nothing(what, tmp_path, monkeypatch, capsys):
    "The first writing goes well, the second does not: what was there is there, and nothing else."
    monkeypatch.setattr(subprocess, 'call', lambda *a: 0)
    (tmp_path/'a').mkdir(); (tmp_path/'b').mkdir()
    WRITES[what](tmp_path/'a')
    kept = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
    assert kept
    def full(a, b): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'replace', full)
    for place in ('a', 'b') if what not in ('run', 'report', 'lab') else 'b':
        if what == 'lab': assert WRITES[what](tmp_path/place) == 2 and 'No space left' in capsys.readouterr().err
        else:
            with pytest.raises(UserError, match='could not be written .No space left.*Free some space'):
                WRITES[what](tmp_path/place)
    assert {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file() and p.name != '.lock'} == \
        {p: v for p, v in kept.items() if p.name != '.lock'}

def test_features_are_computed_where_they_cannot_be_kept(tmp_path, monkeypatch):
    from dataclasses import replace
    images = load('digits', train_size=60)[0]
    backbone = replace(load_backbone(torch.nn.Flatten()), kept=True)
    def full(a, b): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'replace', full)
    with pytest.warns(UserWarning, match='not kept.*No space left'):
        x = compute_features(images, backbone, tmp_path/'f', progress=False)
    assert len(x) == 60 and not list((tmp_path/'f').iterdir())
