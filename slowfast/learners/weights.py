"""X3D weights from files of many origins."""

from __future__ import annotations

import logging
from pathlib import Path

from slowfast.checkpoint.convert import read_weights
from slowfast.checkpoint.match import compare, load_matching
from slowfast.learners.backbones import BACKBONES
from slowfast.learners.learner import LearnerError
from slowfast.models.base import ClipModel

logger = logging.getLogger(__name__)

CLASSIFIER = "head.projection.weight"


def load_network(model: ClipModel, path: Path, backbone: str) -> None:
    """Load weights, all of which but the classifier's must fit.

    Args:
        model: changed in place.
        path: of a checkpoint of this program, PySlowFast or PyTorchVideo.
        backbone: what ``model`` is, for messages.

    Raises:
        LearnerError: they are of another backbone; ``model`` is unchanged.
        CheckpointError: damaged, or no weights.
    """
    state = read_weights(path, model=model)
    report = compare(model, state)
    missing = [name for name in report.missing if not name.endswith("num_batches_tracked")]
    odd = [*report.unexpected, *missing, *sorted(set(report.mismatched) - set(report.heads))]
    if odd:
        raise LearnerError(
            f"{path} does not hold the weights of an X3D-{backbone.upper()}, e.g. {odd[0]}: build "
            f"the learner with another backbone ({', '.join(BACKBONES)})"
        )
    load_matching(model, state, source=str(path))
    if report.heads:
        theirs, ours = report.mismatched[report.heads[0]]
        logger.warning(
            "%s has %d classes, the learner %d: its classifier is not taken over, fit one",
            *(path, theirs[0], ours[0]),
        )


def count_classes(path: Path) -> int:
    """Classes of the network whose weights are in a file."""
    return len(read_weights(path)[CLASSIFIER])
