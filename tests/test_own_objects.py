"Noise, datasets and networks of somebody's own: as entries of the registries, and as 'module:name' in a Spec."
import json

import numpy as np, pytest, torch

from noisylab.data.datasets import DATASETS, DatasetInfo
from noisylab.data.images import Images
from noisylab.data.noise import NOISE, NoiseKind, inject
from noisylab.data.sources import load, load_again, load_all
from noisylab.data.validation import import_named
from noisylab.errors import UserError
from noisylab.models.robust_net import MODELS, ModelInfo, make_model
from noisylab.training.spec import Spec
from noisylab.training.trainer import Trainer

SOURCE = '''
import numpy as np
from torch import nn

def squares(root, download):
    rng = np.random.RandomState(0)
    y = np.arange(90) % 3
    x = rng.randint(0, 60, (90, 12, 12)).astype(np.uint8)
    for i, c in enumerate(y): x[i, 4*c:4*c+4] += 150
    return x[:60], y[:60], x[60:], y[60:]

def upwards(labels, rate, n_classes, seed, step=1):
    wrong = np.random.RandomState(seed).random_sample(len(labels)) < rate
    return np.where(wrong, (labels + step) % n_classes, labels)

def needs_seven(a, b, c, d, e, f, g): raise AssertionError('called')

class Seven:
    def __init__(self, a, b, c, d, e, f, g): raise AssertionError('made')

class Net(nn.Sequential):
    def __init__(self, shape, n_classes):
        super().__init__(nn.Conv2d(shape[0], 8, 3, 2, 1), nn.ReLU(), nn.Dropout(.1), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(8, n_classes))
'''

@pytest.fixture
def mine(tmp_path, monkeypatch):
    "A module in the current folder, which is not on Python's path."
    name = f'mine_{tmp_path.name}'.replace('-', '_')
    (tmp_path/f'{name}.py').write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return name

def test_a_spec_names_ones_own_and_goes_on_from_its_folder(mine, tmp_path):
    spec = Spec(data=f'{mine}:squares', noise=f'{mine}:upwards', rate=.3, noise_settings=dict(step=2),
                model=f'{mine}:Net', method='ce', epochs=2, batch=16, device='cpu')
    assert Spec(**json.loads(spec.to_json())) == spec
    t = Trainer(spec, out=tmp_path/'run')
    row = t.fit(progress=False)
    assert row['data'] == spec.data and row['noise'] == spec.noise and row['n_train'] == 60
    assert .1 < (t.labels.cpu() != t.data.train.true.cpu()).float().mean() < .5
    again = Trainer.resume(tmp_path/'run')
    assert again.spec == t.spec and torch.equal(again.labels, t.labels)
    assert all(torch.equal(v, again.net.state_dict()[k]) for k, v in t.net.state_dict().items())

def test_entries_of_the_registries_are_known_everywhere(monkeypatch):
    ns = {}
    exec(SOURCE, ns)
    monkeypatch.setitem(DATASETS, 'squares', DatasetInfo(ns['squares'], 12, 1, 3, 60))
    monkeypatch.setitem(NOISE, 'upwards', NoiseKind(ns['upwards'], ('step',), takes_rate=True))
    monkeypatch.setitem(MODELS, 'net', ModelInfo(ns['Net']))
    train, test = load('squares', train_size=30)
    assert (len(train), len(test), len(load_all('squares')), train.name) == (30, 30, 60, 'squares')
    assert load_again([train.origin()])[0].pixels.equal(train.pixels)
    with pytest.raises(UserError, match="Did you mean 'squares'"): load('square')
    with pytest.raises(UserError, match='needs a rate'): Spec(noise='upwards')
    with pytest.raises(UserError, match="no setting 'up'"): Spec(noise='upwards', rate=.1, noise_settings=dict(up=1))
    row = Trainer(Spec(data='squares', noise='upwards', rate=.2, model='net', method='ce', epochs=1, batch=16,
                       device='cpu')).fit(progress=False)
    assert (row['data'], row['noise']) == ('squares', 'upwards')

@pytest.mark.parametrize('field, text, says', [
    ('data', 'no_such_module:x', 'no module no_such_module'), ('data', '{}:squared', 'squares'),
    ('noise', 'no_such_module:x', 'no module no_such_module'), ('noise', '{}:upward', 'upwards'),
    ('noise', '{}:__name__', 'no noise of kind'), ('model', 'no_such_module:x', 'no module no_such_module'),
    ('model', '{}:Nett', 'Net'), ('model', '{}:__name__', 'a function')])
def test_a_name_that_leads_nowhere_is_said_in_a_sentence(mine, field, text, says):
    with pytest.raises(UserError, match=says):
        Trainer(Spec(**{field: text.format(mine), 'train_size': 60, 'epochs': 1, 'device': 'cpu'}))

@pytest.mark.parametrize('text', ['{}:needs_seven', '{}:Seven'])
@pytest.mark.parametrize('field, takes', [
    ('data', 'root, download'), ('noise', 'labels, rate, n_classes, seed'), ('model', 'shape, n_classes'),
    ('method', 'logits, labels'), ('optimizer', 'parameters, lr=…'), ('schedule', 'progress'),
    ('callbacks', '(trainer)?')])
def test_a_function_that_cannot_be_called_as_it_will_be(mine, field, takes, text):
    "By name and handed over: it is said before training what it is called with."
    text = text.format(mine)
    own = dict(train_size=60, epochs=1, device='cpu') | (dict(rate=.2) if field == 'noise' else {})
    with pytest.raises(UserError, match=rf'\({takes}\)'):
        Trainer(**own | {field: (text,) if field == 'callbacks' else text})
    keyword = dict(model='net', schedule='lr_schedule').get(field, field)
    if field == 'data': return      # what is handed over is no function
    found = import_named(text, field)
    with pytest.raises(UserError, match=rf'\({takes}\)'):
        Trainer(**own | {keyword: [found] if field == 'callbacks' else found})

def test_what_ones_own_returns_is_checked(mine):
    labels = np.arange(30) % 3
    for bad, says in ((lambda l, r, n, s: l[:3], '3 labels for 30'), (lambda l, r, n, s: l + 1, 'hold 3'),
                      (lambda l, r, n, s: None, 'shape')):
        with pytest.raises(UserError, match=says): inject(labels, bad, None, 3)
    with pytest.raises(UserError, match='was expected'): make_model(lambda shape, n: None, (1, 8, 8), 3)
    def shuffles(labels, rate, n_classes, seed):
        labels[:] = 0
        return labels
    assert inject(labels, shuffles, None, 3).true.tolist() == labels.tolist(), 'the true labels are out of its reach'

def test_a_reader_may_ask_for_what_is_known_of_the_samples():
    x = np.random.RandomState(0).randint(0, 256, (40, 6, 6), dtype=np.uint8)
    seen = {}
    def kind(labels, rate, n_classes, seed, features=None, classes=None):
        seen.update(features=features, classes=classes)
        return labels
    inject(np.arange(40) % 2, kind, None, 2, features=x, classes=('a', 'b'), ids=range(40))
    assert seen['features'] is x and seen['classes'] == ('a', 'b')
    images = Images(torch.from_numpy(x)[:, None], np.arange(40) % 2, ('a', 'b'))
    assert load((images, images))[0] is images
    with pytest.raises(UserError, match='leave size='): load((images, images), size=9)
