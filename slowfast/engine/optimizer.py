"""Parameter groups and optimisers, in the order PySlowFast's optimiser states expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from slowfast.engine.parallel import is_sharded, share_like

METHODS = ("sgd", "adam", "adamw", "mt_adamw")


def param_groups(
    model: nn.Module,
    *,
    weight_decay: float,
    bn_weight_decay: float = 0.0,
    zero_wd_1d: bool = False,
) -> list[dict[str, Any]]:
    """Trainable parameters in up to three groups: batch norms, the rest, the undecayed.

    The order, within and between groups, is PySlowFast's, so that an ``optimizer_state`` of
    either program loads into the other. Empty groups are left out. ``layer_decay`` scales a
    group's learning rate (here always 1); ``apply_LARS`` is only carried for PySlowFast.

    Args:
        model: its frozen parameters are left out.
        weight_decay: of convolutions and linear layers, biases included.
        bn_weight_decay: of batch norm weights and biases.
        zero_wd_1d: do not decay biases and other vectors (outside batch norms).
    """
    norms: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    seen: set[nn.Parameter] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue  # a tied parameter belongs to the first module that holds it
            seen.add(parameter)
            if isinstance(module, _NormBase):
                norms.append(parameter)
            elif zero_wd_1d and (parameter.ndim == 1 or name == "bias"):
                undecayed.append(parameter)
            else:
                rest.append(parameter)
    decays = ((norms, bn_weight_decay), (rest, weight_decay), (undecayed, 0.0))
    return [
        {"params": members, "weight_decay": decay, "layer_decay": 1.0, "apply_LARS": False}
        for members, decay in decays
        if members
    ]


def make_optimizer(
    groups: list[dict[str, Any]],
    *,
    method: str,
    lr: float,
    momentum: float = 0.9,
    dampening: float = 0.0,
    nesterov: bool = True,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Optimizer:
    """The optimiser called ``method``, with torch's fastest implementation for the device.

    The fused kernels take a step over X3D-S's 3.8 M parameters from 15 ms to 6 (SGD) and from
    32 ms to 3 (AdamW) on one CPU core. They walk the memory of weights, gradients and states
    side by side, so these must be laid out alike: autograd sees to the gradients,
    :func:`load_optimizer_state` to the states.

    Args:
        groups: see :func:`param_groups`.
        method: ``sgd``, ``adam``, ``adamw``, or ``mt_adamw`` (adamw: torch's own is already
            multi-tensor).
        lr: initial rate; the trainer sets it before every step.
        momentum: of sgd.
        dampening: of sgd; must be 0 with Nesterov momentum.
        nesterov: of sgd.
        betas: of the Adams.
    """
    if method not in METHODS:
        raise ValueError(f"SOLVER.OPTIMIZING_METHOD is {method!r}; known: {', '.join(METHODS)}")
    if not groups:
        raise ValueError("nothing to train: every parameter is frozen")
    first = groups[0]["params"][0]
    has_fused = first.device.type in {"cpu", "cuda"} and not is_sharded(first)
    fused = has_fused or None  # None: torch chooses
    if method == "sgd":
        return torch.optim.SGD(
            groups, lr, momentum, dampening, nesterov=nesterov and momentum > 0, fused=fused
        )
    kind = torch.optim.Adam if method == "adam" else torch.optim.AdamW
    return kind(groups, lr=lr, betas=betas, eps=1e-8, fused=fused)


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Give every group the rate ``lr`` times its ``layer_decay``."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("layer_decay", 1.0)


@torch.no_grad()
def complete_momentum(optimizer: Optimizer) -> None:
    """Give parameters that begin to train late SGD's momentum of zero.

    torch's fused SGD takes a group in which either every parameter has a momentum or none. From
    zero, the first step is the same as from none (but for ``SOLVER.DAMPENING``).
    """
    if not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        entries = [optimizer.state[p] for p in group["params"] if p in optimizer.state]
        if not any(entry.get("momentum_buffer") is not None for entry in entries):
            continue  # it will begin with the first step, for all of them
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)


def load_optimizer_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """``optimizer.load_state_dict`` that says what differs, and keeps this device's kernels.

    The flags that choose a kernel (``fused``, ``foreach``, ``capturable``) are of the machine
    that wrote the file and would fail on another device; so are the memory layouts, and fused
    kernels would silently mix up the entries of a momentum laid out unlike its weight.

    Raises:
        ValueError: other groups than in the file.
    """
    ours = [len(group["params"]) for group in optimizer.param_groups]
    theirs = [len(group["params"]) for group in state["param_groups"]]
    if ours != theirs:
        raise ValueError(
            f"the checkpoint's optimizer has groups of {theirs} parameters, this model {ours}. "
            "To start a new training from its weights, set TRAIN.CHECKPOINT_FILE_PATH and "
            "another OUTPUT_DIR instead of resuming."
        )
    flags = ("fused", "foreach", "capturable", "differentiable")
    kept = [{key: g[key] for key in flags if key in g} for g in optimizer.param_groups]
    optimizer.load_state_dict(dict(state))
    for group, own in zip(optimizer.param_groups, kept, strict=True):
        group.update(own)
        group.setdefault("layer_decay", 1.0)
        for parameter in group["params"]:
            entries = optimizer.state.get(parameter, {})
            for name, value in entries.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    entries[name] = torch.empty_like(parameter, dtype=value.dtype)
                    entries[name].copy_(share_like(value, parameter))
