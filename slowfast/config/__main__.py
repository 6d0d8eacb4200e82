"""``python -m slowfast.config [KEY or NODE ...]``: what config keys mean, and their defaults."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from slowfast.config.keys import ConfigError
from slowfast.config.sections import TREE
from slowfast.config.tree import describe


def main(argv: Sequence[str] | None = None) -> int:
    """Write the help of the named keys and nodes, or of all of them, to the standard output."""
    names = (sys.argv[1:] if argv is None else argv) or list(TREE)
    try:
        sys.stdout.write("\n".join(describe(name) for name in names) + "\n")
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
