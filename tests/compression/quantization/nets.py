"""A small residual network, and clips for it."""

import torch
from torch import nn

from slowfast.models.base import ClipModel


class Residual(ClipModel):
    """Four convolutions, a shortcut past two of them, and a layer that runs twice."""

    def __init__(self, num_classes=4, width=8):
        super().__init__()
        self.num_features = width
        self.a, self.a_bn = nn.Conv3d(3, width, 3, padding=1, bias=False), nn.BatchNorm3d(width)
        self.b, self.b_bn = nn.Conv3d(width, width, 1, bias=False), nn.BatchNorm3d(width)
        self.c, self.c_bn = nn.Conv3d(width, width, 3, padding=1), nn.BatchNorm3d(width)
        self.d = nn.Conv3d(width, width, 1)
        self.twice = nn.Conv3d(width, width, 1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(width, num_classes)

    @property
    def classifiers(self):
        return {"action": self.head}

    def forward_features(self, clips):
        x = self.relu(self.a_bn(self.a(clips[0])))
        y = self.c_bn(self.c(self.relu(self.b_bn(self.b(x)))))
        y += x  # written to: no longer what the batch norm gave
        x = self.d(self.relu(y))
        x = x + 0.1 * self.twice(self.twice(x))
        return x.mean(dim=(2, 3, 4))

    def forward_head(self, features):
        return self.head(features)


def clips(batch=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, batch + 1).view(-1, 1, 1, 1, 1) / batch
    return [scale * torch.randn(batch, 3, 4, 12, 12, generator=generator)]


def settled(model, seed=0):
    """With batch norm statistics of its clips, in evaluation mode."""
    model.train()
    with torch.no_grad():
        for i in range(30):
            model(clips(seed=seed + i))
    return model.eval()


def make_sensitive(model, factor=3000.0):
    """One channel between b and c a thousand times larger, and as much smaller where it is read.

    The float network computes the same; steps for this channel leave nothing of the others.
    """
    with torch.no_grad():
        model.b_bn.weight[0] *= factor
        model.b_bn.bias[0] *= factor
        model.c.weight[:, 0] /= factor
    return model
