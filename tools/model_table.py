#!/usr/bin/env python3
"""Print the table of parameters and multiply-adds of configs, or bring a Markdown file up to date.

python tools/model_table.py configs/Kinetics/*.yaml
python tools/model_table.py --update README.md      # all shipped configs
"""

import argparse
import re
from pathlib import Path

from slowfast.config import load_cfg
from slowfast.utils.errors import UserError, one_line_errors

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SECTION = re.compile(r"(<!-- models -->\n).*?(<!-- /models -->)", re.DOTALL)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="*", type=Path, help="YAML files (default: all shipped)")
    parser.add_argument(
        "--update", type=Path, metavar="FILE", help="rewrite its <!-- models --> part"
    )
    args = parser.parse_args(argv)
    with one_line_errors():
        from slowfast.reports.models import build_model_table

        paths = args.configs or sorted(CONFIGS.rglob("*.yaml"))
        cfgs = {
            str(p.relative_to(CONFIGS) if CONFIGS in p.parents else p): load_cfg([p]) for p in paths
        }
        table = build_model_table(cfgs)
        if args.update is None:
            print(table.markdown())
            return
        text = args.update.read_text("utf-8")
        if not SECTION.search(text):
            raise UserError(f"{args.update} has no <!-- models --> ... <!-- /models --> part")
        args.update.write_text(SECTION.sub(rf"\g<1>{table.markdown()}\n\g<2>", text), "utf-8")


if __name__ == "__main__":
    main()
