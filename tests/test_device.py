"""A device that is not the CPU, on a machine that has none: its tensors keep their numbers on the CPU and refuse what a
GPU refuses: to be computed with tensors of the CPU, to become NumPy arrays. What runs here has no tensor on the wrong
side; that it computes the same on a real GPU is what `benchmarks/parity.py` checks."""
import sys
import numpy as np
import pytest
import torch
from types import SimpleNamespace
import torch.optim.optimizer as optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from noisylab.training import prediction, step
from noisylab.data.sources import load
from noisylab.session.fork import capture_state, replay_folder, take_over_state
from noisylab.session.observer import FrameRecorder, make_frame, quick_snapshot, choose_watched
from noisylab.viz.gallery import gallery_page
from noisylab.training.prediction import predict
from noisylab.label_issues.find import find_label_issues, run_label_issues
from noisylab.methods.base import METHODS
from noisylab.training.spec import Spec
from noisylab.session.tracked import TrackedRun
from noisylab.metrics.tracker import Tracker
from noisylab.training.trainer import Trainer

aten, THERE = torch.ops.aten, 'lazy'        # a device type of PyTorch that nothing implements here
HOST = {aten._local_scalar_dense.default, aten.equal.default}       # what a value comes from

def is_there(device): return device is not None and torch.device(device).type == THERE

class There(torch.Tensor):
    "A tensor on that device; `held` has its numbers."
    @staticmethod
    def __new__(cls, held):
        res = torch.Tensor._make_wrapper_subclass(cls, held.size(), strides=held.stride(), dtype=held.dtype,
                                                  storage_offset=held.storage_offset(), device=torch.device(THERE, 0))
        res.held = held
        return res
    __torch_function__ = torch._C._disabled_torch_function_impl
    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None): return computed(func, args, kwargs or {})
    def __reduce_ex__(self, protocol): return self.held.__reduce_ex__(protocol)     # as with map_location='cpu'

def check(func, args, tensors):
    "Raise where CUDA would: single numbers may come from the CPU, and so may positions in something on the device."
    here = [a for a in tensors if not isinstance(a, There) and a.ndim]
    if not here or func in (aten.copy_.default, aten._to_copy.default): return
    index = func in (aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default)
    if index and isinstance(args[0], There) and not any(a is v for a in args[2:3] for v in here): return
    raise RuntimeError(f'{func}: one tensor is on the device, one of {tuple(here[0].shape)} on the CPU')

def computed(func, args, kw):
    tensors = [a for a in tree_flatten((args, kw))[0] if isinstance(a, torch.Tensor)]
    there = any(isinstance(a, There) for a in tensors)
    if there: check(func, args, tensors)
    out = is_there(kw.get('device')) or there and kw.get('device') is None and func not in HOST
    if kw.get('device') is not None: kw = kw | dict(device='cpu')
    res = func(*tree_map(lambda a: getattr(a, 'held', a), args), **tree_map(lambda a: getattr(a, 'held', a), kw))
    if func is aten.copy_.default: return args[0]
    known = {id(a.held): a for a in tensors if isinstance(a, There)}        # what was changed in place
    wrap = lambda r: known[id(r)] if id(r) in known else There(r) if isinstance(r, torch.Tensor) else r
    return tree_map(wrap, res) if out else res

class Computing(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None): return computed(func, args, kwargs or {})

class Asking(TorchFunctionMode):
    "What PyTorch does not dispatch: `torch.tensor`, `tolist`, pickling."
    def __torch_function__(self, func, types, args=(), kwargs=None):
        kw = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and is_there(kw.get('device')):
            return func(*args, **kw | dict(device='cpu')).to(THERE)
        if func in (torch.Tensor.tolist, torch.Tensor.__reduce_ex__) and isinstance(args[0], There):
            return func(args[0].held, *args[1:], **kw)
        return func(*args, **kw)

@pytest.fixture
def device(monkeypatch):
    "The name of the device, to which a `Spec` and `predict` may be sent."
    real, fused = prediction.resolve_device, optimizer._get_fused_kernels_supported_devices
    for module in [m for name, m in sys.modules.items() if name.startswith('noisylab.')]:
        if getattr(module, 'resolve_device', None) is real:
            monkeypatch.setattr(module, 'resolve_device', lambda name: name if name == THERE else real(name))
    monkeypatch.setattr(optimizer, '_get_fused_kernels_supported_devices', lambda: [*fused(), THERE])
    autocast = step.autocast
    monkeypatch.setattr(step, 'autocast', lambda d, p: autocast('cpu', p))
    with Asking(), Computing(): yield THERE

SPEC = dict(noise='symmetric', rate=.4, train_size=100, batch=16, epochs=3, precision='fp32')

def test_it_refuses_what_a_gpu_refuses(device):
    a, b, i = torch.zeros(3, device=device), torch.ones(3), torch.tensor([0, 2])
    for wrong in (lambda: a + b, lambda: b[i.to(device)], lambda: torch.cat([a, b]), lambda: a.index_select(0, i),
                  lambda: a.index_put_((i,), b[:2]), lambda: np.asarray(a), lambda: a.numpy()):
        with pytest.raises((RuntimeError, TypeError)): wrong()
    assert a[i].device.type == THERE and (a + 1 + torch.tensor(1.)).tolist() == [2]*3 and a.cpu().numpy().sum() == 0

@pytest.mark.parametrize('method', METHODS)
def test_training_there_is_training_here(device, method):
    "All that a procedure does with its images, labels, predictions and what it learns, to the same bits."
    runs = [Trainer(Spec(method=method, device=d, **SPEC)) for d in ('cpu', device)]
    for t in runs: t.fit(progress=False)
    a, b = (torch.cat([v.cpu().flatten().double() for v in t.net.state_dict().values()]) for t in runs)
    assert torch.equal(a, b)
    a, b = ([{k: v for k, v in r.items() if k not in ('seconds', 'images_per_s')} for r in t.history] for t in runs)
    assert a == b
    assert all(np.array_equal(v, runs[1].latest.learned[k]) for k, v in runs[0].latest.learned.items())

def test_looking_steering_keeping_and_forking(device, tmp_path):
    t = Trainer(Spec(method='paper', device=device, **SPEC), out=tmp_path/'run')
    keep = FrameRecorder()
    keep.on_start(t)
    changes = {5: dict(rate=.6, lr=.05, m=3, lam=.5), 9: dict(noise='none'), 11: dict(noise='asymmetric', w_rec=0.)}
    t.callbacks.append(SimpleNamespace(on_step_end=lambda t: t.step in changes and t.change(**changes[t.step])))
    t.callbacks.append(keep)
    t.fit(progress=False)
    assert len(t.views(50)) == 50 and make_frame(t, quick_snapshot(t), keep.pinned, keep.frames[-1]).step == t.step
    assert choose_watched(t).pictures([1, 2]).shape == (2, 8, 8, 1)
    want = predict(tmp_path/'run', t.data.test, device='cpu')
    for d in 'cpu', device:
        r = Trainer.resume(tmp_path/'run', device=d)
        assert r.spec.device == d and np.array_equal(predict(tmp_path/'run', r.data.test, device=d).probs, want.probs)
    assert replay_folder(tmp_path/'run')[1] == [] and len(run_label_issues(tmp_path/'run').scores) == 100
    for settings in None, dict(method='ce'):
        f = Trainer(Spec(device=device, **SPEC | dict(method='paper' if settings is None else 'ce', epochs=4)))
        take_over_state(f, **capture_state(t), settings=settings)
        f.fit(progress=False)
        assert f.epoch == 4

@pytest.mark.parametrize('where', ['cpu', THERE])
def test_images_that_lie_anywhere(device, where, tmp_path):
    "Also those that somebody moved to the device."
    train, test = (images.to(where) for images in load('digits', train_size=150))
    for d in 'cpu', device:
        spec = Spec(device=d, **SPEC | dict(train_size=None, noise='instance', epochs=1))
        t = Trainer(spec, out=tmp_path/d, train=train, test=test)
        t.fit(progress=False)
        t.save()
        assert len(predict(tmp_path/d, test, device=d)) == len(test)
    for folds in None, 2:
        found = find_label_issues(train, Spec(method='ce', epochs=2, device=device), folds, progress=False)
        found.to_csv(tmp_path/'a.csv'); found.labels_to_csv(tmp_path/'b.csv'); found.to_json(tmp_path/'c.json')
        assert len(found.mended()) == 150 and str(found) and '<html' in gallery_page(found)
    tracker = Tracker(150, 10)
    for labels in train.labels, train.labels.cpu():
        tracker.update(torch.arange(150), torch.randn(150, 10).to(device), labels)
        tracker.end_epoch()
    assert len(TrackedRun(tracker, images=train).frames) == 2 and tracker.p.shape == (150, 10)
