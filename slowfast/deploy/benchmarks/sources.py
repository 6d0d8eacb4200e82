"""The models that are measured: each built once, exported once per format."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast.config import cfg_from_yaml, change_cfg, load_cfg
from slowfast.deploy.benchmarks.spec import CONFIGS, FILE_RUNTIMES, read_description
from slowfast.deploy.export.files import export_files
from slowfast.deploy.export.info import ExportError, build_export_info
from slowfast.deploy.export.streaming import (
    build_stream_info,
    export_streaming_onnx,
    export_streaming_openvino,
)
from slowfast.engine.weights import build_test_weights, load_model
from slowfast.models.base import ClipModel
from slowfast.models.build import build_model
from slowfast.models.profile import build_model_inputs
from slowfast.models.streaming import StreamingModel, build_streaming
from slowfast.utils.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

LOGITS = 2.0


@dataclass(frozen=True)
class Settings:
    """What another process needs to build the same models.

    Attributes:
        opts: overrides, for every model.
        configs: of ``checkpoint``.
        checkpoint: the one that ``configs`` describe; others bring their own.
        settle: run random weights once, see :func:`settle`.
    """

    opts: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    checkpoint: str = ""
    settle: bool = True


class Loaded(NamedTuple):
    """Attributes: a model in evaluation mode on the CPU, and its config."""

    model: ClipModel
    config: CfgNode


@dataclass
class Sources:
    """Models by path.

    Attributes:
        settings: of the models.
        folder: gets what has to be exported.
        keep: models, for the next who asks.
    """

    settings: Settings
    folder: Path
    keep: bool = True
    _models: dict[str, Loaded] = field(default_factory=dict)
    _files: dict[tuple[str, str], Path] = field(default_factory=dict)

    def load(self, path: str) -> Loaded:
        """The model of a config (random weights) or a checkpoint."""
        if path in self._models:
            return self._models[path]
        found = load_source(path, self.settings)
        if self.keep:
            self._models[path] = found
        return found

    def take(self, path: str) -> Loaded:
        """The same as one's own, to be changed."""
        model, config = self.load(path)
        return Loaded(copy.deepcopy(model) if self.keep else model, config)

    def config(self, path: str) -> CfgNode:
        """The config of anything that has one."""
        if Path(path).suffix not in FILE_RUNTIMES:
            return self.load(path).config
        found = read_description(path)
        text = found.get("clip", found).get("config", "")
        if not text:
            raise ExportError(f"{path} has no description with a config beside it: export it again")
        return change_cfg(cfg_from_yaml(text), list(self.settings.opts))

    def stream(self, path: str) -> StreamingModel:
        """The stream of a config or a checkpoint."""
        model, config = self.load(path)
        return build_streaming(config, model)

    def export(self, path: str, format_name: str) -> Path:
        """An exported file of a model, compared with it."""
        key = (path, format_name)
        if key not in self._files:
            model, config = self.load(path)
            info = build_export_info(config, model)
            stem = f"{len(self._files)}_{Path(path).stem}"
            (found,) = export_files(model, info, self.folder, stem, [format_name])
            self._files[key] = found.path
        return self._files[key]

    def export_stream(self, path: str, format_name: str, batch: int = 1) -> Path:
        """An exported file of a model's stream, compared with it."""
        key = (path, f"{format_name} stream {batch}")
        if key not in self._files:
            model, config = self.load(path)
            stream = self.stream(path)
            info = build_stream_info(config, model, stream, batch=batch)
            stem = self.folder / f"{len(self._files)}_{Path(path).stem}_stream"
            if format_name == "onnx":
                file = export_streaming_onnx(stream, stem.with_suffix(".onnx"), info)
            else:
                file = export_streaming_openvino(stream, stem.with_suffix(".xml"), info)
            self._files[key] = file
        return self._files[key]


def load_source(path: str, settings: Settings) -> Loaded:
    """See :meth:`Sources.load`.

    Raises:
        UserError: no such file.
    """
    opts = list(settings.opts)
    if path.endswith(CONFIGS):
        config = load_cfg(path.split("+"), opts)
        torch.manual_seed(config.RNG_SEED)
        model = build_model(config).eval()
        if settings.settle:
            settle(model, build_model_inputs(config, batch=2))
        return Loaded(model, config)
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}")
    if settings.configs and path == settings.checkpoint:
        words = [*opts, "TEST.CHECKPOINT_FILE_PATH", path]
        config = load_cfg(settings.configs, words)
        model = build_model(config)
        build_test_weights(config, model, Path(config.OUTPUT_DIR))
        return Loaded(model.eval(), config)
    model, config = load_model(path)
    return Loaded(model, change_cfg(config, opts) if opts else config)


@torch.no_grad()
def settle(model: ClipModel, shapes: list[tuple[int, ...]]) -> None:
    """Give a network of random weights activations and logits of the size that trained ones have.

    Batch norms get the statistics of a batch of noise, and those that a training begins with a
    scale of 0 (``ZERO_INIT_FINAL_BN``) one of 1; classifiers give logits that differ by about
    ``LOGITS``. Layers that are multiplied by 0, and classes that are all as likely, would make
    every comparison of outputs look good.

    Args:
        model: changed; left in evaluation mode.
        shapes: of its clips.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        if norm.weight is not None and not norm.weight.any():
            nn.init.ones_(norm.weight)
        if norm.track_running_stats:
            norm.reset_running_stats()
            norm.momentum = None  # the statistics of this batch, not a tenth of them
            norm.train()
    try:
        logits = model([torch.randn(shape) for shape in shapes])
        for task, layer in model.classifiers.items():
            spread = (logits[task] if isinstance(logits, dict) else logits).std()
            if spread > 0:
                layer.weight.mul_(LOGITS / spread)
    finally:
        model.eval()
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
