"""One interface for a model in memory, in a checkpoint and in an exported file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slowfast.config import change_cfg
from slowfast.deploy.backends import SUFFIXES, RunOptions, memory_format, open_run
from slowfast.deploy.export.info import (
    COSINES,
    LOGITS,
    PROBABILITIES,
    ExportError,
    ExportInfo,
    build_export_info,
    main_file,
    read_info,
    with_cost,
)
from slowfast.deploy.frames import denormalize, normalize, take
from slowfast.engine.build import Placement, build_placed_model, build_placement, place
from slowfast.engine.weights import build_config_check, build_test_weights, load_model
from slowfast.models.base import ClipModel, Preds, activate
from slowfast.models.build import preferred_memory_format
from slowfast.models.profile import build_model_inputs
from slowfast.utils.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

__all__ = ["SUFFIXES", "ExportedModel", "LoadedModel", "Runtime", "load_runtime", "open_run"]

T = TypeVar("T")


class Runtime(ClipModel):
    """A trained model, whatever runs it, that takes and gives what ``ClipModel.predict`` does.

    Attributes:
        path: of the file.
        info: what it takes and gives, and where that is known what it costs.
        memory_format: of clips that need not be turned around.
    """

    path: Path
    info: ExportInfo
    memory_format: torch.memory_format

    @property
    def tasks(self) -> dict[str, int]:
        """Task -> its number of classes."""
        return dict(zip(self.info.tasks, self.info.num_classes, strict=True))

    @property
    def input_shapes(self) -> list[tuple[int, ...]]:
        """``(1, C, T_p, H, W)`` per pathway, slow first."""
        return [tuple(shape) for shape in self.info.inputs.values()]

    @abstractmethod
    def predict(self, clips: Sequence[Tensor]) -> Preds: ...

    def predict_frames(self, frames: Tensor) -> Preds:
        """Scores of clips that are scaled and cropped, but not yet normalised or packed.

        Args:
            frames: uint8 RGB ``(B, 3, T, H, W)``, see ``info.crop`` and ``info.num_frames``.
        """
        info = self.info
        if frames.dtype != torch.uint8 or frames.shape[2] != info.num_frames:
            raise UserError(
                f"{self.path} takes uint8 clips of {info.num_frames} frames, got {frames.dtype} "
                f"of shape {tuple(frames.shape)}"
            )
        if info.model_channels == "BGR":
            frames = frames.flip(1)
        clip = frames.cpu()
        if not info.normalized_inside:  # which takes pixels
            order = -1 if info.is_reversed else 1
            clip = normalize(clip, info.mean[::order], info.std[::order])
        return self.predict([take(clip, indices) for indices in info.pathway_frames.values()])


class ExportedModel(Runtime):
    """Runs a file; takes the clips that the model within took, on any device.

    Args:
        path: ``.onnx``, ``.xml`` (or ``.bin``) of OpenVINO or ``.pt2``, its description beside it.
        options: how to run it.

    Raises:
        ExportError: the file and its description do not belong together.
    """

    def __init__(self, path: Path | str, options: RunOptions | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        if self.path.suffix not in SUFFIXES:
            raise UserError(f"{path}: exported models that run here end in {', '.join(SUFFIXES)}")
        self.info = read_info(self.path)
        self.head_act, self.is_pruned = self.info.head_act, self.info.is_pruned
        self.num_features, self.memory_format = 0, memory_format(self.path)
        self.run = open_run(self.path, self.info, options)

    @property
    def classifiers(self) -> dict[str, nn.Linear]:
        return {}

    def forward_features(self, clips: Sequence[Tensor]) -> Tensor:
        raise UserError(f"{self.path} gives {self.info.kind}; features need the checkpoint")

    def forward_head(self, features: Tensor) -> Preds:
        raise UserError(f"{self.path} gives {self.info.kind}; features need the checkpoint")

    def forward(self, clips: Sequence[Tensor]) -> Preds:
        """Logits ``(B, num_classes)`` (of every task), also of a file that gives something else."""
        return self.by_task([self._logits(output) for output in self.run_clips(clips)])

    def predict(self, clips: Sequence[Tensor]) -> Preds:
        outputs = self.run_clips(clips)
        if self.info.kind == PROBABILITIES:
            return self.by_task(outputs)
        return activate(self.by_task([self._logits(output) for output in outputs]), self.head_act)

    def by_task(self, outputs: Sequence[Tensor]) -> Preds:
        """The outputs as a model gives them: the one tensor, or one per task."""
        return outputs[0] if len(outputs) == 1 else dict(zip(self.info.tasks, outputs, strict=True))

    def run_clips(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """What comes out of the file, on the CPU.

        Args:
            clips: as the model within takes them; any number of them.
        """
        self._check(clips)
        arrays = [self._as_taken(clip) for clip in clips]
        size, total = self.info.batch, len(arrays[0])
        if size in (0, total):
            return [torch.from_numpy(output) for output in self.run(arrays)]
        parts = [
            self.run([_padded(array[start : start + size], size) for array in arrays])
            for start in range(0, total, size)
        ]
        return [
            torch.from_numpy(np.concatenate(outputs))[:total]
            for outputs in zip(*parts, strict=True)
        ]

    def _check(self, clips: Sequence[Tensor]) -> None:
        wanted = {name: tuple(shape[1:]) for name, shape in self.info.inputs.items()}
        found = [tuple(clip.shape[1:]) for clip in clips]
        if found != list(wanted.values()):
            raise UserError(
                f"{self.path} takes clips (C, T, H, W) of {wanted}, got {found}: set "
                "DATA.NUM_FRAMES, DATA.TEST_CROP_SIZE and the pathways to that, or export again"
            )

    def _as_taken(self, clip: Tensor) -> NDArray[Any]:
        """A clip in the model's order of colours, as the file takes it.

        Normalised, or pixels where the file takes these.
        """
        clip = clip.detach().cpu()
        if self.info.is_reversed:
            clip = clip.flip(1)
        if not self.info.normalized_inside:
            clip = clip.float()
        elif clip.dtype != torch.uint8:
            clip = denormalize(clip.float(), self.info)
        if clip.is_contiguous(memory_format=self.memory_format):
            return clip.numpy()
        return np.ascontiguousarray(clip.numpy())  # in one thread: see normalize

    def _logits(self, output: Tensor) -> Tensor:
        if self.info.kind == COSINES:
            return (self.info.scale or 1.0) * output
        if self.info.kind == LOGITS or self.head_act == "none":
            return output
        tiny = torch.finfo(output.dtype).tiny
        if self.head_act == "softmax":  # logits but for a constant, which softmax does not see
            return output.clamp(min=tiny).log()
        return output.clamp(min=tiny).logit()


class LoadedModel(Runtime):
    """A model in memory, run by torch.

    Args:
        path: where it came from.
        model: in evaluation mode, on its device.
        info: of it.
        placement: where it is.
        options: how to run it.
    """

    def __init__(
        self,
        path: Path,
        model: ClipModel,
        info: ExportInfo,
        placement: Placement,
        options: RunOptions,
    ) -> None:
        super().__init__()
        self.path, self.model, self.info, self.placement = path, model, info, placement
        self.head_act, self.is_pruned = model.head_act, model.is_pruned
        self.num_features, self.threads = model.num_features, options.threads
        self.memory_format = placement.memory_format
        self.amp_dtype = {"bf16": torch.bfloat16, "f16": torch.float16}.get(options.precision)

    @property
    def classifiers(self) -> dict[str, nn.Linear]:
        return self.model.classifiers

    def forward_features(self, clips: Sequence[Tensor]) -> Tensor:
        return self._run(self.model.forward_features, clips)

    def forward_head(self, features: Tensor) -> Preds:
        return self.model.forward_head(features)

    def forward(self, clips: Sequence[Tensor]) -> Preds:
        return self._run(self.model, clips)

    def predict(self, clips: Sequence[Tensor]) -> Preds:
        return self._run(self.model.predict, clips)

    def score(self, clips: Sequence[Tensor]) -> tuple[Preds, Preds]:
        return self._run(self.model.score, clips)

    @torch.no_grad()
    def _run(self, function: Callable[[Sequence[Tensor]], T], clips: Sequence[Tensor]) -> T:
        device = self.placement.device
        inputs = [clip.to(device).contiguous(memory_format=self.memory_format) for clip in clips]
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(self.threads or threads)
            with torch.autocast(device.type, self.amp_dtype, enabled=self.amp_dtype is not None):
                return function(inputs)
        finally:
            torch.set_num_threads(threads)


def load_runtime(
    path: Path | str,
    *,
    config: CfgNode | None = None,
    threads: int = 0,
    precision: str = "f32",
) -> Runtime:
    """A trained model from any file of it: a checkpoint, ``.onnx``, ``.xml`` or ``.pt2``.

    Args:
        path: the file; nothing else is needed, but for checkpoints without a config.
        config: of the run; a file that was trained as another network is then refused. It also
            says where a checkpoint runs (``DEVICE``, ``NUM_GPUS``); without it, on the CPU.
        threads: of one prediction; 0: the runtime's own choice.
        precision: f32; bf16 and f16 of checkpoints and OpenVINO. Check accuracy before you choose
            them.

    Raises:
        UserError: no such file, no such format, or a file without its description.
        ModuleNotFoundError: the runtime is not installed; says how.
    """
    path, options = Path(path), RunOptions(threads, precision)
    if path.suffix in SUFFIXES:
        return build_exported(config, path, options) if config else ExportedModel(path, options)
    if path.is_dir() or path.suffix in (".pte", ".mlpackage"):
        raise UserError(f"{path} does not run here: give a checkpoint, .onnx, .xml or .pt2")
    if config is None:
        model, config = load_model(path)
        layout = preferred_memory_format(config.MODEL.MODEL_NAME, "cpu")
        placement = Placement(torch.device("cpu"), layout, None)
        place(model, placement)
    else:
        placement = build_placement(config)
        config = change_cfg(config, ["TEST.CHECKPOINT_FILE_PATH", str(path)])
        model = build_placed_model(config, placement)
        build_test_weights(config, model, path.parent)
    info = build_export_info(config, model)
    return LoadedModel(path, model.eval(), info, placement, options)


def with_costs(runtime: Runtime) -> ExportInfo:
    """The description of a runtime, with parameters and MACs."""
    if isinstance(runtime, LoadedModel):
        return with_cost(runtime.info, runtime.model)
    return runtime.info


def build_exported(cfg: CfgNode, path: Path, options: RunOptions | None = None) -> ExportedModel:
    """The exported model at ``path``, which must be what ``cfg`` describes.

    Raises:
        UserError: it was trained as another network, or takes other clips.
    """
    model = ExportedModel(path, options)
    build_config_check(cfg, {"cfg": model.info.config}, path)
    wanted = [list(shape) for shape in build_model_inputs(cfg, cfg.DATA.TEST_CROP_SIZE)]
    if wanted != list(model.info.inputs.values()):
        raise ExportError(
            f"{main_file(path)} takes clips of {model.info.inputs}, the config gives {wanted}: set "
            f"DATA.TEST_CROP_SIZE {model.info.crop[0]}, or export again with "
            f"DATA.TEST_CROP_SIZE {cfg.DATA.TEST_CROP_SIZE}"
        )
    return model


def _padded(array: NDArray[Any], size: int) -> NDArray[Any]:
    """``size`` clips, the last one repeated."""
    return np.concatenate([array, np.repeat(array[-1:], size - len(array), 0)])


OPEN_FILES = dict.fromkeys(SUFFIXES, build_exported)
"""Suffix -> what opens such a file, for tests and benchmarks of a config."""
