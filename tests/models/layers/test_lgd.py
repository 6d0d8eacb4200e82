"""Local-global diffusion and the squeeze-and-excite of single frames."""

import torch

from slowfast.models.layers.lgd import ContextPool, LocalGlobalDiffusion
from slowfast.models.layers.mobilenetv3_block import FrameSqueezeExcite

CLIP = torch.randn(2, 8, 3, 4, 5, generator=torch.Generator().manual_seed(0))


def test_context_is_an_average_with_learned_weights():
    pool = ContextPool(8).eval()
    with torch.no_grad():
        scores = torch.einsum("bcthw,c->bthw", CLIP, pool.score.weight.flatten())
        weights = (scores / (1 + pool.score_bn.eps) ** 0.5).exp()
        weights /= weights.sum(dim=(1, 2, 3), keepdim=True)
        expected = torch.einsum("bcthw,bthw->bc", CLIP, weights)
        torch.testing.assert_close(pool(CLIP)[:, :, 0, 0, 0], expected)
        pool.score.weight.zero_()
        torch.testing.assert_close(pool(CLIP), CLIP.mean((2, 3, 4), keepdim=True))


def test_layout_of_memory_does_not_matter():
    pool = ContextPool(8).eval()
    other = CLIP.contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(pool(other), pool(CLIP))


def test_which_maps_take_part_in_what():
    diffusion = LocalGlobalDiffusion([8, 8, 16, 16])
    assert list(diffusion.to_local) == ["1", "2", "3"]
    assert list(diffusion.pool) == ["0", "1", "2"]
    assert list(diffusion.to_global) == ["1", "2"]


def test_maps_are_unchanged_at_zero_and_the_vector_is_renewed():
    diffusion = LocalGlobalDiffusion([8, 8, 8]).eval()
    diffusion.zero_init()
    x, first = diffusion(0, CLIP, None)
    assert x is CLIP
    y, second = diffusion(1, CLIP, first)
    assert torch.equal(y, CLIP)
    expected = first + diffusion.to_global["1"](first) + diffusion.pool["1"](CLIP)
    torch.testing.assert_close(second, expected)
    z, last = diffusion(2, CLIP, second)
    assert torch.equal(z, CLIP)
    assert last is None


def test_squeeze_excite_of_a_clip_is_that_of_its_frames():
    gate = FrameSqueezeExcite(8)
    assert gate.fc1.out_channels == 2
    with torch.no_grad():
        frames = [gate(CLIP[:, :, t : t + 1]) for t in range(3)]
        torch.testing.assert_close(gate(CLIP), torch.cat(frames, dim=2))
