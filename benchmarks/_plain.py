"""What a user would otherwise write: torchvision's transforms on PIL images, `DataLoader`, an fp32 loop."""
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

BATCH = 128


class Pairs(Dataset):
    "Index, label, weak and, if asked for, strong view of each image, bytes."
    def __init__(self, x, y, strong=True):
        self.pil = [Image.fromarray(a) for a in x.permute(0, 2, 3, 1).contiguous().numpy()]
        self.y, self.end = y.tolist(), T.PILToTensor()
        self.weak = T.Compose([T.RandomCrop(32, padding=4), T.RandomHorizontalFlip()])
        self.strong = T.RandAugment() if strong else None

    def __len__(self): return len(self.pil)

    def __getitem__(self, i):
        weak = self.weak(self.pil[i])
        strong = self.end(self.strong(weak)) if self.strong else 0
        return i, self.y[i], self.end(weak), strong


def loader(x, y, device, batch=BATCH, strong=True, workers=2):
    return DataLoader(Pairs(x, y, strong), batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0,
                      pin_memory=device.type == 'cuda', drop_last=True)


class PlainLoop:
    "The paper's equations, or cross-entropy, in a plain loop."
    def __init__(self, setup, x, y, workers=2):
        "`setup`: a run of noisylab, whose network (a copy), method and settings are taken."
        from copy import deepcopy
        self.method, self.device = deepcopy(setup.method), torch.device(setup.spec.device)
        self.net = deepcopy(setup.net).to(memory_format=torch.contiguous_format).train()
        self.loader = loader(x, y, self.device, setup.spec.batch, 'strong' in self.method.views, workers)
        self.opt = torch.optim.SGD(self.net.parameters(), setup.spec.lr, .9, weight_decay=1e-4)
        self.batches = iter(())

    def step(self):
        from noisylab.methods.base import Batch
        try: b = next(self.batches)
        except StopIteration:
            self.batches = iter(self.loader)
            b = next(self.batches)
        i, y, weak, strong = (v.to(self.device, non_blocking=True) for v in b)
        s = self.method.scalars(.1)
        terms = self.method.terms(self.net, Batch(i, y, weak, strong), s)
        loss = sum(s.get(f'w_{k}', 1.)*v for k, v in terms.items())
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        return loss.item()
