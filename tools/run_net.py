#!/usr/bin/env python3
r"""Train a model and test it, as a config says.

    python tools/run_net.py --cfg configs/MECCANO/SLOWFAST_8x8_R50.yaml \
        NUM_GPUS 1 TRAIN.BATCH_SIZE 8 DATA.PATH_TO_DATA_DIR /data/meccano

    python tools/run_net.py --cfg configs/MECCANO/SLOWFAST_8x8_R50.yaml \
        --eval TEST.CHECKPOINT_FILE_PATH /path/to/checkpoint.pyth

A test also takes exported models: .onnx, OpenVINO's .xml and .pt2 (tools/export.py).
"""

from functools import partial
from pathlib import Path

from slowfast.config import add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.utils.errors import one_line_errors
from slowfast.utils.parser import tool_parser
from slowfast.utils.threads import limit_spinning


def main(argv: list[str] | None = None) -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--eval", action="store_true", help="test only, do not train")
    add_cfg_arguments(parser)
    args = parse_args(argv, parser)
    with one_line_errors(traceback=args.traceback):
        if args.eval:
            args.opts += ["TRAIN.ENABLE", "False", "TEST.ENABLE", "True"]
        cfg = load_cfg_from_args(args)
        limit_spinning()
        # torch loads here, so that --help and a misspelt key answer at once.
        from slowfast.deploy.runtime import OPEN_FILES
        from slowfast.reports.board.build import run_with_board
        from slowfast.reports.evaluation import ReportTest
        from slowfast.utils.distributed import launch, plan_launch

        job = partial(
            run_with_board,
            on_predictions=[ReportTest(Path(cfg.OUTPUT_DIR), tuple(cfg.TEST.TOPK))],
            open_files=OPEN_FILES,
        )
        plan = plan_launch(
            cfg.NUM_GPUS,
            device=cfg.DEVICE,
            cpu_processes=cfg.CPU_PROCESSES,
            num_shards=cfg.NUM_SHARDS,
            shard_id=cfg.SHARD_ID,
            init_method=args.init_method if cfg.NUM_SHARDS > 1 else "",
        )
        launch(job, (cfg,), plan)


if __name__ == "__main__":
    main()
