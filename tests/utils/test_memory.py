import resource
import subprocess
import sys

import pytest

CODE = """
import resource, sys, torch
from slowfast.utils.memory import keep_freed_memory
sys.exit(3) if not keep_freed_memory({keep}) else None
for _ in range(12):  # 40 MB each; alignment makes the first ones differ in place
    torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(12):
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(keep):
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(keep=keep)], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("not glibc")
    return int(done.stdout)


def test_freed_tensors_cost_no_page_faults_again():
    pages = 12 * 40_000_000 // resource.getpagesize()
    assert page_faults(keep=True) < pages / 10
    assert page_faults(keep=False) > pages / 2
