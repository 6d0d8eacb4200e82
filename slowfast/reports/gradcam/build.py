"""Config and options -> a visualization: what ``tools/visualize.py`` does."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from slowfast.config import cfg_from_yaml, change_cfg, num_pathways
from slowfast.datasets.base import UNLABELLED, ClipRecord, VideoDataset, open_record
from slowfast.datasets.build import build_dataset
from slowfast.datasets.pathways import build_batch_transform
from slowfast.datasets.sampling import ClipSampler
from slowfast.datasets.transforms import build_eval_transform
from slowfast.deploy.export.build import build_names_of_data
from slowfast.deploy.recognize_build import config_text, read_task_names
from slowfast.engine.batches import BatchPreparation
from slowfast.engine.build import build_placed_model, build_placement
from slowfast.engine.weights import build_test_path, build_test_weights
from slowfast.models.base import ClipModel
from slowfast.reports.gradcam.draw import colour_map
from slowfast.reports.gradcam.layers import check_layer, default_layer
from slowfast.reports.gradcam.pictures import Explainer, read_clips
from slowfast.reports.gradcam.run import Visualization
from slowfast.utils.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode


@dataclass(frozen=True)
class VisualizeOptions:
    """What to look at, and how.

    Attributes:
        video: file; empty: the test split.
        layers: target layers; empty: found by themselves.
        classes: names, numbers, or ``task=name``, of which one per task; empty: the predicted.
        true_label: the true classes instead, where they are known.
        num_videos: of the test split, evenly spaced; 0: all.
        num_clips: of each video, evenly spaced; 1: from its middle.
        output_dir: gets the files.
        colours: matplotlib's name of a colour map.
        top_k: predictions of each task in the JSON file.
        tensorboard: also write TensorBoard files there.
    """

    video: str = ""
    layers: Sequence[str] = ()
    classes: Sequence[str] = ()
    true_label: bool = False
    num_videos: int = 8
    num_clips: int = 1
    output_dir: Path = Path("gradcam")
    colours: str = "viridis"
    top_k: int = 5
    tensorboard: bool = False


def build_visualization(
    cfg: CfgNode | None,
    model_path: Path | None,
    options: VisualizeOptions,
    opts: Sequence[str] = (),
) -> Visualization:
    """Everything ready to run.

    Args:
        cfg: of the run; ``None``: that in the checkpoint, changed by ``opts``.
        model_path: checkpoint; ``None``: what ``run_net.py --eval`` tests.
        options: see :class:`VisualizeOptions`.
        opts: ``KEY VALUE`` words, where there is no ``cfg``.

    Raises:
        UserError: something is missing, or does not go together; says what to do.
    """
    if min(options.num_clips, options.top_k) < 1 or options.num_videos < 0:
        raise UserError("--num_clips and --top_k are at least 1, --num_videos at least 0 (all)")
    colour_map(options.colours)
    if cfg is None:
        if model_path is None:
            raise UserError("give the checkpoint as --model_path, or a config as --cfg, or both")
        cfg = change_cfg(cfg_from_yaml(config_text(model_path)), opts)
    if model_path is not None:
        cfg = change_cfg(cfg, ["TEST.CHECKPOINT_FILE_PATH", str(model_path)])
    dataset = build_clips(cfg, options.video, options.num_clips)
    model, checkpoint, prepare = build_network(cfg)
    explainer = build_explainer(cfg, model, prepare, dataset, options)
    layers = chosen_layers(explainer, dataset, options.layers)
    explainer = replace(explainer, layers=layers)
    numbers = spread(len(dataset), options.num_videos)
    about = {
        "model": str(checkpoint),
        "network": type(model).__name__,
        "layers": layers,
        "colours": options.colours,
    }
    shows = []
    if options.tensorboard:
        from slowfast.reports.board.clips import GradCamBoard, open_writer

        shows.append(GradCamBoard(open_writer(options.output_dir)))
    return Visualization(
        read_clips(dataset, numbers, list(model.classifiers)),
        len(numbers) * options.num_clips,
        explainer,
        options.output_dir,
        about,
        shows,
        cfg.PROGRESS,
    )


def build_network(cfg: CfgNode) -> tuple[ClipModel, Path, BatchPreparation]:
    """The network to test, the file its weights came from, and what makes its input of clips."""
    placement = build_placement(cfg)
    path = build_test_path(cfg, Path(cfg.OUTPUT_DIR))
    if path.suffix in (".onnx", ".xml", ".pt2", ".pte", ".mlpackage"):
        raise UserError(f"{path} is an exported file, without gradients: give the checkpoint")
    model = build_placed_model(cfg, placement)
    checkpoint = build_test_weights(cfg, model, Path(cfg.OUTPUT_DIR))
    if not model.classifiers:
        raise UserError(
            f"{checkpoint}: this network gives features and no classes (IMFE.CLASSIFIER False); "
            "Grad-CAM explains a class"
        )
    transform = build_batch_transform(cfg, train=False, memory_format=placement.memory_format)
    return model.eval(), checkpoint, BatchPreparation(placement.device, transform)


def build_clips(cfg: CfgNode, video: str = "", num_clips: int = 1) -> VideoDataset:
    """A video file, or the test split: centre crops of ``num_clips`` moments of each."""
    cfg = change_cfg(cfg, ["TEST.NUM_SPATIAL_CROPS", "1"])
    sampler = ClipSampler.from_cfg(cfg, "val")
    if num_clips > 1:
        sampler = replace(sampler, num_views=num_clips)
    if not video:
        dataset = build_dataset(cfg, "test")
        dataset.sampler, dataset.num_views = sampler, num_clips
        return dataset
    if not Path(video).exists():
        raise UserError(f"--input_video {video}: no such file")
    return VideoDataset(
        [ClipRecord(video, UNLABELLED, "--input_video")],
        split="test",
        sampler=sampler,
        transform=build_eval_transform(cfg, "test"),
        reader=partial(open_record, backend=cfg.DATA.DECODING_BACKEND),
    )


def build_explainer(
    cfg: CfgNode,
    model: ClipModel,
    prepare: BatchPreparation,
    dataset: VideoDataset,
    options: VisualizeOptions,
) -> Explainer:
    """The explainer of a network, without its layers."""
    tasks = {task: layer.out_features for task, layer in model.classifiers.items()}
    names = build_class_names(cfg, tasks, dataset)
    return Explainer(
        model,
        prepare,
        cfg.SLOWFAST.ALPHA if num_pathways(cfg) == 2 else None,
        names,
        classes=chosen_classes(options.classes, tasks, names),
        true_label=options.true_label,
        colours=options.colours,
        top_k=options.top_k,
    )


def build_class_names(
    cfg: CfgNode, tasks: Mapping[str, int], dataset: VideoDataset
) -> dict[str, list[str]]:
    """Task -> names by class id, as far as they are known.

    Of ``TENSORBOARD.CLASS_NAMES_PATH``, ``DEMO.LABEL_FILE_PATH`` or ``DATA.CLASS_NAMES_PATH``; else
    what the data say.
    """
    for path in (
        cfg.TENSORBOARD.CLASS_NAMES_PATH,
        cfg.DEMO.LABEL_FILE_PATH,
        cfg.DATA.CLASS_NAMES_PATH,
    ):
        if path:
            return read_task_names(Path(path), tasks)
    names = dict(dataset.class_names or {}) or build_names_of_data(cfg, tasks)
    if len(tasks) == 1 and len(names) == 1:
        names = dict(zip(tasks, names.values(), strict=True))  # "action" in the data
    return {task: found for task, found in names.items() if len(found) == tasks.get(task)}


def chosen_layers(explainer: Explainer, dataset: VideoDataset, names: Sequence[str]) -> list[str]:
    """The layers called ``names``, or the one that is found by itself.

    Raises:
        LayerError: see :func:`~slowfast.reports.gradcam.layers.check_layer`.
    """
    clip = next(read_clips(dataset, [0], list(explainer.model.classifiers)))
    inputs = explainer.inputs(clip)
    if not names:
        return [default_layer(explainer.model, inputs)]
    return [check_layer(explainer.model, inputs, name) for name in names]


def chosen_classes(
    words: Sequence[str], tasks: Mapping[str, int], names: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """Task -> class, of names, numbers and ``task=`` of these.

    Raises:
        UserError: no such class; lists near names.
    """
    found: dict[str, int] = {}
    for word in words:
        task, equals, value = word.partition("=")
        among = [task] if equals and task in tasks else list(tasks)
        value = value if equals and task in tasks else word
        hits = {t: i for t in among for i in [_class_number(value, tasks[t], names.get(t, ()))]}
        known = {t: i for t, i in hits.items() if i is not None}
        if not known or (value.isdigit() and len(known) > 1):
            raise UserError(_no_such_class(value, {t: tasks[t] for t in among}, names))
        found |= known
    return found


def _class_number(value: str, count: int, names: Sequence[str]) -> int | None:
    if value in names:
        return list(names).index(value)
    return int(value) if value.isdigit() and int(value) < count else None


def _no_such_class(value: str, tasks: Mapping[str, int], names: Mapping[str, Sequence[str]]) -> str:
    if value.isdigit() and len(tasks) > 1:
        return f"--class {value}: of which task? Give {next(iter(tasks))}={value}"
    known = [name for task in tasks for name in names.get(task, ())]
    near = difflib.get_close_matches(value, known, n=4, cutoff=0.4) or known[:4]
    counts = ", ".join(f"0 to {count - 1} of {task}" for task, count in tasks.items())
    listed = f"; names like it: {', '.join(near)}" if near else "; no names are known"
    return f"--class {value}: no such class. Numbers are {counts}{listed}"


def spread(total: int, count: int) -> list[int]:
    """``count`` of the numbers below ``total``, evenly spaced; all where that is 0 or more."""
    if count == 0 or count >= total:
        return list(range(total))
    return np.linspace(0, total - 1, count).round().astype(int).tolist()
