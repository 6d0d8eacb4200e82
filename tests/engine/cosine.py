"""A cosine model small enough for every test of what trains one."""

import torch
from torch import nn

from slowfast.models.cosine import CosineModel
from slowfast.models.layers.cosine_head import CosineHead


class TinyCosine(CosineModel):
    """Two convolutions with batch norm, dropout in between, and a cosine head."""

    def __init__(self, num_classes=4, *, width=6, num_features=8, scale=16.0, dropout=0.0):
        super().__init__()
        self.num_features, self.scale = num_features, scale
        self.backbone = nn.Sequential(
            nn.Conv3d(3, width, 3, padding=1, bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv3d(width, width, 3, padding=1, stride=(1, 2, 2), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(),
        )
        self.head = CosineHead(width, num_features, num_classes, dropout=dropout)

    def forward_features(self, clips):
        return self.head.embed(self.backbone(clips[0]))


def unit(rows, columns, seed=0):
    """Rows of length 1."""
    generator = torch.Generator().manual_seed(seed)
    return nn.functional.normalize(torch.randn(rows, columns, generator=generator), dim=1)
