"""A trained model as a plain function of tensors, and that function captured."""

from __future__ import annotations

import copy
import math
import warnings
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from slowfast.deploy.export.info import (
    COSINES,
    LOGITS,
    OUTPUTS,
    PROBABILITIES,
    ExportError,
    ExportInfo,
)
from slowfast.deploy.export.stems import has_frame_stems, with_frame_stems
from slowfast.models.base import ClipModel, Preds
from slowfast.models.cosine import CosineModel
from slowfast.models.staged import StagedModel
from slowfast.utils.errors import UserError


class Graph(nn.Module):
    """A copy of a model on the CPU, in evaluation mode: tensors in, a tuple of tensors out.

    Args:
        model: not changed.
        kind: of the outputs, one of ``OUTPUTS``; cosines of models with a cosine head only.
        reverse_channels: takes colours in the order opposite to the model's.
        mean, std: per channel in the order taken: uint8 frames come in and are normalised with
            them; without, frames are normalised already.
    """

    def __init__(
        self,
        model: ClipModel,
        kind: str = LOGITS,
        *,
        reverse_channels: bool = False,
        mean: list[float] | None = None,
        std: list[float] | None = None,
    ) -> None:
        super().__init__()
        if kind not in OUTPUTS:
            raise UserError(f"an exported model has no output {kind!r}; one of {OUTPUTS}")
        if kind == COSINES and not isinstance(model, CosineModel):
            raise UserError(f"{type(model).__name__} has no cosine head: export logits instead")
        self.model = copy.deepcopy(model).cpu().eval()
        self.kind, self.reverse_channels = kind, reverse_channels
        self.factor: Tensor | None
        self.offset: Tensor | None
        pairs = list(zip(mean, std, strict=True)) if mean and std else []
        factor = torch.tensor([1.0 / (255.0 * s) for _, s in pairs])[:, None, None, None]
        offset = torch.tensor([-m / s for m, s in pairs])[:, None, None, None]
        self.register_buffer("factor", factor if pairs else None)
        self.register_buffer("offset", offset if pairs else None)

    @classmethod
    def of(cls, model: ClipModel, info: ExportInfo) -> Graph:
        """What a file that ``info`` describes computes."""
        inside = info.normalized_inside
        return cls(
            model,
            info.kind,
            reverse_channels=info.is_reversed,
            mean=info.mean if inside else None,
            std=info.std if inside else None,
        )

    def forward(self, *clips: Tensor) -> tuple[Tensor, ...]:
        """``(B, C, T_p, H, W)`` per pathway -> ``(B, num_classes)`` per task."""
        inputs = [self._prepare(clip) for clip in clips]
        if self.kind == COSINES and isinstance(self.model, CosineModel):
            preds = self.model.forward_cosines(self.model.forward_features(inputs))
        elif self.kind == PROBABILITIES:
            preds = self.model.predict(inputs)
        else:
            preds = logits_of(self.model, inputs)
        return tuple(preds.values()) if isinstance(preds, dict) else (preds,)

    def _prepare(self, clip: Tensor) -> Tensor:
        if self.factor is not None and self.offset is not None:
            clip = clip.float() * self.factor + self.offset
        return clip.flip(1) if self.reverse_channels else clip


def logits_of(model: ClipModel, clips: list[Tensor]) -> Preds:
    """Logits that ``model.head_act`` turns into ``model.predict``.

    The model's own, except of a clip larger than in training: its scores are means over positions,
    which no activation gives back from the mean of their logits.
    """
    if not isinstance(model, StagedModel):
        return model(clips)
    logits = model.head.classify(model.positions(clips))
    if isinstance(logits, dict):
        return {task: _pooled(value, model.head_act) for task, value in logits.items()}
    return _pooled(logits, model.head_act)


def _pooled(logits: Tensor, act: str) -> Tensor:
    """``(B, T', H', W', num_classes)`` -> ``(B, num_classes)``."""
    logits = logits.flatten(1, 3)  # (B, positions, num_classes)
    count = logits.shape[1]
    if count == 1 or act == "none":
        return logits.mean(1)
    if act == "softmax":
        return logits.log_softmax(-1).logsumexp(1) - math.log(count)
    return logits.sigmoid().mean(1).logit(eps=1e-7)


class Source:
    """A model on its way into files: captured once, for all of them.

    Args:
        model: in any mode; not changed.
        info: what the files will take and give.
        plain: every convolution of the network is one in every file, as quantisation needs it.

    Attributes:
        onnx_path: the ONNX file of it, once there is one.
    """

    def __init__(self, model: ClipModel, info: ExportInfo, *, plain: bool = False) -> None:
        self.model, self.info, self.plain = model, info, plain
        self.onnx_path: Path | None = None

    @cached_property
    def graph(self) -> Graph:
        return Graph.of(self.model, self.info).requires_grad_(False)

    @property
    def clips(self) -> tuple[Tensor, ...]:
        """Clips to capture with: of zeros. Two, as the number one would be taken for fixed."""
        batch = self.info.batch or 2
        shapes = [(batch, *shape[1:]) for shape in self.info.inputs.values()]
        return tuple(torch.zeros(shape, dtype=self.info.dtype) for shape in shapes)

    @property
    def suits_all(self) -> bool:
        """Whether ONNX Runtime is to get the same graph as every other runtime."""
        return self.plain or not has_frame_stems(self.graph)

    @cached_property
    def program(self) -> ExportedProgram:
        """The graph as torch's intermediate representation.

        Raises:
            ExportError: the network does something that cannot be captured.
        """
        return self._capture(self.graph)

    @cached_property
    def onnxruntime_program(self) -> ExportedProgram:
        """The graph in the form that ONNX Runtime computes fastest; likewise."""
        return self.program if self.suits_all else self._capture(with_frame_stems(self.graph))

    def _capture(self, graph: nn.Module) -> ExportedProgram:
        batch = None if self.info.batch else {0: torch.export.Dim("batch")}
        shapes = (tuple(batch for _ in self.info.inputs),) if batch else None
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # of deprecations within torch
                return torch.export.export(graph, self.clips, dynamic_shapes=shapes)
        except Exception as error:  # of many kinds
            raise ExportError(
                f"{type(self.model).__name__} cannot be captured for export: {error}"
            ) from error
