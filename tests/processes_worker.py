"Trains with each method for 20 steps, in one process or as one of several, and writes what came out."
import sys

import numpy as np
import torch
from torch import nn

from noisylab.data.images import Images
from noisylab.training.trainer import Trainer

METHODS = 'ce', 'balanced', 'jo', 'elr_forward', 'pencil', 'sop_plus', 'paper'


def pictures(n, seed):
    "Images of four colours that a small network can tell apart."
    rng = np.random.RandomState(seed)
    y, x = rng.randint(0, 4, n), rng.randint(0, 80, (n, 3, 8, 8))
    x[np.arange(n), y % 3, 2:6, 2:6] += (60 + 60*(y//3))[:, None, None]
    return Images(torch.from_numpy(x.astype(np.uint8)), torch.from_numpy(y), tuple('abcd'))


class Plain(nn.Module):
    "A small network, smooth: where a ReLU switches, rounding becomes a difference."
    def __init__(self, norm=nn.Identity):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), norm(12), nn.GELU(), nn.Conv2d(12, 16, 3, 1, 1),
                                      nn.GELU())
        self.last = nn.Linear(16, 4)

    def forward(self, x):
        fmap = self.features(x)
        return fmap, self.last(fmap.mean((2, 3)))


def trained(method, norm=nn.Identity, **more):
    "A trainer after 20 steps: 4 epochs of 4 full batches and one of an odd number of images."
    fields = dict(noise='symmetric', rate=.3, epochs=4, batch=32, lr=.02, precision='fp32', device='cpu', watch=50)
    tr = Trainer(train=pictures(149, 0), test=pictures(64, 1), method=method, net=lambda shape, n_classes: Plain(norm),
                 **fields | more)
    tr.fit(progress=False)
    return tr


def outcomes(methods=METHODS):
    "For each method the weights and its own state; cross-entropy and the paper's with batch norm in the network."
    res = {}
    for name in methods:
        tr = trained(name, nn.BatchNorm2d if name in ('ce', 'paper') else nn.Identity)
        own = {k: v for k, v in tr.method.state().items() if torch.is_tensor(v)}
        res[name] = {k: v.detach().double() for k, v in (tr.net.state_dict() | own).items()}
    return res, tr.leads


def differences(one, other):
    "The largest relative difference of a tensor of weights or state, for each method."
    off = lambda a, b: float((a - b).norm()/a.norm().clamp_min(1e-6))
    return {name: max(off(v, other[name][k]) for k, v in one[name].items()) for name in one}


if __name__ == '__main__':
    res, leads = outcomes(sys.argv[2:] or METHODS)
    if leads: torch.save(res, sys.argv[1])
