"""Heads: pool feature maps, then classify every remaining position, once per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast.models.base import NumClasses, Preds
from slowfast.models.layers.conv import Size3, conv3d


class Classifier(nn.Module):
    """Dropout and one linear layer per task, added last by :meth:`add_classifiers`.

    ``projection`` for one task (key ``"action"``), ``projection_{task}`` for several, the names
    of EPIC-KITCHENS' SlowFast. A subclass may have another ``prefix``.

    Args:
        dropout: probability, before the linear layers.
        detach: let no gradient reach the features (``MODEL.DETACH_FINAL_FC``: linear probing).
    """

    prefix = "projection"

    def __init__(self, *, dropout: float = 0.0, detach: bool = False) -> None:
        super().__init__()
        self.detach = detach
        self.dropout = nn.Dropout(dropout)
        self.names: dict[str, str] = {}

    def add_classifiers(self, num_features: int, num_classes: NumClasses) -> None:
        """A linear layer for the one task, or one for each of ``{task: classes}``."""
        several = isinstance(num_classes, Mapping) and len(num_classes) > 1
        tasks = num_classes if isinstance(num_classes, Mapping) else {"action": num_classes}
        if not tasks:
            raise ValueError("num_classes names no task: give a number or {task: classes}")
        for task, classes in tasks.items():
            self.names[task] = f"{self.prefix}_{task}" if several else self.prefix
            self.add_module(self.names[task], self.new_classifier(num_features, classes))

    def new_classifier(self, num_features: int, num_classes: int) -> nn.Linear:
        """A fresh layer; heads that compare in another way than by a dot product have another."""
        return nn.Linear(num_features, num_classes)

    def init_classifiers(self, std: float) -> None:
        """Weights of standard deviation ``std`` (``MODEL.FC_INIT_STD``), biases of zero."""
        for layer in self.classifiers.values():
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    @property
    def classifiers(self) -> dict[str, nn.Linear]:
        """Task -> its linear layer."""
        return {task: getattr(self, name) for task, name in self.names.items()}

    def classify(self, features: Tensor) -> Preds:
        """``(..., num_features)`` -> logits ``(..., num_classes)``, of every task if several."""
        features = self.dropout(features.detach() if self.detach else features)
        logits = {task: layer(features) for task, layer in self.classifiers.items()}
        return logits if len(logits) > 1 else next(iter(logits.values()))


class PoolHead(Classifier):
    """Average-pool each pathway, concatenate, classify (C2D, I3D, Slow, SlowFast).

    Args:
        num_features: sum of the pathways' channels.
        num_classes: of the one task, or ``{task: classes}``.
        pool_sizes: ``(T, H, W)`` per pathway: the size of its map for a training clip.
        dropout: see :class:`Classifier`.
        detach: likewise.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: NumClasses,
        *,
        pool_sizes: Sequence[Size3],
        dropout: float = 0.0,
        detach: bool = False,
    ) -> None:
        super().__init__(dropout=dropout, detach=detach)
        self.pool_sizes = list(pool_sizes)
        self.add_classifiers(num_features, num_classes)

    def positions(self, maps: Sequence[Tensor]) -> Tensor:
        """``(B, C_p, T_p, H, W)`` per pathway -> features ``(B, T', H', W', num_features)``."""
        return pool_pathways(maps, self.pool_sizes).permute(0, 2, 3, 4, 1)


class X3DHead(Classifier):
    """Widen, average-pool, widen again, classify (Feichtenhofer 2020, table 1).

    Args:
        dim_in: channels of the last stage.
        dim_inner: channels pooled.
        num_features: width of the second widening, ``X3D.DIM_C5``.
        num_classes: of the one task, or ``{task: classes}``.
        pool_size: ``(T, H, W)`` of the map of a training clip.
        bn_lin5: normalise the second widening too.
        dropout: see :class:`Classifier`.
        detach: likewise.
    """

    def __init__(
        self,
        dim_in: int,
        dim_inner: int,
        num_features: int,
        num_classes: NumClasses,
        *,
        pool_size: Size3,
        bn_lin5: bool = False,
        dropout: float = 0.0,
        detach: bool = False,
    ) -> None:
        super().__init__(dropout=dropout, detach=detach)
        self.pool_size = pool_size
        self.conv_5 = conv3d(dim_in, dim_inner, (1, 1, 1))
        self.conv_5_bn = nn.BatchNorm3d(dim_inner)
        self.conv_5_relu = nn.ReLU(inplace=True)
        self.lin_5 = conv3d(dim_inner, num_features, (1, 1, 1))
        if bn_lin5:
            self.lin_5_bn = nn.BatchNorm3d(num_features)
        self.bn_lin5 = bn_lin5
        self.add_classifiers(num_features, num_classes)

    def positions(self, maps: Sequence[Tensor]) -> Tensor:
        """``[(B, dim_in, T, H, W)]`` -> features ``(B, T', H', W', num_features)``."""
        (x,) = maps
        x = pool(self.conv_5_relu(self.conv_5_bn(self.conv_5(x))), self.pool_size)
        x = self.lin_5(x)
        if self.bn_lin5:
            x = self.lin_5_bn(x)
        return F.relu(x).permute(0, 2, 3, 4, 1)


def pool(x: Tensor, size: Size3) -> Tensor:
    """Average over windows of ``size`` at stride 1; of the whole map along an axis shorter.

    A training clip leaves one position; a larger clip several, each classified by itself
    (fully convolutional testing); a smaller one, which PySlowFast refuses, one again.
    """
    kernel = tuple(min(k, s) for k, s in zip(size, x.shape[2:], strict=True))
    return F.avg_pool3d(x, kernel, stride=1)


def pool_pathways(maps: Sequence[Tensor], sizes: Sequence[Size3]) -> Tensor:
    """``(B, C_p, T_p, H, W)`` per pathway, pooled -> ``(B, sum of C_p, T', H', W')``."""
    pooled = [pool(y, size) for y, size in zip(maps, sizes, strict=True)]
    if len({y.shape[2:] for y in pooled}) > 1:  # unlike numbers of windows: one window each
        pooled = [y.mean(dim=(2, 3, 4), keepdim=True) for y in pooled]
    return torch.cat(pooled, dim=1)
