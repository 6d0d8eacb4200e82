"""Which benchmark a command line asks for."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from slowfast.config import load_cfg
from slowfast.deploy.benchmarks import build
from slowfast.deploy.benchmarks.compare import build_comparison, name_configs

if TYPE_CHECKING:
    from yacs.config import CfgNode


def build_benchmark(args: Namespace, cfg: CfgNode, name: str = "") -> build.Benchmark:
    """The benchmark of ``tools/benchmark.py``'s arguments; of the model by default.

    Args:
        args: of the command line.
        cfg: what its config files and overrides make.
        name: of that, in comparisons.
    """
    backends = [name for name in args.backends.split(",") if name]
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
    if args.compare:
        paths = [name or "defaults", *args.compare]
        cfgs = [cfg, *(load_cfg(path, args.opts) for path in args.compare)]
        return build_comparison(dict(zip(name_configs(paths), cfgs, strict=True)))
    return build.build_model_benchmark(cfg)
