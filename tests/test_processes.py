"Training in several processes: the numbers of one."
import os
import subprocess
import sys
from pathlib import Path

import torch

import processes_worker

HERE = Path(__file__).parent


def run(n, *args, **kw):
    "`args` in n processes, by torch's own launcher."
    env = os.environ | dict(OMP_NUM_THREADS='1', PYTHONPATH=os.pathsep.join([str(HERE.parent), *sys.path]))
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', f'--nproc-per-node={n}']
    return subprocess.run([*torchrun, *args], env=env, capture_output=True, text=True, timeout=600, **kw)


def test_two_processes_train_like_one(tmp_path):
    "Weights, batch norm's statistics, state of the samples; of one process's share alone they are off by .3."
    done = run(2, HERE/'processes_worker.py', tmp_path/'two.pt')
    assert done.returncode == 0, done.stderr
    off = processes_worker.differences(processes_worker.outcomes()[0], torch.load(tmp_path/'two.pt'))
    assert max(off.values()) < .02, off
