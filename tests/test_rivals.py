"""Each rival beside its formula, written anew in float64 from its paper: the loss of every step, the first gradient,
and the weights after an epoch whose updates are done by hand."""
import math

import numpy as np
import pytest
import torch

from noisylab.methods.base import METHODS, Batch, TrainPredictions, make_method
from noisylab.methods.rival_losses import beta_draws
from noisylab.models.robust_net import make_model
from noisylab.training.trainer import Trainer

N, C, SIZE, LR = 96, 5, 32, .05
GEN = torch.Generator().manual_seed(3)
X, X2, X3 = torch.randint(256, (3, N, 1, 8, 8), generator=GEN, dtype=torch.uint8)
Y = torch.randint(C, (N,), generator=GEN)

def net(seed=0): return make_model('small', (1, 8, 8), C, seed=seed).train()
def softmax(z): return z.exp()/z.exp().sum(1, keepdim=True)
def one_hot(y): return torch.eye(C, dtype=torch.float64)[y]
def cross_entropy(z, y): return -(one_hot(y)*softmax(z).log()).sum(1)
def lambdas(alpha): return iter(beta_draws(1024, alpha).astype(np.float32).tolist())

class Plain:
    "One network, one view, and a loss of its logits."
    def __init__(self): self.nets, self.own = [net()], []
    def passes(self, b, views): return [self.nets[0](torch.cat(views)).logits.double()]

class ELR(Plain):
    "eq 4 and 9: CE + λ mean log(1 − ⟨p, t⟩), t ← β t + (1 − β) p."
    def __init__(self): super().__init__(); self.t = torch.zeros(N, C, dtype=torch.float64)
    def loss(self, b, z):
        p = softmax(z).clamp(1e-4, 1 - 1e-4)
        for row, i in enumerate(b): self.t[i] = .7*self.t[i] + .3*(p[row]/p[row].sum()).detach()
        return cross_entropy(z, Y[b]).mean() + 3*torch.stack([(1 - self.t[i] @ q).log() for i, q in zip(b, p)]).mean()

class SOP(Plain):
    "Algorithm 1: CE of p + u² y − v² (1 − y) for the network and u, squares for v; SOP+: eq 9 and 10."
    plus = False
    def __init__(self):
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.u, self.v = (.1*torch.randn(N, n, generator=g).double() for n in (1, C))
        self.own = [(self.u, 10., SIZE), (self.v, 10., SIZE)]
    def loss(self, b, z):
        z, *other = z.split(len(b))
        y, p = one_hot(Y[b]), softmax(z)
        s_u, s_v = self.u[b]**2*y, self.v[b]**2*(1 - y)
        q = (p + s_u.clamp(0, 1) - s_v.clamp(0, 1).detach()).clamp(min=1e-4)
        q = q/q.sum(1, keepdim=True)
        hard = one_hot(p.argmax(1))
        res = -(y*q.log()).sum(1).mean() + ((hard + s_u.clamp(0, 1) - s_v.clamp(0, 1) - y)**2).sum(1).mean()
        if not self.plus: return res
        p = p.detach()
        consistency = (p*(p.log() - softmax(other[0]).log())).sum(1).mean()
        return res + .9*consistency - .1*(q.mean(0).log()/C).sum()

class SOPPlus(SOP): plus = True

class Mixup(Plain):
    "eq 1: one λ a batch for images and their labels."
    alpha = 1.
    def __init__(self): super().__init__(); self.lams = lambdas(self.alpha)
    def weight(self): return next(self.lams)
    def passes(self, b, views):
        x, self.lam = self.nets[0].normalize(torch.cat(views)), self.weight()
        return [self.nets[0](self.lam*x + (1 - self.lam)*x.roll(1, 0)).logits.double()]
    def loss(self, b, z):
        y = one_hot(Y[b].repeat(len(z)//len(b)))
        return -((self.lam*y + (1 - self.lam)*y.roll(1, 0))*softmax(z).log()).sum(1).mean()

class SSR(Mixup):
    "Section 3.3: two strong views of what was kept, mixed with max(λ, 1 − λ), λ from Beta(4, 4)."
    alpha = 4.
    def weight(self): return max(lam := next(self.lams), 1 - lam)

class NCERCE(Plain):
    "eq 3 and Wang et al.: CE_y over Σ_k CE_k, and −Σ p log y with log 0 = log 1e-4; the gradient's norm at most 5."
    clip = 5.
    def loss(self, b, z):
        each = torch.stack([cross_entropy(z, torch.full_like(Y[b], k)) for k in range(C)], 1)
        reverse = -(softmax(z)*one_hot(Y[b]).clamp(min=1e-4).log()).sum(1)
        return (each.gather(1, Y[b, None])[:, 0]/each.sum(1) + reverse).mean()

class CoTeaching(Plain):
    "Algorithm 1: each network's mean loss over the images with the other's smallest losses; R(T) grows in 10 epochs."
    def __init__(self): super().__init__(); self.nets = [net(0), net(1)]
    def passes(self, b, views): return [n(*views).logits.double() for n in self.nets]
    def loss(self, b, *z):
        losses = [cross_entropy(v, Y[b]) for v in z]
        many = int((1 - .4/9)*len(b))
        easy = [sorted(range(len(b)), key=lambda i: v[i].item())[:many] for v in losses]
        return sum(losses[k][easy[1 - k]].mean() for k in range(2))

class RegCE(Plain):
    "Cross-entropy of the weak and the strong view, in one batch."
    def loss(self, b, z): return cross_entropy(z, Y[b].repeat(2)).mean()

class Forward(Plain):
    "Patrini et al. 2017, theorem 2: −log (Tᵀp)_y."
    def __init__(self): super().__init__(); self.T = MATRIX
    def loss(self, b, z): return -(one_hot(Y[b])*(softmax(z) @ self.T).log()).sum(1).mean()

MATRIX = torch.full((C, C), .05, dtype=torch.float64) + .75*torch.eye(C, dtype=torch.float64)
CASES = dict(elr=ELR, elr_forward=Forward, sop=SOP, sop_plus=SOPPlus, mixup=Mixup, nce_rce=NCERCE,
             coteaching=CoTeaching, ssr=SSR, regce=RegCE)
SETTINGS = dict(sop=dict(start=.1), sop_plus=dict(start=.1), coteaching=dict(rate=.4))

def test_no_rival_is_forgotten():
    rivals = {k for k, (cls, _) in METHODS.items() if isinstance(cls, str) and ':' in cls and 'rivals' in cls}
    assert rivals == CASES.keys()

def batch(m, b):
    views = dict(weak=X[b], strong=X2[b], strong2=X3[b])
    return Batch(b, Y[b], **views), [views[k] for k in m.views]

def uniform(which='train'):     # nothing is known: SSR relabels nothing and keeps all
    return TrainPredictions(torch.arange(N), torch.full((N, C), 1/C), Y, torch.eye(N))

def flat(ps): return torch.cat([p.detach().double().flatten() for p in ps])
def lists(nets): return [p for n in nets for p in n.parameters() if p.requires_grad]

@pytest.mark.parametrize('name', CASES)
def test_loss_gradient_and_an_epoch_are_the_papers(name):
    m, ref, seeds = make_method(name, **SETTINGS.get(name, {})), CASES[name](), iter(range(9))
    m.begin(C, N, 'cpu'); m.plan([0, 1, 200] if len(m.phases(C)) > 1 else [0, 200]); m.relabel(Y)
    whole = m.build(lambda seed=None: net(next(seeds)))
    if name == 'elr_forward': m.stage = 1; m.matrix.copy_(MATRIX)
    else: m.on_epoch(0, uniform)
    opt = torch.optim.SGD([dict(params=whole.parameters()), *m.param_groups()], LR)
    first = True
    for b in torch.arange(N).split(SIZE):
        given, views = batch(m, b)
        s = {k: torch.tensor(float(v)) for k, v in m.scalars(0.).items()}
        loss = sum(s.get(f'w_{k}', 1.)*v for k, v in m.terms(whole, given, s).items())
        opt.zero_grad(); loss.backward()
        params, others = lists([whole]), lists(ref.nets)
        for v, *_ in ref.own: v.requires_grad_()
        asked = ref.loss(b, *ref.passes(b, views))
        asked_of = [*others, *(v for v, *_ in ref.own)]
        grads = torch.autograd.grad(asked, asked_of, allow_unused=True)
        grads = [torch.zeros_like(p) if g is None else g for g, p in zip(grads, asked_of)]
        assert abs(loss.item() - asked.item()) < 1e-5*max(1, abs(asked.item()))
        mine = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
        if first: assert torch.allclose(flat(mine), flat(grads[:len(others)]), atol=1e-6), 'the first gradient'
        m.on_step(); opt.step()
        with torch.no_grad():
            norm = math.sqrt(sum(float(g.double().square().sum()) for g in grads[:len(others)]))
            factor = min(1., getattr(ref, 'clip', math.inf)/(norm + 1e-6))
            for p, g in zip(others, grads): p -= LR*factor*g
            for (v, lr, size), g in zip(ref.own, grads[len(others):]): v -= lr*size/128*g; v.requires_grad_(False)
        first = False
    assert torch.allclose(flat(lists([whole])), flat(lists(ref.nets)), atol=1e-5), 'the weights after an epoch'
    if name == 'elr': assert torch.allclose(m.target.double(), ref.t, atol=1e-5)
    if 'sop' in name:
        assert torch.allclose(m.u.detach().double(), ref.u, atol=1e-5) and (m.u - m.first['u']).abs().max() > .01
        assert torch.allclose(m.v.detach().double(), ref.v, atol=1e-5)

def test_ssr_relabels_keeps_and_draws_as_the_paper_says():
    "Section 3.2: labels from sure predictions, votes of k neighbours by cosine over the classes' shares, classes even."
    rng = np.random.RandomState(0)
    n, k = 150, 20
    f, p, y = rng.randn(n, 6), rng.dirichlet([.2]*C, n), rng.choice(C, n, p=[.4, .3, .1, .1, .1])
    m = make_method('ssr', k=k, relabel_above=.8)
    m.begin(C, n, 'cpu'); m.plan([0, 9]); m.relabel(torch.from_numpy(y))
    m.on_epoch(3, lambda which: TrainPredictions(torch.arange(n), torch.from_numpy(p), torch.from_numpy(y),
                                                 torch.from_numpy(f)))
    labels = np.where(p.max(1) > .8, p.argmax(1), y)
    size = np.bincount(labels, minlength=C)
    kept = []
    for i in range(n):
        cosine = f @ f[i]/np.linalg.norm(f, axis=1)/np.linalg.norm(f[i])
        votes = np.bincount(labels[np.argsort(-cosine)[:k]], minlength=C)/size
        kept.append(votes[labels[i]] == votes.max())
    assert (m.labels.numpy() == labels).all() and (labels != y).sum() > 20
    assert (m.kept.numpy() == kept).all() and 10 < sum(kept) < n - 10
    drawn = m.order(torch.arange(n), 3, 0).numpy()
    count = np.bincount(labels[drawn], minlength=C)
    assert len(drawn) == n and np.asarray(kept)[drawn].all()
    assert (count[np.unique(labels[np.asarray(kept)])] > .5*n/C).all()

def test_the_matrix_of_elr_forward_is_that_of_em():
    "T by counts, then E: q ∝ p T[:, y], M: T ∝ Σ q, in loops."
    rng = np.random.RandomState(1)
    p, y = rng.dirichlet([.3]*C, 200), rng.randint(C, size=200)
    q = np.eye(C)[p.argmax(1)]
    for _ in range(21):
        T = np.full((C, C), .5)
        for i in range(200): T[:, y[i]] += q[i]
        T /= T.sum(1, keepdims=True)
        q = np.stack([p[i]*T[:, y[i]]/(p[i]*T[:, y[i]]).sum() for i in range(200)])
    m = make_method('elr_forward')
    m.begin(C, 200, 'cpu'); m.plan([0, 1, 2])
    m.on_epoch(1, lambda which: TrainPredictions(torch.arange(200), torch.from_numpy(p), torch.from_numpy(y)))
    assert np.allclose(m.matrix.numpy(), T, atol=1e-5)

@pytest.mark.parametrize('name', CASES)
def test_resumes_to_the_same_bits_in_the_middle_of_an_epoch(name, tmp_path):
    run = dict(method=name, noise='symmetric', rate=.4, train_size=90, batch=32, epochs=3, device='cpu', seed=1)
    whole, part = Trainer('digits', **run), Trainer('digits', out=tmp_path/'run', **run)
    for _ in whole.steps(): pass
    for step in part.steps():
        if step == whole.steps_per_epoch + 1: part.save(); break
    again = Trainer.resume(tmp_path/'run')
    for _ in again.steps(): pass
    for a, b in ((whole.net, again.net), (whole.evaluated, again.evaluated)):
        assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    for k, v in whole.method.learned().items(): assert torch.equal(v, again.method.learned()[k]), k
    assert (whole.evaluated is not whole.net) == (name == 'regce'), 'averaged weights predict'
