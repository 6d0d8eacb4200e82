"""Labelled videos on disk, for learners and for torch's own data loaders."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from slowfast.datasets.base import ClipRecord, DataError, Failure, Family, VideoDataset
from slowfast.datasets.batch import Batch
from slowfast.datasets.kinetics import Kinetics
from slowfast.datasets.loader import collate
from slowfast.datasets.missing import check_files
from slowfast.datasets.pathways import build_batch_transform
from slowfast.datasets.sampling import ClipSampler
from slowfast.datasets.transforms import build_eval_transform, build_train_transform
from slowfast.datasets.video_folder import VideoFolder
from slowfast.learners.backbones import BACKBONES, network_cfg
from slowfast.utils.errors import shortened
from slowfast.utils.plain_json import parse_json

if TYPE_CHECKING:
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)

SPLITS = {"train": "train", "val": "val", "validate": "val", "test": "test"}
FILES = {"train": ("train",), "val": ("validate", "val"), "test": ("test",)}
"""Split -> names that the lists of its videos may have."""
ANY_CLASS = 1_000_000
DRAWS = 2**31
LONGEST_S = 10**6
"""Seconds of a video in a list."""


class KineticsDataset(Dataset[tuple[Tensor, int]]):
    """The videos of one split, one clip each.

    An item is a clip ``(3, T, H, W)``, normalised, and its class id. In training the clip is drawn
    at random, with torch's random numbers; otherwise it is the middle of the video, the centre of
    its frames. A video that cannot be read is an error that names it; in training another one
    takes its place, with a warning.

    ``path`` holds one of

    * ``splits/{train,validate,test}.json`` and ``data/<subset>/<label>/<id>_<start>_<end>.mp4``,
      start and end in seconds as ``000012``: Kinetics as it is downloaded;
    * ``{train,val,test}.csv`` with a path and a class id per line;
    * folders ``{train,val,test}/<label>/`` of videos.

    Args:
        path: the folder.
        frames_per_clip: T; ``None``: those of the backbone.
        split: ``train``, ``val`` (or ``validate``), ``test``.
        temporal_downsampling: distance of the clip's frames, at 30 per second; ``None``: that of
            the backbone.
        image_size: H and W, pixels; ``None``: that of the backbone.
        backbone: which clips are for. A learner sets its own, here as in what is ``None`` above.
        class_names: by class id; ``None``: sorted labels, where the folder has names.

    Attributes:
        records: the videos.
        class_names: by class id; empty where they are not known.

    Raises:
        DataError: nothing of that in ``path``, or no video in the split.
    """

    def __init__(
        self,
        path: Path | str,
        frames_per_clip: int | None = None,
        split: str = "train",
        *,
        temporal_downsampling: int | None = None,
        image_size: int | None = None,
        backbone: str = "s",
        class_names: Sequence[str] | None = None,
    ) -> None:
        if split not in SPLITS:
            raise DataError(f"split is {split!r}: give one of {', '.join(SPLITS)}")
        if backbone not in BACKBONES:
            raise DataError(f"backbone is {backbone!r}: give one of {', '.join(BACKBONES)}")
        self.split, self.backbone = SPLITS[split], backbone
        self.frames_per_clip, self.image_size = frames_per_clip, image_size
        self.temporal_downsampling = temporal_downsampling
        family = find_family(Path(path), class_names)
        self.records = family.records(self.split)
        self.class_names = (family.class_names or {}).get("action", [])
        chosen = BACKBONES[backbone].sized(image_size, frames_per_clip, temporal_downsampling)
        config = network_cfg(chosen, num_classes=max(len(self.class_names), 1))
        self._clips = self.build_clips(config, self.split)
        self._normalise = build_batch_transform(config, train=False)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"video {index}: there are {len(self)}")  # ends a for loop
        draw = int(torch.randint(DRAWS, ())) if self.split == "train" else 0
        item = self._clips[draw, index % len(self)]
        if isinstance(item, Failure):
            raise item.error
        for message in item.bad.values():
            logger.warning("replaced by another video: %s", message)
        batch = collate([item])
        assert isinstance(batch, Batch)
        clip = self._normalise(batch).clips[0][0]
        return clip.contiguous(), int(batch.labels[0])

    def build_clips(self, cfg: CfgNode, split: str) -> VideoDataset:
        """The same videos as uint8 clips, as large and as long as ``cfg`` says.

        Args:
            cfg: of a network.
            split: ``train`` draws at random, ``val`` takes the middle.
        """
        train = split == "train"
        return VideoDataset(
            self.records,
            split="train" if train else "val",
            sampler=ClipSampler.from_cfg(cfg, "train" if train else "val"),
            transform=build_train_transform(cfg) if train else build_eval_transform(cfg, "val"),
            seed=cfg.RNG_SEED,
            class_names={"action": list(self.class_names)} if self.class_names else None,
        )


def find_family(path: Path, class_names: Sequence[str] | None = None) -> Family:
    """Whichever kind of dataset there is in ``path``.

    Raises:
        DataError: none.
    """
    names = list(class_names) if class_names is not None else None
    if (path / "splits").is_dir():
        return SplitFiles(path, names)
    if any(path.glob("*.csv")):
        known = {"action": names} if names else None
        return Kinetics(path, [len(names) if names else ANY_CLASS], class_names=known)
    folder: Any = VideoFolder(path)
    found = folder.class_names["action"]
    if names not in (None, found):
        raise DataError(
            f"{path} has folders {found[:5]}..., in this order, and class_names are others: leave "
            "them out"
        )
    return cast(Family, folder)


class SplitFiles:
    """Kinetics as it is downloaded: JSON lists of segments, videos cut to them.

    Args:
        root: has ``splits`` and ``data``.
        class_names: by class id; ``None``: the labels of all lists, sorted.
    """

    tasks: tuple[str, ...] = ()

    def __init__(self, root: Path, class_names: list[str] | None = None) -> None:
        self.root = root
        self.names = class_names or self._labels()
        self.class_names: dict[str, list[str]] | None = {"action": self.names}
        if not self.names:
            raise DataError(f"{root}/splits holds none of train.json, validate.json, test.json")

    def records(self, split: str) -> list[ClipRecord]:
        """The videos of ``split``.

        Raises:
            DataError: no list, or one with something else in it.
            MissingVideosError: some are not there, of val or test.
        """
        path = self._list(split)
        if path is None:
            names = " or ".join(f"splits/{name}.json" for name in FILES[split])
            raise DataError(f"{self.root} has no {names}: the {split} videos are not known")
        ids = {name: number for number, name in enumerate(self.names)}
        records = []
        for name, subset, label, (start, end) in read_split(path):
            source = f"{path}: {name}"
            if label not in ids:
                raise DataError(f"{source}: label {label!r} is none of the {len(ids)} class names")
            file = Path("data", subset, label, f"{name}_{start:06d}_{end:06d}.mp4")
            records.append(ClipRecord(str(self.root / file), ids[label], source, name=str(file)))
        if split != "train":
            check_files(records)
        return records

    def _list(self, split: str) -> Path | None:
        paths = (self.root / "splits" / f"{name}.json" for name in FILES[split])
        return next((path for path in paths if path.is_file()), None)

    def _labels(self) -> list[str]:
        paths = filter(None, map(self._list, FILES))
        return sorted({label for path in paths for _, _, label, _ in read_split(path)})


def read_split(path: Path) -> Iterator[tuple[str, str, str, tuple[int, int]]]:
    """Id, subset, label and segment (seconds) of every video in a list.

    Raises:
        DataError: not JSON, or an entry without one of these.
    """
    try:
        entries = parse_json(path.read_text(encoding="utf-8")).items()
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is no JSON object of videos: {error}") from error
    for name, entry in entries:
        try:
            start, end = entry["annotations"]["segment"]
            label, subset = entry["annotations"]["label"], entry.get("subset", path.stem)
            segment = (int(start), int(end))
            is_time = 0 <= segment[0] < segment[1] <= LONGEST_S
            if not (is_time and isinstance(label, str) and name):
                raise ValueError
        except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise DataError(
                f"{path}: {shortened(name)} needs annotations with label and segment (seconds), "
                f"it has {shortened(entry)}"
            ) from error
        yield name, str(subset), str(label), segment
