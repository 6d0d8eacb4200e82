"""Correlation of the feature maps of two frames: how alike their positions are.

Teed and Deng 2020 (RAFT), https://arxiv.org/abs/2003.12039, section 3.2: dot products over the
channels, divided by the root of their number.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def contrast(maps: Tensor) -> Tensor:
    """Maps whose correlations are cosines: centred over positions, of equal length everywhere.

    What all positions have in common, most of an untrained network's correlation, goes; so does
    the strength of the texture.

    Args:
        maps: ``(B, C, H, W)``.
    """
    centred = maps - maps.mean(dim=(2, 3), keepdim=True)
    return F.normalize(centred, dim=1) * maps.shape[1] ** 0.25  # correlating divides by C ** 0.5


def correlate_all(before: Tensor, after: Tensor) -> Tensor:
    """Every position of ``after`` with every one of ``before``.

    Args:
        before: ``(B, C, H, W)``, the earlier frame.
        after: ``(B, C, H, W)``.

    Returns:
        ``(B, H * W, H, W)``: channels are positions of ``before``, row by row.
    """
    scale = before.shape[1] ** -0.5  # before the product: half precision would overflow after it
    product = (before * scale).flatten(2).transpose(1, 2) @ after.flatten(2)
    return product.view(*product.shape[:2], *after.shape[2:])


def correlate_local(before: Tensor, after: Tensor, radius: int) -> Tensor:
    """Every position of ``after`` with those of ``before`` at most ``radius`` away in H and W.

    One matrix product per row offset gives each row of ``after`` against a whole row of
    ``before``; the band around its diagonal is kept. That is more products than needed, by
    ``W / (2 * radius + 1)``, and far fewer passes over memory than one product per offset.

    Args:
        before: ``(B, C, H, W)``, the earlier frame.
        after: ``(B, C, H, W)``.
        radius: in positions of the map.

    Returns:
        ``(B, (2 * radius + 1) ** 2, H, W)``: channels are offsets ``(dy, dx)`` from
        ``(-radius, -radius)``, row by row; 0 where they lead outside the map.
    """
    _, channels, height, width = after.shape
    size = 2 * radius + 1
    rows = (after * channels**-0.5).permute(0, 2, 3, 1)  # (B, H, W, C)
    padded = F.pad(before, (radius, radius, radius, radius)).transpose(1, 2)  # (B, H', C, W')
    bands = []
    for dy in range(size):
        product = rows @ padded[:, dy : dy + height]  # (B, H, W, W')
        # Row x of the band starts at column x: in rows one longer, all start at column 0.
        flat = F.pad(product.flatten(2), (0, width))
        bands.append(flat.view(*flat.shape[:2], width, width + size)[..., :size])
    local = torch.stack(bands, dim=3)  # (B, H, W, dy, dx)
    return local.flatten(3).permute(0, 3, 1, 2)
