"""Checkpoints with flipped bits and without their ends: is the damage noticed, and at what cost?"""

import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from slowfast.checkpoint.io import check_integrity, read_checkpoint, write_checkpoint
from slowfast.models.tiny import TinyNet
from tests.faults.whole import refusal

LARGE_MB = 250
REPEATS = 3


@dataclass
class Damaged:
    """What came of it.

    Attributes:
        target: "checkpoint".
        kills: files that were damaged, by kind.
        refused: of them, by kind, with an error that names the file.
        harmless: of them, by kind: what came out was what went in.
        check_s: seconds that looking for damage in a file of ``LARGE_MB`` takes.
        read_s: seconds of reading it, the look included.
        problems: damage that nobody noticed, or that gave another error.
    """

    target: str = "checkpoint"
    kills: dict = field(default_factory=lambda: {"flip": 0, "cut": 0})
    refused: dict = field(default_factory=lambda: {"flip": 0, "cut": 0})
    harmless: dict = field(default_factory=lambda: {"flip": 0, "cut": 0})
    check_s: float = 0.0
    read_s: float = 0.0
    problems: list = field(default_factory=list)

    def as_dict(self):
        return dict(vars(self))


def write_small(path):
    """A small checkpoint of a training; returns its path."""
    model = TinyNet(num_classes=4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    return write_checkpoint(path, epoch=0, model=model, optimizer=optimizer, cfg_yaml="A: 1")


def damage_often(folder, count, seed=0, *, large_mb=LARGE_MB):
    """Damage a checkpoint ``count`` times by a flipped bit and ``count`` times by a lost end."""
    found, chance = Damaged(), random.Random(seed)
    path = write_small(Path(folder) / "small.pyth")
    whole = path.read_bytes()
    expected = read_checkpoint(path)
    for kind in ("flip", "cut"):
        for _ in range(count):
            data = bytearray(whole)
            place = chance.randrange(len(data))
            if kind == "flip":
                data[place] ^= 1 << chance.randrange(8)
            else:
                del data[place:]
            path.write_bytes(data)
            found.kills[kind] += 1
            _judge(path, kind, place, expected, found)
    if large_mb:
        found.check_s, found.read_s = _cost(Path(folder) / "large.pyth", large_mb)
    return found


def _judge(path, kind, place, expected, found):
    try:
        text = refusal(path)
    except Exception as error:
        found.problems.append(f"{kind} at byte {place}: {error!r}")
        return
    if text:
        found.refused[kind] += 1
        if str(path) not in text:
            found.problems.append(f"{kind} at byte {place}: {text}")
    elif same(read_checkpoint(path), expected):
        found.harmless[kind] += 1
    else:
        found.problems.append(f"{kind} at byte {place} was not noticed")


def same(a, b):
    """Whether two nested structures of tensors and plain values are equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return a == b


def _cost(path, megabytes):
    model = nn.Linear(1000, megabytes * 250, bias=False)
    write_checkpoint(path, epoch=0, model=model, optimizer=None, cfg_yaml="")
    seconds = {}
    for function in (check_integrity, read_checkpoint):
        times = []
        for _ in range(REPEATS):
            begin = time.perf_counter()
            function(path)
            times.append(time.perf_counter() - begin)
        seconds[function] = round(min(times), 3)
    path.unlink()
    return seconds[check_integrity], seconds[read_checkpoint]
