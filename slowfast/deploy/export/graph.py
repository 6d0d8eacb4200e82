"""A trained model as a plain function of tensors, and what its users must know about it."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from slowfast.models.base import ClipModel, activate
from slowfast.models.cosine import CosineModel
from slowfast.models.profile import build_model_inputs
from slowfast.utils.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

OUTPUTS = ("logits", "probabilities", "cosines")
INFO_SUFFIX = ".meta_info.json"


@dataclass(frozen=True)
class ExportInfo:
    """What stands beside an exported model, as JSON.

    The model takes float32 clips that are normalised already: ``(x / 255 - mean) / std`` per
    channel of uint8 frames.

    Attributes:
        inputs: name -> ``(B, C, T, H, W)``, one per pathway, slow first; B is free.
        outputs: names, one per task.
        tasks: of the outputs.
        kind: what comes out, one of ``OUTPUTS``.
        head_act: from logits to scores: softmax, sigmoid or none.
        scale: logits over cosines; ``None`` of models without a cosine head.
        channels: order of the colours of a clip, ``RGB`` or ``BGR``.
        model_channels: that of the model within; the file changes one into the other.
        mean, std: per channel in that order, of values in 0..1.
        stride: distance of the frames, at ``target_fps``.
        target_fps: frames per second; 0: those of the video.
        num_classes: of each task.
        model_classes: class id -> name of the first task, where known.
        config: of the training, as YAML.
    """

    inputs: dict[str, list[int]]
    outputs: list[str]
    tasks: list[str]
    kind: str
    head_act: str
    scale: float | None
    channels: str
    model_channels: str
    mean: list[float]
    std: list[float]
    stride: float
    target_fps: float
    num_classes: list[int] = field(default_factory=list)
    model_classes: dict[str, str] = field(default_factory=dict)
    config: str = ""

    @property
    def is_reversed(self) -> bool:
        """Whether the file takes colours in the order opposite to the model's."""
        return self.channels != self.model_channels


class Graph(nn.Module):
    """A copy of a model on the CPU, in evaluation mode: tensors in, a tuple of tensors out.

    Args:
        model: not changed.
        kind: of the outputs, one of ``OUTPUTS``; cosines of models with a cosine head only.
        reverse_channels: takes colours in the order opposite to the model's.
    """

    def __init__(
        self, model: ClipModel, kind: str = "logits", *, reverse_channels: bool = False
    ) -> None:
        super().__init__()
        if kind not in OUTPUTS:
            raise UserError(f"an exported model has no output {kind!r}; one of {OUTPUTS}")
        if kind == "cosines" and not isinstance(model, CosineModel):
            raise UserError(f"{type(model).__name__} has no cosine head: export logits instead")
        self.model = copy.deepcopy(model).cpu().eval()
        self.kind, self.reverse_channels = kind, reverse_channels

    def forward(self, *clips: Tensor) -> tuple[Tensor, ...]:
        """``(B, C, T_p, H, W)`` per pathway -> ``(B, num_classes)`` per task."""
        inputs = [clip.flip(1) for clip in clips] if self.reverse_channels else list(clips)
        if self.kind == "cosines" and isinstance(self.model, CosineModel):
            preds = self.model.forward_cosines(self.model.forward_features(inputs))
        else:
            preds = self.model(inputs)
        if self.kind == "probabilities":
            preds = activate(preds, self.model.head_act)
        return tuple(preds.values()) if isinstance(preds, dict) else (preds,)


def build_export_info(
    cfg: CfgNode,
    model: ClipModel,
    *,
    kind: str = "logits",
    channels: str = "RGB",
    class_names: Sequence[str] = (),
) -> ExportInfo:
    """What users of an exported ``model`` must know.

    Args:
        cfg: it was trained with.
        model: to be exported.
        kind: of the outputs.
        channels: the order of the clips' colours.
        class_names: of the first task.
    """
    shapes = build_model_inputs(cfg, cfg.DATA.TEST_CROP_SIZE)
    names = ["input"] if len(shapes) == 1 else ["slow", "fast"]
    tasks = list(model.classifiers)
    mean, std = list(cfg.DATA.MEAN), list(cfg.DATA.STD)  # of RGB
    if channels == "BGR":
        mean, std = mean[::-1], std[::-1]
    return ExportInfo(
        inputs={name: list(shape) for name, shape in zip(names, shapes, strict=True)},
        outputs=["output"] if len(tasks) == 1 else [f"output_{task}" for task in tasks],
        tasks=tasks,
        kind=kind,
        head_act=model.head_act,
        scale=model.scale if isinstance(model, CosineModel) else None,
        channels=channels,
        model_channels="BGR" if cfg.DATA.REVERSE_INPUT_CHANNEL else "RGB",
        mean=mean,
        std=std,
        stride=cfg.DATA.SAMPLING_RATE,
        target_fps=cfg.DATA.TARGET_FPS,
        num_classes=[layer.out_features for layer in model.classifiers.values()],
        model_classes={str(i): name for i, name in enumerate(class_names)},
        config=cfg.dump(),
    )


def info_path(path: Path) -> Path:
    """Where the description of the model at ``path`` is."""
    return path.with_name(path.stem + INFO_SUFFIX)


def write_info(path: Path, info: ExportInfo) -> Path:
    """Write the description of the exported model at ``path`` beside it."""
    target = info_path(path)
    target.write_text(json.dumps(asdict(info), indent=1) + "\n", encoding="utf-8")
    return target


def read_info(path: Path) -> ExportInfo:
    """The description of the exported model at ``path``.

    Raises:
        UserError: it is not there, or another program's.
    """
    source = info_path(path)
    try:
        found: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
        return ExportInfo(**found)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} cannot be used without its description {source}: {error}. Export it again"
        ) from error
