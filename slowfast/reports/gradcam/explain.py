"""Grad-CAM: which places of a layer's maps speak for a class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from slowfast.models.base import ClipModel, Preds
from slowfast.reports.gradcam.layers import (
    LayerError,
    at_rest,
    default_layer,
    pathways_of,
)
from slowfast.reports.gradcam.maps import maps_of, tensors_of, with_tensors
from slowfast.utils.errors import UserError

DETACHING = ("detach", "detach_head")
"""Attributes of heads that keep gradients from what is before them (MODEL.DETACH_FINAL_FC)."""


@dataclass(frozen=True)
class Heat:
    """What one layer says about one pathway.

    Attributes:
        pathway: number of the pathway, slow first.
        layer: name of the layer.
        maps: task -> evidence for the class, ``(B, T', H', W')``, at least 0, at the layer's
            resolution.
    """

    pathway: int
    layer: str
    maps: dict[str, Tensor]

    def on_clip(self, task: str, size: Sequence[int]) -> Tensor:
        """The heat of ``task`` on the frames of a clip, ``(B, T, H, W)``, 0 to 1 in each clip.

        Args:
            task: whose class.
            size: T, H, W.
        """
        maps = self.maps[task].unsqueeze(1)
        grown = functional.interpolate(maps, tuple(size), mode="trilinear", align_corners=False)
        grown = grown.squeeze(1)
        peak = grown.amax(dim=(1, 2, 3), keepdim=True)
        return torch.where(peak > 0, grown / peak.clamp_min(torch.finfo(peak.dtype).tiny), 0.0)


@dataclass(frozen=True)
class Explanation:
    """Of a batch of clips.

    Attributes:
        scores: task -> ``(B, num_classes)``, as ``predict`` gives them.
        classes: task -> ``(B,)`` classes that were explained.
        heats: one or more per pathway.
        features: name of a layer -> its maps ``(B, C, T', H', W')``.
    """

    scores: dict[str, Tensor]
    classes: dict[str, Tensor]
    heats: list[Heat]
    features: dict[str, list[Tensor]]


def explain(
    model: ClipModel,
    clips: Sequence[Tensor],
    *,
    layers: Sequence[str] = (),
    classes: Mapping[str, int | Sequence[int] | Tensor] | None = None,
) -> Explanation:
    """Grad-CAM of every task: channels weighted by their mean gradient, added, negatives cut.

    Of a map A and the logit y of a class, ``relu(sum_c mean(dy / dA_c) * A_c)``, means over time,
    height and width. The network is left as it was: modes, gradients, flags and hooks. It may
    be called where gradients are switched off, and for networks whose parameters are frozen or
    whose head is cut off from the rest.

    Args:
        model: in any mode; it is run in evaluation mode and full precision.
        clips: ``(B, C, T_p, H, W)`` of each pathway, on the model's device.
        layers: names, see :func:`~slowfast.reports.gradcam.layers.check_layer`; empty:
            :func:`~slowfast.reports.gradcam.layers.default_layer`.
        classes: task -> class of every clip, or one for all; else the predicted one.

    Raises:
        UserError: the model has no classes, or no such layer or class.
    """
    if not model.classifiers:
        raise UserError(
            f"{type(model).__name__} gives features and no classes here: Grad-CAM explains a class"
        )
    with torch.inference_mode(False), torch.no_grad():
        clips = [clip.clone() for clip in clips]
    names = list(layers) or [default_layer(model, clips)]
    with _taps(model, names) as outputs, _differentiable(model, clips[0].device):
        leaves = [clip.requires_grad_() for clip in clips]
        logits, scores = (_by_task(model, preds) for preds in model.score(leaves))
        chosen = {
            task: _classes_of(task, value, (classes or {}).get(task))
            for task, value in logits.items()
        }
        tensors = {name: tensors_of(output) for name, output in outputs.items()}
        gradients = {
            task: _gradients(value.gather(1, chosen[task][:, None]).sum(), tensors)
            for task, value in logits.items()
        }
    heats, features = [], {}
    for name, output in outputs.items():
        maps = features[name] = [x.detach() for x in maps_of(output, len(clips[0]), len(clips))]
        slopes = {
            task: maps_of(with_tensors(output, of_task[name]), len(clips[0]), len(clips))
            for task, of_task in gradients.items()
        }
        places = pathways_of(name, [tuple(x.shape[1:]) for x in maps], clips)
        for i, pathway in enumerate(places):
            by_task = {task: cam(maps[i], of_task[i]) for task, of_task in slopes.items()}
            heats.append(Heat(pathway, name, by_task))
    heats.sort(key=lambda heat: heat.pathway)
    found = {task: value.detach() for task, value in scores.items()}
    return Explanation(found, chosen, heats, features)


def cam(maps: Tensor, gradients: Tensor) -> Tensor:
    """``(B, C, T, H, W)`` and the gradients there -> ``(B, T, H, W)``, at least 0."""
    weights = gradients.mean(dim=(2, 3, 4), keepdim=True)
    return (weights * maps).sum(dim=1).relu()


def _by_task(model: ClipModel, preds: Preds) -> dict[str, Tensor]:
    return preds if isinstance(preds, dict) else {next(iter(model.classifiers)): preds}


def _classes_of(task: str, logits: Tensor, wanted: int | Sequence[int] | Tensor | None) -> Tensor:
    if wanted is None:
        return logits.detach().argmax(dim=1)
    chosen = torch.as_tensor(wanted, device=logits.device).long().expand(len(logits))
    if bool((chosen < 0).any()) or bool((chosen >= logits.shape[1]).any()):
        raise UserError(
            f"no class {wanted} of {task!r}: they are numbered 0 to {logits.shape[1] - 1}"
        )
    return chosen


def _gradients(score: Tensor, tensors: Mapping[str, Sequence[Tensor]]) -> dict[str, list[Tensor]]:
    """Layer -> gradients of ``score`` in the tensors of its output."""
    flat = [tensor for found in tensors.values() for tensor in found]
    given = iter(torch.autograd.grad(score, flat, retain_graph=True, allow_unused=True))
    slopes = {name: [next(given) for _ in found] for name, found in tensors.items()}
    for name, found in slopes.items():
        if all(slope is None for slope in found):
            raise LayerError(f"what layer {name!r} gives does not reach the prediction")
    return {
        name: [
            torch.zeros_like(tensor) if slope is None else slope.detach()
            for slope, tensor in zip(found, tensors[name], strict=True)
        ]
        for name, found in slopes.items()
    }


@contextmanager
def _taps(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Name -> what the layer gives, from now until the end, safe from changes in place."""
    outputs: dict[str, Any] = {}

    def keep(name: str, output: Any) -> Any:
        outputs[name] = output
        return with_tensors(output, [tensor.clone() for tensor in tensors_of(output)])

    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda _m, _i, output, name=name: keep(name, output)
        )
        for name in names
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _differentiable(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode with gradients, from the classes back to the clips."""
    cut = [
        (module, name)
        for module in model.modules()
        for name in DETACHING
        if getattr(module, name, False) is True
    ]
    # cuDNN's recurrent layers have no backward pass in evaluation mode
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    plain = torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext()
    try:
        for module, name in cut:
            setattr(module, name, False)
        with (
            at_rest(model),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
            plain,
        ):
            yield
    finally:
        for module, name in cut:
            setattr(module, name, True)
