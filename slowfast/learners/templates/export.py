"""``export.py`` of a working directory."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.learners.templates.arguments import make_parser
from slowfast.learners.templates.evaluate import build_weights_cfg
from slowfast.learners.templates.template import Template, read_template
from slowfast.utils.errors import UserError, one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.threads import limit_spinning

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from slowfast.models.base import ClipModel

logger = logging.getLogger(__name__)

NAME = "model"
DESCRIPTION = """Write a trained model as files that run without this package.

    python export.py --load-weights outputs/latest.pth --save-model-to export

ONNX, and OpenVINO's IR in FP32. Both take normalised clips (B, C, T, H, W), any number B at once;
model.onnx.json and model.xml.json say mean, standard deviation, colours, frames and all the rest.
Needs: pip install -e '.[deploy]'
"""


def main(argv: Sequence[str] | None = None, *, folder: Path) -> None:
    """Export weights, and compare what the files compute with the model."""
    template = read_template(folder)
    args = parse(argv, template)
    with one_line_errors(traceback=args.traceback):
        setup_logging()
        limit_spinning()
        if args.openvino_mo_args:
            raise UserError(
                f"--openvino-mo-args {args.openvino_mo_args!r}: OpenVINO no longer has the model "
                "optimizer, and its converter needs nothing for this model; leave the flag out"
            )
        # torch loads here, so that --help and a misspelt flag answer at once.
        from slowfast.engine.build import build_placed_model, build_placement
        from slowfast.engine.weights import build_test_weights

        opts = ["DEVICE", "cpu", "NUM_GPUS", "0", *args.opts]
        config = build_weights_cfg(args.load_weights, folder, opts)
        model = build_placed_model(config, build_placement(config))
        build_test_weights(config, model, args.save_model_to)
        wanted = [name for name in ("onnx", "openvino") if getattr(args, name)]
        export(config, model, args, wanted or template.formats)


def parse(argv: Sequence[str] | None, template: Template) -> argparse.Namespace:
    """The command line; defaults are the template's."""
    parser = make_parser(DESCRIPTION)
    add = parser.add_argument
    add("--load-weights", type=Path, required=True, help="checkpoint")
    add("--save-model-to", type=Path, required=True, help="folder, made when missing")
    add("--onnx", action="store_true", help="write model.onnx")
    add("--openvino", action="store_true", help="write model.xml and model.bin")
    add(
        "--openvino-input-format", choices=("RGB", "BGR"), default=template.input_format,
        help="colours of the clips the exported models take (%(default)s)",
    )  # fmt: skip
    add("--openvino-mo-args", default="", help="not supported any more")
    add(
        "--output", choices=("logits", "probabilities", "cosines"), default="logits",
        help="what comes out: scaled cosines, their softmax, or cosines (%(default)s)",
    )  # fmt: skip
    return parser.parse_args(argv)


def export(
    config: CfgNode, model: ClipModel, args: argparse.Namespace, formats: Sequence[str]
) -> list[Path]:
    """Write the files, each run and compared with the model.

    Args:
        config: the model was trained with.
        model: with its weights.
        args: of :func:`parse`.
        formats: ``onnx``, ``openvino`` or both.

    Raises:
        ModuleNotFoundError: a library is missing; says how to install it.
        ParityError: a file computes something else.
    """
    from slowfast.datasets.base import read_class_names
    from slowfast.deploy.export.files import describe, export_files
    from slowfast.deploy.export.info import build_export_info

    names = config.DATA.CLASS_NAMES_PATH
    info = build_export_info(
        config,
        model,
        kind=args.output,
        channels=args.openvino_input_format,
        class_names={next(iter(model.classifiers)): read_class_names(names)} if names else None,
    )
    found = export_files(model, info, args.save_model_to, NAME, formats)
    for exported in found:
        logger.info("%s", describe(exported))
    return [exported.path for exported in found]
