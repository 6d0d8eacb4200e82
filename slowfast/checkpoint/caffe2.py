"""Caffe2 ``.pkl`` weights of PySlowFast's model zoo, read without running what is in them.

Also written: an archive of arrays, plain pickled data.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slowfast.checkpoint.io import CheckpointError, MissingCheckpointError
from slowfast.utils.errors import shortened
from slowfast.utils.safe_pickle import PlainUnpickler

PATHWAY = {"": "0", "t_": "1"}
"""Prefix of a blob -> pathway: the Fast one's start with ``t_`` (temporal)."""

SUFFIXES = (
    ("_bn_s", "_bn.weight"),
    ("_bn_b", "_bn.bias"),
    ("_bn_rm", "_bn.running_mean"),
    ("_bn_riv", "_bn.running_var"),
    ("_w", ".weight"),
    ("_b", ".bias"),
)
SKIPPED = ("momentum", "lr", "model_iter")
"""Solver state that the files hold beside the weights."""

LAYERS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"(t_)?conv1(_xy)?", lambda m: f"s1.pathway{PATHWAY[m[1] or '']}_stem.conv{m[2] or ''}"),
    (r"(t_)?res_conv1_bn", lambda m: f"s1.pathway{PATHWAY[m[1] or '']}_stem.bn"),
    (r"t_pool1_subsample", lambda m: "s1_fuse.conv_f2s"),
    (r"t_pool1_subsample_bn", lambda m: "s1_fuse.bn"),
    (r"t_res(\d)_\d+_branch2c_bn_subsample", lambda m: f"s{m[1]}_fuse.conv_f2s"),
    (r"t_res(\d)_\d+_branch2c_bn_subsample_bn", lambda m: f"s{m[1]}_fuse.bn"),
    (r"(t_)?res(\d)_(\d+)_branch1(_bn)?", lambda m: f"{_block(m)}.branch1{m[4] or ''}"),
    (
        r"(t_)?res(\d)_(\d+)_branch2([abc])(_bn)?",
        lambda m: f"{_block(m)}.branch2.{m[4]}{m[5] or ''}",
    ),
    (
        r"(t_)?res(\d)_(\d+)_branch2b_bn_fc([12])",
        lambda m: f"{_block(m)}.branch2.se.fc{m[4]}",
    ),
    (
        r"nonlocal_conv(\d)_(\d+)_(theta|phi|g|out)",
        lambda m: f"s{m[1]}.pathway0_nonlocal{m[2]}.conv_{m[3]}",
    ),
    (r"nonlocal_conv(\d)_(\d+)_bn", lambda m: f"s{m[1]}.pathway0_nonlocal{m[2]}.bn"),
    (r"((?:conv|lin)_5(?:_bn)?)", lambda m: f"head.{m[1]}"),
    (r"pred", lambda m: "head.projection"),
)
"""Layer in the file -> module name; each pattern must match as a whole."""


BLOBS: tuple[tuple[str, str], ...] = (
    (r"s1\.pathway{p}_stem\.(?P<x>conv|conv_xy)", "{t}{x1}"),
    (r"s1\.pathway{p}_stem\.bn", "{t}res_conv1_bn"),
    (r"s1_fuse\.conv_f2s", "t_pool1_subsample"),
    (r"s1_fuse\.bn", "t_pool1_subsample_bn"),
    (r"s{s}_fuse\.conv_f2s", "t_res{s}_{last}_branch2c_bn_subsample"),
    (r"s{s}_fuse\.bn", "t_res{s}_{last}_branch2c_bn_subsample_bn"),
    (r"s{s}\.pathway{p}_res{i}\.(?P<x>branch1(?:_bn)?)", "{t}res{s}_{i}_{x}"),
    (r"s{s}\.pathway{p}_res{i}\.branch2\.(?P<x>[abc](?:_bn)?)", "{t}res{s}_{i}_branch2{x}"),
    (r"s{s}\.pathway{p}_res{i}\.branch2\.se\.(?P<x>fc[12])", "{t}res{s}_{i}_branch2b_bn_{x}"),
    (r"s{s}\.pathway0_nonlocal{i}\.conv_(?P<x>\w+)", "nonlocal_conv{s}_{i}_{x}"),
    (r"s{s}\.pathway0_nonlocal{i}\.bn", "nonlocal_conv{s}_{i}_bn"),
    (r"head\.(?P<x>(?:conv|lin)_5(?:_bn)?)", "{x}"),
    (r"head\.projection", "pred"),
)
"""Module name -> layer in the file: the way back. ``{last}`` is the last block of Fast's stage."""

NEEDED = frozenset({
    "collections.OrderedDict", "numpy.ndarray", "numpy.dtype", "_codecs.encode",
    "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
})  # fmt: skip
"""Classes and functions that pickled arrays name."""
LONGEST_CAUSE = 400  # characters

NORM_LEAVES = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}


def _block(match: re.Match[str]) -> str:
    return f"s{match[2]}.pathway{PATHWAY[match[1] or '']}_res{match[3]}"


def caffe2_name(blob: str) -> str:
    """State-dict name of a blob.

    >>> caffe2_name("t_res4_2_branch2b_bn_riv")
    's4.pathway1_res2.branch2.b_bn.running_var'

    Raises:
        CheckpointError: no rule knows it.
    """
    for suffix, leaf in SUFFIXES:
        if not blob.endswith(suffix):
            continue
        norm, _, entry = leaf.partition(".")
        layer = blob.removesuffix(suffix) + norm
        for pattern, module in LAYERS:
            match = re.fullmatch(pattern, layer)
            if match:
                return f"{module(match)}.{entry}"
    raise CheckpointError(
        f"no rule turns the caffe2 blob {shortened(blob)} into a parameter name: the file is of a "
        "network that is not built here"
    )


def caffe2_blob(name: str, last_block: Mapping[int, int]) -> str:
    """Blob of a state-dict name, the inverse of :func:`caffe2_name`.

    Args:
        name: of a parameter or buffer.
        last_block: stage -> index of the last block of its Fast pathway.

    >>> caffe2_blob("s4.pathway1_res2.branch2.b_bn.running_var", {})
    't_res4_2_branch2b_bn_riv'

    Raises:
        CheckpointError: the files have no such layer.
    """
    module, _, leaf = name.rpartition(".")
    for pattern, template in BLOBS:
        regex = pattern.replace("{s}", r"(?P<s>[2-5])").replace("{i}", r"(?P<i>\d+)")
        match = re.fullmatch(regex.replace("{p}", r"(?P<p>[01])"), module)
        if match is None:
            continue
        fields = match.groupdict()
        stem = {"conv": "conv1", "conv_xy": "conv1_xy"}.get(fields.get("x", ""), "")
        last = last_block.get(int(fields.get("s", 0)))
        layer = template.format(
            **fields, x1=stem, t="t_" if fields.get("p") == "1" else "", last=last
        )
        leaves = NORM_LEAVES if module.endswith("bn") else {"weight": "w", "bias": "b"}
        if leaf in leaves:
            return f"{layer}_{leaves[leaf]}"
    raise CheckpointError(
        f"caffe2's files have no layer for {name!r}: they hold ResNets, SlowFast, X3D with one task"
    )


def from_caffe2(blobs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``blob -> tensor`` to ``name -> tensor``; solver state is left out."""
    return {
        caffe2_name(blob): value
        for blob, value in blobs.items()
        if not any(part in blob for part in SKIPPED)
    }


def to_caffe2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``name -> tensor`` to ``blob -> tensor``; batch norms' counters are left out."""
    last_block: dict[int, int] = {}
    for name in state:
        match = re.match(r"s(\d)\.pathway1_res(\d+)\.", name)
        if match:
            stage = int(match[1])
            last_block[stage] = max(last_block.get(stage, 0), int(match[2]))
    return {
        caffe2_blob(name, last_block): value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }


def caffe2_bytes(blobs: Mapping[str, Tensor]) -> bytes:
    """The contents of a ``.pkl`` file."""
    arrays = {blob: value.detach().cpu().numpy() for blob, value in blobs.items()}
    return pickle.dumps({"blobs": arrays}, protocol=2)


def read_caffe2(path: Path | str) -> dict[str, Tensor]:
    """The weights in a caffe2 ``.pkl``, in our names.

    Raises:
        CheckpointError: not such a file, or one that would run code.
    """
    blobs = read_blobs(path)
    try:
        return from_caffe2(blobs)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_blobs(path: Path | str) -> dict[str, Tensor]:
    """Everything in a caffe2 ``.pkl``, solver state too, under the names it has there.

    Raises:
        CheckpointError: not such a file, or one that would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingCheckpointError(f"no caffe2 weights at {path}")
    with path.open("rb") as file:
        try:
            content = ArrayUnpickler(file, str(path), "latin1").load()
        except Exception as error:  # a damaged pickle can raise almost anything
            cause = str(error) if len(str(error)) < LONGEST_CAUSE else shortened(str(error))
            raise CheckpointError(f"{path} is not a readable caffe2 .pkl: {cause}") from error
    blobs = content.get("blobs") if isinstance(content, dict) else None
    if not isinstance(blobs, dict):
        raise CheckpointError(f"{path} holds no caffe2 weights: a dictionary with `blobs` expected")
    wrong = [n for n, value in blobs.items() if not (isinstance(n, str) and _is_numeric(value))]
    if wrong:
        raise CheckpointError(f"{path}: blobs {shortened(wrong[:3])} are not arrays of numbers")
    return {blob: torch.from_numpy(np.array(value)) for blob, value in blobs.items()}  # copies


def _is_numeric(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic, int, float)) and (
        np.asarray(value).dtype.kind in "biuf"
    )


class ArrayUnpickler(PlainUnpickler):
    """Builds containers, numbers and NumPy arrays; refuses every other class and function."""

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle of arrays names.

        Raises:
            pickle.UnpicklingError: it is something else.
        """
        if f"{module}.{name}".replace("numpy._core.", "numpy.core.") not in NEEDED:
            raise pickle.UnpicklingError(
                f"it asks for {shortened(f'{module}.{name}')}, which arrays of weights do not "
                "need; loading it could run any code, so it is refused"
            )
        return super().find_class(module, name)
