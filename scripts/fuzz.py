#!/usr/bin/env python3
"""Bad input by the million: what readers of files and requests make of it.

    python scripts/fuzz.py --target config overrides csv --runs 20000
    python scripts/fuzz.py --target video --runs 10000 --seed 1
    python scripts/fuzz.py --target csv --seed 0 --only 4711         one input again
    python scripts/fuzz.py --runs 0 --update docs/reliability.md     the table of docs

Each input is a function of the seed and its number. It must be accepted, with a result that an
independent reading confirms, or refused by one short error that names the file and says what to
do; anything else, also a pause of seconds, is a failure: it is saved under --output_dir, and the
exit status is 1. The targets are in tests/fuzz, which CI runs with a few inputs each.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fuzz.cli import main

if __name__ == "__main__":
    raise SystemExit(main(doc=__doc__))
