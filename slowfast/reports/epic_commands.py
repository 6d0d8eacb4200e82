"""What ``tools/epic_submission.py`` does: report, ensemble, pack, check."""

from __future__ import annotations

import json
from argparse import Namespace

from slowfast.datasets.epic_kitchens import read_segments
from slowfast.datasets.epic_results import read_results, write_results
from slowfast.reports import epic_submission as epic
from slowfast.utils.files import write_text


def run_command(args: Namespace) -> str:
    """Does what the command line says; what to print."""
    commands = {"report": _report, "ensemble": _ensemble, "pack": _pack, "check": _check}
    return commands[args.command](args)


def _report(args: Namespace) -> str:
    figures = epic.validation_report(
        read_results(args.results), args.annotations, labels=args.labels, partial=args.partial
    )
    if args.json:
        write_text(args.json, json.dumps(figures, indent=1) + "\n")
    return epic.format_report(figures)


def _ensemble(args: Namespace) -> str:
    merged = epic.ensemble([read_results(path) for path in args.results], args.weights)
    write_results(args.output, merged, force=args.force)
    return f"{args.output}: {len(merged)} segments of {len(args.results)} runs"


def _check(args: Namespace) -> str:
    ids = _narrations(args)
    epic.check_submission(epic.read_submission(args.results), ids, str(args.results))
    return f"{args.results}: {len(ids)} segments, valid"


def _pack(args: Namespace) -> str:
    ids = _narrations(args)
    epic.write_submission(
        args.output,
        read_results(args.results),
        ids,
        supervision=tuple(args.sls),
        actions=args.actions,
        force=args.force,
    )
    return f"{args.output}: {len(ids)} segments, {args.output.stat().st_size / 1e6:.1f} MB, valid"


def _narrations(args: Namespace) -> list[str]:
    return [segment.narration_id for segment in read_segments(args.annotations / args.segments)]
