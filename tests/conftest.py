"""Before anything imports torch: one thread for each process, and threads that wait do not spin. Cores are shared."""
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
