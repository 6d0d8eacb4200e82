"""OpenVINO's intermediate representation, from ONNX."""

from __future__ import annotations

import logging
from pathlib import Path

from slowfast.deploy.export.graph import read_info, write_info
from slowfast.utils.optional import require

logger = logging.getLogger(__name__)


def export_openvino(onnx_path: Path, path: Path) -> Path:
    """Write the model in ``onnx_path`` as ``path`` (``.xml``) and ``.bin``, in full precision.

    Args:
        onnx_path: what :func:`~slowfast.deploy.export.onnx.export_onnx` wrote.
        path: ``.xml``.

    Raises:
        ModuleNotFoundError: ``openvino`` is not installed; says how.
    """
    openvino = require("openvino", extra="deploy")
    model = openvino.convert_model(str(onnx_path))
    openvino.save_model(model, str(path), compress_to_fp16=False)
    write_info(path, read_info(onnx_path))
    logger.info("wrote %s and %s", path, path.with_suffix(".bin"))
    return path
