"""Fresh weights as PySlowFast draws them."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def init_weights(model: nn.Module, *, fc_std: float = 0.01, zero_final_bn: bool = True) -> None:
    """He initialisation (fan-out) for convolutions, ``N(0, fc_std)`` for linear layers.

    Biases are 0, scales 1, except that of each residual branch's last normalisation
    (``last_norm``), which is 0 under ``zero_final_bn``: blocks start as the identity
    (Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 5.1).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
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
