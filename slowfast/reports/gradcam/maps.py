"""What layers give, read as feature maps ``(B, C, T, H, W)``, whatever form it has.

=====================================  ============================================
output of a layer                      read as
=====================================  ============================================
``(B, C, T, H, W)``                    itself
``(B * T, C, H, W)``, frame by frame   ``(B, C, T, H, W)``; one map per clip: T is 1
``(tokens (B, N, C), [T, H, W])``      the last ``T * H * W`` tokens, at their places
a list of these, one per pathway       one map per pathway
=====================================  ============================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor


def tensors_of(output: Any) -> list[Tensor]:
    """The tensors in a layer's output, in order; none where it is of another kind."""
    if isinstance(output, Tensor):
        return [output]
    if are_tokens(output):
        return [output[0]]
    if isinstance(output, list | tuple) and all(isinstance(x, Tensor) for x in output):
        return list(output)
    return []


def with_tensors(output: Any, tensors: Sequence[Tensor]) -> Any:
    """An output of the same form with other tensors."""
    if isinstance(output, Tensor):
        return tensors[0]
    if are_tokens(output):
        return (tensors[0], output[1])
    return type(output)(tensors)


def are_tokens(output: Any) -> bool:
    """Whether a layer gave tokens, and how many there are along time, height and width."""
    if not (isinstance(output, tuple) and len(output) == 2 and isinstance(output[0], Tensor)):
        return False
    tokens, size = output
    if tokens.ndim != 3 or not isinstance(size, list | tuple) or len(size) != 3:
        return False
    return all(isinstance(side, int) for side in size) and math.prod(size) <= tokens.shape[1]


def has_class_token(output: Any) -> bool:
    """Whether there are more tokens than places: the first one is classified."""
    return are_tokens(output) and math.prod(output[1]) < output[0].shape[1]


def maps_of(output: Any, batch: int, pathways: int = 1) -> list[Tensor]:
    """The maps ``(B, C, T, H, W)`` of an output, one per pathway in it; empty: it has none.

    Args:
        output: of a layer.
        batch: B, clips.
        pathways: of the network: a list of another length holds no maps.
    """
    tensors = tensors_of(output)
    if are_tokens(output):
        tokens, size = output
        places = tokens[:, -math.prod(size) :].transpose(1, 2)
        return [places.reshape(*places.shape[:2], *size)]
    if not isinstance(output, Tensor) and len(tensors) != pathways:
        return []
    maps = [_map_of(tensor, batch) for tensor in tensors]
    return [x for x in maps if x is not None] if None not in maps else []


def _map_of(x: Tensor, batch: int) -> Tensor | None:
    if not x.is_floating_point():
        return None
    if x.ndim == 5 and x.shape[0] == batch:
        return x
    if x.ndim == 4 and x.shape[0] % batch == 0 and x.numel():
        return x.reshape(batch, -1, *x.shape[1:]).transpose(1, 2)
    return None


def has_space(maps: Sequence[Tensor]) -> bool:
    """Whether there are maps, and more than one position in a picture of each."""
    return bool(maps) and all(x.shape[3] * x.shape[4] > 1 for x in maps)
