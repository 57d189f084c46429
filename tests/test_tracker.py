"""A tracker in Lightning's own loop: the same numbers as in a plain one, through a checkpoint too."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from noisylab.errors import UserError
from noisylab.metrics.tracker import IndexedDataset, Tracker, lightning_callback

lightning = pytest.importorskip('lightning.pytorch', reason='not installed: pip install "noisylab[lightning]"')
N, C = 120, 4


class Module(lightning.LightningModule):
    says_logits = True

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Linear(6, C)

    def training_step(self, batch, batch_idx):
        logits = self.net(batch[0])
        loss = F.cross_entropy(logits, batch[1])
        return dict(loss=loss, logits=logits) if self.says_logits else loss

    def configure_optimizers(self): return torch.optim.SGD(self.parameters(), .5)


@pytest.fixture(scope='module')
def data():
    rng = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(N, 6, generator=rng), torch.randint(C, (N,), generator=rng))


def fit(data, tracker, epochs, folder, module=None, **kw):
    quiet = dict.fromkeys(('logger', 'enable_checkpointing', 'enable_progress_bar', 'enable_model_summary'), False)
    trainer = lightning.Trainer(max_epochs=epochs, callbacks=[lightning_callback(tracker)], accelerator='cpu',
                                default_root_dir=folder, **quiet)
    trainer.fit(module or Module(), DataLoader(IndexedDataset(data), 25), **kw)
    return trainer


def same(a, b):
    what = ('loss', 'margin', 'pred', 'labels', 'epochs', 'p')
    return all(np.array_equal(getattr(a, k), getattr(b, k)) for k in what)


def test_lightning_tracks_as_a_plain_loop_does_and_resumes(data, tmp_path):
    plain, module = Tracker(N, C), Module()
    opt = module.configure_optimizers()
    for _ in range(3):
        for x, y, i in DataLoader(IndexedDataset(data), 25):
            logits = module.net(x)
            plain.update(i, logits, y)
            opt.zero_grad(); F.cross_entropy(logits, y).backward(); opt.step()
        plain.end_epoch()
    whole, first, rest = Tracker(N, C), Tracker(N, C), Tracker(N, C)
    fit(data, whole, 3, tmp_path)
    assert whole.epochs.tolist() == [1, 2, 3] and same(whole, plain)
    fit(data, first, 2, tmp_path).save_checkpoint(tmp_path/'a.ckpt')
    fit(data, rest, 3, tmp_path, ckpt_path=tmp_path/'a.ckpt')
    assert first.epochs.tolist() == [1, 2] and same(rest, whole)


def test_logits_that_were_not_returned_are_asked_for(data, tmp_path):
    module = Module()
    module.says_logits = False
    with pytest.raises(UserError, match='return dict'): fit(data, Tracker(N, C), 1, tmp_path, module)
