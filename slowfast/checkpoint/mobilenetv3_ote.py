"""Names of OpenVINO Training Extensions' s3d- and x3d-rgb-mobilenet-v3 checkpoints, both ways.

https://github.com/openvinotoolkit/mmaction2, branch ``ote``: layers are numbered by their place in
``nn.Sequential``, activations and absent squeeze-and-excites included. The class centres, there
``(embedding, classes)``, are ``(classes, embedding)`` here; all else has equal shapes.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

HEAD = "cls_head."
CENTRES = "fc_angular.weight"
NUM_BLOCKS = 15
FIRST_BLOCK = {"0": "depthwise", "1": "depthwise_bn", "4": "project", "5": "project_bn"}
BLOCK = {
    "0": "expand",
    "1": "expand_bn",
    "3": "depthwise",
    "4": "depthwise_bn",
    "5.fc.0": "se.fc1",
    "5.fc.2": "se.fc2",
    "7": "project",
    "8": "project_bn",
}
PERCEPTRON = ("fc1", "fc1_bn", "", "fc2", "fc2_bn")
OUTER = {
    "backbone.features.0.0": "backbone.stem.conv",
    "backbone.features.0.1": "backbone.stem.bn",
    "backbone.conv.0.0": "backbone.last.conv",
    "backbone.conv.0.1": "backbone.last.bn",
    "cls_head.fc_pre_angular.0": "head.embedding",
    "cls_head.fc_pre_angular.1": "head.embedding_bn",
    "cls_head.fc_angular": "head.projection",
}


def is_ote(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of OpenVINO Training Extensions."""
    return "backbone.features.0.0.weight" in state


def from_ote(state: Mapping[str, Tensor], *, head: int = 0) -> dict[str, Tensor]:
    """Our names for the weights of a checkpoint.

    Entries of losses (``cls_head.head_loss...``) are left out, as the networks do not have them;
    other unknown names stay, for the report of what did not fit.

    Args:
        state: names without ``module.``.
        head: number of the head taken from a network trained on several datasets at once.
    """
    modules = ote_modules()
    converted = {}
    for name, tensor in state.items():
        name = name.replace(f"{HEAD}{head}.", HEAD, 1) if name.startswith(HEAD) else name
        module, _, leaf = name.rpartition(".")
        if module in modules:
            ours = f"{modules[module]}.{leaf}"
            converted[ours] = tensor.t().contiguous() if name.endswith(CENTRES) else tensor
        elif not name.startswith(HEAD):
            converted[name] = tensor
    return converted


def to_ote(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their names for the weights of a single-task model."""
    modules = {ours: theirs for theirs, ours in ote_modules().items()}
    converted = {}
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        theirs = f"{modules.get(module, module)}.{leaf}"
        converted[theirs] = tensor.t().contiguous() if theirs.endswith(CENTRES) else tensor
    return converted


def ote_modules() -> dict[str, str]:
    """Their module name -> ours, of both networks.

    Example:
        >>> ote_modules()["backbone.features.4.conv.5.fc.2"]
        'backbone.blocks.3.se.fc2'
    """
    modules = dict(OUTER)
    for i in range(NUM_BLOCKS):
        theirs, ours = f"backbone.features.{i + 1}.conv", f"backbone.blocks.{i}"
        layers = BLOCK if i else FIRST_BLOCK
        modules |= {f"{theirs}.{place}": f"{ours}.{name}" for place, name in layers.items()}
        modules |= _diffusion(i)
    return modules


def _diffusion(i: int) -> dict[str, str]:
    """Paths of local-global diffusion at map ``i``."""
    pool = f"backbone.lgd_pool.pooling_{i}.conv"
    paths = {  # their name, ours, place of the first layer
        (pool, "pool", 1),
        (f"backbone.lgd_upsample.upsample_{i}.conv", "to_local", 0),
        (f"backbone.lgd_glob.glob_{i}.conv", "to_global", 0),
    }
    modules = {
        f"{theirs}.{first + place}": f"backbone.lgd.{ours}.{i}.{name}"
        for theirs, ours, first in paths
        for place, name in enumerate(PERCEPTRON)
        if name
    }
    context = f"backbone.lgd.pool.{i}.context"
    modules[f"{pool}.0.encoder.0"] = f"{context}.score"
    modules[f"{pool}.0.encoder.1"] = f"{context}.score_bn"
    return modules
