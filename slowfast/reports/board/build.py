"""``TENSORBOARD.*`` -> what is drawn during training, and after the test."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from slowfast.datasets.base import DataError, VideoDataset
from slowfast.engine.hooks.tensorboard import Draw
from slowfast.engine.predictions import Predictions, load_predictions
from slowfast.engine.run import OpenFile, run
from slowfast.models.build import build_model
from slowfast.reports.board.choice import build_class_choice
from slowfast.reports.board.classes import ConfusionDrawer, HistogramDrawer
from slowfast.reports.board.clips import (
    ClipDrawer,
    GradCamBoard,
    WrongPredictions,
    open_writer,
)
from slowfast.reports.board.network import (
    ActivationBoard,
    InputBoard,
    LayerChoice,
    add_weights,
    read_layer,
)
from slowfast.reports.gradcam.build import (
    VisualizeOptions,
    build_clips,
    build_explainer,
    build_network,
    chosen_layers,
    spread,
)
from slowfast.reports.gradcam.draw import colour_map
from slowfast.reports.gradcam.layers import LayerError, near_names
from slowfast.reports.gradcam.pictures import Explainer, ShownClip, read_clips
from slowfast.reports.gradcam.run import Show
from slowfast.utils import distributed

if TYPE_CHECKING:
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)

TEST_FOLDER = "test"


def build_drawers(cfg: CfgNode) -> list[Draw]:
    """What is drawn after every validation, and after the test: confusion matrix, histograms.

    Raises:
        UserError: a file of class names cannot be used.
    """
    board = cfg.TENSORBOARD
    drawers: list[Draw] = []
    if not board.ENABLE:
        return drawers
    if board.CONFUSION_MATRIX.ENABLE:
        node = board.CONFUSION_MATRIX
        choice = build_class_choice(
            cfg, node.SUBSET_PATH, "TENSORBOARD.CONFUSION_MATRIX.SUBSET_PATH"
        )
        drawers.append(ConfusionDrawer(choice, figure_size(node.FIGSIZE)))
    if board.HISTOGRAM.ENABLE:
        node = board.HISTOGRAM
        choice = build_class_choice(cfg, node.SUBSET_PATH, "TENSORBOARD.HISTOGRAM.SUBSET_PATH")
        drawers.append(HistogramDrawer(choice, node.TOPK, figure_size(node.FIGSIZE)))
    return drawers


def figure_size(inches: Sequence[float]) -> tuple[float, float]:
    """Width and height.

    Raises:
        DataError: not two numbers.
    """
    if len(inches) != 2:
        raise DataError(f"TENSORBOARD FIGSIZE is {list(inches)}: give width and height, inches")
    return inches[0], inches[1]


def build_wrong_predictions(cfg: CfgNode) -> list[Draw]:
    """``TENSORBOARD.WRONG_PRED_VIS``, which is drawn after the test only."""
    node = cfg.TENSORBOARD.WRONG_PRED_VIS
    if not (cfg.TENSORBOARD.ENABLE and node.ENABLE):
        return []
    choice = build_class_choice(cfg, node.SUBSET_PATH, "TENSORBOARD.WRONG_PRED_VIS.SUBSET_PATH")
    choice = replace(choice, categories={})
    return [WrongPredictions(partial(build_clips, cfg), choice, node.TAG, node.NUM_VIDEOS)]


def build_log_dir(cfg: CfgNode) -> Path:
    """Folder of the event files that the test writes."""
    folder = cfg.TENSORBOARD.LOG_DIR or f"runs-{cfg.TRAIN.DATASET}"
    return Path(cfg.OUTPUT_DIR) / folder / TEST_FOLDER


@dataclass
class TestBoard:
    """Draws a test, filed under its number of views. Opens the event file when there is something.

    Attributes:
        folder: of the event file.
        draws: what is drawn.
        saved: predictions to draw instead of the test's.
    """

    folder: Path
    draws: Sequence[Draw]
    saved: Path | None = None
    __test__ = False  # no test of pytest's

    def __call__(self, predictions: Predictions) -> None:
        """Draw the result of a test, unless other predictions are to be drawn."""
        if self.saved is None:
            self.draw(predictions)

    def draw(self, predictions: Predictions) -> None:
        """Draw predictions."""
        if not self.draws:
            return
        if not predictions.labels:
            logger.info("no labels: TensorBoard gets no pictures of the test")
            return
        with open_writer(self.folder) as writer:
            for function in self.draws:
                function(writer, predictions, predictions.num_views)


def run_with_board(
    config: CfgNode,
    *,
    on_predictions: Sequence[Callable[[Predictions], None]] = (),
    open_files: Mapping[str, OpenFile] | None = None,
) -> dict[str, float]:
    """:func:`~slowfast.engine.run.run`, with everything that ``TENSORBOARD`` asks for.

    Args:
        config: the config.
        on_predictions: see :func:`~slowfast.engine.run.build_testing`.
        open_files: likewise.

    Returns:
        Metrics.
    """
    board, data = config.TENSORBOARD, config.DATA
    draw = build_drawers(config)
    build_checks(config)
    saved = Path(board.PREDICTIONS_PATH) if board.ENABLE and board.PREDICTIONS_PATH else None
    test_board = TestBoard(build_log_dir(config), [*draw, *build_wrong_predictions(config)], saved)
    found = run(
        config,
        draw=draw,
        draw_batch=[ClipDrawer(data.MEAN, data.STD, data.REVERSE_INPUT_CHANNEL)],
        on_predictions=[*on_predictions, test_board],
        open_files=open_files,
    )
    if distributed.is_main():
        if saved is not None:
            test_board.draw(load_predictions(saved))
        if board.ENABLE and board.MODEL_VIS.ENABLE:
            build_network_pictures(config)
    return found


def build_checks(cfg: CfgNode) -> None:
    """Look for mistakes in ``TENSORBOARD.MODEL_VIS`` before a training, not after it.

    Raises:
        UserError: no such layer or colour map.
    """
    node = cfg.TENSORBOARD.MODEL_VIS
    if not (cfg.TENSORBOARD.ENABLE and node.ENABLE):
        return
    for name in (node.COLORMAP, node.GRAD_CAM.COLORMAP):
        colour_map(name)
    wanted = [layer.name for layer in map(read_layer, node.LAYER_LIST)]
    wanted += [name.replace("/", ".") for name in node.GRAD_CAM.LAYER_LIST]
    if wanted:
        with torch.device("meta"):
            names = [name for name, _ in build_model(cfg).named_modules() if name]
        for name in wanted:
            if name not in names:
                near = ", ".join(near_names(name, names))
                raise LayerError(
                    f"TENSORBOARD.MODEL_VIS: {cfg.MODEL.MODEL_NAME} has no layer {name!r}: try "
                    f"one of {near}"
                )


def build_network_pictures(cfg: CfgNode) -> Path:
    """Draw ``TENSORBOARD.MODEL_VIS``; the folder of the event file.

    Raises:
        UserError: no such layer or colour map, or nothing to test.
    """
    node, folder = cfg.TENSORBOARD.MODEL_VIS, build_log_dir(cfg)
    layers = [read_layer(text) for text in node.LAYER_LIST]
    model, _, prepare = build_network(cfg)
    with open_writer(folder) as writer:
        if node.MODEL_WEIGHTS:
            add_weights(writer, model, layers)
        if not (node.GRAD_CAM.ENABLE or node.INPUT_VIDEO or node.ACTIVATIONS):
            return folder
        dataset = build_clips(cfg)
        options = VisualizeOptions(
            true_label=node.GRAD_CAM.USE_TRUE_LABEL,
            colours=node.GRAD_CAM.COLORMAP,
            top_k=node.TOPK_PREDS,
        )
        explainer = build_explainer(cfg, model, prepare, dataset, options)
        explainer = replace(
            explainer, layers=chosen_layers(explainer, dataset, node.GRAD_CAM.LAYER_LIST)
        )
        if node.ACTIVATIONS:
            names = chosen_layers(explainer, dataset, [layer.name for layer in layers])
            layers = layers or [LayerChoice(name) for name in names]
        shows = build_shows(cfg, writer, layers)
        for number, clip in enumerate(clips_of(explainer, dataset, node.NUM_VIDEOS)):
            picture = explainer(clip)
            for show in shows:
                show(number, picture)
    return folder


def build_shows(cfg: CfgNode, writer: Any, layers: Sequence[LayerChoice]) -> list[Show]:
    """What is drawn of every clip."""
    node = cfg.TENSORBOARD.MODEL_VIS
    shows: list[Show] = []
    if node.INPUT_VIDEO:
        shows.append(InputBoard(writer, node.TOPK_PREDS, node.COLORMAP))
    if node.ACTIVATIONS:
        shows.append(ActivationBoard(writer, layers))
    if node.GRAD_CAM.ENABLE:
        shows.append(GradCamBoard(writer))
    return shows


def clips_of(explainer: Explainer, dataset: VideoDataset, count: int) -> Iterator[ShownClip]:
    """Clips of ``count`` videos."""
    numbers = spread(len(dataset), count)
    return read_clips(dataset, numbers, list(explainer.model.classifiers))
