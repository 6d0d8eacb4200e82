"""Where tensors live and in which precision the forward pass runs."""

from __future__ import annotations

import functools
import logging

import torch

from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

DEVICES = ("auto", "cuda", "mps", "cpu")
AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class DeviceError(UserError, RuntimeError):
    """The device that was asked for is not there."""


def resolve_device(name: str = "auto", *, local_rank: int = 0) -> torch.device:
    """The device a process uses.

    Args:
        name: ``auto`` takes the first of cuda, mps, cpu that this machine has; the other
            names are taken at their word.
        local_rank: index of the GPU among those of this machine.

    Raises:
        ValueError: unknown name.
        DeviceError: the device that was asked for is not there.
    """
    if name not in DEVICES:
        raise ValueError(f"DEVICE is {name!r}; known: {', '.join(DEVICES)}")
    if name == "auto":
        name = _best_device()
    if name == "cuda":
        _check_cuda(local_rank)
        return torch.device("cuda", local_rank)
    if name == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("DEVICE is 'mps' but this machine has none. Use DEVICE auto or cpu.")
    return torch.device(name)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _check_cuda(local_rank: int) -> None:
    if not torch.cuda.is_available():
        build = "is a CPU-only build" if torch.version.cuda is None else "sees no GPU"
        raise DeviceError(
            f"DEVICE is 'cuda' but torch {torch.__version__} {build}. "
            "Use DEVICE auto or cpu, or install a CUDA build of torch and check nvidia-smi."
        )
    if local_rank >= torch.cuda.device_count():
        raise DeviceError(
            f"process {local_rank} of this machine has no GPU: torch sees "
            f"{torch.cuda.device_count()}. Lower NUM_GPUS (or torchrun --nproc_per_node)."
        )


@functools.cache
def has_sound_bf16_gradients() -> bool:
    """Whether oneDNN's bf16 gradients of a 3-D convolution of two frames are near float32's.

    Of torch 2.13.0 they are noise, or not numbers, on an AMD EPYC of family 26 (avx512_bf16, no
    AMX), and right on a Xeon with AMX.
    """
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(32, 16, 3, 3, 3, generator=rng, requires_grad=True)
    clips = torch.randn(4, 16, 2, 8, 8, generator=rng)
    found: list[torch.Tensor] = []
    for enabled in (False, True):
        with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out = torch.nn.functional.conv3d(clips, weight, padding=1).float()
        found += torch.autograd.grad(out.square().mean(), weight)
    return bool((found[1] - found[0]).norm() < 0.05 * found[0].norm())


def resolve_amp_dtype(enabled: bool, name: str, device: torch.device | str) -> torch.dtype | None:
    """The autocast type, or ``None`` for full precision.

    Args:
        enabled: ``TRAIN.MIXED_PRECISION``.
        name: ``bf16``, ``fp16``, or ``auto``: bf16 where the device computes in it (needs no
            loss scaling), fp16 on older GPUs.
        device: where the forward pass runs.
    """
    if not enabled:
        return None
    if name == "auto":
        old_gpu = torch.device(device).type == "cuda" and not torch.cuda.is_bf16_supported(False)
        name = "fp16" if old_gpu else "bf16"
    if name not in AMP_DTYPES:
        raise ValueError(f"TRAIN.AMP_DTYPE is {name!r}; known: auto, {', '.join(AMP_DTYPES)}")
    return AMP_DTYPES[name]


def training_dtype(
    dtype: torch.dtype | None, name: str, device: torch.device | str
) -> torch.dtype | None:
    """``dtype`` of :func:`resolve_amp_dtype`, as far as its gradients can be trusted.

    On processors whose bf16 gradients are wrong, ``auto`` trains in full precision, and ``bf16``
    in bf16, both with a warning. Forward passes alone are right there, too.
    """
    on_cpu = torch.device(device).type == "cpu"
    if dtype is not torch.bfloat16 or not on_cpu or has_sound_bf16_gradients():
        return dtype
    is_free = name == "auto"
    logger.warning(
        "bf16 gradients of convolutions are wrong on this processor (oneDNN): %s. "
        "TRAIN.MIXED_PRECISION False says so from the start",
        "full precision is used" if is_free else "do not train like this",
    )
    return None if is_free else dtype


def peak_gpu_memory_gib(device: torch.device | str) -> float:
    """Peak memory torch allocated on ``device`` since the process began, in GiB; 0 without GPU."""
    device = torch.device(device)
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
