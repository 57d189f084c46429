"""What a GPU is wanted for runs here too, in small: with one, in full."""
import subprocess, sys
from pathlib import Path

import pytest
import torch

from noisylab.experiments.grid import expand_grid
from noisylab.experiments.paper_tables import paper_name

FOLDER = Path(__file__).resolve().parent.parent/'benchmarks'

def script(name, *args):
    return subprocess.run([sys.executable, FOLDER/name, *args], capture_output=True, text=True, cwd=FOLDER)

def test_the_device_computes_what_the_cpu_does():
    small = [] if torch.cuda.is_available() else ['--steps', '6', '--batch', '16', '--width', '.0625']
    res = script('parity.py', *small)
    assert res.returncode == 0 and 'parity_failures: 0' in res.stdout, res.stdout + res.stderr
    assert ('needs a GPU' in res.stdout) != torch.cuda.is_available()

@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import recipe
    return recipe

def test_readings_differ_and_keep_the_papers_name(recipe):
    asked = expand_grid(recipe.searched(recipe.readings(), 20))
    assert len({a.key for a in asked}) == len(asked) > 12
    for a in asked:
        row = dict(method='paper', spec=dict(settings=a.spec.settings))
        assert paper_name(row, 1) == 'paper' and paper_name(row, 4) == 'A+B+C', a.label

def test_a_reading_is_chosen_for_what_chance_does_not_explain(recipe):
    line = lambda v, d, se: dict(val_given=v, difference=d, se=se, n=5000)
    seen = {'plain': line(30, 0, 0), 'λ: 0.25': line(31, 1, .6), 'λ: 4': line(32, 2, .6),
            'clusters: 20': line(31.5, 1.5, .7), 'classified: both': line(33, 3, .6), 'classified: x': line(34, 4, .6)}
    assert recipe.winners(seen) == ['λ: 4', 'clusters: 20', 'classified: x']
    assert recipe.together(['λ: 4', 'augmentation: N1 M5']) == dict(lam=4., fields=dict(n=1, m=5))

def test_rows_in_order_of_worth(recipe):
    grids = recipe.row_grids(dict(lam=4., fields=dict(m=14)), 300)
    asked = {what: expand_grid(g) for what, g in grids.items()}
    keys = [a.key for runs in asked.values() for a in runs]
    assert len(set(keys)) == len(keys)
    first = next(iter(asked.values()))
    assert [a.spec.rate for a in first] == [.6, .8] and first[0].spec.settings == dict(lam=4.) and first[0].spec.m == 14
    assert {a.label for a in asked['beside it, and its terms']} == {'balanced', 'ce_augmented', 'ce', 'A', 'B', 'C',
                                                                    'A+B', 'A+C'}
    assert all(a.spec.m == 14 and not a.spec.val for runs in asked.values() for a in runs)

def test_the_commands_are_named():
    res = subprocess.run([FOLDER/'gpu.sh'], capture_output=True, text=True)
    commands = 'check', 'speed', 'search', 'rows', 'table'
    assert res.returncode == 2 and all(f'gpu.sh {k}' in res.stdout for k in commands)
