"""Models a part of which starts from the weights of an image network."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import nn

from slowfast.models.base import ClipModel
from slowfast.models.layers.resnet2d import PretrainedError, load_resnet2d


class PretrainedModel(ClipModel):
    """A clip model around (part of) an image ResNet.

    Building a model never reads weights: it is also built to be traced on the meta device, to
    load a checkpoint, to be timed. A config that asks for pretrained weights is remembered in
    ``pending`` until :meth:`load_pretrained` or a checkpoint that covers the part has been
    loaded; training before that is an error, not a random start.

    Attributes:
        pending: source of the weights still to be loaded; empty: none.
        image_depth: layers of the ResNet.
    """

    pending: str = ""
    image_depth: int = 50

    @property
    @abstractmethod
    def image_part(self) -> nn.Module:
        """What the image weights go into, under torchvision's names."""

    def load_pretrained(self, source: str = "") -> None:
        """Load image weights.

        Args:
            source: see :func:`~slowfast.models.layers.resnet2d.load_resnet2d`; empty: what the
                config asked for, if anything.
        """
        source = source or self.pending
        if source:
            load_resnet2d(self.image_part, source, depth=self.image_depth)
        self.pending = ""

    def expect_pretrained(self, source: str) -> None:
        """Refuse to train until ``source``, or a checkpoint, has been loaded."""
        self.pending = source
        if source:
            self.register_load_state_dict_post_hook(_covered)  # type: ignore[no-untyped-call]

    def check_pretrained(self) -> None:
        """Raise where training would start from random weights though others were asked for."""
        if self.pending and self.training:
            raise PretrainedError(
                f"{type(self).__name__} is trained before its image weights are loaded "
                f"(MODEL.PRETRAINED {self.pending}): call load_pretrained(), load a checkpoint, or "
                "set MODEL.PRETRAINED ''"
            )


def _covered(model: nn.Module, keys: Any) -> None:
    """After ``load_state_dict``: nothing is pending if all of the image part was in it."""
    assert isinstance(model, PretrainedModel)
    part = {f"{_name(model)}.{name}" for name, _ in model.image_part.named_parameters()}
    if not part & set(keys.missing_keys):
        model.pending = ""


def _name(model: PretrainedModel) -> str:
    return next(name for name, module in model.named_modules() if module is model.image_part)
