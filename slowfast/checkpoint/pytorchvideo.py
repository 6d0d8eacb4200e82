"""PyTorchVideo's names for X3D, SlowFast, Slow, I3D and C2D, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import starmap
from typing import Literal

import torch
from torch import Tensor

from slowfast.checkpoint.io import CheckpointError

Family = Literal["x3d", "slowfast", "resnet", "resnet_pool"]
"""``resnet_pool``: C2D and I3D, whose pooling after res2 takes an index of its own."""

EPS = 1e-5
"""Of every batch norm here."""

BRANCH2 = (
    ("branch1_conv", "branch1"),
    ("branch1_norm", "branch1_bn"),
    ("branch2.conv_{c}", "branch2.{c}"),
    ("branch2.norm_b.0", "branch2.b_bn"),  # X3D keeps norm and SE in one sequence
    ("branch2.norm_b.1.block.0", "branch2.se.fc1"),
    ("branch2.norm_b.1.block.2", "branch2.se.fc2"),
    ("branch2.norm_{c}", "branch2.{c}_bn"),
)


def _blocks(theirs: str, ours: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"{theirs}.{a}", f"{ours}.{b}") for a, b in BRANCH2)


RULES: dict[Family, tuple[tuple[str, str], ...]] = {
    "x3d": (
        ("blocks.0.conv.conv_t", "s1.pathway0_stem.conv_xy"),  # misnamed there: it is spatial
        ("blocks.0.conv.conv_xy", "s1.pathway0_stem.conv"),
        ("blocks.0.norm", "s1.pathway0_stem.bn"),
        *_blocks("blocks.{k}.res_blocks.{i}", "s{s}.pathway0_res{i}"),
        ("blocks.5.pool.pre_conv", "head.conv_5"),
        ("blocks.5.pool.pre_norm", "head.conv_5_bn"),
        ("blocks.5.pool.post_conv", "head.lin_5"),
        ("blocks.5.pool.post_norm", "head.lin_5_bn"),
        ("blocks.5.proj{t}", "head.projection{t}"),
    ),
    "slowfast": (
        ("blocks.0.multipathway_blocks.{p}.conv", "s1.pathway{p}_stem.conv"),
        ("blocks.0.multipathway_blocks.{p}.norm", "s1.pathway{p}_stem.bn"),
        ("blocks.{k}.multipathway_fusion.conv_fast_to_slow", "s{s}_fuse.conv_f2s"),
        ("blocks.{k}.multipathway_fusion.norm", "s{s}_fuse.bn"),
        *_blocks("blocks.{k}.multipathway_blocks.{p}.res_blocks.{i}", "s{s}.pathway{p}_res{i}"),
        ("blocks.6.proj{t}", "head.projection{t}"),
    ),
    "resnet": (
        ("blocks.0.conv", "s1.pathway0_stem.conv"),
        ("blocks.0.norm", "s1.pathway0_stem.bn"),
        *_blocks("blocks.{k}.res_blocks.{i}", "s{s}.pathway0_res{i}"),
        ("blocks.5.proj{t}", "head.projection{t}"),
    ),
}
RULES["resnet_pool"] = (
    *RULES["resnet"][:2],
    *_blocks("blocks.1.res_blocks.{i}", "s2.pathway0_res{i}"),
    *_blocks("blocks.{s}.res_blocks.{i}", "s{s}.pathway0_res{i}"),
    ("blocks.6.proj{t}", "head.projection{t}"),
)
"""(theirs, ours); ``{s}`` is a stage 1..5, ``{k}`` one less, ``{i}`` a block, ``{p}`` a pathway,
``{c}`` a convolution a, b or c, ``{t}`` the task, if there are several. The first rule that fits
counts."""

FIELDS = {"s": r"\d", "k": r"\d", "i": r"\d+", "p": r"\d", "c": "[abc]", "t": r"(?:_\w+)?"}


def is_pytorchvideo(names: Iterable[str]) -> bool:
    """Whether these are names of a PyTorchVideo network, bare or inside PySlowFast's wrapper."""
    return any(re.match(r"(model\.)?blocks\.\d", name) for name in names)


def family_of(names: Iterable[str]) -> Family:
    """Which family's rules apply, from PyTorchVideo's or from our names."""
    known = {name.removeprefix("model.") for name in names}
    text = "\n".join(sorted(known))
    if "multipathway" in text or "s1_fuse" in text:
        return "slowfast"
    if "blocks.0.conv.conv_t" in text or "head.conv_5" in text:
        return "x3d"
    theirs = any(name.startswith("blocks.") for name in known)
    third_has_weights = any(name.startswith("blocks.2.") for name in known)
    return "resnet_pool" if theirs and not third_has_weights else "resnet"


def from_pytorchvideo(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """PyTorchVideo's state dict under our names.

    Its X3D does not normalise a projected shortcut that keeps the number of channels (res2);
    ours gets a batch norm there that changes nothing in evaluation.

    Raises:
        CheckpointError: a name that no rule knows.
    """
    bare = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    family = family_of(bare)
    if family.startswith("resnet") and any(starmap(_is_csn, bare.items())):
        raise CheckpointError(
            "these are weights of PyTorchVideo's CSN: they load into MODEL.MODEL_NAME PTVCSN only"
        )
    renamed = {_rename(name, RULES[family]): tensor for name, tensor in bare.items()}
    for name in list(renamed):
        shortcut = name.removesuffix(".weight")
        if shortcut.endswith(".branch1") and f"{shortcut}_bn.weight" not in renamed:
            renamed |= _identity_norm(f"{shortcut}_bn", len(renamed[name]))
    return renamed


def to_pytorchvideo(
    state: Mapping[str, Tensor], *, family: Family | None = None
) -> dict[str, Tensor]:
    """Our state dict under PyTorchVideo's names, the inverse of :func:`from_pytorchvideo`.

    Args:
        state: of an X3D, SlowFast, C2D, I3D or Slow, without non-local blocks.
        family: needed for C2D and I3D (``"resnet_pool"``), whose names do not show it.

    In X3D's res2, where they have no batch norm, ours is folded: its scale into the shortcut's
    convolution, its shift into the last batch norm of the block. Equal in evaluation.
    """
    family = family or family_of(state)
    state = _without_norms_absent_there(state) if family == "x3d" else dict(state)
    rules = tuple((ours, theirs) for theirs, ours in RULES[family])
    if family == "x3d":
        rules = tuple(rule for rule in rules if rule[1] != _NORM_B_OF_RESNETS)
    else:
        rules = tuple(rule for rule in rules if "norm_b." not in rule[1])
    return {_rename(name, rules): tensor for name, tensor in state.items()}


def wrapped(state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """The state dict of a network of PyTorchVideo inside a model here, from either's names.

    Args:
        state: under PyTorchVideo's names, with or without ``model.`` before them, or ours.
        names: those of the model here.
    """
    if not is_pytorchvideo(state):
        state = to_pytorchvideo(state, family=family_of(names))
    return {f"model.{name.removeprefix('model.')}": tensor for name, tensor in state.items()}


_NORM_B_OF_RESNETS = "blocks.{k}.res_blocks.{i}.branch2.norm_b"


def _is_csn(name: str, tensor: Tensor) -> bool:
    """Its names are those of Slow; there this kernel is 1x3x3."""
    return name.endswith(".branch2.conv_b.weight") and tensor.shape[2] > 1


def resnet_family(state: Mapping[str, Tensor], arch: str | None) -> Family:
    """Whether PyTorchVideo pools after res2 in the network that ``state`` (in our names) is of.

    Args:
        state: of a C2D, I3D or Slow.
        arch: ``MODEL.ARCH``, if known; else it must show: only Slow has temporal kernels from
            res4 on.

    Raises:
        CheckpointError: it does not show.
    """
    if arch is not None:
        return "resnet_pool" if arch in ("c2d", "i3d") else "resnet"
    kernels = {
        stage: {
            tensor.shape[2]
            for name, tensor in state.items()
            if name.startswith(f"s{stage}.") and name.endswith(("stem.conv.weight", ".a.weight"))
        }
        for stage in (1, 2, 4)
    }
    if kernels == {1: {1}, 2: {1}, 4: {3}}:
        return "resnet"
    raise CheckpointError(
        "C2D and I3D with and without temporal pooling (MODEL.ARCH ..._nopool) have the same "
        "weights but other names in PyTorchVideo: give the config, --cfg"
    )


def _rename(name: str, rules: Iterable[tuple[str, str]]) -> str:
    module, _, leaf = name.rpartition(".")
    for source, target in rules:
        match = re.fullmatch(_regex(source), module)
        if match:
            fields = match.groupdict()
            if "k" in fields:
                fields["s"] = str(int(fields["k"]) + 1)
            elif "s" in fields:
                fields["k"] = str(int(fields["s"]) - 1)
            return f"{target.format(**fields)}.{leaf}"
    raise CheckpointError(
        f"no rule renames {name!r}: PyTorchVideo's X3D, SlowFast, Slow, I3D and C2D are known, "
        "without attention; its other networks load into MODEL.MODEL_NAME PTVCSN, PTVR2plus1D and "
        "PTVMViT only"
    )


def _regex(template: str) -> str:
    parts = re.split(r"\{(\w)\}", template)
    return "".join(
        f"(?P<{part}>{FIELDS[part]})" if i % 2 else re.escape(part) for i, part in enumerate(parts)
    )


def _identity_norm(name: str, channels: int) -> dict[str, Tensor]:
    """A batch norm that returns its input in evaluation: the scale cancels epsilon."""
    scale = torch.full((channels,), 1 + EPS, dtype=torch.float64).sqrt()
    return {
        f"{name}.weight": scale.float(),
        f"{name}.bias": torch.zeros(channels),
        f"{name}.running_mean": torch.zeros(channels),
        f"{name}.running_var": torch.ones(channels),
        f"{name}.num_batches_tracked": torch.tensor(0),
    }


def _without_norms_absent_there(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fold ``branch1_bn`` wherever ``branch1`` keeps the number of channels."""
    folded = dict(state)
    for name, weight in state.items():
        block, is_shortcut, _ = name.partition(".branch1.weight")
        if not is_shortcut or weight.shape[0] != weight.shape[1]:
            continue
        folded.pop(f"{block}.branch1_bn.num_batches_tracked", None)  # caffe2 files have none
        norm = {leaf: folded.pop(f"{block}.branch1_bn.{leaf}") for leaf in NORM_ENTRIES}
        scale = norm["weight"].double() / (norm["running_var"].double() + EPS).sqrt()
        shift = norm["bias"].double() - norm["running_mean"].double() * scale
        folded[name] = (weight.double() * scale.view(-1, 1, 1, 1, 1)).to(weight.dtype)
        last = f"{block}.branch2.c_bn.bias"
        folded[last] = (folded[last].double() + shift).to(weight.dtype)
    return folded


NORM_ENTRIES = ("weight", "bias", "running_mean", "running_var")
