"""Teachers that are asked once: their logits of every training video, kept in a file."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from slowfast.checkpoint.io import read_checkpoint, save_atomically
from slowfast.compression.distillation.objective import (
    DistillationError,
    Teacher,
    mean_preds,
)
from slowfast.datasets.batch import Batch
from slowfast.models.base import ClipModel, Preds
from slowfast.utils import distributed

logger = logging.getLogger(__name__)

ONE_TASK = "action"
Table = dict[str, Tensor]
"""Task -> logits ``(videos, classes)``; the one task without a name is ``ONE_TASK``."""


class StoredLogits(ClipModel):
    """A teacher that looks up what was said of a video, instead of looking at it.

    Its "clips" are ``[(B,)]``, numbers of videos.

    Args:
        table: the logits.
    """

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.tasks = {task: logits.shape[1] for task, logits in table.items()}
        self.num_features = sum(self.tasks.values())
        self.register_buffer("table", torch.cat(list(table.values()), dim=1))

    @property
    def classifiers(self) -> dict[str, nn.Linear]:
        return {task: nn.Linear(1, width, device="meta") for task, width in self.tasks.items()}

    def forward_features(self, clips: Sequence[Tensor]) -> Tensor:
        return self.get_buffer("table")[clips[0]]

    def forward_head(self, features: Tensor) -> Preds:
        if [*self.tasks] == [ONE_TASK]:
            return features
        return dict(
            zip(self.tasks, torch.split(features, [*self.tasks.values()], dim=1), strict=True)
        )


def stored_teacher(table: Table) -> Teacher:
    """The teacher that a table stands for."""
    return Teacher(StoredLogits(table), lambda batch: [batch.clip_ids])


@torch.no_grad()
def ask(teachers: Sequence[Teacher], batches: Iterable[Batch], videos: int) -> Table:
    """The mean of the teachers' logits for every training video.

    Args:
        teachers: in evaluation mode.
        batches: this process's share of the videos, as the objective gets them.
        videos: in all.

    Returns:
        The whole table, in every process.

    Raises:
        DistillationError: a video could not be read: another stood in for it.
    """
    parts: list[tuple[Tensor, Table]] = []
    bad: set[str] = set()
    for batch in batches:
        bad |= set(batch.meta["bad_videos"])
        preds = mean_preds([teacher.model(teacher.clips(batch)) for teacher in teachers])
        named = preds if isinstance(preds, Mapping) else {ONE_TASK: preds}
        parts.append((batch.clip_ids.cpu(), {t: x.float().cpu() for t, x in named.items()}))
    gathered = distributed.gather_objects((parts, bad))
    bad = distributed.broadcast_object({name for _, names in gathered for name in names})
    if bad:
        raise DistillationError(
            "DISTILLATION.CACHE_TEACHER needs videos that can all be read; leave these out "
            f"(DATA.BAD_VIDEOS_FILE, tools/check_data.py): {', '.join(sorted(bad))}"
        )
    table: Table = {}
    for ids, logits in (part for parts, _ in gathered for part in parts):
        for task, values in logits.items():
            rows = table.setdefault(task, torch.full((videos, values.shape[1]), torch.nan))
            rows[ids] = values
    return distributed.broadcast_object(table)


def keep(path: Path, facts: object, make: Callable[[], Table]) -> Table:
    """The table in ``path`` if it is of the same ``facts``; else make it and write it there.

    Args:
        path: of the file.
        facts: everything that the logits depend on, as JSON takes it.
        make: called in every process or in none.
    """
    text = json.dumps(facts, sort_keys=True, default=str)
    name = hashlib.sha256(text.encode()).hexdigest()
    table: Table | None = None
    if distributed.is_main() and path.is_file():
        stored = read_checkpoint(path)
        if stored.get("facts") == name:
            logger.info("the teachers' logits are those in %s", path)
            table = stored["logits"]
    table = distributed.broadcast_object(table)
    if table is None:
        table = make()
        if distributed.is_main():
            path.parent.mkdir(parents=True, exist_ok=True)
            save_atomically({"facts": name, "logits": table}, path)
            logger.info("the teachers' logits of the training videos: %s", path)
    return table
