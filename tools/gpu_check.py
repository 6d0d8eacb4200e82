#!/usr/bin/env python3
r"""Check and time everything a GPU has to do here, in a few minutes; prints one JSON.

python tools/gpu_check.py --output gpu.json
python tools/gpu_check.py --device cpu          # the same code, tiny, without a GPU

Exit status: 0 all is well, 1 a check failed, 3 there is no GPU. See docs/gpu.md.
"""

import argparse
import json
import sys
from pathlib import Path

from slowfast.utils.errors import one_line_errors
from slowfast.utils.parser import tool_parser

NO_GPU = 3


def parser() -> argparse.ArgumentParser:
    found = tool_parser(__doc__)
    add = found.add_argument
    add("--device", default="cuda", choices=("cuda", "cpu"), help="cpu: a smoke test of the code")
    add("--cfg", nargs="+", default=[], metavar="YAML", help="networks (default: X3D-S, SlowFast)")
    add("--budget_s", type=float, default=480.0, help="no check begins later (default: 8 minutes)")
    add("--output", type=Path, metavar="JSON", help="also write it there")
    return found


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    with one_line_errors(traceback=args.traceback):
        from slowfast.deploy.benchmarks.gpu.plan import plan_check
        from slowfast.deploy.benchmarks.gpu.run import run_checks
        from slowfast.utils.device import DeviceError

        try:
            plan = plan_check(args.device, args.cfg, args.budget_s)
        except DeviceError as error:
            print(error, file=sys.stderr)
            raise SystemExit(NO_GPU) from error
        found = run_checks(
            plan,
            on_check=lambda name, result: print(
                f"{name}: {'ok' if result['ok'] else 'FAILED'}, {result['seconds']:.0f} s",
                file=sys.stderr,
            ),
        )
        text = json.dumps(found, indent=1)
        print(text)
        if args.output is not None:
            args.output.write_text(text + "\n", encoding="utf-8")
        if not found["ok"]:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
