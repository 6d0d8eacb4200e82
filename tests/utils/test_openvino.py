"""One core per process, because several leave a trap behind."""

import subprocess
import sys

import pytest

from slowfast.utils.openvino import openvino_core

SCRIPT = """
import gc, os, signal, time
import numpy as np
from openvino import Model, opset13 as ops
from slowfast.utils.openvino import openvino_core

def make():
    frame = ops.parameter([1, 3, 8, 8], np.float32)
    return openvino_core().compile_model(Model([ops.relu(frame)], [frame]), "CPU")

first, second = make(), make()
del first
del second
gc.collect()
seen = []
signal.signal(signal.SIGCHLD, lambda *_: seen.append(1))
if os.fork() == 0:
    os._exit(0)
while not seen:
    time.sleep(0.01)
print("alive")
"""


def test_there_is_one():
    pytest.importorskip("openvino")
    assert openvino_core() is openvino_core()


@pytest.mark.slow
def test_signals_arrive_after_networks_are_gone():
    pytest.importorskip("openvino")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
