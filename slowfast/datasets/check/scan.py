"""The whole check: lists first, then every file in parallel."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from slowfast.datasets.annotations import AnnotationError
from slowfast.datasets.base import ClipRecord, Family, build_class_counts, open_record
from slowfast.datasets.build import build_family
from slowfast.datasets.check import lists
from slowfast.datasets.check.files import FileCheck, FileJob, content_digest, content_size
from slowfast.datasets.check.problems import UNLOADABLE, Problem
from slowfast.datasets.missing import records_there
from slowfast.utils.errors import UserError
from slowfast.utils.parallel import WorkerDied, run_parallel

if TYPE_CHECKING:
    from yacs.config import CfgNode

ANY_CLASS = 1 << 30


@dataclass(frozen=True)
class CheckResult:
    """What a check found.

    Attributes:
        problems: sorted by kind.
        records: split -> number of records.
        num_files: files and frame folders looked at.
        classes: task -> split -> class id -> records.
        class_names: task -> names by id, where known.
        same: splits that repeat another one and were not looked at twice.
        seconds: taken.
    """

    problems: list[Problem]
    records: dict[str, int]
    num_files: int
    classes: lists.ClassCounts
    class_names: dict[str, list[str]]
    same: dict[str, str]
    seconds: float

    def counts(self) -> Counter[str]:
        """Problems of each kind."""
        return Counter(problem.kind for problem in self.problems)

    def bad_videos(self) -> list[tuple[str, str]]:
        """``(path or record name, reason)`` of everything that does not load."""
        bad = []
        for problem in self.problems:
            reason = f"{problem.kind}: {problem.detail}"
            if problem.name and not problem.loads:
                bad.append((problem.name, reason))
            elif problem.kind in UNLOADABLE and not problem.loads:
                bad.append((problem.path, reason))
        return bad


@dataclass
class Checker:
    """Checks the records of some splits.

    Attributes:
        splits: split -> its records.
        check: what to do with a file.
        num_classes: task -> classes of the model; empty: labels are no class ids.
        class_names: task -> names by id.
        problems: found while reading the lists.
        content: look for files with the same content, too.
    """

    splits: Mapping[str, Sequence[ClipRecord]]
    check: FileCheck
    num_classes: Mapping[str, int]
    class_names: dict[str, list[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    content: bool = False

    def run(self, *, workers: int, progress: str = "auto") -> CheckResult:
        """Look at the lists, then at every file.

        Args:
            workers: processes.
            progress: see :func:`slowfast.utils.progress.open_progress`.
        """
        start = time.monotonic()
        same = lists.same_lists(self.splits)
        splits = {split: found for split, found in self.splits.items() if split not in same}
        problems = [*self.problems, *lists.overlaps(splits)]
        if self.num_classes:
            problems += lists.wrong_labels(splits, self.num_classes)
            problems += lists.duplicates(splits)
        uses = lists.group_by_file(splits)
        jobs = [FileJob(path, tuple(records)) for path, records in uses.items()]
        for number, found in run_parallel(
            self.check, jobs, workers=workers, description="checking", progress=progress
        ):
            problems += _crash(jobs[number]) if isinstance(found, WorkerDied) else found
        if self.content:
            digests = _digests(list(uses), workers)
            problems += lists.same_content(digests, uses)
        return CheckResult(
            problems=sorted(problems),
            records={split: len(records) for split, records in self.splits.items()},
            num_files=len(jobs),
            classes=lists.count_classes(splits, list(self.num_classes)) if self.num_classes else {},
            class_names=self.class_names,
            same=same,
            seconds=time.monotonic() - start,
        )


def _crash(job: FileJob) -> list[Problem]:
    split, record = job.records[0]
    detail = "the process that decoded it died (a fault in the decoder, or out of memory)"
    return [Problem("crash", split, job.path, detail, record.source, loads=False)]


def _digests(paths: Sequence[str], workers: int) -> dict[str, str]:
    """Path -> digest, of those files that have the size of another one."""
    paths = lists.equal_sizes((path, content_size(path)) for path in paths)
    with ThreadPoolExecutor(max(workers, 1)) as pool:  # hashing lets other threads run
        return dict(zip(paths, pool.map(content_digest, paths), strict=True))


def build_splits(cfg: CfgNode) -> list[str]:
    """The splits that a run with this config reads."""
    return ["train", "val", "test"] if cfg.TEST.ENABLE else ["train", "val"]


def build_checker(
    cfg: CfgNode, splits: Sequence[str], *, deep: bool = False, content: bool = False
) -> Checker:
    """Reads the lists of ``splits`` as training and testing would.

    A split whose lists cannot be read becomes a problem, not an error.
    """
    found: dict[str, list[ClipRecord]] = {}
    problems: list[Problem] = []
    names: dict[str, list[str]] = {}
    are_classes = True
    for split in splits:
        try:
            family, found[split], missing = build_records(cfg, split)
        except (UserError, FileNotFoundError) as error:
            kind = "missing" if isinstance(error, FileNotFoundError) else "annotation"
            place = cfg.DATA.PATH_TO_DATA_DIR
            problems.append(Problem(kind, split, place, str(error)))
            continue
        problems += [
            Problem("missing", split, video, "no such video", source, name=video, loads=False)
            for video, source in missing.items()
        ]
        names |= family.class_names or {}
        are_classes = are_classes and not hasattr(family, "target")  # features are not classes
    check = FileCheck(
        open=partial(open_record, backend=cfg.DATA.DECODING_BACKEND),
        num_frames=cfg.DATA.NUM_FRAMES if are_classes else 1,  # rows at the end have fewer
        stride=cfg.DATA.SAMPLING_RATE,
        target_fps=cfg.DATA.TARGET_FPS,
        mode=cfg.DATA.SAMPLING_MODE if are_classes else "segment",
        deep=deep,
    )
    classes = build_task_classes(cfg) if are_classes else {}
    return Checker(found, check, classes, names, problems, content)


def build_records(cfg: CfgNode, split: str) -> tuple[Family, list[ClipRecord], Mapping[str, str]]:
    """The records of a split, and ``name -> line`` of videos that are not there.

    Labels out of range are accepted, to report all of them.
    """
    family = build_family(cfg, split)
    try:
        return family, *records_there(family, split)
    except AnnotationError:
        lenient = cfg.clone()
        lenient.defrost()
        classes = cfg.MODEL.NUM_CLASSES
        many = ANY_CLASS if isinstance(classes, int) else [ANY_CLASS] * len(classes)
        lenient.MODEL.NUM_CLASSES = many
        try:
            return family, *records_there(build_family(lenient, split), split)
        except UserError:
            pass
        raise


def build_task_classes(cfg: CfgNode) -> dict[str, int]:
    """Task -> classes of the model; a single task is called ``action``."""
    return dict(zip(list(cfg.MODEL.TASKS) or ["action"], build_class_counts(cfg), strict=False))
