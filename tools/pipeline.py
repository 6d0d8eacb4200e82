#!/usr/bin/env python3
r"""From a dataset to a compressed, exported, measured model; each stage runs once.

    bash scripts/run_pipeline.sh                       # on a small synthetic dataset
    bash scripts/run_pipeline.sh --config configs/MECCANO/SLOWFAST_8x8_R50.yaml \
        --data_dir /data/meccano --output_dir runs/meccano SOLVER.MAX_EPOCH 20

Stages: data (or check), train, test, prune, distill, quantize, export, parity, stream, live,
benchmark, report. What each does beyond the config is said by the keys of the node PIPELINE
(python -m slowfast.config PIPELINE). KEY VALUE pairs override the config in all stages. Results go
to --output_dir, one folder per stage, and what each printed to its logs/. Run it again to go on
where it stopped; a stage whose inputs changed runs anew.
"""

import argparse
import sys
from pathlib import Path

from slowfast.config import parse_args as parse_with_overrides
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parser import tool_parser
from slowfast.utils.stages import run_stages

TOOLS = Path(__file__).resolve().parent
SYNTHETIC_CONFIG = TOOLS.parent / "configs/Pipeline/SYNTHETIC.yaml"


def parser() -> argparse.ArgumentParser:
    found = tool_parser(__doc__)
    add = found.add_argument
    add("--config", type=Path, default=SYNTHETIC_CONFIG, help="YAML (default: %(default)s)")
    add("--data_dir", type=Path, help="your dataset; without it a synthetic one is written, "
        "in the layout that the config's TRAIN.DATASET reads")  # fmt: skip
    add("--num_clips", type=int, default=3000, help="of the synthetic dataset (%(default)s)")
    add("--output_dir", type=Path, default=Path("runs/pipeline"), help="(default: %(default)s)")
    add("--stages", nargs="+", metavar="STAGE", help="only these of the stages above")
    add("--force", action="store_true", help="run stages again though nothing changed")
    add("--dry_run", action="store_true", help="only show the commands that would run")
    return found


def main(argv: list[str] | None = None) -> None:
    args = parse_with_overrides(argv, parser())
    setup_logging()
    with one_line_errors(traceback=args.traceback):
        from slowfast.learners.pipeline import build_stages

        names = ("data_dir", "output_dir", "num_clips")
        options = {name: getattr(args, name) for name in names}
        stages = build_stages(args.config, args.opts, tools=TOOLS, **options)
        chosen = args.stages or [stage.name for stage in stages]
        run_stages(stages, args.output_dir, chosen=chosen, force=args.force, dry_run=args.dry_run)
        if not args.dry_run and "report" in chosen:
            sys.stdout.write(f"{args.output_dir / 'report' / 'report.html'}\n")


if __name__ == "__main__":
    main()
