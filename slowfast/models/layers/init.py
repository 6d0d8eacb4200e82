"""Fresh weights as PySlowFast draws them."""

from __future__ import annotations

import math

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def init_weights(
    model: nn.Module,
    *,
    fc_std: float = 0.01,
    zero_final_bn: bool = True,
    fan_of_group: bool = False,
) -> None:
    """He initialisation (fan-out) for convolutions, ``N(0, fc_std)`` for linear layers.

    Biases are 0, scales 1, except that of each residual branch's last normalisation
    (``last_norm``), which is 0 under ``zero_final_bn``: blocks start as the identity
    (Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 5.1).

    Args:
        model: changed in place.
        fc_std: of linear layers.
        zero_final_bn: see above.
        fan_of_group: count the outputs that an input really reaches, those of its group. PySlowFast
            (and ``torch.nn.init``) count all: the filters of a depthwise convolution with C
            channels begin sqrt(C) times smaller. Normalisation hides that in the forward pass,
            but a step of Adam, whose length does not depend on the weights, then changes them
            sqrt(C) times as much.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            groups = module.groups if fan_of_group else 1
            fan = module.out_channels // groups * math.prod(module.kernel_size)
            nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan))
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=fc_std)
        elif isinstance(module, _BatchNorm):
            nn.init.ones_(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if zero_final_bn:
        for module in model.modules():
            last = getattr(module, "last_norm", None)
            if isinstance(last, _BatchNorm):
                nn.init.zeros_(last.weight)
