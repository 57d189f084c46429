"""What the live view costs: training steps per CPU-second of the kernel's process, with it and without, interleaved.

In a kernel as JupyterLab starts it, two equal trainings on the digits take turns of some seconds: a bare `Trainer`, at
which nothing looks, and a run in a `Lab` whose widget is sent everything that a browser would get and is told that each
moment was drawn. The worker that makes maps is another process: its time does not count here, but it takes its share of
caches and cores. The last line is the median of the turns' ratios.
"""
import argparse, os, statistics
from pathlib import Path

os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ['PYTHONPATH'] = os.pathsep.join([str(Path(__file__).resolve().parent.parent),
                                            *filter(None, [os.environ.get('PYTHONPATH')])])

CODE = '''
import time, threading
from noisylab.lab.lab import Lab
from noisylab.training.spec import Spec
from noisylab.training.trainer import Trainer

spec = Spec(noise='symmetric', rate=.8, epochs=10_000, schedule='constant',
            settings=dict(alpha_shape='one', w_cluster={clusters}))
trainer, go, ended = Trainer(spec), threading.Event(), threading.Event()
def train():
    for _ in trainer.steps():
        go.wait()
        if ended.is_set(): return
threading.Thread(target=train).start()
lab = Lab(spec)
def drawn():
    while not lab.closed:
        lab.widget.seen = lab._updater.sent
        time.sleep(.1)
threading.Thread(target=drawn).start()
run = lab.start()
while len(run.history) < 5 or run.map[1] is None: time.sleep(.1)

def rate(steps, seconds):
    "Steps per CPU-second."
    time.sleep(.5)
    s, c = steps(), time.process_time()
    time.sleep(seconds)
    return (steps() - s)/(time.process_time() - c)

for i in range({turns}):
    sent = lab._updater.sent
    live = rate(lambda: run.trainer.step, {seconds})
    sent = lab._updater.sent - sent
    run.pause(); go.set()
    while run.status != 'paused': time.sleep(.01)
    alone = rate(lambda: trainer.step, {seconds})
    go.clear(); run.resume()
    print('TURN', alone, live, sent, flush=True)
ended.set(); go.set(); lab.close()
'''

def turns(n, seconds, clusters):
    "(alone, with the live view, moments sent) of `n` turns."
    from jupyter_client.manager import start_new_kernel
    manager, client = start_new_kernel(kernel_name='python3')
    def hear(msg):
        if msg['msg_type'] == 'error': raise RuntimeError('\n'.join(msg['content']['traceback']))
        if msg['msg_type'] != 'stream': return
        for line in msg['content']['text'].splitlines():
            if line.startswith('TURN'): got.append([float(v) for v in line.split()[1:]])
    got, code = [], CODE.format(turns=n, seconds=seconds, clusters=clusters)
    try: client.execute_interactive(code, output_hook=hear, timeout=120 + n*(2*seconds + 5))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return got

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--seconds', type=float, default=5, help='of each half of a turn')
    p.add_argument('--turns', type=int, default=10)
    p.add_argument('--clusters', type=float, default=0, help='weight of the cluster term')
    a = p.parse_args()
    ratios = []
    for i, (alone, live, sent) in enumerate(turns(a.turns, a.seconds, a.clusters), 1):
        ratios.append(live/alone)
        print(f'turn {i}: alone {alone:.1f}, with the live view {live:.1f} steps per CPU-second, '
              f'{sent:.0f} moments sent, ratio {live/alone:.3f}')
    print(f'lab_steps_ratio: {statistics.median(ratios):.3f}')
