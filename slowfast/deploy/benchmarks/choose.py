"""Which benchmark a command line asks for."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.deploy.benchmarks import build
from slowfast.deploy.benchmarks.spec import FILE_RUNTIMES, FORMS, STREAM, expand
from slowfast.utils.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

WAYS = (
    "compare", "runtimes", "precisions", "threads", "batch", "files", "stream", "cox3d", "busy",
    "accuracy", "choose", "video",
)  # fmt: skip
"""Options of the benchmark that lets ways of running a model take turns."""


def build_benchmark(args: Namespace, cfg: CfgNode, opts: Sequence[str] = ()) -> build.Benchmark:
    """The benchmark of ``tools/benchmark.py``'s arguments; of the model by default.

    Args:
        args: of the command line.
        cfg: what its config files and overrides make.
        opts: the overrides alone, for configs and checkpoints named besides.
    """
    backends = words(args.backends)
    if args.train_step:
        return build.build_train_step_benchmark(cfg, reference=args.reference)
    if args.loader:
        return build.build_loader_benchmark(cfg, reference=args.reference, backends=backends)
    if args.decoding:
        return build.build_decoding_benchmark(cfg, backends)
    if args.test_views:
        return build.build_test_views_benchmark(cfg, args.test_views)
    if args.loop:
        return build.build_loop_benchmark(cfg)
    is_plain = config_files(args) and not args.reference
    if is_plain and not any(getattr(args, way) not in (None, False, "", []) for way in WAYS):
        return build.build_model_benchmark(cfg)
    return build_ways(args, cfg, opts)


def build_ways(args: Namespace, cfg: CfgNode, opts: Sequence[str]) -> build.Benchmark:
    """Ways of running one model, or several, by turns.

    Raises:
        UserError: nothing to measure, or something that does not exist.
    """
    from slowfast.deploy.benchmarks.compare import Plan, measure
    from slowfast.deploy.benchmarks.sources import Settings

    files = config_files(args)
    main = args.model_path or "+".join(files)
    is_file = Path(main).suffix in FILE_RUNTIMES
    texts = [f"{STREAM}:{main}" if args.stream and not is_file else main] if main else []
    texts += [*(args.files or []), *(args.compare or [])]
    if not texts:
        raise UserError("nothing to measure: give --cfg, --model_path or --compare")
    specs, skipped = expand(texts, words(args.runtimes), words(args.precisions))
    yardsticks = []
    if args.reference:
        yardsticks += expand([f"reference:{base_model(texts)}"])[0]
    if args.cox3d:
        yardsticks += expand([f"cox3d:{base_model(texts)}"])[0]
    specs = [*yardsticks, *specs]
    if args.compare and len(specs) < 2:
        raise UserError(f"{texts[0]} cannot be compared with itself: give another")
    videos = args.video or ([""] if args.stream else [])
    plan = Plan(
        specs,
        threads=numbers(args.threads, 0),
        batches=numbers(args.batch, 1),
        warmup=cfg.BENCHMARK.WARMUP,
        turns=cfg.BENCHMARK.STEPS,
        busy=args.busy,
        memory=not args.no_memory,
        split=args.accuracy or "",
        min_agreement=args.choose,
        videos=videos,
        network={text.partition("@")[0]: main for text in args.files or []},
    )
    settings = Settings(tuple(opts), tuple(files), args.model_path)
    return partial(measure, plan, settings, skipped)


def config_files(args: Namespace) -> list[str]:
    """What ``--cfg`` names."""
    found: list[str] = vars(args)["cfg"]
    return found


def base_model(texts: Sequence[str]) -> str:
    """The first config or checkpoint among what is named.

    Raises:
        UserError: only exported files are.
    """
    for text in texts:
        form, colon, rest = text.partition(":")
        path = (rest if colon and form in FORMS else text).partition("@")[0]
        if Path(path).suffix not in FILE_RUNTIMES:
            return path
    raise UserError(
        "--reference and --cox3d need the network itself, not only exported files: write "
        "--compare reference:CONFIG.yaml FILE"
    )


def words(text: str) -> list[str]:
    """The words between commas."""
    return [word for word in text.split(",") if word]


def numbers(text: str, default: int) -> list[int]:
    """The numbers between commas, else the default.

    Raises:
        UserError: a word is no such number.
    """
    try:
        found = [int(word) for word in words(text)] or [default]
    except ValueError as error:
        raise UserError(f"{text!r}: give numbers with commas between, e.g. 1,2") from error
    if min(found) < default:
        raise UserError(f"{text!r}: the smallest number is {default}")
    return found
