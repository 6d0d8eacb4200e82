"""The layouts weights are kept in, and how each relates to our names.

A layout says what its files hold beyond ours and ours beyond its: whatever a conversion drops or
adds has to be named here with the reason, or the conversion is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from slowfast.checkpoint.caffe2 import from_caffe2, to_caffe2
from slowfast.checkpoint.convert import merge_sub_batchnorm, strip_wrappers
from slowfast.checkpoint.io import CheckpointError
from slowfast.checkpoint.mobilenetv3_ote import from_ote, is_ote, to_ote
from slowfast.checkpoint.published import (
    from_epic_lstm,
    from_imfe,
    is_epic_lstm,
    is_imfe,
    to_epic_lstm,
    to_imfe,
)
from slowfast.checkpoint.pytorchvideo import (
    family_of,
    from_pytorchvideo,
    is_pytorchvideo,
    resnet_family,
    to_pytorchvideo,
    wrapped,
)

State = Mapping[str, Tensor]
Rename = Callable[[State], dict[str, Tensor]]
Reasons = Sequence[tuple[str, str]]
"""(pattern of whole names, why such an entry has no counterpart)."""

COUNTER = (r".*num_batches_tracked", "a counter that evaluation does not read")
NORM_FOLDED = (
    r"s2\.pathway0_res0\.(branch1\.weight|branch1_bn\..*|branch2\.c_bn\.bias)",
    "the shortcut's batch norm, which is not there, computed into its neighbours",
)
NORM_FOLDED_INTO = (
    r"blocks\.1\.res_blocks\.0\.branch2\.norm_c\.bias|blocks\.1\.res_blocks\.0\.branch1_conv\.weight",
    "the shortcut's batch norm, which is not there, computed into it",
)
NORM_ADDED = (
    r"s2\.pathway0_res0\.branch1_bn\..*",
    "a batch norm that changes nothing, where there is none",
)


@dataclass(frozen=True)
class Step:
    """A part of a conversion.

    Attributes:
        rename: names of one layout -> names of another.
        dropped: entries that it leaves out or computes others from, and why.
        added: entries that it makes, and why.
    """

    rename: Rename
    dropped: Reasons = ()
    added: Reasons = ()


@dataclass(frozen=True)
class Layout:
    """A project's files.

    Attributes:
        title: whose files these are.
        key: where the weights are in the file's dictionary; ``None``: a caffe2 pickle.
        matches: tells the layout by the names.
        read: to our names.
        write: from our names, given ``MODEL.ARCH`` if it is known.
    """

    title: str
    key: str | None
    matches: Callable[[State], bool]
    read: Step
    write: Callable[[str | None], Step]


def bare_names(state: State) -> dict[str, Tensor]:
    """Without the prefixes of wrappers, with plain batch norms."""
    return merge_sub_batchnorm({strip_wrappers(name): value for name, value in state.items()})


def read_step(rename: Callable[..., dict[str, Tensor]], **reasons: Reasons) -> Step:
    """A step that first takes wrappers off."""
    return Step(lambda state: rename(bare_names(state)), **reasons)


def _write_pytorchvideo(arch: str | None) -> Step:
    def rename(state: State) -> dict[str, Tensor]:
        family = family_of(state)
        if family.startswith("resnet"):
            to_pytorchvideo(state, family=family)  # for its errors: is it a ResNet at all
            family = resnet_family(state, arch)
        return to_pytorchvideo(state, family=family)

    return Step(rename, dropped=[NORM_FOLDED], added=[NORM_FOLDED_INTO])


def _write_ote(state: State) -> dict[str, Tensor]:
    converted = to_ote(state)
    unknown = [name for name in state if name in converted]
    if unknown:
        raise CheckpointError(
            f"OpenVINO Training Extensions' MobileNetV3 has no place for {unknown[:3]}: it is a "
            "backbone, an embedding and the centres of one task"
        )
    return converted


def always(step: Step) -> Callable[[str | None], Step]:
    """The same step whatever ``MODEL.ARCH`` is."""
    return lambda arch: step


LAYOUTS: Mapping[str, Layout] = {
    "pyslowfast": Layout(
        title="PySlowFast and this project",
        key="model_state",
        matches=lambda state: True,
        read=read_step(
            dict,
            dropped=[
                (r".*\.split_bn\..*", "statistics of the parts of a training batch"),
                COUNTER,
            ],
        ),
        write=always(Step(dict)),
    ),
    "pytorchvideo": Layout(
        title="PyTorchVideo",
        key="model_state",
        matches=is_pytorchvideo,
        read=read_step(from_pytorchvideo, added=[NORM_ADDED]),
        write=_write_pytorchvideo,
    ),
    "caffe2": Layout(
        title="caffe2 files of PySlowFast's model zoo",
        key=None,
        matches=lambda state: "pred_w" in state,
        read=Step(from_caffe2, dropped=[(r".*(momentum|lr|model_iter).*", "state of the solver")]),
        write=always(Step(to_caffe2, dropped=[COUNTER])),
    ),
    "ote": Layout(
        title="OpenVINO Training Extensions' MobileNetV3",
        key="state_dict",
        matches=is_ote,
        read=read_step(from_ote, dropped=[(r"(module\.)*cls_head\.head_loss.*", "of the loss")]),
        write=always(Step(_write_ote)),
    ),
    "imfe": Layout(
        title="IMFE (RT-HARE)",
        key="model",
        matches=is_imfe,
        read=read_step(
            from_imfe,
            dropped=[
                (
                    r"(module\.)*(motion_encoder\.convflow[12]|resnet\.(conv1|bn1|layer[12]|fc))\..*",
                    "saved there, never used",
                )
            ],
        ),
        write=always(
            Step(
                to_imfe,
                added=[
                    (
                        r"(motion_encoder\.convflow[12]|resnet\.(conv1|bn1|layer[12]|fc))\..*",
                        "zeros: expected there, never used",
                    )
                ],
            )
        ),
    ),
    "epic_lstm": Layout(
        title="ResNet50+LSTM for EPIC-KITCHENS-100 (Just4Stan)",
        key="model_state_dict",
        matches=is_epic_lstm,
        read=read_step(from_epic_lstm),
        write=always(Step(to_epic_lstm)),
    ),
}
"""By the name ``--from`` and ``--to`` take; ``auto`` takes the first but one that matches."""


def detect(state: State) -> str:
    """The layout that the names are of.

    >>> import torch
    >>> detect({"module.blocks.0.conv.weight": torch.zeros(1)})
    'pytorchvideo'
    """
    bare = {strip_wrappers(name): value for name, value in state.items()}
    special = [name for name in LAYOUTS if name != "pyslowfast" and LAYOUTS[name].matches(bare)]
    return special[0] if special else "pyslowfast"


def plan(
    source: str, target: str, *, arch: str | None = None, inside: State | None = None
) -> tuple[list[Step], list[Step]]:
    """The steps from a layout to the names of our model, and from those to another layout.

    Args:
        source: key of ``LAYOUTS``.
        target: likewise.
        arch: ``MODEL.ARCH``, if known.
        inside: state dict of the model when that is a network of PyTorchVideo, whose names are
            theirs and not ours.
    """
    ours, theirs, plain = LAYOUTS[source], LAYOUTS[target], LAYOUTS["pyslowfast"].read
    if inside is None:
        if source == target:
            return [replace(plain, rename=lambda state: _without_model(bare_names(state)))], []
        return [ours.read], [theirs.write(arch)]
    names = list(inside)
    if source == "pytorchvideo":
        before = [replace(plain, rename=lambda state: wrapped(bare_names(state), names))]
    else:
        into = _write_pytorchvideo(arch)
        added = [(rf"model\.(?:{pattern})", reason) for pattern, reason in into.added]
        before = [ours.read, Step(lambda state: wrapped(state, names), into.dropped, added)]
    if target == "pyslowfast":
        return before, []
    if target == "pytorchvideo":
        return before, [Step(_without_model)]
    return before, [LAYOUTS["pytorchvideo"].read, theirs.write(arch)]


def _without_model(state: State) -> dict[str, Tensor]:
    """PyTorchVideo's names without PySlowFast's prefix; others as they are."""
    if not is_pytorchvideo(state):
        return dict(state)
    return {name.removeprefix("model."): value for name, value in state.items()}


def reason_for(name: str, reasons: Reasons) -> str | None:
    """Why an entry has no counterpart, if that is known."""
    return next((reason for pattern, reason in reasons if re.fullmatch(pattern, name)), None)
