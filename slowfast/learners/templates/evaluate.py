"""``eval.py`` of a working directory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.config import cfg_from_yaml, change_cfg, load_cfg
from slowfast.learners.templates.arguments import add_data_arguments, data_opts, make_parser
from slowfast.learners.templates.template import describe_file, read_template
from slowfast.utils.errors import UserError, one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.threads import limit_spinning

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from slowfast.engine.predictions import Predictions
    from slowfast.models.base import ClipModel
    from slowfast.models.profile import Cost

logger = logging.getLogger(__name__)

EXPORTED = (".onnx", ".xml", ".bin", ".pt2")
DESCRIPTION = r"""Score a trained or exported model on annotated videos, one clip each.

    python eval.py --load-weights outputs/latest.pth --test-ann-files val.txt \
        --test-data-roots data --save-metrics-to metrics.yaml
"""


def main(argv: Sequence[str] | None = None, *, folder: Path) -> None:
    """Evaluate weights and write ``metrics.yaml``."""
    parser = make_parser(DESCRIPTION)
    add = parser.add_argument
    add_data_arguments(parser, "test")
    add("--load-weights", type=Path, required=True, help="checkpoint, .onnx or OpenVINO .xml")
    add("--save-metrics-to", type=Path, required=True, help="YAML; what else it holds stays")
    add("--save-output-to", type=Path, help="folder for the scores of every video")
    args = parser.parse_args(argv)
    with one_line_errors(traceback=args.traceback):
        setup_logging()
        limit_spinning()
        # torch loads here, so that --help and a misspelt flag answer at once.
        from slowfast.learners.templates.metrics import metric_entries, write_metrics

        opts = data_opts("test", args.test_ann_files, args.test_data_roots)
        config = build_weights_cfg(args.load_weights, folder, [*opts, *args.opts])
        cost, predictions, scores = evaluate_weights(config, args.load_weights)
        entries = metric_entries(cost, scores)
        write_metrics(args.save_metrics_to, [describe_file(args.load_weights)], entries)
        if args.save_output_to is not None:
            args.save_output_to.mkdir(parents=True, exist_ok=True)
            predictions.save(args.save_output_to / "predictions.npz")
    for entry in entries:
        logger.info("%s: %g %s", entry["display_name"], entry["value"], entry["unit"])
    logger.info("wrote %s", args.save_metrics_to)


def build_weights_cfg(weights: Path, folder: Path, opts: Sequence[str]) -> CfgNode:
    """The config that weights were trained with; the model's YAML where they carry none.

    Args:
        weights: checkpoint or exported model.
        folder: the working directory.
        opts: what to change in it.

    Raises:
        UserError: there are no such weights.
    """
    from slowfast.checkpoint.io import read_checkpoint
    from slowfast.deploy.export.info import read_info

    if not weights.is_file():
        raise UserError(f"--load-weights {weights} is not there")
    common = ["TEST.DATASET", "rawframes", "TRAIN.ENABLE", "False", "TEST.ENABLE", "True"]
    common += ["TEST.CHECKPOINT_FILE_PATH", str(weights)]
    base = folder / read_template(folder).config
    if weights.suffix not in EXPORTED:
        text = read_checkpoint(weights).get("cfg")
        cfg = cfg_from_yaml(text) if isinstance(text, str) and text.strip() else load_cfg(base)
        return change_cfg(cfg, [*common, *opts])
    return change_cfg(cfg_from_yaml(read_info(weights).config), [*common, *opts])


def evaluate_weights(config: CfgNode, weights: Path) -> tuple[Cost, Predictions, dict[str, float]]:
    """Cost, predictions and metrics of a checkpoint or an exported model."""
    from slowfast.deploy.runtime import ExportedModel
    from slowfast.engine.build import build_evaluation, build_placement
    from slowfast.engine.run import build_testing
    from slowfast.models.profile import build_cost

    if weights.suffix in EXPORTED:
        model = ExportedModel(weights)
        evaluation = build_evaluation(config, model, "test", build_placement(config))
        cost = build_cost(config)
    else:
        (evaluation,) = build_testing(config).evaluations
        cost = build_cost_of(config, evaluation.model)
    predictions, scores = evaluation()
    assert predictions is not None  # this is the only process
    return cost, predictions, scores


def build_cost_of(cfg: CfgNode, model: ClipModel) -> Cost:
    """What ``model`` itself costs, which may have been pruned since it was built."""
    from slowfast.models.profile import Cost, build_model_inputs, count_macs, count_parameters

    crops = (cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TEST_CROP_SIZE)
    macs = [count_macs(model, build_model_inputs(cfg, crop)) for crop in crops]
    return Cost(count_parameters(model), *macs)
