"""Errors a user can mend, shown as one line instead of a traceback."""

from __future__ import annotations

import os
import reprlib
import sys
import traceback as tracebacks
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DEBUG_VARIABLE = "SLOWFAST_DEBUG"
USER_ERROR_STATUS = 2  # exit status, as argparse's


class UserError(Exception):
    """Something outside the code is wrong: a setting, a file, a command line.

    Its message names the thing, the place and the fix. Raise a subclass, often one that is a
    built-in error as well: ``class VideoError(UserError, RuntimeError)``.
    """


# Built-in errors which our loaders and checks raise about settings and files.
BUILTIN_USER_ERRORS = (OSError, ValueError, LookupError, ModuleNotFoundError)


@contextmanager
def one_line_errors(
    *, traceback: bool = False, tell: Callable[[Exception], None] | None = None
) -> Iterator[None]:
    """Turns an error that a user can mend into one line on stderr and exit status 2.

    Args:
        traceback: let it through untouched; so does a non-empty ``SLOWFAST_DEBUG``.
        tell: writes the line (default: :func:`print_error`).
    """
    try:
        yield
    except Exception as error:
        if traceback or os.environ.get(DEBUG_VARIABLE) or not is_user_error(error):
            raise
        (tell or print_error)(error)
        raise SystemExit(USER_ERROR_STATUS) from error


def is_user_error(error: Exception) -> bool:
    """Errors this package defines, and built-in ones about values, names and files."""
    return is_ours(error) or isinstance(error, BUILTIN_USER_ERRORS)


def is_ours(error: Exception) -> bool:
    """A class somebody wrote for the purpose, so its message tells what to do."""
    return isinstance(error, UserError) or type(error).__module__.startswith("slowfast.")


def print_error(error: Exception) -> None:
    """Writes ``error: message`` to stderr, and for built-in errors where it was raised."""
    origin = ""
    if not is_ours(error):  # may also be a slip in the code
        frames = tracebacks.extract_tb(error.__traceback__)
        place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        origin = f" [{type(error).__name__}{place}]"
    hint = f"({DEBUG_VARIABLE}=1 shows the full traceback)"
    sys.stderr.write(f"error: {message(error)}{origin}\n{hint}\n")


def shortened(value: object, limit: int = 120) -> str:
    """What a file says, for a message, which stays short whatever that is.

    Example:
        >>> shortened("a.mp4"), shortened("x" * 1000, 5)
        ("'a.mp4'", "'xxxx... (1002 characters)")
    """
    short = reprlib.Repr()
    short.maxlevel, short.maxlist, short.maxtuple, short.maxdict = 4, 12, 12, 12
    short.maxstring = short.maxother = short.maxlong = limit + 2  # longer ones are cut below
    try:
        # of nested data only some, for it may name one part a billion times
        text = repr(value) if isinstance(value, (str, bytes)) else short.repr(value)
    except (ValueError, RecursionError):  # Python spells no number of 4,300 digits
        return f"a value of type {type(value).__name__} that is too large to be shown"
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def message(error: Exception) -> str:
    """The text of an error, without what Python and torch wrap around it."""
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # str() would add quotes
    text = str(error)
    if "Original Traceback" in text:  # raised in a loader's worker: the cause is the last line
        text = text.strip().splitlines()[-1].partition(": ")[2]
    return text or type(error).__name__
