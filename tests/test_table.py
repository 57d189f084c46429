"""Grids in real processes: killed at any moment, no finished row is lost or made twice."""
import json, os, signal, subprocess, sys, time
from functools import partial
from pathlib import Path
from threading import Thread

import pytest, torch

from noisylab.errors import UserError
from noisylab.experiments.grid import ResultTable, read_rows
from noisylab.experiments.runner import process_pool, run_spec
from noisylab.training.spec import Spec

GRID = dict(seeds=[0, 1], run=dict(data='digits', train_size=200, epochs=20, device='cpu', watch=100),
            noise=[dict(kind='symmetric', rates=[.4])], method=[dict(name='ce'), dict(name='jo')])
TOML = '''seeds = [0, 1]
[run]
data = "digits"
train_size = 200
epochs = 20
device = "cpu"
watch = 100
[[noise]]
kind = "symmetric"
rates = [0.4]
[[method]]
name = "ce"
[[method]]
name = "jo"
'''

def command(folder, *args):
    run = 'import sys; from noisylab.cli import main; sys.exit(main(sys.argv[1:]))'
    return [sys.executable, '-c', run, 'grid', str(folder/'g.toml'), '--out', str(folder/'rows.jsonl'), *args]

def plain(rows): return {r['key']: [r['last'], r['best'], r['checksum']] for r in rows}

@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    "The rows of the grid, never broken off."
    from concurrent.futures import ThreadPoolExecutor
    out = tmp_path_factory.mktemp('whole')/'rows.jsonl'
    assert not ResultTable(GRID, out).run(pool=partial(ThreadPoolExecutor, 1), threads=1)
    return plain(read_rows(out))

def wait(until, seconds=120):
    end = time.time() + seconds
    while not until():
        assert time.time() < end, 'it took too long'
        time.sleep(.02)

@pytest.mark.skipif(os.name == 'nt', reason='signals')
def test_the_program_is_killed_and_started_again(tmp_path, whole):
    (tmp_path/'g.toml').write_text(TOML)
    rows = tmp_path/'rows.jsonl'
    first = subprocess.Popen(command(tmp_path, '--workers', '1', '--threads', '1'), stdout=subprocess.PIPE, text=True)
    wait(lambda: rows.exists())
    busy = subprocess.run(command(tmp_path), capture_output=True, text=True)
    assert busy.returncode == 2 and 'another program' in busy.stderr, 'two may not fill one table'
    wait(lambda: len(list(tmp_path.glob('rows.runs/*/checkpoint.pt'))) > len(read_rows(rows)))      # in the next run
    first.kill(); first.wait()
    before = rows.read_text().splitlines()
    assert 1 <= len(before) < 4
    time.sleep(1.5)
    second = subprocess.run(command(tmp_path, '--threads', '1'), capture_output=True, text=True, check=True)
    assert 'broken' in second.stdout or 'finished' in second.stdout
    assert rows.read_text().splitlines()[:len(before)] == before, 'finished rows were not made again'
    assert plain(read_rows(rows)) == whole
    dry = subprocess.run(command(tmp_path, '--dry-run'), capture_output=True, text=True, check=True).stdout
    assert '0 of 4 to do' in dry

def test_threads_of_a_run_are_not_those_of_the_caller(tmp_path):
    "Nor of threads that begin later: a session would compute other bits than a run in the first thread."
    was, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    def later(f):
        t = Thread(target=f)
        t.start(); t.join()
    try:
        later(lambda: run_spec(Spec(train_size=60, epochs=1, device='cpu'), tmp_path/'run', threads=1))
        later(lambda: seen.append(torch.get_num_threads()))
        assert seen == [2] and torch.get_num_threads() == 2 and (tmp_path/'run'/'result.json').exists()
    finally: torch.set_num_threads(was)

def test_what_a_grid_costs_is_told_without_a_file_for_its_rows(tmp_path, monkeypatch, capsys):
    from noisylab.cli import main
    monkeypatch.chdir(tmp_path)
    Path('g.toml').write_text(TOML)
    assert main(['grid', 'g.toml', '--dry-run']) == 0 and '4 of 4 to do' in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ['g.toml']
    with pytest.raises(UserError, match='file of rows'): ResultTable(GRID).run()

@pytest.mark.skipif(os.name == 'nt', reason='signals')
def test_a_worker_is_killed(tmp_path, whole):
    "The executor breaks; a new one takes up what was broken."
    table, killed, made = ResultTable(GRID, tmp_path/'rows.jsonl'), [], []
    def pool(): made.append(process_pool(2)); return made[-1]
    def said(key, row):
        if not killed: killed.append(next(iter(made[-1]._processes))); os.kill(killed[0], signal.SIGKILL)
    assert table.run(pool=pool, threads=1, said=said) == {}
    assert len(made) > 1 and plain(read_rows(tmp_path/'rows.jsonl')) == whole

def test_a_worker_of_ray_is_killed(tmp_path, whole):
    "A real cluster of two workers on this machine; one is killed in the middle of a run."
    ray = pytest.importorskip('ray', reason='Ray is not installed: pip install "noisylab[cluster]"')
    from noisylab.experiments.runner import RayPool
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False,
             runtime_env=dict(env_vars=dict(PYTHONPATH=str(Path(__file__).parent.parent), OMP_NUM_THREADS='1')))
    try:
        table, killed = ResultTable(GRID, tmp_path/'rows.jsonl'), []
        def said(key, row):     # a run has ended; another is under way: kill the worker that has it
            if killed: return
            for pid in busy():
                os.kill(pid, signal.SIGKILL); killed.append(pid)
        assert table.run(pool=lambda: RayPool('auto'), threads=1, said=said) == {}
        assert killed and plain(read_rows(tmp_path/'rows.jsonl')) == whole
    finally: ray.shutdown()

def busy():
    "Processes of Ray that run a task now."
    import psutil
    named = lambda p: (p.info['cmdline'] or [''])[0].startswith('ray::_call')
    return [p.pid for p in psutil.process_iter(['cmdline']) if named(p)][:1]

def test_rows_say_where_they_come_from(tmp_path):
    from concurrent.futures import ThreadPoolExecutor
    grid = GRID | dict(seeds=[0], method=[dict(name='ce')], schedules=['author'], author=dict(epochs=2))
    table = ResultTable(grid, tmp_path/'rows.jsonl')
    table.run(pool=partial(ThreadPoolExecutor, 1))
    r = read_rows(tmp_path/'rows.jsonl')[0]
    assert list(r)[:5] == ['data', 'noise', 'rate', 'method', 'epochs'] and r['schedule'] == 'author'
    assert r['versions']['torch'] and r['checksum'] and r['spec']['epochs'] == 2 and r['key'] in table.asked
    (tmp_path/'rows.jsonl').write_text(json.dumps(r) + '\n{"data": "dig')      # cut off by hand
    with pytest.raises(ValueError, match='line 2'): ResultTable(grid, tmp_path/'rows.jsonl')

MINE = """from torch import nn
def network(shape, n_classes):
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, n_classes)
    return nn.Sequential(nn.Conv2d(shape[0], 8, 3), nn.ReLU(), *head)
"""

def test_a_sweep_of_ones_own_parts_runs_in_other_processes(tmp_path, monkeypatch):
    "Named 'module:name', from a module beside the grid that is not installed; a wrong name fails alone."
    (tmp_path/'my_parts.py').write_text(MINE)
    monkeypatch.chdir(tmp_path)
    own, wrong = dict(model='my_parts:network'), dict(model='my_parts:nothing')
    grid = GRID | dict(seeds=[0], run=GRID['run'] | dict(epochs=1), method=[
        dict(name='ce', label='mine', run=own), dict(name='ce', label='wrong', run=wrong)])
    table = ResultTable(grid, tmp_path/'rows.jsonl')
    failed = table.run(workers=1, threads=1)
    assert [r['label'] for r in read_rows(table.out)] == ['mine'], failed
    row = read_rows(table.out)[0]
    assert row['spec']['model'] == 'my_parts:network' and row['last'] > 0
    error, = failed.values()
    assert isinstance(error, UserError) and 'nothing' in str(error), 'an error comes back in its own words'
