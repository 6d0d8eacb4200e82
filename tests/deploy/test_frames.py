"""Between pixels and normalised clips: numbers, and the order in memory."""

import pytest
import torch

from slowfast.deploy.frames import normalize, stack, take

MEAN, STD = [0.45, 0.4, 0.5], [0.225, 0.2, 0.25]
LAYOUTS = [torch.contiguous_format, torch.channels_last_3d]


def noise(layout, *, batch=2, frames=5):
    pixels = torch.randint(0, 256, (batch, 3, frames, 6, 7), generator=torch.manual_seed(0))
    return pixels.to(torch.uint8).contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_normalize(layout):
    pixels = noise(layout)
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (MEAN, STD))
    found = normalize(pixels, MEAN, STD)
    torch.testing.assert_close(found, (pixels / 255 - mean) / std, rtol=1e-5, atol=1e-6)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_take(layout):
    pixels = noise(layout)
    some = take(pixels, [0, 2, 2, 4])
    assert torch.equal(some, pixels[:, :, [0, 2, 2, 4]])
    assert some.is_contiguous(memory_format=layout)
    assert take(pixels, range(5)) is pixels


@pytest.mark.parametrize("layout", LAYOUTS)
def test_stack(layout):
    clip = noise(layout, batch=1)
    parts = [frame.clone() for frame in clip[0].unbind(1)]  # a clone keeps dense strides
    stacked = stack(parts)
    assert torch.equal(stacked, clip)
    assert stacked.is_contiguous(memory_format=layout)
    assert parts[0].is_contiguous() == (layout is torch.contiguous_format)
