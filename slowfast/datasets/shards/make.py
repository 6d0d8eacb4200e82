"""What ``tools/make_shards.py`` does, told in the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.datasets.build import build_family
from slowfast.datasets.prepare.encode import Recipe
from slowfast.datasets.shards.index import ShardIndex, hash_file, read_index
from slowfast.datasets.shards.storage import join
from slowfast.datasets.shards.write import Limits, Written, write_index, write_shards

if TYPE_CHECKING:
    from yacs.config import CfgNode

log = logging.getLogger(__name__)


def build_shards(
    cfg: CfgNode,
    splits: Sequence[str],
    folder: Path,
    limits: tuple[int, int],
    recipe: tuple[int, int, int] | None,
    workers: int,
) -> int:
    """Write the shards of some splits, each to a folder of its name.

    Args:
        cfg: says which dataset.
        splits: of it.
        folder: above those of the splits.
        limits: bytes and samples of a shard.
        recipe: short side, GOP and CRF of the re-encoded videos; ``None``: as they are.
        workers: that re-encode.

    Returns:
        Videos left out.
    """
    left_out = 0
    for split in splits:
        written = write_shards(
            build_family(cfg, split),
            split,
            folder / split,
            limits=Limits(*limits),
            recipe=recipe and Recipe(*recipe),
            workers=workers,
            progress=cfg.PROGRESS,
        )
        _tell(written, folder / split)
        left_out += len(written.dropped)
    return left_out


def _tell(written: Written, folder: Path) -> None:
    shards = written.index.shards
    log.info("%s: %s, %d of them were there", folder, _counts(written.index), written.reused)
    for path, reason in sorted(written.dropped.items()):
        log.warning("left out: %s: %s", path, reason)
    if shards:
        log.info("train on them with TRAIN.DATASET shards DATA.PATH_TO_DATA_DIR %s", folder.parent)


def _counts(index: ShardIndex) -> str:
    samples = sum(len(shard.samples) for shard in index.shards)
    megabytes = sum(shard.size for shard in index.shards) / 1e6
    return f"{samples} videos in {len(index.shards)} shards, {megabytes:.1f} MB"


def index_folder(folder: Path) -> int:
    """Write the index of the tar files in a folder; 0."""
    log.info("%s: %s", folder, _counts(write_index(folder)))
    return 0


def verify_folder(folder: str) -> int:
    """Compare the SHA-256 of all shards with the index; how many differ.

    Args:
        folder: or URL, of one split.
    """
    index, wrong = read_index(folder), 0
    for shard in index.shards:
        path = join(folder, shard.name)
        try:
            size, digest = hash_file(path)
        except FileNotFoundError:
            size, digest = -1, ""
        if digest != shard.sha256:
            wrong += 1
            found = "not there" if size < 0 else f"{size} bytes, sha256 {digest[:16]}..."
            log.warning("%s: %s; the index: %d, %s...", path, found, shard.size, shard.sha256[:16])
    log.info("%s: %s, %d of them not as the index says", folder, _counts(index), wrong)
    return wrong
