"""Runs that are killed, interrupted, damaged or diverge; other people's networks; real images. In real processes."""
import json, os, signal, subprocess, sys, time
from dataclasses import dataclass, replace
from types import SimpleNamespace
import pytest
import torch
from PIL import Image
from torch import nn

from noisylab.cli import main
from noisylab.errors import UserError
from noisylab.methods.base import CE
from noisylab.data.sources import load
from noisylab.session.fork import replay_folder
from noisylab.training.trainer import Diverged
from noisylab.session.session import Session
from noisylab.training.environment import bf16_is_faster
from noisylab.training.spec import Spec
from noisylab.training.checkpoint import read_checkpoint
from noisylab.training.trainer import Trainer
from test_session import wait

RUN  = [sys.executable, '-c', 'import sys; from noisylab.cli import main; sys.exit(main())', 'train', '--quiet']
SPEC = Spec(method='paper', epochs=6, noise='symmetric', rate=.4, train_size=300, device='cpu')
ASK  = ('--method paper --epochs 6 --noise symmetric --rate 0.4 --train-size 300 --device cpu '
        '--checkpoint-every 1').split()

def weights(trainer): return torch.cat([p.detach().flatten() for p in trainer.net.parameters()])

def start(out):
    "A training in a process of its own."
    pipe = subprocess.PIPE
    return subprocess.Popen([*RUN, *ASK, '--out', out], stdout=pipe, stderr=pipe, text=True)

def wait_for(condition, process, seconds=120):
    end = time.time() + seconds
    while not condition():
        assert process.poll() is None and time.time() < end, process.communicate()
        time.sleep(.02)

@pytest.fixture(scope='module')
def whole():
    "An unbroken run."
    t = Trainer(SPEC); t.fit(progress=False)
    return t

def epochs(out):
    "In the checkpoint, which is written after the history."
    return read_checkpoint(out)['epoch'] if (out/'checkpoint.pt').exists() else 0

def test_a_killed_run_resumes_to_the_same_numbers(tmp_path, whole):
    out = tmp_path/'run'
    p = start(out)
    wait_for(lambda: epochs(out) >= 2, p)
    p.send_signal(signal.SIGKILL); p.wait()
    assert 2 <= read_checkpoint(out)['epoch'] < 6, 'killed in the middle'
    again = subprocess.run([*RUN, '--resume', '--out', out], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    t = Trainer.resume(out)
    assert torch.equal(weights(t), weights(whole))
    same = ('epoch', 'step', 'loss', 'terms', 'test_acc', 'memorized', 'corrected')
    assert [{k: r[k] for k in same} for r in t.history] == [{k: r[k] for k in same} for r in whole.history]
    assert json.loads((out/'result.json').read_text())['last'] == whole.history[-1]['test_acc']

def test_an_interrupted_run_says_how_to_go_on(tmp_path, whole):
    out = tmp_path/'run'
    p = start(out)
    wait_for(lambda: epochs(out) >= 1, p)
    p.send_signal(signal.SIGINT)
    said = p.communicate(timeout=30)
    assert p.returncode == 130 and f'noisylab train --resume --out {out}' in said[0], said
    t = Trainer.resume(out); t.fit(progress=False)
    assert torch.equal(weights(t), weights(whole))

def test_steering_survives_a_break(tmp_path):
    def steer(t):
        if t.step == 7: t.change(rate=.2, m=5, lam=.5, lr=.05)
    a = Trainer(SPEC); a.callbacks.append(SimpleNamespace(on_step_end=steer)); a.fit(progress=False)
    b = Trainer(SPEC, out=tmp_path/'run'); b.callbacks.append(SimpleNamespace(on_step_end=steer))
    for step in b.steps():
        if step == 9: b.save(); break
    c = Trainer.resume(tmp_path/'run'); c.fit(progress=False)
    assert c.events == a.events and torch.equal(weights(a), weights(c))

def test_a_divergence_names_its_term_and_keeps_the_checkpoint(tmp_path):
    t = Trainer(SPEC, out=tmp_path/'run', checkpoint_every=1)
    with pytest.raises(Diverged, match='rec'):
        for step in t.steps():
            if t.epoch == 1: t.net.decoder.layers[0].weight.data.fill_(float('nan'))
    st = read_checkpoint(tmp_path/'run')
    assert st['epoch'] == 1 and all(torch.isfinite(v).all() for v in st['net'].values())

class Own(nn.Module):
    "Somebody's network, with random numbers of its own."
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Dropout2d(.3))
        self.head = nn.Linear(8, 10)
    def forward(self, x): return self.head(self.body(x).mean((2, 3)))

def own(**kw):
    torch.manual_seed(0)
    return Trainer(SPEC, net=Own(), layer='body', **kw)

def test_dropout_follows_the_seed_and_leaves_the_callers_numbers_alone(tmp_path):
    a = own(); a.fit(progress=False)
    b = own(out=tmp_path/'run')
    torch.manual_seed(5); expected = torch.rand(3); torch.manual_seed(5)
    for step in b.steps():
        if step == 8: b.save(); break
    assert torch.equal(torch.rand(3), expected)
    c = Trainer.resume(tmp_path/'run', net=Own(), layer='body'); c.fit(progress=False)
    assert torch.equal(weights(a), weights(c))

class Pair(nn.Module):
    "Two networks that train side by side; the first one answers."
    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second
    def __getattr__(self, k): return getattr(super().__getattr__('first'), k) if k in NET else super().__getattr__(k)
    def forward(self, x, restore=False): return self.first(x, restore)
NET = 'mean', 'std', 'shape', 'n_features', 'n_classes', 'backbone', 'cluster', 'decoder', 'normalize', 'bytes'

@dataclass
class Hooks(CE):
    "Two networks, a number for each image that the optimizer learns, an order of its own."
    def build(self, make_model): return Pair(make_model(0), make_model(1))
    def relabel(self, labels): self.u = torch.zeros(len(labels), requires_grad=True)
    def param_groups(self): return [dict(params=[self.u], lr=3., weight_decay=0., momentum=0.)]
    def order(self, index, epoch, seed): return index[torch.arange(len(index)) // 2] if epoch else None
    def terms(self, net, b, s):
        if self.now_in == 1: self.seen.append(b.index)
        ce = [torch.nn.functional.cross_entropy(n(b.weak).logits, b.labels) for n in (net.first, net.second)]
        return {'ce': sum(ce), 'u': ((1 - self.u[b.index])**2).mean()}
    def on_epoch(self, epoch, predict=None): self.now_in, self.seen = epoch, []
    def state(self): return dict(u=self.u.detach(), now_in=self.now_in)
    def load_state(self, state):
        with torch.no_grad(): self.u.copy_(state['u'])
        self.now_in, self.seen = state['now_in'], []

def test_a_method_brings_networks_parameters_and_an_order(tmp_path):
    spec = replace(SPEC, method='ce', settings={}, epochs=2, batch=50)
    a = Trainer(spec, method=Hooks()); a.fit(progress=False)
    first, second = (torch.cat([p.detach().flatten() for p in n.parameters()]) for n in (a.net.first, a.net.second))
    assert not torch.equal(first, second) and sum(p.numel() for p in a.net.parameters()) == 2*len(first)
    assert torch.cat(a.method.seen).equal(a.data.fit_index[torch.arange(300)//2]), 'the first half, twice'
    left = 1 - a.method.u.detach()      # a step of lr 3 takes 2·3/50 of what is left, whatever the schedule says
    once, thrice = a.data.fit_index[150:], a.data.fit_index[:150]
    assert torch.allclose(left[once], torch.tensor(1 - 6/50)) and (left[thrice] < .8).all()
    assert [float(g['lr']) for g in a.optimizer.param_groups] == pytest.approx([.001, 3.])
    b = Trainer(spec, out=tmp_path/'run', method=Hooks())
    for step in b.steps():
        if step == 8: b.save(); break
    c = Trainer.resume(tmp_path/'run', method=Hooks()); c.fit(progress=False)
    assert torch.equal(weights(a), weights(c)) and torch.equal(a.method.u, c.method.u)
    with pytest.raises(UserError, match='handed one module'): Trainer(spec, method=Hooks(), net=Own(), layer='body')
    bad = Hooks(); bad.order = lambda index, epoch, seed: index[:5]
    with pytest.raises(UserError, match='5 images; 300 were expected'): Trainer(spec, method=bad).fit(progress=False)

@pytest.mark.skipif(not bf16_is_faster('cpu', 'resnet18'), reason='this processor has no bfloat16 instructions')
def test_bf16_learns_like_fp32():
    "Fifty steps of ResNet18 at an eighth of its width: the first losses within 2%, all of them within 5% on average."
    curves = {}
    for precision in ('fp32', 'bf16'):
        t = Trainer(Spec(model='resnet18', width=.125, precision=precision, epochs=9, batch=64, train_size=400, lr=.02,
                         noise='symmetric', rate=.2, method='ce_augmented', device='cpu'))
        seen, steps = [], t.steps()
        for _ in range(50):
            next(steps)
            seen.append(float(t.sums['loss'])/t.n_seen if t.sums else t.history[-1]['loss'])
        curves[precision] = torch.tensor(seen)
    apart = (curves['bf16']/curves['fp32'] - 1).abs()
    assert (apart[:5] < .02).all() and apart.mean() < .05, apart

def test_without_images_for_a_test_nothing_is_tested_and_all_else_works(tmp_path, capsys):
    "Rows, going on, replay, sessions, forks, reports, suspects: of images that can be loaded again, and of arrays."
    train, test = load('digits', train_size=90)
    arrays = replace(train, source=None)
    spec = Spec(method='ce', epochs=3, batch=30, watch=90, device='cpu')
    for name, images, again in (('loaded', train, {}), ('arrays', arrays, dict(train=arrays))):
        run = tmp_path/name
        whole, t = Trainer(spec, train=images), Trainer(spec, out=run, checkpoint_every=1, train=images)
        whole.fit(progress=False)
        for step in t.steps():
            if step == 4: t.save(); break
        row = Trainer.resume(run, **again).fit(progress=False)
        assert torch.equal(weights(Trainer.resume(run, **again)), weights(whole))
        assert replay_folder(run, **again)[1] == []
        assert row['best'] is row['last'] is None and row['n_test'] == 0 and row['n_train'] == 90
        assert [a for _, a in row['curve']] == [None]*3 and 'test' not in str(whole.latest)
        s = wait(Session.load(run, **again), 'done')
        f = wait(s.fork(epochs=4).start(), 'done')
        assert f.test is None and len(f.history) == 4 and f.history[-1]['test_acc'] is None
        s.close(); f.close()
    capsys.readouterr()
    run, picture = str(tmp_path/'loaded'), str(tmp_path/'a.png')
    Image.fromarray(train.pixels[0, 0].numpy()).save(picture)
    for args in (['report', run], ['issues', run], ['train', '--resume', '--out', run], ['replay', run],
                 ['predict', run, picture]):
        assert main(args) == 0, (args, capsys.readouterr())
    assert 'nothing was tested' in capsys.readouterr().out
    Trainer(spec, out=tmp_path/'tested', train=arrays, test=test).save()
    with pytest.raises(UserError, match='hand over test= again'): Trainer.resume(tmp_path/'tested', train=arrays)
    with pytest.raises(UserError, match=r'hand over train= again \(in'): Trainer.resume(tmp_path/'arrays')

@pytest.fixture
def cifar():
    if not os.environ.get('NOISYLAB_DATA'): pytest.skip('real CIFAR-10: set NOISYLAB_DATA to the folder that has it')
    return os.environ['NOISYLAB_DATA']

def test_real_cifar10_with_human_labels(cifar):
    t = Trainer(Spec(data='cifar10', root=cifar, train_size=1000, noise='human:worse', method='ce', width=.125,
                     noise_settings=dict(file=f'{cifar}/CIFAR-10_human.pt'), epochs=3, batch=64, lr=.02, watch=500))
    t.data = replace(t.data, test=t.data.test.subset(torch.arange(1000)))
    row = t.fit(progress=False)
    assert .35 < row['realised_rate'] < .46 and row['n_train'] == 1000
    assert row['spec']['ops'] == 'cutout' and row['spec']['crop'] == 4 and row['best'] > 15, 'better than chance'

def test_digits_are_learned_through_the_noise():
    "What the project is for, in small: half of the labels wrong, and nearly all test images right."
    half = Spec(noise='symmetric', rate=.5, seed=7, epochs=30, eval_every=10, device='cpu')
    row = Trainer(replace(half, method='balanced')).fit(progress=False)
    assert row['last'] > 90 and row['memorized'] < 5 and row['corrected'] > 85, row
    plain = Trainer(replace(half, method='ce')).fit(progress=False)
    assert plain['memorized'] > 50 and plain['last'] < 75, plain
    assert load('digits')[0].true is not None
