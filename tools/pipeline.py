#!/usr/bin/env python3
r"""Data, training, test and benchmark in one go; each stage runs only when its inputs changed.

    bash scripts/run_pipeline.sh                       # on a small synthetic dataset
    bash scripts/run_pipeline.sh --config configs/MECCANO/SLOWFAST_8x8_R50.yaml \
        --data_dir /data/meccano --output_dir runs/meccano SOLVER.MAX_EPOCH 20

KEY VALUE pairs override the config in all stages. Results go to --output_dir, one folder per stage,
and what each printed to its logs/.
"""

import argparse
import logging
import sys
from pathlib import Path

from slowfast.config import load_cfg
from slowfast.config import parse_args as parse_with_overrides
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.stages import Stage, StageError, describe_files, run_stages

TOOLS = Path(__file__).resolve().parent
SYNTHETIC_CONFIG = TOOLS.parent / "configs/Synthetic/X3D_T.yaml"


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", type=Path, default=SYNTHETIC_CONFIG, help="YAML (default: %(default)s)")
    add(
        "--data_dir",
        type=Path,
        help="your dataset; without it a synthetic one is written, "
        "in the layout that the config's TRAIN.DATASET reads",
    )
    add("--num_clips", type=int, default=3000, help="of the synthetic dataset (%(default)s)")
    add("--output_dir", type=Path, default=Path("runs/pipeline"), help="(default: %(default)s)")
    add("--stages", nargs="+", metavar="STAGE", help="only these: data train test benchmark")
    add("--force", action="store_true", help="run stages again though nothing changed")
    add("--dry_run", action="store_true", help="only show the commands that would run")
    add("--traceback", action="store_true", help="show errors in full")
    return parse_with_overrides(argv, parser)


def synthetic_layout(args: argparse.Namespace) -> tuple[str, bool]:
    """What the config's dataset reads, and whether its videos are files rather than images."""
    from slowfast.datasets.synthetic import find_layout, layout_of_dataset

    layout = layout_of_dataset(load_cfg([args.config], args.opts).TRAIN.DATASET)
    return layout, find_layout(layout).writes_files


def pipeline_stages(args: argparse.Namespace) -> list[Stage]:
    """The table of stages. A new one is a new entry; ``needs`` says what it builds on."""
    out = args.output_dir.resolve()
    made = args.data_dir is None
    data = out / "data" if made else args.data_dir.resolve()
    if not made and not data.is_dir():
        raise StageError(f"--data_dir {data} is not a folder")
    best = out / "train/checkpoints/best.pyth"
    overrides = ["DATA.PATH_TO_DATA_DIR", str(data)]
    layout, written = synthetic_layout(args) if made else ("", False)
    if written:  # short clips, seen in every epoch: decoded once
        overrides += ["DATA.CACHE_DIR", str(out / "cache")]
    overrides += args.opts
    cfg = load_cfg([args.config], overrides).dump()
    common = ["--cfg", str(args.config.resolve()), *overrides, "OUTPUT_DIR"]

    def stage(name: str, script: str, *words: object, **options: object) -> Stage:
        command = [sys.executable, str(TOOLS / script), *map(str, words)]
        return Stage(name, command, out / name, **options)  # type: ignore[arg-type]

    words = ["--layout", layout, "--output_dir", data, "--num_clips", args.num_clips]
    first = [stage("data", "make_synthetic.py", *words, outputs=[data / "manifest.json"])]
    seen = cfg if made else cfg + describe_files(data.glob("*.csv"))
    return (first if made else []) + [
        stage("train", "run_net.py", *common, out / "train", "TEST.ENABLE", False,
              needs=["data"] if made else [], inputs=seen, outputs=[best]),
        stage("test", "run_net.py", *common, out / "test", "--eval",
              "TEST.CHECKPOINT_FILE_PATH", best, needs=["train"], inputs=seen,
              outputs=[out / "test/stdout.log"]),
        stage("benchmark", "benchmark.py", *common, out / "benchmark", "--model_path", best,
              "--output", out / "benchmark/benchmark.json", needs=["train"], inputs=cfg,
              outputs=[out / "benchmark/benchmark.json"]),
    ]  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    setup_logging()
    with one_line_errors(traceback=args.traceback):
        stages = pipeline_stages(args)
        chosen = args.stages or [stage.name for stage in stages]
        run_stages(stages, args.output_dir, chosen=chosen, force=args.force, dry_run=args.dry_run)
        if not args.dry_run:
            from slowfast.reports.pipeline import write_report

            for path in write_report(args.output_dir, args.config.stem):
                logging.info("wrote %s", path)


if __name__ == "__main__":
    main()
