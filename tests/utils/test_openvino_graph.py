"""Rearranged OpenVINO graphs compute what they computed before."""

import numpy as np
import pytest

openvino = pytest.importorskip("openvino")

from openvino import opset13 as ops  # noqa: E402
from openvino._offline_transformations import (  # noqa: E402
    apply_make_stateful_transformation,
)

from slowfast.utils.openvino import openvino_core  # noqa: E402
from slowfast.utils.openvino_graph import (  # noqa: E402
    keep_states_apart,
    pad_depthwise,
    pair_frames,
    split_wide,
)

RNG = np.random.default_rng(0)
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


def numbers(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def conv(x, filters: int, channels: int, kernel=(1, 1, 1), stride=(1, 1, 1), *, bias=True):
    pads = [size // 2 for size in kernel]
    weight = numbers(filters, channels, *kernel)
    out = ops.convolution(x, ops.constant(weight), list(stride), pads, pads, [1, 1, 1])
    return ops.add(out, ops.constant(numbers(1, filters, 1, 1, 1))) if bias else out


def depthwise(x, width: int):
    weight = ops.constant(numbers(width, 1, 1, 3, 3, 3))
    out = ops.group_convolution(x, weight, [1, 2, 2], [1, 1, 1], [1, 1, 1], [1, 1, 1])
    return ops.add(out, ops.constant(numbers(1, width, 1, 1, 1)))


def clip(*shape: int):
    return ops.parameter(list(shape), np.float32, name="frames")


def branch(x, channels: int, width: int, *, with_se: bool = True):
    """As of X3D: wide, depthwise, squeeze and excite, narrow."""
    x = depthwise(ops.relu(conv(x, width, channels)), width)
    if with_se:
        mean = ops.reduce_mean(x, ops.constant(np.int64([2, 3, 4])), True)
        gate = ops.sigmoid(conv(ops.relu(conv(mean, 8, width)), width, 8))
        x = ops.multiply(x, gate)
    return conv(ops.swish(x), channels, width)


def run(model, *values: np.ndarray) -> list[np.ndarray]:
    compiled = openvino_core().compile_model(model, "CPU", SETTINGS)
    request = compiled.create_infer_request()
    return [request.infer([value])[0].copy() for value in values]


def require_same(model, change, places: int, *values: np.ndarray) -> None:
    before = run(model, *values)
    assert change(model) == places
    for old, new in zip(before, run(model, *values), strict=True):
        assert old.shape == new.shape
        np.testing.assert_allclose(new, old, atol=1e-5 * np.abs(old).max())


def widths(model) -> list[int]:
    return [
        op.output(0).get_partial_shape()[1].get_length()
        for op in model.get_ordered_ops()
        if op.get_type_name() == "GroupConvolution"
    ]


@pytest.mark.parametrize("batch", [1, -1])
def test_depthwise_layers_get_whole_lines(batch):
    x = clip(batch, 6, 4, 10, 10)
    middle = ops.relu(branch(x, 6, 54))
    model = openvino.Model([branch(middle, 6, 28, with_se=False)], [x], "net")
    require_same(model, pad_depthwise, 2, numbers(1 if batch > 0 else 2, 6, 4, 10, 10))
    assert widths(model) == [64, 32]


@pytest.mark.parametrize("width", [20, 48, 64])
def test_much_wider_or_fitting_layers_stay(width):
    x = clip(1, 6, 4, 10, 10)
    model = openvino.Model([branch(x, 6, width)], [x], "net")
    require_same(model, pad_depthwise, 0, numbers(1, 6, 4, 10, 10))
    assert widths(model) == [width]


def test_channels_that_go_elsewhere_stay():
    x = clip(1, 54, 4, 10, 10)
    of_input = openvino.Model([conv(depthwise(x, 54), 6, 54)], [x], "net")
    require_same(of_input, pad_depthwise, 0, numbers(1, 54, 4, 10, 10))
    y = clip(1, 6, 4, 10, 10)
    inner = depthwise(conv(y, 54, 6), 54)
    into_output = openvino.Model([inner], [y], "net")
    require_same(into_output, pad_depthwise, 0, numbers(1, 6, 4, 10, 10))


@pytest.mark.parametrize("batch", [1, -1])
@pytest.mark.parametrize(
    ("limit", "parts"),
    [(60_000, [32, 32]), (40_000, [16, 16, 32]), (30_000, [16] * 4), (1, [16] * 4)],
)
def test_large_depthwise_layers_are_computed_in_parts(batch, limit, parts):
    """Of 102,400 bytes, 64 channels, 4 frames and 10x10 pixels; the next ones have 25,600."""
    x = clip(batch, 6, 4, 10, 10)
    model = openvino.Model([branch(ops.relu(branch(x, 6, 64)), 6, 64)], [x], "net")
    again = 2 if limit < 25_600 else 1
    value = numbers(1 if batch > 0 else 2, 6, 4, 10, 10)
    require_same(model, lambda model: split_wide(model, limit), again, value)
    assert widths(model) == [*(again * parts), *([64] if again == 1 else [])]


def test_what_is_not_split():
    """Small maps, broken lines, and maps that others read as well."""
    x = clip(1, 6, 4, 10, 10)
    small = openvino.Model([branch(x, 6, 64)], [x], "net")
    require_same(small, split_wide, 0, numbers(1, 6, 4, 10, 10))
    y = clip(1, 6, 4, 10, 10)
    broken = openvino.Model([branch(y, 6, 54)], [y], "net")
    require_same(broken, lambda model: split_wide(model, 1), 0, numbers(1, 6, 4, 10, 10))
    z = clip(1, 6, 4, 10, 10)
    wide = ops.relu(conv(z, 64, 6))
    shared = openvino.Model([depthwise(wide, 64), conv(wide, 6, 64)], [z], "net")
    require_same(shared, lambda model: split_wide(model, 1), 0, numbers(1, 6, 4, 10, 10))


@pytest.mark.parametrize("batch", [1, -1])
@pytest.mark.parametrize("with_pool", [True, False])
def test_fast_stems_take_two_frames(batch, with_pool):
    x = clip(batch, 3, 8, 20, 20)
    out = ops.relu(conv(x, 8, 3, (5, 7, 7), (1, 2, 2)))
    if with_pool:
        out = ops.max_pool(
            out, [1, 2, 2], [1, 1, 1], [0, 1, 1], [0, 1, 1], [1, 3, 3], "floor"
        ).output(0)
    model = openvino.Model([conv(out, 4, 8, (3, 1, 1))], [x], "net")
    require_same(model, pair_frames, 1, numbers(1 if batch > 0 else 2, 3, 8, 20, 20))


@pytest.mark.parametrize(
    ("filters", "kernel", "frames"), [(16, (5, 7, 7), 8), (8, (1, 7, 7), 8), (8, (5, 7, 7), 7)]
)
def test_other_stems_stay(filters, kernel, frames):
    x = clip(1, 3, frames, 20, 20)
    model = openvino.Model([conv(x, filters, 3, kernel, (1, 2, 2))], [x], "net")
    require_same(model, pair_frames, 0, numbers(1, 3, frames, 20, 20))


def test_sums_that_become_states_are_apart():
    x = ops.parameter([1, 4, 1, 6, 6], np.float32, name="frames")
    old = [ops.parameter([1, 4, 1, 6, 6], np.float32, name=f"old{i}") for i in range(2)]
    first = conv(x, 4, 4, (1, 3, 3), bias=False)
    second = ops.add(old[0], conv(x, 4, 4, (1, 3, 3), bias=False))
    out = ops.relu(ops.add(old[1], conv(x, 4, 4, (1, 3, 3))))
    results = [ops.result(value) for value in (out, first, second)]
    for i, parameter in enumerate(old):
        parameter.output(0).set_names({f"old{i}"})
        results[i + 1].input_value(0).set_names({f"new{i}"})
    model = openvino.Model(results, [x, *old], "step")
    apply_make_stateful_transformation(model, {f"old{i}": f"new{i}" for i in range(2)})
    require_same(model, keep_states_apart, 1, *(numbers(1, 4, 1, 6, 6) for _ in range(5)))
    assert [op.get_type_name() for op in model.get_ordered_ops()].count("Maximum") == 1
