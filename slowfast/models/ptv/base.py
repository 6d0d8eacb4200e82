"""What the networks of PyTorchVideo share: our head, our pooling windows, checked keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from slowfast.config.tree import get_value
from slowfast.models.base import NumClasses, check_head_act
from slowfast.models.build import build_head, build_num_classes
from slowfast.models.layers.conv import Size3
from slowfast.models.layers.head import Classifier, pool
from slowfast.models.staged import StagedModel
from slowfast.utils import vision
from slowfast.utils.optional import require

if TYPE_CHECKING:
    from yacs.config import CfgNode

NOT_THERE = {"MODEL.ACT_CHECKPOINT": False, "MODEL.DROPCONNECT_RATE": 0.0}
"""Keys that other families read and these do not -> the value that changes nothing."""


class PTVHead(Classifier):
    """In the place of PyTorchVideo's head: pools, and keeps the classifiers aside.

    Args:
        pool: what the head there pools with; ``None`` where a block before it does.
        dropout: see :class:`~slowfast.models.layers.head.Classifier`.
        detach: likewise.
    """

    prefix = "proj"

    def __init__(self, pool: nn.Module | None, *, dropout: float, detach: bool) -> None:
        super().__init__(dropout=dropout, detach=detach)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps -> features of every position, ``(B, T', H', W', num_features)``."""
        return (x if self.pool is None else self.pool(x)).permute(0, 2, 3, 4, 1)


class WindowPool(nn.Module):
    """The average of windows, of the whole map where it is smaller than the window."""

    def __init__(self, size: Size3) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return pool(x, self.size)


class PTVModel(StagedModel):
    """A network of PyTorchVideo.

    Args:
        network: with a head for one class, which is replaced.
        num_classes: of the one task, or ``{task: classes}``.
        dropout: before the classifier.
        detach_head: train the classifier only.
        head_act: see :class:`~slowfast.models.base.ClipModel`.
        fc_std: standard deviation of the classifier's fresh weights.
        zero_final_bn: start the last batch norm of each block at 0: a block begins as identity.

    Attributes:
        model: the network.
        archs: values of ``MODEL.ARCH`` that go with the family.
        fixed: keys of which the family has one value only.
    """

    stages = ()
    archs: ClassVar[tuple[str, ...]] = ()
    fixed: ClassVar[Mapping[str, Any]] = {
        "RESNET.TRANS_FUNC": "bottleneck_transform",
        "RESNET.STRIDE_1X1": False,
    }

    def __init__(
        self,
        network: nn.Module,
        *,
        num_classes: NumClasses,
        dropout: float = 0.5,
        detach_head: bool = False,
        head_act: str = "softmax",
        fc_std: float = 0.01,
        zero_final_bn: bool = True,
    ) -> None:
        super().__init__()
        self.head_act = check_head_act(head_act)
        self.model: Any = network
        self.num_features = self.head.proj.in_features
        self.replace_head(dropout=dropout, detach=detach_head)
        self.head.add_classifiers(self.num_features, num_classes)
        self.head.init_classifiers(fc_std)
        for module in network.modules():
            if getattr(module, "block_final_bn", False) and not zero_final_bn:
                nn.init.ones_(module.weight)  # type: ignore[arg-type]

    @property
    def head(self) -> Any:  # type: ignore[override]
        """The network's last block: pools and classifies."""
        return self.model.blocks[-1]

    def replace_head(self, **options: Any) -> None:
        """Put a head of ours in the place of the network's."""
        self.model.blocks[-1] = PTVHead(self.head.pool, **options)
        for parent in list(self.head.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.AvgPool3d):
                    setattr(parent, name, WindowPool(child.kernel_size))  # type: ignore[arg-type]

    def positions(self, clips: Sequence[Tensor]) -> Tensor:
        pathways = self.trunk(clips)  # checked, and a list of our own: the network changes it
        features: Tensor = self.model(pathways if self.num_pathways > 1 else pathways[0])
        return features


def builder(module: str, name: str) -> Callable[..., Any]:
    """A function of ``pytorchvideo.models``.

    Raises:
        ModuleNotFoundError: PyTorchVideo is not installed; says how to.
    """
    vision.functional()  # they import torchvision, which may lack operators
    create: Callable[..., Any] = getattr(
        require(f"pytorchvideo.models.{module}", extra="pytorchvideo"), name
    )
    return create


def build_options(cfg: CfgNode, family: type[PTVModel]) -> dict[str, Any]:
    """Arguments of :class:`PTVModel`, after a look at what the family does not have."""
    name = cfg.MODEL.MODEL_NAME
    if cfg.MODEL.ARCH not in family.archs:
        raise ValueError(
            f"MODEL.ARCH {cfg.MODEL.ARCH} does not go with MODEL.MODEL_NAME {name}: set one of "
            f"{', '.join(family.archs)}"
        )
    for key, value in {**NOT_THERE, **family.fixed}.items():
        if get_value(cfg, key) != value:
            raise ValueError(
                f"{key} is {get_value(cfg, key)}, and MODEL.MODEL_NAME {name} has {value} only"
            )
    if any(blocks for stage in cfg.NONLOCAL.LOCATION for blocks in stage):
        raise ValueError(f"NONLOCAL.LOCATION: MODEL.MODEL_NAME {name} has no non-local blocks")
    return build_head(cfg) | {
        "num_classes": build_num_classes(cfg),
        "num_frames": cfg.DATA.NUM_FRAMES,
        "crop_size": cfg.DATA.TRAIN_CROP_SIZE,
        "fc_std": cfg.MODEL.FC_INIT_STD,
        "zero_final_bn": cfg.RESNET.ZERO_INIT_FINAL_BN,
    }
