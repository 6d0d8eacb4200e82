"""Int8 for ONNX Runtime: its static quantiser, told which layers and over which ranges.

The file has QuantizeLinear and DequantizeLinear around the layers, which the runtime (and
OpenVINO, when it reads the file) turns into integer kernels. It computes what
:mod:`slowfast.compression.quantization.fake_quant` computes in torch: the same activations are
rounded, over the same ranges.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from slowfast.compression.quantization.errors import QuantizationError
from slowfast.compression.quantization.fake_quant import Range, Site, input_key
from slowfast.utils.files import written_aside
from slowfast.utils.optional import require

logger = logging.getLogger(__name__)

OPS = ("Conv", "Gemm")
DEQUANTIZED = "_DequantizeLinear_Output"  # what the quantiser appends to a tensor's name


class OnnxQuantizer:
    """Writes int8 files of a float one.

    Args:
        path: ``.onnx``, float, batch norms folded.
        sites: of the network it was made from.
        ranges: of its activations.

    Attributes:
        layers: that were found in the file, in the network's order. Others stay in float.

    Raises:
        QuantizationError: no layer of the network was found in the file.
        ModuleNotFoundError: ONNX Runtime is not installed; says how.
    """

    def __init__(self, path: Path, sites: Mapping[str, Site], ranges: Mapping[str, Range]) -> None:
        for library in ("onnx", "onnxruntime"):
            require(library, extra="deploy")
        self._model = preprocess(path)
        self._sites, self._ranges = dict(sites), dict(ranges)
        graph = self._model.graph
        owners = layer_names([tensor.name for tensor in graph.initializer], sites)
        self._nodes = {
            owners[node.input[1]]: node
            for node in graph.node
            if node.op_type in OPS and node.input[1] in owners
        }
        self.layers = [name for name in sites if name in self._nodes]
        if not self.layers:
            raise QuantizationError(f"{path}: none of the network's layers were found in it")

    def write(self, target: Path, float_layers: Collection[str] = ()) -> Path:
        """Write ``target`` with all layers but ``float_layers`` in int8."""
        onnx = require("onnx", extra="deploy")
        ort = require("onnxruntime.quantization", extra="deploy")
        layers = [name for name in self.layers if name not in float_layers]
        ranges, relus = self._tensors(layers)
        quantizer = ort.QDQQuantizer(
            _copy(self._model),
            per_channel=True,
            reduce_range=False,
            weight_qType=ort.QuantType.QInt8,
            activation_qType=ort.QuantType.QUInt8,
            tensors_range=ort.calibrate.TensorsData(ort.CalibrationMethod.MinMax, ranges),
            nodes_to_quantize=[*(self._nodes[name].name for name in layers), *relus],
            nodes_to_exclude=[],
            op_types_to_quantize=[*OPS, "Relu"],
            extra_options={},
        )
        if layers:  # an empty list would mean all
            quantizer.quantize_model()
        model = quantizer.model.model
        self._free_others(model.graph, layers)
        self._keep_float(model.graph, layers, ranges)
        quantizer.model.topological_sort()  # the standard wants it
        with written_aside(target) as unfinished:
            onnx.save_model(model, str(unfinished))
        return target

    def _tensors(self, layers: Collection[str]) -> tuple[dict[str, Any], list[str]]:
        """Ranges by tensor, and the names of the ReLUs that follow layers."""
        readers: dict[str, list[Any]] = {}
        for node in self._model.graph.node:
            for tensor in node.input:
                readers.setdefault(tensor, []).append(node)
        ranges: dict[str, Any] = {}
        relus = []
        for name in layers:
            node = self._nodes[name]
            key = input_key(name, self._sites)
            ranges.setdefault(node.input[0], _as_arrays(self._ranges[key]))
            ends = [node.output[0]]
            after = readers.get(node.output[0], [])
            if self._sites[name].relu and [other.op_type for other in after] == ["Relu"]:
                relus.append(after[0].name)
                ends.append(after[0].output[0])
            ranges |= dict.fromkeys(ends, _as_arrays(self._ranges[f"{name}:out"]))
        return ranges, relus

    def _free_others(self, graph: Any, layers: Collection[str]) -> None:
        """Give what is no int8 layer the unrounded tensor where only layers are to read it rounded.

        The quantiser hands a rounded tensor to all its readers, the shortcut of a residual block
        among them.
        """
        made = {tensor for node in graph.node for tensor in node.output}
        sources = {tensor.name for tensor in graph.input} | made
        names = {self._nodes[name].name for name in layers}
        kept = {output for node in graph.node if node.name in names for output in node.output}
        for node in graph.node:
            if node.name in names or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                continue
            for i, tensor in enumerate(node.input):
                original = tensor.removesuffix(DEQUANTIZED)
                if original != tensor and original in sources and original not in kept:
                    node.input[i] = original

    def _keep_float(self, graph: Any, layers: Collection[str], ranges: Mapping[str, Any]) -> None:
        """Stop the runtime from rounding the weights of float layers.

        It does so, unasked, to a convolution between a rounded input and a rounded output. With a
        clip to a wider range in between, which changes nothing, its input is none.
        """
        onnx = require("onnx", extra="deploy")
        names = {self._nodes[name].name for name in layers}
        nodes = list(graph.node)
        for place in range(len(nodes) - 1, -1, -1):
            node = nodes[place]
            source = node.input[0].removesuffix(DEQUANTIZED) if node.input else ""
            if node.op_type not in OPS or node.name in names or source not in ranges:
                continue
            if source == node.input[0]:
                continue
            reach = 2 * max(abs(float(bound)) for bound in ranges[source]) + 1
            bounds = {f"{node.name}_low": -reach, f"{node.name}_high": reach}
            graph.initializer.extend(
                onnx.numpy_helper.from_array(np.array(value, np.float32), name)
                for name, value in bounds.items()
            )
            clipped = f"{node.name}_clipped"
            clip = onnx.helper.make_node("Clip", [node.input[0], *bounds], [clipped], clipped)
            node.input[0] = clipped
            graph.node.insert(place, clip)


def preprocess(path: Path) -> Any:
    """The model at ``path`` after the runtime's own preparation: shapes known, constants folded."""
    onnx = require("onnx", extra="deploy")
    inference = require("onnxruntime.quantization.shape_inference", extra="deploy")
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        try:
            inference.quant_pre_process(str(path), str(prepared))
        except Exception as error:  # its inference of shapes with free sizes fails in many ways
            logger.info("%s: shapes are inferred without free sizes: %s", path, error)
            inference.quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        return onnx.load(str(prepared))


def layer_names(tensors: Collection[str], sites: Mapping[str, Site]) -> dict[str, str]:
    """Weight in a file -> layer of the network: ``model.s1.conv.weight`` is that of ``s1.conv``."""
    found = {}
    for tensor in tensors:
        name = tensor.removesuffix(".weight")
        while name and name != tensor:
            if name in sites:
                found[tensor] = name
                break
            name = name.partition(".")[2]
    return found


def _copy(model: Any) -> Any:
    copied = type(model)()
    copied.CopyFrom(model)
    return copied


def _as_arrays(bounds: Range) -> tuple[Any, Any]:
    low, high = bounds
    return np.array(low, np.float32), np.array(high, np.float32)
