"""Renders, encodes and lists a synthetic dataset; picks up where an earlier run stopped."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from slowfast.datasets.synthetic.layout import LAYOUTS, Layout
from slowfast.datasets.synthetic.scene import render_clip
from slowfast.datasets.synthetic.specs import ClipSpec, SyntheticOptions, list_clips
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
    very end. A run that was stopped is continued: clips are written under another name and then
    renamed, so a file that exists is whole. With other options the journal's files, and no
    others, are removed.

    Args:
        output_dir: made when missing.
        options: content of the dataset.
        workers: processes; they do not change a byte of the result.
        overwrite: replace a finished dataset that was made with other options.
        progress: called with (clips done, clips in all).

    Raises:
        OutputDirError: the folder holds other files, or a finished dataset with other options.
        ValueError: unknown layout, or no workers.

    Example:
        >>> make_synthetic("data/synthetic", SyntheticOptions(num_clips=61))  # doctest: +SKIP
    """
    options = options or SyntheticOptions()
    if options.layout not in LAYOUTS:
        raise ValueError(f"unknown layout {options.layout!r}. Known: {sorted(LAYOUTS)}")
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    root = Path(output_dir)
    layout = LAYOUTS[options.layout]()
    specs = list_clips(options)
    lists = layout.lists(specs)
    files = sorted([*lists, *(layout.clip_path(spec) for spec in specs)])
    if _is_complete(root, options, files):
        return root
    _take_over(root, options, overwrite=overwrite)
    root.mkdir(parents=True, exist_ok=True)
    record = {"options": asdict(options), "fingerprint": options.fingerprint(), "files": files}
    _write_text(root / JOURNAL, json.dumps(record, indent=1))
    _write_clips(root, layout, specs, options, workers=workers, progress=progress)
    for path, text in lists.items():
        _write_text(root / path, text)
    _write_text(root / MANIFEST, json.dumps(record, indent=1))
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


def _is_complete(root: Path, options: SyntheticOptions, files: Sequence[str]) -> bool:
    record = _read_record(root / MANIFEST)
    if record is None or record["fingerprint"] != options.fingerprint():
        return False
    return all((root / name).exists() for name in files)


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
        for stale in (path, _partial(path)):
            stale.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == inside:
                break
            with contextlib.suppress(OSError):
                folder.rmdir()


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    partial.write_text(text)
    os.replace(partial, path)


def _write_clips(
    root: Path,
    layout: Layout,
    specs: Sequence[ClipSpec],
    options: SyntheticOptions,
    *,
    workers: int,
    progress: Progress | None,
) -> None:
    missing = [spec for spec in specs if not (root / layout.clip_path(spec)).exists()]
    for folder in {(root / layout.clip_path(spec)).parent for spec in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    chunks = [missing[k : k + _CHUNK] for k in range(0, len(missing), _CHUNK)]
    done = len(specs) - len(missing)
    for count in _run_chunks(root, chunks, options, min(workers, max(1, len(chunks)))):
        done += count
        if progress is not None:
            progress(done, len(specs))


def _run_chunks(
    root: Path, chunks: Sequence[Sequence[ClipSpec]], options: SyntheticOptions, workers: int
) -> Iterator[int]:
    """Sizes of the finished chunks, as they finish."""
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


def _write_chunk(root: Path, specs: Sequence[ClipSpec], options: SyntheticOptions) -> int:
    layout = LAYOUTS[options.layout]()
    for spec in specs:
        path = root / layout.clip_path(spec)
        frames = render_clip(spec.verb, spec.object, options.scene, spec.seed)
        layout.write_clip(_partial(path), frames, options.fps)
        os.replace(_partial(path), path)
    return len(specs)
