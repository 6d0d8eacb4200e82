"""Random numbers from an explicit generator, and from nowhere else."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Generator


def uniform(generator: Generator, low: float, high: float) -> float:
    """One number in ``[low, high)``."""
    unit = torch.rand((), generator=generator, device=generator.device, dtype=torch.float64)
    return low + (high - low) * float(unit)


def log_uniform(generator: Generator, low: float, high: float) -> float:
    """One number in ``[low, high)`` whose logarithm is uniform."""
    return math.exp(uniform(generator, math.log(low), math.log(high)))


def integer(generator: Generator, low: int, high: int) -> int:
    """One integer in ``[low, high]``, both ends included."""
    return int(torch.randint(low, high + 1, (), generator=generator, device=generator.device))


def normal(generator: Generator, mean: float, std: float) -> float:
    """One number from a normal distribution."""
    unit = torch.randn((), generator=generator, device=generator.device, dtype=torch.float64)
    return mean + std * float(unit)


def chance(generator: Generator, probability: float) -> bool:
    """True with ``probability``; one number is drawn whatever it is, also for 0 and 1."""
    return uniform(generator, 0.0, 1.0) < probability


def beta(generator: Generator, alpha: float) -> float:
    """One number from Beta(alpha, alpha).

    torch's beta distribution takes no generator, so a private NumPy one is seeded from ours.
    """
    seed = integer(generator, 0, 2**62)
    return float(np.random.default_rng(seed).beta(alpha, alpha))
