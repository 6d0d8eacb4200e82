"""The command line of a tool, but for its options."""

from __future__ import annotations

import argparse


def tool_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose ``--help`` shows ``doc`` as it is written.

    It knows ``--traceback``, for :func:`~slowfast.utils.errors.one_line_errors`.

    Args:
        doc: the tool's docstring.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--traceback", action="store_true", help="show errors in full")
    return parser
