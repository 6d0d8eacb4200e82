"""Files from the network, kept once they are whole."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

TIMEOUT_S = 30.0  # without an answer or a byte
_CHUNK = 1 << 20
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.[^.]+$")


class DownloadError(UserError, OSError):
    """A file that cannot be had from the network."""


def cached_path(url: str, folder: Path) -> Path:
    """Where :func:`download` keeps the file.

    A name with the beginning of its SHA-256 in it, as torchvision's have, is kept; others get a
    part that stands for the URL, since two servers may call two files alike.

    Example:
        >>> cached_path("https://example.org/a/resnet18-f37072fd.pth?x=1", Path("cache")).as_posix()
        'cache/resnet18-f37072fd.pth'
        >>> cached_path("https://example.org/net.pth", Path("cache")).name
        'net_0d85fd94.pth'
    """
    name = Path(urlsplit(url).path)
    if _HASH_IN_NAME.search(name.name):
        return folder / name.name
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    return folder / f"{name.stem}_{digest}{name.suffix}"


def download(url: str, folder: Path, *, timeout_s: float = TIMEOUT_S) -> Path:
    """The file behind ``url``, downloaded unless it is in ``folder`` already.

    It appears there whole or not at all: it is written aside, its length and the hash in its name
    (if there is one) are compared, then it is renamed. Processes that want the same file at once
    download it once.

    Args:
        url: http or https.
        folder: made when missing.
        timeout_s: without a byte from the server.

    Raises:
        DownloadError: no network, an answer other than the file, a broken connection.
    """
    path = cached_path(url, folder)
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_name(f".{path.name}.lock")):
            if not path.is_file():  # another process may have been faster
                logger.info("downloading %s to %s", url, path)
                _fetch(url, path, timeout_s)
    except (OSError, HTTPException) as error:  # URLError and HTTPError are OSErrors
        raise DownloadError(f"{url} cannot be downloaded: {error}") from error
    return path


def _fetch(url: str, path: Path, timeout_s: float) -> None:
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        digest, received = hashlib.sha256(), 0
        with os.fdopen(handle, "wb") as file:
            with urllib.request.urlopen(url, timeout=timeout_s) as answer:
                expected = answer.headers.get("Content-Length")
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    received += len(chunk)
            file.flush()
            os.fsync(file.fileno())
        if expected is not None and received != int(expected):
            raise OSError(f"the connection broke after {received} of {expected} bytes")
        named = _HASH_IN_NAME.search(path.name)
        if named and not digest.hexdigest().startswith(named[1]):
            raise OSError(f"its SHA-256 begins {digest.hexdigest()[:8]}, not {named[1]}")
        os.chmod(partial, 0o644)  # mkstemp's files are for their owner alone
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for other processes of this machine; without effect where there is no such lock."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go of when the file is closed
        yield
