"""Training and streaming for long: memory, open files and speed, from the start to the end."""

import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import torch

from slowfast.datasets import dummy
from slowfast.engine.hook import Hook
from slowfast.engine.run import build_training
from tests.datasets.endurance import all_memory_mib
from tests.engine import runs

SAMPLES = 60
WARM_UP = 0.1
"""Share of a run before it counts: caches fill, allocators find their size."""
SLACK = 0.05
FPS = 30


@dataclass
class Endured:
    """What was measured.

    Attributes:
        target: what ran.
        steps: training steps or frames done.
        seconds: it took.
        memory: resident MiB of this process and its workers, over time.
        handles: open files, over time.
        rates: steps per second of processor time, over time: other programs do not count.
        paces: of :func:`pace` at the same moments: how fast the machine was.
        wall: steps per second, over time.
        extra: facts for people.
    """

    target: str
    steps: int = 0
    seconds: float = 0.0
    memory: list = field(default_factory=list)
    handles: list = field(default_factory=list)
    rates: list = field(default_factory=list)
    paces: list = field(default_factory=list)
    wall: list = field(default_factory=list)
    extra: dict = field(default_factory=dict)

    def look(self, steps, cpu_s, wall_s):
        """Take a sample, after so many steps in that time."""
        self.steps += steps
        self.seconds += wall_s
        self.memory.append(round(all_memory_mib(), 1))
        self.handles.append(count_handles())
        self.rates.append(round(steps / cpu_s, 1))
        self.paces.append(round(pace(cpu_s / 8), 1))
        self.wall.append(round(steps / wall_s, 1))

    def ends(self, values):
        """Median of the first and of the last third after the warm-up."""
        counted = values[max(int(len(values) * WARM_UP), 1) :]
        third = max(len(counted) // 3, 1)
        return median(counted[:third]), median(counted[-third:])

    @property
    def speed_change(self):
        """From the start to the end, relative to a fixed piece of work done by turns."""
        early, late = self.ends([r / p for r, p in zip(self.rates, self.paces, strict=True)])
        return late / early - 1

    @property
    def problems(self):
        """What is not flat."""
        (early, late), (few, many) = self.ends(self.memory), self.ends(self.handles)
        found = []
        if late > early * (1 + SLACK):
            found.append(f"memory grew from {early:.0f} to {late:.0f} MiB")
        if many > few:
            found.append(f"open files grew from {few:.0f} to {many:.0f}")
        if self.speed_change < -SLACK:
            found.append(f"speed changed by {self.speed_change:+.1%}")
        return found

    def as_dict(self):
        found = asdict(self) | {"problems": self.problems, "speed_change": self.speed_change}
        for name in ("memory", "handles", "rates", "wall"):
            found[f"{name}_start_end"] = self.ends(getattr(self, name))
        return found

    def __str__(self):
        (early, late), (few, many) = self.ends(self.memory), self.ends(self.handles)
        rates, wall = self.ends(self.rates), self.ends(self.wall)
        return (
            f"{self.target}: {self.steps} steps in {self.seconds:.0f} s; resident {early:.0f} to "
            f"{late:.0f} MiB, open files {few:.0f} to {many:.0f}, {rates[0]:.0f} to {rates[1]:.0f} "
            f"steps per second of processor time ({self.speed_change:+.1%} beside a fixed piece of "
            f"work), {wall[0]:.0f} to {wall[1]:.0f} by the clock"
        )


def pace(seconds):
    """Rounds per second of processor time of a fixed piece of work, of the kind that is timed.

    For so many seconds, 0.05 at least: what is shorter sees another machine than what it is beside.

    A machine that others share is up to half as fast again from one minute to the next, in
    processor time, too.
    """
    weight = torch.full((16, 8, 3, 3), 0.01, requires_grad=True)
    pictures = torch.ones(2, 8, 16, 16)
    rounds, before = 0, time.thread_time()
    while (taken := time.thread_time() - before) < max(seconds, 0.05):
        torch.nn.functional.conv2d(pictures, weight).relu().mean().backward()
        rounds += 1
    return rounds / taken


def count_handles():
    return len(os.listdir(f"/proc/{os.getpid()}/fd"))


class Sampler(Hook):
    """Looks after every epoch's steps, before what else happens then."""

    def __init__(self, found):
        self.found = found

    def before_epoch(self, trainer):
        self.first, self.cpu, self.clock = trainer.step, time.process_time(), time.monotonic()

    def after_epoch(self, trainer):
        cpu, clock = time.process_time() - self.cpu, time.monotonic() - self.clock
        self.found.look(trainer.iteration + 1, cpu, clock)


def train(folder, steps=50_000, workers=1):
    """An ordinary training: loader process, validation, checkpoints, logs, TensorBoard."""
    per_epoch = max(steps // (2 * SAMPLES), 25)
    epochs = -(-steps // per_epoch)
    kwargs = dummy.DummyVideos.__init__.__kwdefaults__
    before, kwargs["num_videos"] = kwargs["num_videos"], 2 * per_epoch
    found = Endured("train")
    try:
        changes = {
            "TRAIN__BATCH_SIZE": 2,
            "TEST__BATCH_SIZE": 8,
            "SOLVER__MAX_EPOCH": epochs,
            "TRAIN__EVAL_PERIOD": max(epochs // 12, 1),
            "TRAIN__KEEP_CHECKPOINTS": 2,
            "DATA_LOADER__NUM_WORKERS": workers,
            "LOG_PERIOD": 10,
            "TENSORBOARD__ENABLE": True,
            "TRAIN__EMA__ENABLE": True,
        }
        training = build_training(runs.config(folder, **changes))
        training.trainer.hooks.insert(0, Sampler(found))
        training.run()
    finally:
        kwargs["num_videos"] = before
    found.extra = {"epochs": epochs}
    return found


class Frames:
    """A source of small pictures that looks at the process now and then; see ``FrameSource``."""

    name, fps, width, height = "made up", float(FPS), 64, 48

    def __init__(self, count, found):
        self.num_frames, self.found = count, found
        self.duration_s = count / FPS
        self.pictures = np.random.default_rng(0).integers(0, 256, (64, 48, 64, 3), np.uint8)

    def frames(self):
        from slowfast.deploy.demo.source import Shot

        every = max(self.num_frames // (4 * SAMPLES), 1)
        cpu, clock = time.process_time(), time.monotonic()
        for number in range(self.num_frames):
            picture = self.pictures[number % 64]
            yield Shot(number / FPS, number / FPS, picture.copy, lambda _, p=picture: p)
            if number % every == every - 1:
                now = time.process_time(), time.monotonic()
                self.found.look(every, now[0] - cpu, now[1] - clock)
                cpu, clock = time.process_time(), time.monotonic()

    def shown_at(self, clock_s):
        return clock_s


def stream(folder, frames=24 * 3600 * FPS, stride=FPS // 3):
    """The demo over so many frames: a stream that takes every ``stride``-th, labels, logs.

    It draws on every frame, and writes JSON and CSV, but no video.
    """
    from slowfast.deploy.demo.draw import Overlay
    from slowfast.deploy.demo.output import PredictionLog
    from slowfast.deploy.demo.run import Demo
    from slowfast.deploy.recognize import open_recognizer
    from tests.deploy.recognizing import write_model

    folder = Path(folder)
    path = write_model(folder, ["DATA.SAMPLING_RATE", stride, "TINY.WIDTH", 2])
    recognizer = open_recognizer(path, mode="stream", threads=1)
    found = Endured("stream")
    source = Frames(frames, found)
    names = {"action": ["left", "right"]}
    overlay = Overlay(source.height, source.width, names, duration_s=source.duration_s)
    log = PredictionLog(folder / "out.mp4", {"video": source.name}, names, 2)
    demo = Demo(source, recognizer, overlay, log=log, progress="none")
    demo._look_ahead = lambda: None  # or the first frames would come twice
    summary = demo.run()
    size = sum(file.stat().st_size for file in log.paths)
    found.extra = {
        "simulated_hours": round(frames / FPS / 3600, 2),
        "predictions": summary.predictions,
        "log_mb": round(size / 1e6, 1),
    }
    return found


TARGETS = {"train": train, "stream": stream}
DEFAULT_STEPS = {"train": 50_000, "stream": 24 * 3600 * FPS}


def table(results):
    """What scripts/endurance.py found, as Markdown."""
    lines = [
        "| run | steps | memory, MiB | open files | steps per second of processor time "
        "| the same beside fixed work | by the clock |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in results.items():
        cells = [
            "{:.0f} to {:.0f}".format(*found[f"{key}_start_end"])
            for key in ("memory", "handles", "rates", "wall")
        ]
        cells.insert(3, f"{found['speed_change']:+.1%}")
        facts = ", ".join(
            f"{key.replace('_', ' ')} {value}" for key, value in found["extra"].items()
        )
        lines.append(f"| {name} ({facts}) | {found['steps']} | {' | '.join(cells)} |")
    return "\n".join(lines)
