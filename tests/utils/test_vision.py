import subprocess
import sys

import pytest
import torch

from slowfast.utils import vision

SCRIPT = """
import sys
import torch
from slowfast.utils import vision
assert "torchvision" not in sys.modules
f = vision.functional()
clip = torch.arange(48, dtype=torch.uint8).reshape(1, 3, 4, 4)
assert torch.equal(f.horizontal_flip(clip), clip.flip(-1))
assert vision.functional() is f
import torchvision.ops
print("ok")
"""


def test_imports_in_a_fresh_process():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stdout == "ok\n", done.stderr


@pytest.mark.parametrize("loads", [True, False])
def test_declares_only_what_is_missing(monkeypatch, loads):
    declared = []

    class Library:
        def __init__(self, *args):
            declared.append(args)

        def define(self, schema):
            declared.append(schema.split("(")[0])

    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(torch.library, "Library", Library)
    monkeypatch.setattr(vision, "_compiled_operators_load", lambda: loads)
    monkeypatch.setattr(vision, "_libraries", [])
    vision._declare_missing_operators.__wrapped__()
    assert declared == ([] if loads else [("torchvision", "DEF"), "nms", "qnms"])
