"""What ``scripts/fuzz.py`` does."""

import argparse
import importlib
import json
import sys
from pathlib import Path

from slowfast.reports.table import Table
from tests.fuzz.core import OUTCOMES, fuzz, save_failures

TARGETS = {
    "config": ("configs:ConfigFile", "YAML config files"),
    "overrides": ("configs:Overrides", "`KEY VALUE` overrides"),
    "csv": ("lists:Lists", "CSV and text lists"),
    "json": ("sidecars:Sidecars", "JSON descriptions"),
    "checkpoint": ("checkpoints:Checkpoints", "checkpoints and pickles"),
    "video": ("videos:Videos", "video files"),
    "http": ("http:Requests", "HTTP and WebSocket requests"),
}
"""Name -> where it is, what it is fed with."""
BEGIN, END = "<!-- fuzz: begin -->", "<!-- fuzz: end -->"


def load_target(name):
    """The class of a target; its libraries are imported only now."""
    module, _, attribute = TARGETS[name][0].partition(":")
    return getattr(importlib.import_module(f"tests.fuzz.{module}"), attribute)


def build_parser(doc):
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--runs", type=int, default=1000, help="inputs per target")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal inputs")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this one input of the seed")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="a saved input, of one target")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/fuzz"),
                        help="for fuzz.json and failing inputs")  # fmt: skip
    parser.add_argument("--update", type=Path, metavar="MARKDOWN",
                        help="write the counts of all fuzz.json entries into this page")  # fmt: skip
    return parser


def main(argv=None, doc=""):
    """Exit status: 1 where an input crashed, hung or gave a wrong result."""
    args = build_parser(doc).parse_args(argv)
    if args.replay:
        return replay(args.target[0], args.replay)
    entries = read_entries(args.output_dir / "fuzz.json")
    reports = []
    for name in args.target if args.runs else ():
        report = fuzz(load_target(name), args.runs, args.seed, only=args.only, on_progress=progress)
        save_failures(report, args.output_dir / "failures")
        reports.append(report)
        if args.only is None:
            entries[f"{name}/{args.seed}"] = report.entry()
            write_entries(args.output_dir / "fuzz.json", entries)
    print(show(reports))
    if args.update:
        update(args.update, entries.values())
    return int(any(report.bad for report in reports))


def progress(report):
    counts = ", ".join(f"{count} {outcome}" for outcome, count in report.counts.items())
    print(f"\r{report.target}: {counts}", end="", file=sys.stderr, flush=True)


def replay(name, path):
    """Feed one saved input, and let whatever happens be seen."""

    class Replayed(load_target(name)):
        def draw(self, rng):
            return path.read_bytes()

    report = fuzz(Replayed, 1, 0)
    print(show([report]))
    for failure in report.failures:
        print(failure.cause, failure.trace, sep="\n")
    return int(bool(report.bad))


def show(reports):
    """For people: counts, then the first failures."""
    rows = [
        [
            report.target,
            report.runs,
            *(report.counts[outcome] for outcome in OUTCOMES),
            round(report.runs / max(report.seconds, 1e-3)),
        ]
        for report in reports
    ]
    lines = [Table(["target", "runs", *OUTCOMES, "inputs/s"], rows).markdown()]
    for report in reports:
        lines += [
            f"{report.target} --seed {report.seed} --only {one.number}: {one.outcome}: {one.cause}"
            for one in report.failures[:10]
        ]
    return "\n".join(lines)


def read_entries(path):
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def write_entries(path, entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries, indent=1) + "\n", "utf-8")


def update(page, entries):
    """Write the sums over all seeds between the markers of a page."""
    lines = [
        "| input | target | tried | accepted, and right | refused in one line | crash | hang | wrong |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, (_, what) in TARGETS.items():
        of_target = [entry for entry in entries if entry["target"] == name]
        if of_target:
            sums = [sum(entry[key] for entry in of_target) for key in ("runs", *OUTCOMES)]
            lines.append(f"| {what} | `{name}` | " + " | ".join(f"{n:,}" for n in sums) + " |")
    text = page.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    if not rest or END not in rest:
        raise SystemExit(f"{page} lacks {BEGIN} and {END}")
    page.write_text(head + BEGIN + "\n" + "\n".join(lines) + "\n" + END + tail, "utf-8")
