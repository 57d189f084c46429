"""CIFAR-100 from folders: the superclasses follow from the names, so noise within them needs no published order."""
import numpy as np
from PIL import Image

from noisylab.data.sources import load
from noisylab.training.batches import add_noise
from noisylab.training.spec import Spec

SUPERCLASSES = '''beaver dolphin otter seal whale · aquarium_fish flatfish ray shark trout 
orchid poppy rose sunflower tulip · bottle bowl can cup plate
apple mushroom orange pear sweet_pepper · clock keyboard lamp telephone television
bed chair couch table wardrobe · bee beetle butterfly caterpillar cockroach · bear leopard lion tiger wolf
bridge castle house road skyscraper · cloud forest mountain plain sea · camel cattle chimpanzee elephant kangaroo
fox porcupine possum raccoon skunk · crab lobster snail spider worm · baby boy girl man woman
crocodile dinosaur lizard snake turtle · hamster mouse rabbit shrew squirrel
maple_tree oak_tree palm_tree pine_tree willow_tree · bicycle bus motorcycle pickup_truck train
lawn_mower rocket streetcar tank tractor'''

def test_asymmetric_noise_stays_within_the_superclass(tmp_path):
    groups = [g.split() for line in SUPERCLASSES.splitlines() for g in line.split('·')]
    assert sorted(map(len, groups)) == [5]*20
    for name in sum(groups, []):
        for part, n in (('train', 2), ('test', 1)):
            (tmp_path/'cifar100'/part/name).mkdir(parents=True)
            for i in range(n): Image.new('RGB', (8, 8), 'grey').save(tmp_path/f'cifar100/{part}/{name}/{i}.png')
    train, _ = load('cifar100', tmp_path, download=False)
    spec = Spec(data='cifar100', noise='asymmetric', rate=.5, noise_settings=dict(class_map='cifar100'))
    wrong, res = add_noise(train, spec)
    assert res.rate == .5 and train.n_classes == 100
    after = {name: g[(g.index(name) + 1) % 5] for g in groups for name in g}
    for true, given in zip(wrong.true.tolist(), wrong.labels.tolist()):
        if true != given: assert wrong.classes[given] == after[wrong.classes[true]]
    assert np.array_equal(np.bincount(wrong.labels), np.full(100, 2)), 'each class gives one and gets one'
