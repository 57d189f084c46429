"Training in several processes: the numbers of one, and the end of all when one dies."
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import processes_worker
from noisylab.training.checkpoint import read_checkpoint
from noisylab.training.trainer import Trainer

HERE = Path(__file__).parent


def environment():
    return os.environ | dict(OMP_NUM_THREADS='1', PYTHONPATH=os.pathsep.join([str(HERE.parent), *sys.path]))


def test_two_processes_train_like_one(tmp_path):
    "Weights, batch norm's statistics, state of the samples; of one process's share alone they are off by .3."
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2']
    done = subprocess.run([*torchrun, HERE/'processes_worker.py', tmp_path/'two.pt'], env=environment(),
                          capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    off = processes_worker.differences(processes_worker.outcomes()[0], torch.load(tmp_path/'two.pt'))
    assert max(off.values()) < .02, off


def children(pid):
    "Process → its number in the group, of the children of `pid`."
    res = {}
    for p in Path('/proc').glob('[0-9]*'):
        try: stat, said = (p/'stat').read_text(), (p/'environ').read_bytes().split(b'\0')
        except OSError: continue
        if int(stat.rsplit(')', 1)[1].split()[1]) == pid:
            res |= {int(p.name): int(v[5:]) for v in said if v.startswith(b'RANK=')}
    return res


@pytest.mark.skipif(sys.platform != 'linux', reason='looks for the processes in /proc')
def test_one_dies_and_all_end_with_one_sentence(tmp_path):
    "The last checkpoint is good, and the run goes on in one process."
    out = tmp_path/'run'
    args = f'train --method ce --epochs 500 --watch 10 --eval-every 500 --checkpoint-every 1 --processes 2 --out {out}'
    run = subprocess.Popen([sys.executable, '-m', 'noisylab', *args.split(), '--device', 'cpu', '--quiet'],
                           env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        end = time.time() + 300
        while not (out/'checkpoint.pt').exists() and time.time() < end and run.poll() is None: time.sleep(.1)
        kids = children(run.pid)
        assert sorted(kids.values()) == [0, 1], kids
        os.kill(next(p for p, rank in kids.items() if rank == 1), signal.SIGKILL)
        said = run.communicate(timeout=120)[1]
    finally: run.kill()
    assert run.returncode == 2
    assert not any(Path(f'/proc/{p}/environ').exists() and Path(f'/proc/{p}/environ').read_bytes() for p in kids)
    lines = [line for line in said.splitlines() if line.startswith('noisylab:')]
    assert len(lines) == 1 and 'process 2 was killed by signal 9' in lines[0] and '--resume' in lines[0], said
    assert 'Traceback' not in said
    was = read_checkpoint(out)['step']
    tr = Trainer.resume(out)
    next(tr.steps())
    assert tr.step == was + 1 and torch.isfinite(next(tr.net.parameters())).all()
