"""X3D for people who want a learner: fit, evaluate, infer, save, load, optimise."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from yacs.config import CfgNode

from slowfast.checkpoint.io import save_atomically
from slowfast.deploy.export.info import build_export_info
from slowfast.deploy.runtime import ExportedModel
from slowfast.engine.batches import BatchPreparation
from slowfast.engine.build import Placement, place
from slowfast.engine.hook import Hook
from slowfast.engine.hooks import Evaluate, SaveCheckpoint
from slowfast.engine.trainer import Loader
from slowfast.learners import saving, zoo
from slowfast.learners.arguments import X3DArguments
from slowfast.learners.backbones import BACKBONES, network_cfg
from slowfast.learners.inputs import build_inputs
from slowfast.learners.kinetics import KineticsDataset
from slowfast.learners.learner import (
    LearnerError,
    check_lowest,
)
from slowfast.learners.loading import FirstBatches, build_batches, build_model_inputs
from slowfast.learners.optimizing import copy_clips, optimize_clips
from slowfast.learners.training import (
    LOSSES,
    Course,
    Outcome,
    Scoring,
    as_results,
    log_hooks,
    seeded,
)
from slowfast.learners.types import Category
from slowfast.learners.weights import count_classes, load_network
from slowfast.models.base import ClipModel
from slowfast.models.build import build_model, preferred_memory_format
from slowfast.utils.device import resolve_device
from slowfast.utils.seed import seed_everything

logger = logging.getLogger(__name__)


@dataclass(eq=False, repr=False)
class X3DLearner(X3DArguments):
    """Recognises actions in clips with an X3D, Feichtenhofer 2020.

    https://arxiv.org/abs/2004.04730.

    Its arguments are those of :class:`~slowfast.learners.arguments.X3DArguments`.

    Attributes:
        model: the network.
        class_names: by class id; empty where they are not known.

    Raises:
        LearnerError: an argument that makes no sense.
    """

    name: ClassVar[str] = "x3d"

    model: ClipModel = field(init=False)
    class_names: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.check()
        device = self.device
        if device == "cuda" and not torch.cuda.is_available():
            logger.warning("no GPU is there for device='cuda': using the CPU")
            device = "cpu"
        resolved = resolve_device(device)
        self._placement = Placement(resolved, preferred_memory_format("X3D", resolved), None)
        self._optimized: Path | None = None
        self._runtime: Any = None
        self._temporary: TemporaryDirectory[str] | None = None
        self.model = place(seeded(self.seed, lambda: build_model(self._config())), self._placement)

    def fit(
        self,
        dataset: Any,
        val_dataset: Any = None,
        epochs: int | None = None,
        steps: int | None = None,
        *,
        logging_path: Path | str = "",
    ) -> dict[str, float]:
        """Train, from the weights there are; Python's, NumPy's and torch's seeds become ``seed``.

        Args:
            dataset: :class:`KineticsDataset`, or anything with a length that gives by number a
                clip ``(3, T, H, W)`` and its class id; uint8 clips are normalised here, others
                should be.
            val_dataset: scored after every epoch; ``None``: not.
            epochs: ``None``: ``iters``; with ``steps``, as many as these take.
            steps: training ends after so many batches; ``None``: with the epochs.
            logging_path: folder for TensorBoard and ``json_stats.log``; empty: none.

        Returns:
            ``loss``, the mean of the last epoch; with a ``val_dataset`` also ``val_accuracy``
            (0..1) and ``val_loss`` after it.

        Raises:
            LearnerError: the dataset does not fit; nothing is left to train.
            DataError: it cannot be read.
        """
        self.check()
        check_lowest({"epochs": epochs, "steps": steps}, {"epochs": 1, "steps": 1})
        self._forget_optimized()
        self.class_names = self._names(dataset)
        seed_everything(self.seed)
        config = self._config()
        loader = self._loader(dataset, "train")
        limit = epochs or (self.iters if steps is None else math.inf)
        length = min(limit, math.inf if steps is None else steps / len(loader))
        loader = loader if steps is None else FirstBatches(loader, steps)
        outcome = Outcome()
        hooks = [*log_hooks(logging_path), outcome, *self._period_hooks(val_dataset, config)]
        course = self._course()
        trainer = course.trainer(self.model, loader, self._prepare(), hooks, length)
        trainer.fit(math.ceil(length), course.build_start(config, trainer, length))
        self.model.eval()
        return outcome.found

    def eval(self, dataset: Any, steps: int | None = None) -> dict[str, float]:
        """Score the network (not the optimised file) on the clip in the middle of every video.

        Args:
            dataset: as of :meth:`fit`.
            steps: batches; ``None``: all.

        Returns:
            ``accuracy``, the share of clips whose best class is right, and ``loss``, their mean.
        """
        self.check()
        check_lowest({"steps": steps}, {"steps": 1})
        return as_results(self._scoring(dataset, steps)()[1])

    @torch.no_grad()
    def infer(self, batch: Any) -> list[Category]:
        """What is seen in clips.

        Args:
            batch: :class:`Video`, a list of them, or a tensor ``(3, T, H, W)`` or
                ``(B, 3, T, H, W)``. uint8 pixels of any size are scaled, cropped and normalised as
                in evaluation; others should be normalised already. Of a video with a frame rate
                (``Video.open``) the clip in its middle is taken.

        Returns:
            One category per clip, scores included.
        """
        clips = build_inputs(self._config()).clips(batch)
        if self._runtime is not None:
            self._check_size(clips)
            return self._categories(self._runtime.predict([clips]))
        layout = self._placement.memory_format
        clips = clips.to(self._placement.device).contiguous(memory_format=layout)
        return self._categories(self.model.eval().predict([clips]))

    def save(self, path: Path | str) -> Self:
        """Write the folder ``path``: weights, their description, the ONNX file if optimised.

        ``name/model_name.pth`` (a checkpoint for ``tools/`` too) and ``name/name.json``; what is
        there stays, the new files then end in ``_1``, ``_2``, ...

        Args:
            path: the folder, made when missing.
        """
        files = saving.free_place(Path(path))
        state = {"epoch": -1, "model_state": self.model.state_dict(), "cfg": self._config().dump()}
        save_atomically(state, files.weights)
        paths = [files.weights]
        if self._optimized is not None:
            self._copy_optimized(self._optimized, files.onnx)
            paths.append(files.onnx)
        saving.write_metadata(
            files.metadata, {**self._description(paths), "version": files.version}
        )
        return self

    def load(self, path: Path | str) -> Self:
        """Take over what was saved, or trained weights.

        Args:
            path: a saved folder (the newest in it counts) or its ``.json``: network, arguments of
                :meth:`fit` and classes become what they were. Or weights, as of
                :meth:`download`, or the folder these are in: a classifier of other classes is
                left out, for finetuning.

        Raises:
            LearnerError: there is nothing to load, or it is of another backbone. The learner stays
                as it was.
            CheckpointError: damaged.
        """
        found = saving.find_saved(Path(path), self.backbone)
        if found.suffix != ".json":
            self._load_weights(found)
            return self
        metadata = saving.read_metadata(found)
        weights = saving.file_of(found, metadata, saving.WEIGHTS)
        arguments = self.arguments_of(metadata)
        if "num_classes" not in arguments:  # OpenDR's files
            arguments["num_classes"] = count_classes(weights)
        other = type(self)(**{**self.arguments(), **arguments})
        other._load_weights(weights)
        other.class_names = list(metadata.get("class_names", []))
        if metadata.get("optimized") and self._is_of_kind(metadata):
            other._optimized = saving.file_of(found, metadata, (".onnx",))
            other._runtime = other._open(other._optimized)
        self.__dict__.update(other.__dict__)
        return self

    def optimize(self, do_constant_folding: bool = False) -> Self:
        """Make :meth:`infer` run an ONNX file of the network, by ONNX Runtime, on the CPU.

        The file is made anew, from the weights there are, run and compared with them. It takes any
        number of clips at once. Training or loading leaves it behind.

        Args:
            do_constant_folding: compute beforehand what depends on weights alone.

        Raises:
            ModuleNotFoundError: a library is missing; says how to install it.
            ExportError: the file computes something else.
        """
        self._forget_optimized()
        path = self._weights_folder() / f"{self.name}_{self.backbone}.onnx"
        self._export(path, fold=do_constant_folding)
        self._runtime, self._optimized = self._open(path), path
        return self

    def reset(self) -> None:
        """Nothing: clips are independent."""

    @staticmethod
    def download(
        path: Path | str,
        model_names: Iterable[str] = zoo.SIZES,
        *,
        url: str = "",
        sha256: Mapping[str, str] | None = None,
    ) -> list[Path]:
        """Put weights trained on Kinetics-400, ``x3d_{name}.pyth``, into a folder.

        A file that is there already is only checked. Nothing is left half-written.

        Args:
            path: the folder, made when missing.
            model_names: of ``xs``, ``s``, ``m``, ``l``.
            url: folder to get them from: https, http or file; empty: PySlowFast's model zoo.
            sha256: name -> what the file must have; ``None``: its contents are only looked at.

        Returns:
            The files.

        Raises:
            DownloadError: no network, no such file, or another one.
        """
        return zoo.download_x3d(path, model_names, url=url or zoo.URL, sha256=sha256)

    # What CoX3DLearner does in another way.

    def _config(self, dataset: Any = None) -> CfgNode:
        """Of the network; with a dataset, of the clips it wants to give."""
        size, frames, stride = self.image_size, self.frames_per_clip, None
        if isinstance(dataset, KineticsDataset):
            size, stride = dataset.image_size or size, dataset.temporal_downsampling
            frames = dataset.frames_per_clip or frames
        return network_cfg(
            BACKBONES[self.backbone].sized(size, frames, stride),
            num_classes=self.num_classes,
            head_act=LOSSES[self.loss].head_act,
            window=self._window(),
            seed=self.seed,
        )

    def _window(self) -> int:
        return 0

    def _export(self, path: Path, *, fold: bool) -> None:
        info = build_export_info(self._config(), self.model, class_names=self._task_names())
        optimize_clips(self.model, info, path, fold=fold)

    def _open(self, path: Path) -> Any:
        return ExportedModel(path)

    def _copy_optimized(self, source: Path, target: Path) -> None:
        copy_clips(source, target)

    def _forget_optimized(self) -> None:
        self._optimized = self._runtime = None

    # The rest.

    def _names(self, dataset: Any) -> list[str]:
        names = list(getattr(dataset, "class_names", None) or [])
        return names if len(names) == self.num_classes else []

    def _task_names(self) -> dict[str, list[str]] | None:
        return {"action": self.class_names} if self.class_names else None

    def _loader(self, dataset: Any, split: str) -> Loader:
        return build_batches(
            self._config(dataset),
            dataset,
            split,
            batch_size=self.batch_size,
            drop_last=self.drop_last,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
        )

    def _prepare(self) -> BatchPreparation:
        inputs = build_model_inputs(self._config(), self._placement.memory_format)
        return BatchPreparation(self._placement.device, inputs)

    def _scoring(self, dataset: Any, steps: int | None = None) -> Scoring:
        loader = self._loader(dataset, "val")
        loader = loader if steps is None else FirstBatches(loader, steps)
        return Scoring(self.model, loader, self._prepare(), LOSSES[self.loss].criterion)

    def _course(self) -> Course:
        return Course(
            lr=self.lr,
            schedule=self.lr_schedule,
            optimizer=self.optimizer,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            loss=self.loss,
            seed=self.seed,
            load_epoch=self.checkpoint_load_iter,
            folder=Path(self.temp_path),
        )

    def _period_hooks(self, val_dataset: Any, config: CfgNode) -> list[Hook]:
        hooks: list[Hook] = []
        if val_dataset is not None:
            hooks.append(Evaluate(self._scoring(val_dataset)))
        if self.checkpoint_after_iter:
            period = self.checkpoint_after_iter
            hooks.append(SaveCheckpoint(self.temp_path, config.dump(), period=period))
        return hooks

    def _check_size(self, clips: Tensor) -> None:
        taken = self._runtime.info.inputs["frames"]
        if list(clips.shape[1:]) != taken[1:]:
            raise LearnerError(
                f"the optimised network takes clips {tuple(taken[1:])}, got "
                f"{tuple(clips.shape[1:])}: set image_size and frames_per_clip, or give uint8"
            )

    def _categories(self, scores: Any) -> list[Category]:
        rows = scores.detach().float().cpu()
        best = rows.argmax(dim=1).tolist()
        names = self.class_names or [""] * self.num_classes
        return [Category(i, row, names[i]) for i, row in zip(best, rows, strict=True)]

    def _weights_folder(self) -> Path:
        if self.temp_path:
            return Path(self.temp_path) / "weights"
        self._temporary = self._temporary or TemporaryDirectory(prefix="learner_")
        return Path(self._temporary.name)

    def _load_weights(self, path: Path) -> None:
        """Weights alone; all but the classifier must fit.

        Raises:
            LearnerError: they are of another backbone.
        """
        load_network(self.model, path, self.backbone)
        self.model.eval()
        self.class_names = []
        self._forget_optimized()

    def _is_of_kind(self, metadata: Mapping[str, Any]) -> bool:
        return metadata.get("learner", type(self).__name__) == type(self).__name__

    def _description(self, paths: list[Path]) -> dict[str, Any]:
        return {
            "learner": type(self).__name__,
            "model_paths": [path.name for path in paths],
            "sha256": {path.name: saving.sha256_of(path) for path in paths},
            "framework": "pytorch",
            "format": "pth",
            "has_data": False,
            "inference_params": self.network_arguments() | {"threshold": 0.0},
            "optimized": self._optimized is not None,
            "optimizer_info": self.training_arguments(),
            "class_names": self.class_names,
        }
