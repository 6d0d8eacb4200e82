"""Trained X3D from the network."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from slowfast.checkpoint.convert import read_weights
from slowfast.checkpoint.io import CheckpointError
from slowfast.learners.learner import LearnerError
from slowfast.learners.saving import sha256_of
from slowfast.utils.download import DownloadError, download

logger = logging.getLogger(__name__)

URL = "https://dl.fbaipublicfiles.com/pyslowfast/x3d_models"
"""Where PySlowFast's model zoo keeps ``x3d_xs.pyth`` and the others."""
SIZES = ("xs", "s", "m", "l")
SCHEMES = ("https", "http", "file")


def download_x3d(
    path: Path | str,
    model_names: Iterable[str] = SIZES,
    *,
    url: str = URL,
    sha256: Mapping[str, str] | None = None,
) -> list[Path]:
    """Put ``x3d_{name}.pyth`` into ``path``, unless it is there; see ``X3DLearner.download``."""
    names = {model_names} if isinstance(model_names, str) else set(model_names)
    if unknown := sorted(names - set(SIZES)):
        raise LearnerError(f"there is no X3D called {unknown[0]!r}: names are {', '.join(SIZES)}")
    if urlsplit(url).scheme not in SCHEMES:
        raise LearnerError(f"url is {url!r}: it begins with {', '.join(SCHEMES)}")
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _fetch(f"{url.rstrip('/')}/x3d_{name}.pyth", folder, (sha256 or {}).get(name))
        for name in SIZES
        if name in names
    ]


def _fetch(url: str, folder: Path, sha256: str | None) -> Path:
    """Download, check, then put in place: never half a file, never another one."""
    target = folder / url.rpartition("/")[2]
    if target.is_file():
        _check(target, str(target), sha256)
        return target
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download_") as staging:
        path = download(url, Path(staging))
        _check(path, url, sha256)
        path.replace(target)
    if sha256 is None:
        logger.info("%s: no SHA-256 is known to compare it with, its contents were read", target)
    return target


def _check(path: Path, source: str, sha256: str | None) -> None:
    """Raise when a file is not the one meant, or holds no weights of an X3D.

    Raises:
        DownloadError: says what is wrong with it.
    """
    if sha256 is not None and (found := sha256_of(path)) != sha256:
        raise DownloadError(f"{source} has the SHA-256 {found}, expected {sha256}")
    try:
        state = read_weights(path)
    except CheckpointError as error:
        raise DownloadError(f"{source} is no checkpoint: {error}") from error
    if "s1.pathway0_stem.conv_xy.weight" not in state:
        raise DownloadError(f"{source} holds other weights than those of an X3D")
