"""Changes to OpenVINO graphs that make them faster and leave what they compute as it is.

Each changes a model in place and says how many places it found. Numbers differ in rounding only.
Shares of time are of two cores of an EPYC (Zen 5), OpenVINO 2026.4.1, November 2026.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from slowfast.utils.optional import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

LINE = 16
"""Floats in a line of the cache."""

MAX_GROWTH = 1.2
MAX_BYTES = 20_000_000
MAX_FILTERS = LINE // 2
UNARY = ("Relu", "Swish", "HSwish", "HSigmoid", "Sigmoid", "Gelu", "Clamp")
LOWEST = np.float32(np.finfo(np.float32).min)


def pad_depthwise(model: Any) -> int:
    """Give depthwise convolutions channels in multiples of a cache line, the new ones zero.

    A pixel of X3D's 54 channels begins anywhere in a line, so that every other vector is read from
    two. With 64, 112 and 224 X3D-S takes 5 % less time, for 5 % more multiply-adds.

    Args:
        model: of static channels, float.

    Returns:
        Groups of layers that were widened: those that share their channels.
    """
    found = 0
    for op in model.get_ordered_ops():
        if op.get_type_name() != "GroupConvolution":
            continue
        width = _channels(op.output(0))
        target = -(-width // LINE) * LINE
        if width == target or target > MAX_GROWTH * width:
            continue
        widening = _Widening(width, target)
        if widening.spread(op.output(0)):
            widening.apply()
            found += 1
            model.validate_nodes_and_infer_types()
    return found


def split_wide(model: Any, limit: int = MAX_BYTES) -> int:
    """Widen and filter the channels of large maps in parts, one after the other.

    The first depthwise layer of X3D-S reads 64 channels of 80x80 pixels, 21 MB, which go to memory
    and back; a half of them stays in the cache. X3D-S takes 4 % less time (bf16: 2 %), X3D-M 1 %
    (4 %), for the same numbers.

    Args:
        model: with static frames and pixels, float.
        limit: bytes that a part of a clip may have.

    Returns:
        Depthwise layers that were split.
    """
    opset = require("openvino.opset13", extra="deploy")
    factory = require("openvino.utils.node_factory", extra="deploy").NodeFactory("opset13")
    found = 0
    for op in model.get_ordered_ops():
        if op.get_type_name() != "GroupConvolution":
            continue
        width, size = _channels(op.output(0)), _clip_bytes(op.input_value(0))
        lines, rest = divmod(width, LINE)
        chain = _widening_chain(op)
        if rest or lines == 1 or size <= limit or not chain:
            continue
        parts = min(lines, math.ceil(size / limit))
        ends = [LINE * (lines * part // parts) for part in range(parts + 1)]
        pieces = []
        for part, channels in enumerate(map(slice, ends, ends[1:])):
            value = chain[0].input_value(0)
            for link in chain:
                inputs = [_part(source, width, channels) for source in link.input_values()]
                inputs[_data_index(link)] = value
                piece = factory.create(link.get_type_name(), inputs, link.get_attributes())
                piece.set_friendly_name(f"{link.get_friendly_name()}/part{part}")
                value = piece.output(0)
            pieces.append(value)
        _replace(chain[-1], opset.concat(pieces, 1))
        found += 1
    if found:
        model.validate_nodes_and_infer_types()
    return found


def pair_frames(model: Any) -> int:
    """Let the stem of a fast pathway compute two frames at once, as twice the filters.

    Eight filters fill half of a vector; sixteen, of which eight see the clip one frame later, fill
    it. The kernel grows by one frame, so that 5x7x7 comes to 1.2 times the multiply-adds, done at
    twice the speed: SlowFast 8x8 takes 6 % less time. Frames take turns again behind the pooling,
    where there is less to move.

    Args:
        model: with static frames and pixels.

    Returns:
        Stems found.
    """
    opset = require("openvino.opset13", extra="deploy")
    found = 0
    for op in model.get_ordered_ops():
        if not _is_fast_stem(op):
            continue
        weight = _constant(op.input_value(1))
        assert weight is not None
        still = ((0, 0), (0, 0))
        early, late = (np.pad(weight, (*still, at, (0, 0), (0, 0))) for at in ((0, 1), (1, 0)))
        attributes = op.get_attributes()
        stem = opset.convolution(
            op.input_value(0),
            opset.constant(np.concatenate([early, late])),
            [2, *attributes["strides"][1:]],
            attributes["pads_begin"],
            attributes["pads_end"],
            attributes["dilations"],
        )
        last, new = _repeat(op, stem, opset)
        filters, frames, *size = list(last.output(0).get_partial_shape())[1:]
        count, pixels = filters.get_length(), [side.get_length() for side in size]
        halves = [0, 2, count, frames.get_length() // 2, pixels[0] * pixels[1]]
        new = opset.reshape(new.output(0), opset.constant(np.array(halves)), True)
        new = opset.transpose(new, opset.constant(np.array([0, 2, 3, 1, 4])))
        whole = [0, count, frames.get_length(), *pixels]
        new = opset.reshape(new, opset.constant(np.array(whole)), True)
        _replace(last, new)
        stem.set_friendly_name(op.get_friendly_name())
        found += 1
    if found:
        model.validate_nodes_and_infer_types()
    return found


def keep_states_apart(model: Any) -> int:
    """Let sums that become a state be new tensors, not be made in the place of another state.

    The CPU plugin adds a convolution's result to the other summand where that lies. If that is a
    state, and the sum another, the sum is copied afterwards, by one thread: 56 of 83 states of
    X3D-S, a quarter of a step. A maximum with the lowest number, which changes nothing, keeps
    the two operations apart; the sum then is what the state becomes.

    Args:
        model: with its states inside.

    Returns:
        Sums found.
    """
    opset = require("openvino.opset13", extra="deploy")
    found = 0
    for sink in model.get_sinks():
        op = sink.input_value(0).get_node()
        op = op.input_value(0).get_node() if op.get_type_name() in UNARY else op
        if op.get_type_name() != "Add":
            continue
        summands = [op.input_value(0), op.input_value(1)]
        summands.sort(key=lambda value: not _is_convolved(value))
        if not _is_convolved(summands[0]):
            continue
        # First, or it is the state again in whose place the sum is made.
        floor = opset.maximum(summands[0], opset.constant(LOWEST))
        _replace(op, opset.add(floor, summands[1]))
        found += 1
    if found:
        model.validate_nodes_and_infer_types()
    return found


class _Widening:
    """Tensors and constants that have to get the same number of channels.

    Args:
        width: they have.
        target: they are to get.
    """

    def __init__(self, width: int, target: int) -> None:
        self.width, self.target = width, target
        self.seen: dict[str, Any] = {}  # name of an operation -> its output
        self.axes: list[tuple[Any, int]] = []  # input of an operation, axis of its constant

    def spread(self, output: Any) -> bool:
        """Follow the channels from ``output`` on; whether they end in convolutions everywhere."""
        waiting = [output]
        while waiting:
            output = waiting.pop()
            op = output.get_node()
            if op.get_name() in self.seen:
                continue
            self.seen[op.get_name()] = output
            if len(op.outputs()) != 1:
                return False
            for value in (*self._behind(op), *self._ahead(output)):
                if value is None:
                    return False
                waiting.append(value)
        return True

    def apply(self) -> None:
        """Pad the constants with zeros."""
        opset = require("openvino.opset13", extra="deploy")
        for place, axis in self.axes:
            value = _constant(place.get_source_output())
            assert value is not None
            room = [(0, 0)] * value.ndim
            room[axis] = (0, self.target - self.width)
            place.replace_source_output(opset.constant(np.pad(value, room)).output(0))

    def _behind(self, op: Any) -> Iterator[Any]:
        """Inputs with the channels of ``op``'s output; ``None`` where that is not known."""
        kind = op.get_type_name()
        if kind == "Convolution" and _constant(op.input_value(1)) is not None:
            self.axes.append((op.input(1), 0))
        elif kind == "GroupConvolution" and self._is_depthwise(op):
            self.axes.append((op.input(1), 0))
            yield op.input_value(0)
        elif kind in ("Add", "Multiply"):
            yield from self._summands(op)
        elif kind in UNARY or self._is_mean(op):
            yield op.input_value(0)
        else:
            yield None

    def _ahead(self, output: Any) -> Iterator[Any]:
        """Outputs of what reads ``output``, with the same channels; ``None``: likewise."""
        for place in output.get_target_inputs():
            op = place.get_node()
            kind = op.get_type_name()
            if kind == "Convolution" and place.get_index() == 0:
                if _constant(op.input_value(1)) is None:
                    yield None
                self.axes.append((op.input(1), 1))
            elif kind in ("Add", "Multiply", "GroupConvolution", *UNARY):
                yield op.output(0)  # _behind looks whether it fits
            elif self._is_mean(op):
                yield op.output(0)
            else:
                yield None

    def _summands(self, op: Any) -> Iterator[Any]:
        for place in op.inputs():
            value = _constant(place.get_source_output())
            if value is None:
                yield place.get_source_output()
            elif value.ndim > 1 and value.shape[1] == self.width:
                self.axes.append((place, 1))
            elif value.size != 1:
                yield None

    def _is_depthwise(self, op: Any) -> bool:
        weight = _constant(op.input_value(1))
        return weight is not None and weight.shape[:3] == (self.width, 1, 1)

    def _is_mean(self, op: Any) -> bool:
        if op.get_type_name() != "ReduceMean" or not op.get_attributes()["keep_dims"]:
            return False
        axes = _constant(op.input_value(1))
        return axes is not None and axes.min() > 1


def _widening_chain(depthwise: Any) -> list[Any]:
    """From the dense layer before ``depthwise`` to its bias; none if others read in between."""
    chain = [depthwise]
    while chain[0].get_type_name() != "Convolution":
        index = _data_index(chain[0])
        source = chain[0].input_value(max(index, 0))
        kind = source.get_node().get_type_name()
        alone = len(source.get_target_inputs()) == 1
        if index < 0 or not alone or kind not in ("Convolution", "Add", *UNARY):
            return []
        chain.insert(0, source.get_node())
    if _data_index(chain[0]) != 0:
        return []
    readers = [place.get_node() for place in depthwise.output(0).get_target_inputs()]
    if len(readers) == 1 and readers[0].get_type_name() == "Add" and _data_index(readers[0]) >= 0:
        chain.append(readers[0])
    return chain


def _data_index(op: Any) -> int:
    """Of the only input that is not constant; -1 where there are several."""
    found = [place.get_index() for place in op.inputs()
             if _constant(place.get_source_output()) is None]  # fmt: skip
    return found[0] if len(found) == 1 else -1


def _part(source: Any, width: int, channels: slice) -> Any:
    """Numbers or filters of some of the channels; of anything else all."""
    opset = require("openvino.opset13", extra="deploy")
    value = _constant(source)
    if value is None or width not in value.shape[:2]:
        return source
    part = value[channels] if value.shape[0] == width else value[:, channels]
    return opset.constant(np.ascontiguousarray(part)).output(0)


def _clip_bytes(output: Any) -> int:
    """Of one clip's floats; 0 where that is not known."""
    sides = list(output.get_partial_shape())[1:]
    return 4 * math.prod(side.get_length() if side.is_static else 0 for side in sides)


def _is_fast_stem(op: Any) -> bool:
    if op.get_type_name() != "Convolution":
        return False
    weight, attributes = _constant(op.input_value(1)), op.get_attributes()
    shape = op.output(0).get_partial_shape()
    return (
        weight is not None
        and weight.ndim == 5
        and weight.shape[0] <= MAX_FILTERS
        and weight.shape[2] > 1
        and min(weight.shape[3:]) >= weight.shape[2]
        and attributes["strides"][0] == 1
        and attributes["dilations"][0] == 1
        and attributes["auto_pad"] == "explicit"
        and all(side.is_static for side in list(shape)[1:])
        and list(shape)[2].get_length() % 2 == 0
    )


def _repeat(op: Any, stem: Any, opset: Any) -> tuple[Any, Any]:
    """What follows ``op`` and treats frames alike, again behind ``stem``: both ends."""
    while len(op.output(0).get_target_inputs()) == 1:
        (place,) = op.output(0).get_target_inputs()
        follower = place.get_node()
        kind = follower.get_type_name()
        if kind == "Add":
            bias = _constant(follower.input_value(1 - place.get_index()))
            if bias is None or bias.ndim != 5 or bias.shape[2] != 1:
                break
            repeats = (1, 2 if bias.shape[1] > 1 else 1, 1, 1, 1)
            stem = opset.add(stem, opset.constant(np.tile(bias, repeats)))
        elif kind == "Relu":
            stem = opset.relu(stem)
        elif kind == "MaxPool" and follower.get_attributes()["kernel"][0] == 1:
            kept = follower.get_attributes()
            kernel = kept.pop("kernel")
            stem = opset.max_pool(stem, kernel_shape=kernel, **kept)
        else:
            break
        stem.set_friendly_name(follower.get_friendly_name())
        op = follower
    return op, stem


def _replace(old: Any, new: Any) -> None:
    """Let what reads ``old`` read ``new``, under the same name."""
    new.set_friendly_name(old.get_friendly_name())
    names = old.output(0).get_names()
    for place in list(old.output(0).get_target_inputs()):
        place.replace_source_output(new.output(0))
    new.output(0).set_names(names)


def _is_convolved(value: Any) -> bool:
    """Whether it comes from a convolution, a bias apart."""
    op = value.get_node()
    if op.get_type_name() == "Add":
        values = [op.input_value(0), op.input_value(1)]
        others = [each for each in values if _constant(each) is None]
        if len(others) != 1:
            return False
        op = others[0].get_node()
    return op.get_type_name() in ("Convolution", "GroupConvolution")


def _channels(output: Any) -> int:
    return list(output.get_partial_shape())[1].get_length()


def _constant(output: Any) -> NDArray[Any] | None:
    """The numbers of a constant; ``None`` of anything else."""
    op = output.get_node()
    return np.asarray(op.data) if op.get_type_name() == "Constant" else None
