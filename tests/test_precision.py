"""What is computed in which precision: training steps as the spec says, everything that is reported or handed out in
fp32, on any machine. `bf16` needs no instructions of the processor here: PyTorch computes it more slowly without."""
import numpy as np
import pytest
import torch

from noisylab.errors import UserError
from noisylab.cli import main
from noisylab.session.fork import replay_folder
from noisylab.session.observer import choose_pinned, make_frame, quick_snapshot, pinned_views, restoration_errors
from noisylab.training.prediction import load_classifier, predict
from noisylab.label_issues.find import network_features, find_label_issues, run_label_issues
from noisylab.training.evaluation import network_outputs
from noisylab.models.robust_net import RobustNet
from noisylab.training.spec import Spec
from noisylab.training.checkpoint import read_checkpoint
from noisylab.training.trainer import Trainer

SPEC = Spec(noise='symmetric', rate=.4, method='paper', epochs=2, train_size=100, batch=32, device='cpu',
            precision='bf16')

def weights(t): return torch.cat([v.flatten().double() for v in t.net.state_dict().values()])

@pytest.fixture
def asked(monkeypatch):
    "How networks were asked: (in training mode?, type of the logits, with gradients?)."
    seen, forward = [], RobustNet.forward
    def listening(self, *args, **kw):
        out = forward(self, *args, **kw)
        seen.append((self.training, out.logits.dtype, torch.is_grad_enabled()))
        return out
    monkeypatch.setattr(RobustNet, 'forward', listening)
    return seen

STEP, SAID = (True, torch.bfloat16, True), (False, torch.float32, False)

def test_only_training_steps_are_in_bf16(asked, tmp_path):
    "Whatever else asks the network gets fp32, wherever it asks from."
    t = Trainer(SPEC, out=tmp_path/'run')
    t.fit(progress=False)
    assert set(asked) == {STEP, SAID}
    ways = dict(look=lambda: t.views(20), glance=lambda: quick_snapshot(t), pins=lambda: pinned_views(t, np.arange(4)),
                frame=lambda: make_frame(t, t.latest, choose_pinned(t)), undone=lambda: restoration_errors(t),
                told=lambda: t.predict(t.data.loaded), features=lambda: network_features(t, t.data.test),
                predict=lambda: predict(tmp_path/'run', t.data.test), suspects=lambda: run_label_issues(tmp_path/'run'))
    for name, way in ways.items():
        for around in (False, True):        # somebody's own autocast changes nothing
            asked.clear()
            with torch.autocast('cpu', torch.bfloat16, enabled=around): way()
            assert set(asked) == {SAID}, (name, around)
    asked.clear()
    find_label_issues(t.data.loaded, SPEC, folds=2, progress=False)
    assert set(asked) == {(True, torch.bfloat16, True), SAID}

def test_predictions_are_what_the_training_measured(tmp_path):
    t = Trainer(SPEC, out=tmp_path/'run')
    row = t.fit(progress=False)
    want = network_outputs(t, t.data.test)['logits'].softmax(1).numpy()
    got = predict(load_classifier(tmp_path/'run'), t.data.test)
    assert np.allclose(want, got.probs, atol=1e-5)
    assert row['last'] == pytest.approx(100*(got.labels == t.data.test.labels.numpy()).mean(), abs=1e-3)
    assert row['spec']['precision'] == 'bf16'

def test_a_run_goes_on_in_the_precision_it_began_in(tmp_path, monkeypatch):
    auto = dict(noise='symmetric', rate=.4, method='ce', epochs=2, train_size=100, batch=32, device='cpu')
    monkeypatch.setenv('NOISYLAB_PRECISION', 'bf16')
    whole, begun = Trainer(Spec(**auto)), Trainer(Spec(**auto), out=tmp_path/'run')
    whole.fit(progress=False)
    for step in begun.steps():
        if step == 3: begun.save(); break
    monkeypatch.setenv('NOISYLAB_PRECISION', 'fp32')       # as on another machine
    assert Trainer(Spec(**auto)).spec.precision == 'fp32'
    t = Trainer.resume(tmp_path/'run')
    t.fit(progress=False)
    assert t.spec.precision == read_checkpoint(tmp_path/'run')['spec']['precision'] == 'bf16'
    assert torch.equal(weights(t), weights(whole)) and replay_folder(tmp_path/'run')[1] == []

def test_the_environment_decides_what_auto_is(monkeypatch, capsys):
    for v in 'bf16', 'fp32':
        monkeypatch.setenv('NOISYLAB_PRECISION', v)
        assert main(['info']) == 0 and f'precision    {v}\n' in capsys.readouterr().out
        assert Trainer(Spec(device='cpu')).spec.precision == v
    monkeypatch.setenv('NOISYLAB_PRECISION', 'half')
    with pytest.raises(UserError, match="'half'.*expected bf16 or fp32"): Trainer(Spec(device='cpu'))
    assert Trainer(Spec(device='cpu', precision='fp32')).spec.precision == 'fp32', 'nothing is asked of it'
