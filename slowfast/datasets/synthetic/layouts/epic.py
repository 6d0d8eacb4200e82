"""Long videos of several participants with verb and noun segments: EPIC-KITCHENS-100."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from slowfast.datasets.synthetic.encode import write_frames, write_video
from slowfast.datasets.synthetic.labels import OBJECTS, VERBS
from slowfast.datasets.synthetic.layouts.base import (
    LONG_VIDEOS,
    OBJECT_NAMES,
    Layout,
    all_segments,
    clip_table,
    csv_text,
    label_tables,
)
from slowfast.datasets.synthetic.specs import ClipSpec, SyntheticOptions
from slowfast.datasets.synthetic.timeline import Timeline, Video, arrange

CLIPS_PER_VIDEO = 12
VIDEOS_PER_PARTICIPANT = 20
PATTERN = "frame_{:010d}.jpg"
UNSEEN_EVERY = 4  # of the videos that nobody trains on, so many have a participant of their own
SLOW_EVERY = 5  # of a participant's videos, so many are named P01_1xx and have 50 frames/s, not 60
TAIL_SHARE = 0.2
"""Share of the training segments that the rarest classes, called tail, have together.

Damen et al. 2022, https://arxiv.org/abs/2006.13256.
"""
_TIMED = (
    "narration_id", "participant_id", "video_id", "narration_timestamp",
    "start_timestamp", "stop_timestamp", "start_frame", "stop_frame",
)  # fmt: skip
_LABELLED = (
    "narration", "verb", "verb_class", "noun", "noun_class", "all_nouns", "all_noun_classes",
)  # fmt: skip
_LISTS = {"train": "EPIC_100_train.csv", "val": "EPIC_100_validation.csv"}
_UNLABELLED = "EPIC_100_test_timestamps.csv"


class EpicLayout(Layout):
    """``P01/rgb_frames/P01_01/frame_0000000001.jpg`` with ``EPIC_100_*.csv``, all official columns.

    ``train`` becomes the training list and ``val`` the validation list, on which the loader also
    tests. ``test`` becomes the list without labels. One participant in four of the last two has
    no video in the first.
    """

    defaults: ClassVar[dict[str, Any]] = {
        **LONG_VIDEOS,
        "fps": 60,
        "split_ratio": (0.84, 0.16, 0.0),
    }
    writes_files: ClassVar[bool] = False
    place: ClassVar[str] = "{participant}/rgb_frames/{video}"

    def videos(self, specs: Sequence[ClipSpec], options: SyntheticOptions) -> list[Video]:
        """One video per timeline, named by its participant and a number."""
        timelines = arrange(specs, options, CLIPS_PER_VIDEO)
        made = []
        for name, timeline in zip(_names(timelines), timelines, strict=True):
            participant, _, _ = name.partition("_")
            path = self.place.format(participant=participant, video=name)
            made.append(Video(path, name, self.rate(name, options), timeline))
        return made

    def rate(self, video: str, options: SyntheticOptions) -> Fraction:
        """Images per second, as the dataset released them: 60, or 50 for ``P01_1xx``."""
        return Fraction(image_rate(video))

    def write(self, path: Path, frames: NDArray[np.uint8], video: Video) -> None:
        """One JPEG per frame."""
        write_frames(path, frames, pattern=PATTERN)

    def lists(self, videos: Sequence[Video]) -> dict[str, str]:
        """Segments, classes, tail classes, unseen participants."""
        texts = label_tables() | {"clips.csv": clip_table(videos)} | _class_lists(videos)
        for split, name in _LISTS.items():
            texts[name] = csv_text([_TIMED + _LABELLED, *_rows(videos, split)])
        unlabelled = [row[: len(_TIMED)] for row in _rows(videos, "test")]
        texts |= {_UNLABELLED: csv_text([_TIMED, *unlabelled])} if unlabelled else {}
        seen = _participants(videos, "train")
        unseen = sorted(_participants(videos, "val") - seen)
        return texts | {
            "EPIC_100_unseen_participant_ids_validation.csv": csv_text(
                [("participant_id",), *((participant,) for participant in unseen)]
            ),
        }


class EpicVideoLayout(EpicLayout):
    """The same as :class:`EpicLayout` with files ``P01/videos/P01_01.MP4``.

    Their frames are those of ``fps``, while the frame numbers of the lists stay those of images at
    60 or 50 per second, as in the released annotations: only timestamps lead to the segments.
    """

    writes_files: ClassVar[bool] = True
    place: ClassVar[str] = "{participant}/videos/{video}.MP4"

    def rate(self, video: str, options: SyntheticOptions) -> Fraction:
        """``fps``, or 5/6 of it for ``P01_1xx``."""
        return Fraction(options.fps * image_rate(video), 60)

    def write(self, path: Path, frames: NDArray[np.uint8], video: Video) -> None:
        """Encode as H.264."""
        write_video(path, frames, fps=video.fps)


def image_rate(video: str) -> int:
    """Images per second that were released of a video; its frame numbers in the lists count them.

    Example:
        >>> image_rate("P01_01"), image_rate("P01_101")
        (60, 50)
    """
    return 50 if len(video.rpartition("_")[2]) == 3 else 60


def _names(timelines: Sequence[Timeline]) -> Iterator[str]:
    """``P01_01``, ``P02_01``, ``P01_02``, ...; every fifth video of a participant ``P01_101``."""
    training = sum(timeline.split == "train" for timeline in timelines)
    known = max(math.ceil(training / VIDEOS_PER_PARTICIPANT), min(training, 4), 1)
    later = len(timelines) - training
    others = max(math.ceil(later / UNSEEN_EVERY / VIDEOS_PER_PARTICIPANT), 1)
    turns: Counter[bool] = Counter()
    counts: Counter[tuple[int, bool]] = Counter()
    for timeline in timelines:
        held_out = timeline.split != "train"
        turns[held_out] += 1
        unseen = held_out and turns[held_out] % UNSEEN_EVERY == 2  # the second is the first of them
        turn = turns[held_out] // UNSEEN_EVERY if unseen else turns[held_out] - 1
        participant = known + turn % others if unseen else turn % known
        is_slow = (sum(counts[participant, slow] for slow in (False, True)) + 1) % SLOW_EVERY == 0
        counts[participant, is_slow] += 1
        number = counts[participant, is_slow] + (100 if is_slow else 0)
        yield f"P{participant + 1:02d}_{number:02d}"


def _seconds(video: Video, frame: int) -> float:
    return float(frame / video.fps)


def _timestamp(seconds: float) -> str:
    """``HH:MM:SS.ss``, rounded down: after the frame before, below 100 frames per second."""
    hundredths = math.floor(seconds * 100 + 1e-6)
    minutes, rest = divmod(hundredths, 6000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 100:02d}.{rest % 100:02d}"


def _rows(videos: Sequence[Video], split: str) -> Iterator[tuple[object, ...]]:
    """The official columns of every segment."""
    numbers: Counter[str] = Counter()
    for video, segment in all_segments(videos, split):
        start, stop = (_seconds(video, frame) for frame in (segment.first, segment.last + 1))
        rate = image_rate(video.name)
        verb, noun = segment.spec.verb, segment.spec.object
        words = VERBS[verb], OBJECT_NAMES[noun]
        yield (
            f"{video.name}_{numbers[video.name]}",
            video.name.partition("_")[0],
            video.name,
            _timestamp(start) + "0",
            _timestamp(start),
            _timestamp(stop),
            math.floor(start * rate + 1e-6) + 1,
            math.floor(stop * rate + 1e-6),
            " ".join(words).replace("_", " "),
            words[0],
            verb,
            words[1],
            noun,
            [words[1]],
            [noun],
        )
        numbers[video.name] += 1


def _participants(videos: Sequence[Video], split: str) -> set[str]:
    return {v.name.partition("_")[0] for v in videos if v.timeline.split == split}


def _class_lists(videos: Sequence[Video]) -> dict[str, str]:
    """The class lists and those of the tail classes."""
    shapes = [look.shape for look in OBJECTS.values()]
    classes = {"verb": (VERBS, ["motion"] * len(VERBS)), "noun": (OBJECT_NAMES, shapes)}
    segments = [segment.spec for _, segment in all_segments(videos, "train")]
    labels = {"verb": [s.verb for s in segments], "noun": [s.object for s in segments]}
    texts = {}
    for task, (names, groups) in classes.items():
        rows = [(k, names[k], [names[k]], groups[k]) for k in range(len(names))]
        header = ("id", "key", "instances", "category")
        texts[f"EPIC_100_{task}_classes.csv"] = csv_text([header, *rows])
        tail = tail_classes(Counter(labels[task]), len(names), TAIL_SHARE)
        texts[f"EPIC_100_tail_{task}s.csv"] = csv_text([(task,), *((number,) for number in tail)])
    return texts


def tail_classes(counts: Counter[int], num_classes: int, share: float) -> list[int]:
    """The rarest classes that together have at most ``share`` of all segments, sorted.

    Example:
        >>> tail_classes(Counter({0: 90, 1: 6, 2: 3}), 4, 0.1)
        [1, 2, 3]
    """
    tail, sum_so_far = [], 0
    for number in sorted(range(num_classes), key=lambda k: (counts[k], k)):
        sum_so_far += counts[number]
        if sum_so_far > share * counts.total():
            break
        tail.append(number)
    return sorted(tail)
