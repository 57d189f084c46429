"""What several tests need. One thread each, and threads that wait do not spin: cores are shared."""
import os
from pathlib import Path
import pytest

os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
os.environ.setdefault('OMP_NUM_THREADS', '1')

@pytest.fixture(scope='session')
def root():
    "The repository."
    return Path(__file__).resolve().parent.parent

@pytest.fixture(scope='session')
def real_data():
    "The folder with real CIFAR-10 that `NOISYLAB_DATA` names."
    folder = os.environ.get('NOISYLAB_DATA')
    if not folder: pytest.skip('real CIFAR-10: set NOISYLAB_DATA to the folder that holds cifar-10-batches-py')
    if (Path(folder)/'cifar-10-batches-py').is_dir(): return Path(folder)
    pytest.fail(f'NOISYLAB_DATA={folder} holds no cifar-10-batches-py')
