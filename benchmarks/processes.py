"""One process against two on the CPU: how far weights, batch norm and state of samples are apart after 20 steps."""
import subprocess, sys, tempfile
from pathlib import Path

import torch

WORKER = Path(__file__).resolve().parent.parent/'tests'/'processes_worker.py'
METHODS = ('ce balanced paper jo elr elr_forward pencil sop sop_plus mixup nce_rce gce_truncated coteaching ssr regce '
           'forward bootstrap_hard imae sl').split()


def outcomes(folder, *launcher):
    "What the worker wrote."
    out = Path(folder)/'out.pt'
    subprocess.run([sys.executable, *launcher, WORKER, out, *METHODS], check=True, stderr=subprocess.DEVNULL)
    return torch.load(out)


if __name__ == '__main__':
    sys.path.insert(0, str(WORKER.parent))
    from processes_worker import differences
    with tempfile.TemporaryDirectory() as folder:
        one = outcomes(folder)
        two = outcomes(folder, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2')
    off = differences(one, two)
    for name, v in off.items(): print(f'{name:16}{v:.1e}')
    print(f'ddp_equal_max: {max(off.values()):.1e}')
