"""Names of the checkpoints that the projects behind IMFE and ResNet50+LSTM save."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from slowfast.checkpoint.io import CheckpointError

IMFE_UNUSED = (
    "motion_encoder.convflow1.", "motion_encoder.convflow2.", "resnet.conv1.", "resnet.bn1.",
    "resnet.layer1.", "resnet.layer2.", "resnet.fc.",
)  # fmt: skip
"""What IMFE's code builds and saves, 3.6 M parameters, but never uses."""

IMFE_PARTS = ("feature_encoder.", "compress_conv.", "motion_encoder.", "mid_conv.", "resnet.")

LSTM_PARTS = {
    "temporal": "lstm",
    "verb_head": "head.projection_verb",
    "noun_head": "head.projection_noun",
}


def is_imfe(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of https://github.com/rickywrq/RT-HARE."""
    return "compress_conv.weight" in state and any(name.startswith(IMFE_UNUSED) for name in state)


def from_imfe(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of our all-pairs IMFE: the names are the same, less what is never used."""
    return {name: value for name, value in state.items() if not name.startswith(IMFE_UNUSED)}


def to_imfe(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What IMFE's code loads: our all-pairs weights, and zeros for what it never uses.

    Raises:
        CheckpointError: not of an all-pairs IMFE with a ResNet-50's end and no classifier.
    """
    odd = [name for name in state if not name.startswith(IMFE_PARTS)]
    if odd or "compress_conv.weight" not in state:
        raise CheckpointError(
            f"IMFE's project has no place for {odd[:3] or 'a network without compress_conv'}: it "
            "holds the all_pairs form (IMFE.CORRELATION) without a classifier (IMFE.CLASSIFIER)"
        )
    unused = {name: torch.zeros(shape) for name, shape in imfe_unused_shapes().items()}
    counters = {n: torch.tensor(0) for n in unused if n.endswith("num_batches_tracked")}
    return {**state, **unused, **counters}


def imfe_unused_shapes() -> dict[str, tuple[int, ...]]:
    """The entries of ``IMFE_UNUSED``: RAFT's flow branch, the rest of a ResNet-50."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in (("convflow1", (128, 2, 7, 7)), ("convflow2", (64, 128, 3, 3))):
        shapes |= {f"motion_encoder.{name}.0.weight": shape}
        shapes |= {f"motion_encoder.{name}.0.bias": shape[:1]}
    shapes |= {"resnet.fc.weight": (1000, 2048), "resnet.fc.bias": (1000,)}
    shapes |= _conv_and_norm("resnet", "conv1", "bn1", (64, 3, 7, 7))
    for stage, blocks, dim_in, width in ((1, 3, 64, 64), (2, 4, 256, 128)):
        for i in range(blocks):
            block, before = f"resnet.layer{stage}.{i}", dim_in if i == 0 else 4 * width
            shapes |= _conv_and_norm(block, "conv1", "bn1", (width, before, 1, 1))
            shapes |= _conv_and_norm(block, "conv2", "bn2", (width, width, 3, 3))
            shapes |= _conv_and_norm(block, "conv3", "bn3", (4 * width, width, 1, 1))
            if i == 0:
                down = (4 * width, before, 1, 1)
                shapes |= _conv_and_norm(block, "downsample.0", "downsample.1", down)
    return shapes


def _conv_and_norm(
    owner: str, conv: str, norm: str, shape: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    leaves = ("weight", "bias", "running_mean", "running_var")
    norms = {f"{owner}.{norm}.{leaf}": shape[:1] for leaf in leaves}
    return {f"{owner}.{conv}.weight": shape, **norms, f"{owner}.{norm}.num_batches_tracked": ()}


def is_epic_lstm(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of https://github.com/Just4Stan/epic_kitchens."""
    return "temporal.weight_ih_l0" in state


def from_epic_lstm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names for the weights of a checkpoint.

    Example:
        >>> from torch import ones
        >>> weights = {"temporal.bias_hh_l0": ones(1), "verb_head.1.bias": ones(1)}
        >>> list(from_epic_lstm(weights))
        ['lstm.bias_hh_l0', 'head.projection_verb.bias']
    """
    converted = {}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        if part.endswith("_head"):
            rest = rest.rpartition(".")[2]  # the layer may stand behind a dropout
        converted[f"{LSTM_PARTS.get(part, part)}.{rest}"] = value
    return converted


def to_epic_lstm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their names for the weights of a ResNet50+LSTM with the tasks verb and noun.

    Raises:
        CheckpointError: there is more in the model.
    """
    parts = {
        "lstm.": "temporal.",
        "head.projection_verb.": "verb_head.1.",  # behind a dropout there
        "head.projection_noun.": "noun_head.1.",
        "backbone.": "backbone.",
    }
    converted = {}
    for name, value in state.items():
        part = next((part for part in parts if name.startswith(part)), None)
        if part is None or "lstm.weight_ih_l0" not in state:
            raise CheckpointError(
                f"the project of ResNet50+LSTM has no place for {name!r}: it holds a ResNet "
                "(backbone), an LSTM and classifiers of verbs and nouns"
            )
        converted[f"{parts[part]}{name.removeprefix(part)}"] = value
    return converted
