"""Where log lines go: the terminal and ``OUTPUT_DIR/stdout.log``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

# PySlowFast's line format, which log readers written for it expect.
FILE_FORMAT = "[%(asctime)s][%(levelname)s] %(filename)s: %(lineno)3d: %(message)s"
PLAIN_FORMAT = "%(asctime)s %(levelname)s %(message)s"
LOG_FILE = "stdout.log"
_MARK = "_slowfast_handler"


def setup_logging(output_dir: Path | str | None = None, *, main: bool = True) -> None:
    """Sends log records of this process to the terminal and to ``output_dir/stdout.log``.

    Calling it again replaces what an earlier call set up, and leaves other handlers alone.

    Args:
        output_dir: folder of the log file, created if needed; ``None`` writes no file.
        main: ``False`` in every process but the first: those report errors only, to stderr,
            so that one line of eight processes is one line.
    """
    root = logging.getLogger()
    for handler in [h for h in root.handlers if hasattr(h, _MARK)]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    if not main:
        _add(logging.StreamHandler(sys.stderr), PLAIN_FORMAT, logging.ERROR)
        return
    _add(*_console_handler())
    if output_dir is not None:
        path = Path(output_dir) / LOG_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        _add(LogFile(path, encoding="utf-8"), FILE_FORMAT)


class LogFile(logging.FileHandler):
    """A log that ends where the disk does, and says so once, instead of a traceback per line."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._told:
            self._told = True
            told = f"cannot write {self.baseFilename}: {error.strerror}; lines are lost\n"
            sys.stderr.write(told)


def _console_handler() -> tuple[logging.Handler, str]:
    """Coloured on a terminal, where it must share rich's console with the progress bar."""
    if not sys.stdout.isatty():
        return logging.StreamHandler(sys.stdout), PLAIN_FORMAT
    from rich.logging import RichHandler

    return RichHandler(show_path=False, markup=False, log_time_format="%H:%M:%S"), "%(message)s"


def _add(handler: logging.Handler, text_format: str, level: int = logging.INFO) -> None:
    handler.setFormatter(logging.Formatter(text_format, datefmt="%m/%d %H:%M:%S"))
    handler.setLevel(level)
    setattr(handler, _MARK, True)
    logging.getLogger().addHandler(handler)
