"""Renders, encodes and lists a synthetic dataset; picks up where an earlier run stopped."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from slowfast.datasets.synthetic.layouts import find_layout
from slowfast.datasets.synthetic.specs import SyntheticOptions, list_clips
from slowfast.datasets.synthetic.storage import discard, is_whole, move, partial, write_text
from slowfast.datasets.synthetic.timeline import Video, render_timeline
from slowfast.utils.errors import UserError

MANIFEST = "manifest.json"
JOURNAL = ".unfinished.json"
_CHUNK = 8  # clips per task: small enough for a smooth progress bar

Progress = Callable[[int, int], None]


class OutputDirError(UserError, RuntimeError):
    """The folder holds something that this run must not touch."""


def make_synthetic(
    output_dir: Path | str,
    options: SyntheticOptions | None = None,
    *,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write the dataset unless it is already there, and return its folder.

    A journal with the names of all files is written first and replaced by the manifest at the
    very end. A run that was stopped is continued: videos are written under another name and then
    renamed, so what exists is whole. With other options the journal's files, and no others, are
    removed.

    Args:
        output_dir: made when missing.
        options: content of the dataset.
        workers: processes; they do not change a byte of the result.
        overwrite: replace a finished dataset that was made with other options.
        progress: called with (clips done, clips in all).

    Raises:
        OutputDirError: the folder holds other files, or a finished dataset with other options.
        LayoutError: unknown layout.
        ValueError: no workers.

    Example:
        >>> make_synthetic("data/synthetic", SyntheticOptions(num_clips=61))  # doctest: +SKIP
    """
    options = options or SyntheticOptions()
    layout = find_layout(options.layout)
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    root = Path(output_dir)
    videos = layout.videos(list_clips(options), options)
    lists = layout.lists(videos)
    if _is_complete(root, options, videos, lists):
        return root
    _take_over(root, options, overwrite=overwrite)
    root.mkdir(parents=True, exist_ok=True)
    files = sorted([*lists, *(video.path for video in videos)])
    record = {"options": asdict(options), "fingerprint": options.fingerprint(), "files": files}
    write_text(root / JOURNAL, json.dumps(record, indent=1))
    _write_videos(root, videos, options, workers=workers, progress=progress)
    for path, text in lists.items():
        write_text(root / path, text)
    write_text(root / MANIFEST, json.dumps(record, indent=1))
    (root / JOURNAL).unlink()
    return root


def _read_record(path: Path) -> dict[str, object] | None:
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text())
        fits = isinstance(record["fingerprint"], str) and isinstance(record["files"], list)
    except (ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise OutputDirError(
            f"{path} is not a manifest of this tool. Remove it or choose another folder."
        )
    return dict(record)


def _is_complete(
    root: Path, options: SyntheticOptions, videos: Sequence[Video], lists: Iterable[str]
) -> bool:
    record = _read_record(root / MANIFEST)
    if record is None or record["fingerprint"] != options.fingerprint():
        return False
    return all((root / name).exists() for name in lists) and not _missing(root, videos)


def _take_over(root: Path, options: SyntheticOptions, *, overwrite: bool) -> None:
    """Make the folder ready: keep an unfinished run's clips, remove what other options left."""
    if not root.exists():
        return
    if not root.is_dir():
        raise OutputDirError(f"{root} is a file. Choose another --output_dir.")
    journal, manifest = _read_record(root / JOURNAL), _read_record(root / MANIFEST)
    if journal is None and manifest is None:
        if any(root.iterdir()):
            raise OutputDirError(
                f"{root} is not empty and holds no synthetic dataset. Choose another --output_dir."
            )
        return
    fingerprint = options.fingerprint()
    if manifest is not None and manifest["fingerprint"] != fingerprint and not overwrite:
        raise OutputDirError(
            f"{root} holds a finished dataset with other options ({_differences(manifest, options)}"
            "). Use --overwrite to replace it, or choose another --output_dir."
        )
    for name, record in ((MANIFEST, manifest), (JOURNAL, journal)):
        if record is not None and record["fingerprint"] != fingerprint:
            _remove(root, record)
        if record is not None and name == MANIFEST:
            (root / MANIFEST).unlink()


def _differences(record: dict[str, object], options: SyntheticOptions) -> str:
    """``"size 112, asked for 80"`` for every option that differs."""
    asked = json.loads(json.dumps(asdict(options)))
    there = record.get("options")
    if not isinstance(there, dict):
        return "not recorded"
    pairs = [(name, there.get(name), value) for name, value in asked.items()]
    different = [f"{name} {old}, asked for {new}" for name, old, new in pairs if old != new]
    return "; ".join(different) or "made by another version of the renderer"


def _remove(root: Path, record: dict[str, object]) -> None:
    """Delete the recorded files and the folders that are empty then; never leaves ``root``."""
    inside = root.resolve()
    listed = record["files"]
    assert isinstance(listed, list)
    for name in listed:
        path = (inside / str(name)).resolve()
        if not path.is_relative_to(inside):
            raise OutputDirError(
                f"{root}: its manifest lists {name!r}, which lies outside. Remove it."
            )
        for stale in (path, partial(path)):
            discard(stale)
        for folder in path.parents:
            if folder == inside:
                break
            with contextlib.suppress(OSError):
                folder.rmdir()


def _missing(root: Path, videos: Sequence[Video]) -> list[Video]:
    return [v for v in videos if not is_whole(root / v.path, v.timeline.num_frames)]


def _write_videos(
    root: Path,
    videos: Sequence[Video],
    options: SyntheticOptions,
    *,
    workers: int,
    progress: Progress | None,
) -> None:
    missing = _missing(root, videos)
    for folder in {(root / video.path).parent for video in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    chunks = list(_chunks(missing))
    total = sum(len(video.timeline.segments) for video in videos)
    done = total - sum(len(video.timeline.segments) for video in missing)
    for count in _run_chunks(root, chunks, options, min(workers, max(1, len(chunks)))):
        done += count
        if progress is not None:
            progress(done, total)


def _chunks(videos: Sequence[Video]) -> Iterator[list[Video]]:
    """Tasks of about ``_CHUNK`` clips each."""
    chunk: list[Video] = []
    for video in videos:
        chunk.append(video)
        if sum(len(v.timeline.segments) for v in chunk) >= _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _run_chunks(
    root: Path, chunks: Sequence[Sequence[Video]], options: SyntheticOptions, workers: int
) -> Iterator[int]:
    """Clips in the finished chunks, as they finish."""
    if workers == 1:
        yield from (_write_chunk(root, chunk, options) for chunk in chunks)
        return
    context = multiprocessing.get_context("spawn")  # a fork of a threaded torch process can hang
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        tasks = [pool.submit(_write_chunk, root, chunk, options) for chunk in chunks]
        try:
            for task in as_completed(tasks):
                yield task.result()
        except BaseException:  # also Ctrl-C: do not work off the queue first
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _write_chunk(root: Path, videos: Sequence[Video], options: SyntheticOptions) -> int:
    layout = find_layout(options.layout)
    for video in videos:
        path = root / video.path
        frames = render_timeline(video.timeline, options.scene)
        discard(partial(path))
        layout.write(partial(path), frames, video)
        move(partial(path), path)
    return sum(len(video.timeline.segments) for video in videos)
