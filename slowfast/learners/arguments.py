"""What an X3D learner is told: its documented arguments, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from slowfast.learners.backbones import BACKBONES
from slowfast.learners.learner import Learner, check_choices, check_kinds, check_lowest
from slowfast.learners.training import LOSSES, OPTIMIZERS, SCHEDULES
from slowfast.utils.device import DEVICES

CHOICES = {
    "optimizer": OPTIMIZERS,
    "lr_schedule": SCHEDULES,
    "network_head": ("classification",),
    "device": DEVICES,
    "loss": LOSSES,
}
_COUNT, _MAYBE, _NUMBER = (int,), (int, type(None)), (float, int)
KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("lr", "weight_decay", "momentum"), _NUMBER),
    **dict.fromkeys(("iters", "batch_size", "num_workers", "seed", "num_classes"), _COUNT),
    **dict.fromkeys(("checkpoint_after_iter", "checkpoint_load_iter"), _COUNT),
    **dict.fromkeys(("image_size", "frames_per_clip", "temporal_window_size"), _MAYBE),
    **dict.fromkeys(("drop_last", "pin_memory"), (bool,)),
    **dict.fromkeys((*CHOICES, "backbone"), (str,)),
    "temp_path": (str, Path),
}
LOWEST = {
    **dict.fromkeys(("iters", "batch_size", "num_classes"), 1),
    **dict.fromkeys(("lr", "weight_decay", "momentum", "seed", "num_workers"), 0),
    **dict.fromkeys(("checkpoint_after_iter", "checkpoint_load_iter"), 0),
    **dict.fromkeys(("image_size", "frames_per_clip", "temporal_window_size"), 1),
}
SAVED = (
    *("lr", "iters", "batch_size", "optimizer", "lr_schedule", "checkpoint_after_iter"),
    *("checkpoint_load_iter", "loss", "weight_decay", "momentum", "drop_last", "pin_memory"),
    *("num_workers", "seed"),
)
"""Arguments kept as ``optimizer_info``; the rest of what is kept tells the network."""
NETWORK = ("backbone", "network_head", "num_classes", "image_size", "frames_per_clip")


@dataclass(eq=False, repr=False)
class X3DArguments(Learner):
    """The arguments of learners of X3D, which are also their attributes.

    They may be changed between calls, but for those of the network.

    Args:
        lr: learning rate.
        iters: epochs of :meth:`fit`.
        batch_size: clips per training step, and per evaluation step.
        optimizer: ``adam``, ``sgd``.
        lr_schedule: ``""``: ``lr`` all along; ``cosine``: half a cosine from it to 0; ``step``: a
            tenth of it after half of the training, a hundredth after three quarters.
        backbone: ``xs``, ``s``, ``m``, ``l``.
        network_head: ``classification``.
        checkpoint_after_iter: :meth:`fit` writes a checkpoint every so many epochs, and after the
            last; 0: none.
        checkpoint_load_iter: :meth:`fit` goes on with the checkpoint after so many epochs, as if
            it had never stopped; 0: it begins with the weights there are.
        temp_path: where ``checkpoints/`` and the ``weights/`` of optimised networks are. Empty:
            checkpoints go to the working directory, the others to a folder that disappears with
            the learner.
        device: ``cuda`` (with a warning ``cpu``, where there is none), ``cpu``, ``mps``, ``auto``.
        loss: ``cross_entropy``, or ``bce``: every class against all others; scores are then
            sigmoids, each on its own.
        weight_decay: of all parameters.
        momentum: of sgd; of adam's mean of gradients (beta 1).
        drop_last: leave out what does not fill a batch, in training; evaluation leaves out nothing.
        pin_memory: page-lock batches on their way to a GPU.
        num_workers: loading processes; 0: none beside this one.
        seed: of the first weights, of the order and augmentation of clips, of dropout.
        num_classes: of actions.
        image_size: height and width of clips, pixels; ``None``: the backbone's.
        frames_per_clip: T; ``None``: the backbone's.

    Raises:
        LearnerError: an argument that makes no sense.
    """

    network: ClassVar[tuple[str, ...]] = NETWORK

    lr: float = 1e-3
    iters: int = 10
    batch_size: int = 64
    optimizer: str = "adam"
    lr_schedule: str = ""
    backbone: str = "s"
    network_head: str = "classification"
    checkpoint_after_iter: int = 0
    checkpoint_load_iter: int = 0
    temp_path: Path | str = ""
    device: str = "cuda"
    loss: str = "cross_entropy"
    weight_decay: float = 1e-5
    momentum: float = 0.9
    drop_last: bool = True
    pin_memory: bool = False
    num_workers: int = 0
    seed: int = 123
    num_classes: int = 400
    _: KW_ONLY
    image_size: int | None = None
    frames_per_clip: int | None = None

    def arguments(self) -> dict[str, Any]:
        """All of them, by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.init}

    def network_arguments(self) -> dict[str, Any]:
        """Those that tell the network."""
        return {name: getattr(self, name) for name in self.network}

    def training_arguments(self) -> dict[str, Any]:
        """Those that tell how it is trained, and that a saved learner keeps."""
        return {name: getattr(self, name) for name in SAVED}

    def arguments_of(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Those that the description of a saved learner has.

        Args:
            metadata: see :func:`slowfast.learners.saving.read_metadata`.
        """
        network, training = metadata["inference_params"], metadata["optimizer_info"]
        found = {name: network[name] for name in self.network if name in network}
        kept = [name for name in SAVED if name in training and name != "checkpoint_load_iter"]
        return found | {name: training[name] for name in kept}

    def check(self) -> None:
        """Raise when an argument makes no sense.

        Raises:
            LearnerError: says what it may be.
        """
        values = self.arguments()
        check_kinds(values, {name: kind for name, kind in KINDS.items() if name in values})
        check_choices(values, {**CHOICES, "backbone": BACKBONES})
        check_lowest(values, {name: low for name, low in LOWEST.items() if name in values})
