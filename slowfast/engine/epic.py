"""A test on EPIC-KITCHENS-100 as its challenge sees it: its accuracies and its results file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from slowfast.datasets.base import DataError
from slowfast.datasets.build import DATASETS
from slowfast.datasets.epic_kitchens import EpicKitchens, EpicSegment, read_column
from slowfast.datasets.epic_results import Results, ResultsError, write_results
from slowfast.engine.predictions import Predictions
from slowfast.metrics.epic import epic_accuracies
from slowfast.models.build import build_num_classes

if TYPE_CHECKING:
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)

TAIL_FILES = {"verb": "EPIC_100_tail_verbs.csv", "noun": "EPIC_100_tail_nouns.csv"}
UNSEEN_FILE = "EPIC_100_unseen_participant_ids_{}.csv"
RESULTS_ENDING = "_epic.pkl"


@dataclass(frozen=True)
class Subsets:
    """What the challenge reports beside all segments; an empty one is left out.

    Attributes:
        tail_verbs: rare verb classes.
        tail_nouns: rare noun classes.
        unseen: participants without a training video.
    """

    tail_verbs: frozenset[int] = frozenset()
    tail_nouns: frozenset[int] = frozenset()
    unseen: frozenset[str] = frozenset()


def read_subsets(annotations_dir: str | Path, split: str = "validation") -> Subsets:
    """The subsets that the annotation folder has files of; the log says which it has not.

    Args:
        annotations_dir: folder of the official annotations.
        split: ``validation`` or ``test``: each has its own unseen participants.
    """
    folder = Path(annotations_dir)
    tail = {task: folder / name for task, name in TAIL_FILES.items()}
    unseen = folder / UNSEEN_FILE.format(split)
    has_tail = _are_there("tail classes", *tail.values())
    ids = {task: read_column(path, task) if has_tail else [] for task, path in tail.items()}
    has_unseen = _are_there("unseen participants", unseen)
    return Subsets(
        frozenset(map(int, ids["verb"])),
        frozenset(map(int, ids["noun"])),
        frozenset(read_column(unseen, "participant_id") if has_unseen else []),
    )


def _are_there(what: str, *paths: Path) -> bool:
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        logger.warning(
            "%s are not reported: no %s in %s", what, " and ".join(missing), paths[0].parent
        )
    return not missing


def challenge_metrics(
    results: Results, segments: Mapping[str, EpicSegment], subsets: Subsets
) -> dict[str, float]:
    """The challenge's accuracies in percent; see :func:`slowfast.metrics.epic.epic_accuracies`.

    Args:
        results: logits or log-probabilities, in the order and the precision of the file: the
            challenge's softmax sums over all rows, and the order of a sum decides its last digit,
            that of products, and so between nearly tied actions.
        segments: annotations by narration id, of every row of the results.
        subsets: see :func:`read_subsets`.
    """
    chosen = [segments[name] for name in results.narration_id]
    return epic_accuracies(
        results.verb_output,
        results.noun_output,
        verbs=[_label(segment, segment.verb) for segment in chosen],
        nouns=[_label(segment, segment.noun) for segment in chosen],
        participants=[segment.participant for segment in chosen],
        tail_verbs=subsets.tail_verbs,
        tail_nouns=subsets.tail_nouns,
        unseen_participants=subsets.unseen,
    )


def _label(segment: EpicSegment, label: int | None) -> int:
    if label is None:
        raise ResultsError(f"{segment.source}: no classes here; a report needs a labelled split")
    return label


def to_results(predictions: Predictions) -> Results:
    """The log-probabilities of verb and noun, by narration id."""
    verb, noun = (np.asarray(predictions.log_probabilities(task)) for task in ("verb", "noun"))
    return Results(verb, noun, tuple(predictions.names))


@dataclass(frozen=True)
class EpicChallenge:
    """What a test on EPIC-KITCHENS reports and writes beside the usual.

    Attributes:
        segments: annotations of the test list by narration id.
        subsets: tail classes and unseen participants.
    """

    segments: Mapping[str, EpicSegment]
    subsets: Subsets

    @property
    def is_labelled(self) -> bool:
        """Whether the classes are published."""
        return all(segment.verb is not None for segment in self.segments.values())

    def metrics(self, predictions: Predictions) -> dict[str, float]:
        """The challenge's accuracies; none where there are no labels."""
        if not self.is_labelled:
            return {}
        return challenge_metrics(to_results(predictions), self.segments, self.subsets)

    def save(self, predictions: Predictions, path: Path) -> Path:
        """Writes the challenge's results file ``<name>_epic.pkl``, over an old one.

        Args:
            predictions: of a test.
            path: of the predictions' own files; their ending does not matter.
        """
        target = path.with_name(path.stem + RESULTS_ENDING)
        write_results(target, to_results(predictions), force=True)
        return target


def build_epic_challenge(cfg: CfgNode) -> EpicChallenge | None:
    """Of the test list, when ``TEST.DATASET`` is EPIC-KITCHENS and the model has verb and noun.

    Raises:
        DataError: neither labels nor ``TEST.SAVE_RESULTS_PATH``: nothing would come out.
    """
    if cfg.DATA.DUMMY_LOAD or DATASETS.get(cfg.TEST.DATASET.lower()) is not EpicKitchens:
        return None
    classes = build_num_classes(cfg)
    if isinstance(classes, int) or not {"verb", "noun"} <= set(classes):
        logger.info("no figures of the EPIC-KITCHENS challenge: they need MODEL.TASKS [verb, noun]")
        return None
    dataset = EpicKitchens.from_cfg(cfg)
    segments = {segment.narration_id: segment for segment in dataset.segments("test")}
    challenge = EpicChallenge(segments, Subsets())
    if challenge.is_labelled:
        subsets = read_subsets(dataset.annotations_dir, cfg.EPICKITCHENS.TEST_SPLIT)
        return EpicChallenge(segments, subsets)
    if not cfg.TEST.SAVE_RESULTS_PATH:
        raise DataError(
            f"EPICKITCHENS.TEST_LIST {cfg.EPICKITCHENS.TEST_LIST} has no classes, so that results "
            "can only be saved, not scored: set TEST.SAVE_RESULTS_PATH preds"
        )
    return challenge
