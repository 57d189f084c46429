"""Clothing1M's layout: files that are missing or broken, streamed from disk, trained on from the command line."""
import json
from pathlib import Path

import numpy as np, pytest, torch
from PIL import Image

from noisylab.cli import main
from noisylab.data.datasets import CLOTHING_CLASSES
from noisylab.errors import UserError
from noisylab.data.sources import load
from noisylab.models.robust_net import make_model

@pytest.fixture
def root(tmp_path):
    "84 photographs of several sizes in the published folders and lists; one is missing, one cut off, one no picture."
    rng, paths = np.random.RandomState(0), []
    for i in range(84):
        path = f'images/{i % 10}/{i:02d}/{i}.jpg'
        (tmp_path/path).parent.mkdir(parents=True)
        h, w = rng.randint(60, 120, 2)
        Image.fromarray(rng.randint(256, size=(h, w, 3)).astype(np.uint8)).save(tmp_path/path, quality=60)
        paths.append(path)
    (tmp_path/paths[0]).unlink()
    (tmp_path/paths[1]).write_bytes((tmp_path/paths[1]).read_bytes()[:900])
    (tmp_path/paths[2]).write_text('an error page of the server')
    text = dict(noisy_train_key_list=paths[:56], clean_test_key_list=paths[56:],
                clean_train_key_list=[], clean_val_key_list=[],
                noisy_label_kv=[f'{p} {i*3 % 14}' for i, p in enumerate(paths[:56])],
                clean_label_kv=[f'{p} {i % 14}' for i, p in enumerate(paths)])
    for name, lines in text.items(): (tmp_path/f'{name}.txt').write_text('\n'.join(lines))
    return tmp_path

def test_streams_what_can_be_read(root):
    with pytest.raises(UserError, match='00/0.jpg: no such file in .*; 1 more: images/2/02/2.jpg'):
        load('clothing1m', root, in_memory=False)
    for in_memory in (True, False):
        train, test = load('clothing1m', root, on_bad='skip', in_memory=in_memory)
        assert (len(train), len(test), train.shape, train.in_memory) == (53, 28, (3, 224, 224), in_memory)
        assert train.classes == CLOTHING_CLASSES and train.true is None
        assert test.true.tolist() == [i % 14 for i in range(56, 84)]
        assert train.labels.tolist() == [i*3 % 14 for i in range(3, 56)], 'noisy labels, classes in published order'
        assert sorted(Path(p).name for p, _ in train.skipped) == ['0.jpg', '1.jpg', '2.jpg']
    small, _ = load('clothing1m', root, on_bad='skip', in_memory=False, size=32)
    got = torch.cat([x for _, x in small.chunks(torch.arange(53), 20, workers=0)])
    assert got.shape == (53, 3, 32, 32) and torch.equal(got[7], small.take(torch.tensor([7]))[0])

def test_the_spec_of_table_3_runs_on_it(root, tmp_path, capsys):
    from noisylab.experiments.grid import ResultTable, read_grid
    asked = ResultTable(read_grid('paper-table3.toml'), tmp_path/'rows.jsonl', root=str(root)).asked
    assert len(asked) == 12*3 and {a.spec.size for a in asked.values()} == {224}
    spec = tmp_path/'one.json'
    spec.write_text(next(a for a in asked.values() if a.spec.method == 'balanced').spec.to_json())
    args = ['--size', '32', '--width', '0.125', '--epochs', '1', '--batch', '16', '--device', 'cpu', '--quiet']
    assert main(['train', '--spec', str(spec), *args, '--out', str(tmp_path/'run')]) == 0
    row = json.loads((tmp_path/'run/result.json').read_text())
    assert row['data'] == 'clothing1m' and row['n_train'] == 53 and row['memorized'] is None and row['n_test'] == 28
    assert 'skipped' in capsys.readouterr().err

def test_weights_from_a_file(tmp_path):
    from torchvision.models import resnet18
    torch.manual_seed(0); model = resnet18(); torch.save(model.state_dict(), tmp_path/'w.pth')
    net = make_model(f"resnet18:{tmp_path/'w.pth'}", (3, 64, 64), 14)
    assert torch.equal(net.backbone.model.layer4[1].conv2.weight, model.layer4[1].conv2.weight) and net.n_classes == 14
    with pytest.raises(UserError, match='does not exist'): make_model('resnet18:gone.pth', (3, 64, 64), 14)
    (tmp_path/'x.pth').write_bytes(b'no weights')
    with pytest.raises(UserError, match='holds no weights'):
        make_model(f"resnet18:{tmp_path/'x.pth'}", (3, 64, 64), 14)
