"""The sizes of X3D by their names, as config keys."""

from __future__ import annotations

from dataclasses import dataclass, replace

from yacs.config import CfgNode

from slowfast.config import load_cfg


@dataclass(frozen=True)
class Backbone:
    """One size of X3D (Feichtenhofer 2020, table 4; configs/Kinetics/X3D_*.yaml).

    Attributes:
        frames: of a clip.
        stride: distance of these frames, at 30 per second.
        image_size: height and width of a clip, pixels.
        short_sides: smallest and largest short side of training frames before the crop, pixels;
            other frames have the smallest.
        depth: blocks, relative to the base network.
        width: channels, relative to the base network.
    """

    frames: int
    stride: int
    image_size: int
    short_sides: tuple[int, int]
    depth: float = 2.2
    width: float = 2.0

    def sized(self, image_size: int | None, frames: int | None, stride: int | None) -> Backbone:
        """The same network for other clips; ``None`` and 0 keep what there is."""
        size = image_size or self.image_size
        low, high = (max(round(side * size / self.image_size), size) for side in self.short_sides)
        return replace(
            self,
            frames=frames or self.frames,
            stride=stride or self.stride,
            image_size=size,
            short_sides=(low, high),
        )


BACKBONES = {
    "xs": Backbone(4, 12, 160, (182, 228)),
    "s": Backbone(13, 6, 160, (182, 228)),
    "m": Backbone(16, 5, 224, (256, 320)),
    "l": Backbone(16, 5, 312, (356, 446), depth=5.0),
}


def network_cfg(
    backbone: Backbone,
    *,
    num_classes: int,
    head_act: str = "softmax",
    window: int = 0,
    seed: int = 0,
) -> CfgNode:
    """The config of an X3D.

    Args:
        backbone: its size, and that of its clips.
        num_classes: of the one task.
        head_act: from logits to scores.
        window: frames pooled by its stream, which it then has the form of (CoX3D); 0: it is a
            clip network.
        seed: of the data's randomness.
    """
    values = {
        "MODEL.ARCH": "x3d",
        "MODEL.MODEL_NAME": "X3D",
        "MODEL.NUM_CLASSES": num_classes,
        "MODEL.HEAD_ACT": head_act,
        "X3D.WIDTH_FACTOR": backbone.width,
        "X3D.DEPTH_FACTOR": backbone.depth,
        "X3D.BOTTLENECK_FACTOR": 2.25,
        "RESNET.TRANS_FUNC": "x3d_transform",
        "RESNET.ZERO_INIT_FINAL_BN": True,
        "DATA.INPUT_CHANNEL_NUM": [3],
        "DATA.NUM_FRAMES": backbone.frames,
        "DATA.SAMPLING_RATE": backbone.stride,
        "DATA.TRAIN_JITTER_SCALES": list(backbone.short_sides),
        "DATA.TRAIN_CROP_SIZE": backbone.image_size,
        "DATA.TEST_CROP_SIZE": backbone.image_size,
        "TEST.NUM_ENSEMBLE_VIEWS": 1,
        "TEST.NUM_SPATIAL_CROPS": 1,
        "RNG_SEED": seed,
        "NUM_GPUS": 0,
    }
    if window:
        values |= {"MODEL.STREAMING.ENABLE": True, "MODEL.STREAMING.WINDOW": window}
    return load_cfg((), [word for key, value in values.items() for word in (key, str(value))])
