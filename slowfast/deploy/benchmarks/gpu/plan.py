"""What is checked, and how large."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from slowfast.config import load_cfg
from slowfast.utils.device import DeviceError

if TYPE_CHECKING:
    from yacs.config import CfgNode

Result = dict[str, Any]
BUDGET_S = 480.0
CONFIGS = ("configs/Kinetics/X3D_S.yaml", "configs/Kinetics/SLOWFAST_8x8_R50.yaml")
COMMON = (
    "DATA.DUMMY_LOAD", "True", "SOLVER.BASE_LR", "0.01", "SOLVER.WARMUP_EPOCHS", "0",
    "DATA_LOADER.NUM_WORKERS", "0", "TRAIN.EVAL_PERIOD", "1", "PROGRESS", "none",
)  # fmt: skip
TINY = (
    "MODEL.MODEL_NAME", "TinyNet", "MODEL.ARCH", "tiny", "MODEL.NUM_CLASSES", "4",
    "DATA.NUM_FRAMES", "4", "DATA.SAMPLING_RATE", "2", "DATA.TRAIN_CROP_SIZE", "32",
    "DATA.TEST_CROP_SIZE", "32", "DATA.TRAIN_JITTER_SCALES", "[36, 40]",
    "TEST.NUM_ENSEMBLE_VIEWS", "2", "NUM_GPUS", "0",
    "TEST.NUM_SPATIAL_CROPS", "1", "MODEL.DROPOUT_RATE", "0.0",
)  # fmt: skip


@dataclass(frozen=True)
class GpuPlan:
    """Sizes of the checks.

    Attributes:
        device: ``cuda``, or ``cpu``: the same code on a tiny network, to see that it runs.
        configs: YAML files; empty: the tiny network.
        batch: clips of a training step on one device.
        steps: timed steps or runs.
        warmup: untimed ones.
        latency_batches: clips at once.
        videos: generated for the loader.
        workers: processes that load.
        budget_s: no check is begun later.
    """

    device: str = "cuda"
    configs: tuple[str, ...] = CONFIGS
    batch: int = 8
    steps: int = 10
    warmup: int = 3
    latency_batches: tuple[int, ...] = (1, 8)
    videos: int = 64
    workers: int = 8
    budget_s: float = BUDGET_S
    began: float = field(default_factory=time.perf_counter)

    @property
    def is_smoke(self) -> bool:
        """Whether only the code is checked, not a GPU."""
        return self.device == "cpu"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the networks: their config files, or one name that stands for the tiny one."""
        return self.configs or ("tiny",)

    def config(self, name: str, opts: Sequence[object] = ()) -> CfgNode:
        """The config of one of :attr:`names`."""
        given = [*(COMMON if self.configs else COMMON + TINY), "DEVICE", self.device]
        given += ["TRAIN.BATCH_SIZE", str(self.batch), *map(str, opts)]
        return load_cfg([name] if self.configs else [], given)

    def time_left(self) -> float:
        """Seconds of the budget that remain."""
        return self.budget_s - (time.perf_counter() - self.began)


def plan_check(device: str, configs: Sequence[str] = (), budget_s: float = BUDGET_S) -> GpuPlan:
    """Full size on a GPU, tiny on the CPU.

    Raises:
        DeviceError: no GPU, and none of the CPU asked for.
    """
    if device == "cpu":
        return GpuPlan("cpu", tuple(configs), 4, 2, 1, (1, 2), 8, 1, budget_s)
    if not torch.cuda.is_available():
        cause = "is built for CPUs only" if torch.version.cuda is None else "finds none"
        raise DeviceError(
            f"no NVIDIA GPU to check: torch {torch.__version__} {cause}. "
            "Without one, --device cpu runs the same code in small"
        )
    return GpuPlan(device, tuple(configs) or CONFIGS, budget_s=budget_s)
