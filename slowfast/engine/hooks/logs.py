"""Numbers of a running training: PySlowFast's ``json_stats`` lines, and progress."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from slowfast.datasets.batch import Batch
from slowfast.engine.hook import Hook, State
from slowfast.engine.meters import TrainMeter
from slowfast.engine.objective import StepOutput
from slowfast.engine.trainer import Trainer
from slowfast.utils import distributed
from slowfast.utils.device import peak_gpu_memory_gib
from slowfast.utils.files import told_if_disk_full
from slowfast.utils.progress import Progress
from slowfast.utils.timer import Timer

logger = logging.getLogger(__name__)


class LogStats(Hook):
    """Publishes training statistics under PySlowFast's names.

    ``train_iter_`` every ``period`` batches: ``loss`` and ``top1_err`` ... are medians over
    these batches; ``dt``, ``dt_data`` and ``dt_net`` are their mean seconds per batch (whole,
    waiting for data, the rest). ``train_epoch`` after every epoch: means over the epoch.

    Args:
        period: ``LOG_PERIOD``, batches.
        ks: of the top-k errors; empty for multi-label targets.
    """

    def __init__(self, period: int = 10, ks: Sequence[int] = (1, 5)) -> None:
        self.period = max(1, period)
        self.meter = TrainMeter(ks)
        self._epoch_timer, self._window_timer = Timer(), Timer()
        self._epoch_data = self._window_data = 0.0
        self._window_start = 0
        self._is_within_epoch = False

    def before_epoch(self, trainer: Trainer) -> None:
        if not trainer.first_iteration:  # else the meter was restored
            self.meter.reset()
        self._epoch_data = 0.0
        self._epoch_timer.reset()
        self._start_window(trainer.first_iteration)

    def _start_window(self, iteration: int) -> None:
        self._window_data, self._window_start = 0.0, iteration
        self._window_timer.reset()

    def after_batch(self, trainer: Trainer, batch: Batch, output: StepOutput) -> None:
        self._is_within_epoch = True
        self.meter.update(output, batch.labels)
        self._window_data += trainer.data_seconds
        self._epoch_data += trainer.data_seconds
        done = trainer.iteration + 1
        if done % self.period == 0:
            numbers = self.meter.window()  # waits for the device: the time below is real
            batches = done - self._window_start
            dt, data = self._window_timer.seconds() / batches, self._window_data / batches
            place = {"_type": "train_iter_", "epoch": _epoch(trainer)}
            place["iter"] = f"{done}/{len(trainer.loader)}"
            trainer.publish(place | _times(trainer, dt, data) | numbers | _state(trainer))
            self._start_window(done)

    def after_epoch(self, trainer: Trainer) -> None:
        numbers = self.meter.epoch()
        self._is_within_epoch = False
        batches = max(trainer.iteration + 1 - trainer.first_iteration, 1)
        times = _times(trainer, self._epoch_timer.seconds() / batches, self._epoch_data / batches)
        place = {"_type": "train_epoch", "epoch": _epoch(trainer)}
        trainer.publish(place | times | numbers | _state(trainer) | {"RAM": ram_usage()})

    def state_dict(self) -> State:
        return self.meter.state_dict() if self._is_within_epoch else {}

    def load_state_dict(self, state: State) -> None:
        self._is_within_epoch = bool(state)
        if state:
            self.meter.load_state_dict(state)


def _epoch(trainer: Trainer) -> str:
    return f"{trainer.epoch + 1}/{trainer.max_epoch}"


def _times(trainer: Trainer, dt: float, dt_data: float) -> State:
    total = len(trainer.loader)
    left = trainer.max_epoch * total - (trainer.epoch * total + trainer.iteration + 1)
    eta = str(timedelta(seconds=int(dt * left)))
    return {"dt": dt, "dt_data": dt_data, "dt_net": max(dt - dt_data, 0.0), "eta": eta}


def _state(trainer: Trainer) -> State:
    state: State = {"lr": trainer.lr, "gpu_mem": f"{peak_gpu_memory_gib(trainer.device):.2f}G"}
    if trainer.grad_norm is not None:
        state["grad_norm"] = float(trainer.grad_norm)
    return state


def ram_usage() -> str:
    """``used/total`` memory of the machine in GiB, as PySlowFast writes it; empty if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return ""
    kib = {line.split(":")[0]: float(line.split()[1]) for line in lines if line.endswith("kB")}
    total = kib.get("MemTotal", 0.0)
    used = total - kib.get("MemAvailable", total)
    return f"{used / 2**20:.2f}/{total / 2**20:.2f}G"


def format_stats(stats: State) -> str:
    """One line of JSON, keys sorted, numbers with 5 significant digits."""
    return json.dumps({key: _round(value) for key, value in stats.items()}, sort_keys=True)


def _round(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


class JsonLog(Hook):
    """Writes published statistics: a ``json_stats: {...}`` log line each, and a JSON-lines file.

    Args:
        path: the file; appended to, so a resumed run continues it. ``None`` writes no file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    def on_stats(self, trainer: Trainer, stats: State) -> None:
        if distributed.is_main():
            write_stats(stats, self.path)


def write_stats(stats: State, path: Path | None) -> None:
    """Log ``stats`` as PySlowFast does, and append them to the JSON-lines file at ``path``."""
    line = format_stats(stats)
    logger.info("json_stats: %s", line)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with told_if_disk_full(path), path.open("ab+") as file:
            if file.tell():  # a killed run may have left half a line
                file.seek(-1, os.SEEK_END)
                line = line if file.read() == b"\n" else f"\n{line}"
            file.write(f"{line}\n".encode())


class ProgressBar(Hook):
    """Shows progress within every epoch, with the share of time spent waiting for data.

    Args:
        open_bar: ``(batches, description) -> Progress``.
    """

    def __init__(self, open_bar: Callable[[int, str], Progress]) -> None:
        self.open_bar = open_bar
        self._bar: Progress | None = None
        self._shown: dict[str, float] = {}

    def before_epoch(self, trainer: Trainer) -> None:
        if distributed.is_main():
            self._bar = self.open_bar(len(trainer.loader), f"train {_epoch(trainer)}").__enter__()

    def after_batch(self, trainer: Trainer, batch: Batch, output: StepOutput) -> None:
        if self._bar is not None:
            self._bar.update(data_s=trainer.data_seconds, **self._shown)

    def on_stats(self, trainer: Trainer, stats: State) -> None:
        if stats["_type"].startswith("train_iter"):
            self._shown = {key: stats[key] for key in ("loss", "top1_err", "lr") if key in stats}

    def after_epoch(self, trainer: Trainer) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
