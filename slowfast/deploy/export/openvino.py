"""OpenVINO's intermediate representation, from ONNX."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from slowfast.deploy.export import onnx
from slowfast.deploy.export.graph import Source
from slowfast.deploy.export.table import Format
from slowfast.utils.files import written_aside
from slowfast.utils.openvino_graph import pad_depthwise, pair_frames, split_wide
from slowfast.utils.optional import require


def convert(onnx_path: Path, path: Path, *, halve: bool = False) -> Path:
    """Write the model in ``onnx_path`` as ``path`` (``.xml``) and ``.bin``.

    Rearranged for OpenVINO: layers in it need not be those of the network one by one.

    Args:
        onnx_path: float, or with what it rounds.
        path: ``.xml``.
        halve: round weights to 16 bits.

    Raises:
        ModuleNotFoundError: ``openvino`` is not installed; says how.
    """
    openvino = require("openvino", extra="deploy")
    model = openvino.convert_model(str(onnx_path))
    pad_depthwise(model)
    pair_frames(model)
    split_wide(model)
    with written_aside(path) as unfinished:
        openvino.save_model(model, str(unfinished), compress_to_fp16=halve)
    return path


def write(source: Source, path: Path) -> Path:
    """Write the two files of a model, from its ONNX file or one that does not stay.

    Without a description, like every format.
    """
    require("openvino", extra="deploy")
    if source.onnx_path is not None and source.suits_all:
        return convert(source.onnx_path, path)
    with TemporaryDirectory() as folder:
        file = onnx.write_program(source.program, source.info, Path(folder) / "model.onnx")
        return convert(file, path)


FORMAT = Format(suffix=".xml", write=write, libraries=("torch", "onnxscript", "openvino"))
