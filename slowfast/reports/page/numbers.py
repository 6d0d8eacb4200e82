"""The sentence, the tiles and the tables of a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slowfast.reports.page.blocks import Grid, Missing, Tile, Tiles
from slowfast.reports.runs.facts import METRICS, PLAIN, Runs, Speed, Variant
from slowfast.reports.table import Cell, Table, format_cell


def difference(variant: Variant) -> str | None:
    """Percent points above or below the teacher: ``"-3.5"``."""
    root = variant.root
    if root is variant or variant.accuracy is None or root.accuracy is None:
        return None
    return signed(variant.accuracy - root.accuracy)


def signed(points: float) -> str:
    """``"+1.2"``, ``"-3.5"`` with a true minus sign, ``"0.0"``."""
    text = f"{points:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "\N{MINUS SIGN}")


COLUMNS: dict[str, tuple[str, Callable[[Variant], Cell]]] = {
    "accuracy": ("accuracy (%)", lambda v: v.accuracy),
    "change": ("change", difference),
    "mean_class": ("mean class (%)", lambda v: v.mean_class),
    "agreement": ("agrees with parent (%)", lambda v: v.agreement),
    "params_m": ("parameters (M)", lambda v: v.params_m),
    "macs_g": ("MACs (G)", lambda v: v.macs_g),
    "flops_g": ("FLOPs (G)", lambda v: None if v.macs_g is None else 2 * v.macs_g),
    "size_mib": ("size (MiB)", lambda v: v.size_mib),
}
AFTER: dict[str, tuple[str, Callable[[Variant], Cell]]] = {
    "throughput": ("throughput (clips/s)", lambda v: v.throughput),
    "stream_fps": ("streaming (frames/s)", lambda v: v.stream_fps),
    "memory_mib": ("memory (MiB)", lambda v: v.memory_mib),
}
BENCHMARK = "python tools/benchmark.py --cfg YAML --model_path FILE --output FOLDER/benchmark.json"
STREAM = BENCHMARK.replace("--output", "--stream --output").replace("benchmark.json", "stream.json")
WHERE = {
    "latency": BENCHMARK,
    "throughput": BENCHMARK,
    "memory_mib": BENCHMARK,
    "stream_fps": STREAM,
    "accuracy": "python tools/run_net.py --cfg YAML --eval TEST.CHECKPOINT_FILE_PATH FILE",
}


def variants_table(
    runs: Runs, teacher: Variant | None, compressed: Variant | None
) -> list[Grid | Missing]:
    """Every network with every number, and what to run for the numbers that no network has."""
    head = [column for column, _ in COLUMNS.values()]
    latencies = [f"{runtime} p50 / p90 (ms)" for runtime in runs.runtimes]
    tail = [column for column, _ in AFTER.values()]
    rows: list[list[Cell]] = []
    for v in runs.variants:
        cells = [read(v) for _, read in COLUMNS.values()]
        cells += [quantiles(v.speed_in(runtime)) for runtime in runs.runtimes]
        rows.append([v.name, v.kind, *cells, *(read(v) for _, read in AFTER.values())])
    columns = ["network", "kind", *head, *latencies, *tail]
    kept = [i for i in range(len(columns)) if any(row[i] is not None for row in rows)]
    table = Table([columns[i] for i in kept], [[row[i] for i in kept] for row in rows])
    badges = {}
    for variant, badge in ((teacher, "teacher"), (compressed, "compressed")):
        if variant is not None and compressed is not None:
            badges[runs.variants.index(variant)] = badge
    blocks: list[Grid | Missing] = [Grid(table, badges)]
    absent = [key for key, (title, _) in {**COLUMNS, **AFTER}.items() if title not in table.columns]
    absent += [] if runs.runtimes else ["latency"]
    for command in dict.fromkeys(WHERE[key] for key in absent if key in WHERE):
        names = [({**COLUMNS, **AFTER}).get(k, (k,))[0] for k in absent if WHERE.get(k) == command]
        blocks.append(Missing(f"Not measured here: {', '.join(names)}.", command))
    return blocks


def quantiles(speed: Speed | None) -> str | None:
    """``"0.71 / 0.81"``."""
    if speed is None:
        return None
    p90 = "-" if speed.p90_ms is None else f"{speed.p90_ms:.3g}"
    return f"{speed.p50_ms:.3g} / {p90}"


def exports_table(runs: Runs) -> Table | None:
    """Exported clip models and how far each is from the network it was made from."""
    rows: list[list[Cell]] = []
    for file in runs.exports:
        info = file.info
        if file.is_stream:
            continue
        parity = info.get("parity") or {}
        agreement = parity.get("top1_agreement")
        rows.append([
            file.name, info.get("format"), info.get("precision"),
            "uint8" if info.get("normalized_inside") else "float32",
            parity.get("max_score_difference"),
            None if agreement is None else 100.0 * agreement,
            parity.get("clips"),
        ])  # fmt: skip
    columns = ["file", "format", "precision", "input", "largest score difference",
               "same class (%)", "clips compared"]  # fmt: skip
    return Table(columns, rows) if rows else None


def streams_table(runs: Runs) -> Table | None:
    """Exported streams: what a frame costs and how late the answer is."""
    rows: list[list[Cell]] = []
    for file in (file for file in runs.exports if file.is_stream):
        info = file.info
        clip = info.get("clip", {})
        per_clip = clip.get("macs")
        macs = info.get("macs")
        rows.append([
            file.name, clip.get("format"), info.get("window"), info.get("delay"),
            None if macs is None else macs / 1e9,
            None if not (macs and per_clip) else f"{per_clip / macs:.1f}x fewer",
            None if info.get("state_bytes") is None else info["state_bytes"] / 2**20,
        ])  # fmt: skip
    columns = ["file", "format", "window (frames)", "delay (frames)", "MACs per frame (G)",
               "than a clip per frame", "state (MiB)"]  # fmt: skip
    return Table(columns, rows) if rows else None


def comparable(teacher: Variant, compressed: Variant) -> tuple[Speed, Speed] | None:
    """Latencies of both: in one runtime where they have one in common, else the fastest of each."""
    ours = sorted(compressed.speeds, key=lambda speed: speed.p50_ms)
    for speed in ours:
        theirs = teacher.speed_in(speed.runtime)
        if theirs is not None:
            return theirs, speed
    fastest = teacher.fastest
    return (fastest, ours[0]) if fastest is not None and ours else None


def summary(runs: Runs, teacher: Variant | None, compressed: Variant | None) -> str:
    """The numbers that matter in one or two sentences."""
    if teacher is None:
        return f"{len(runs.trainings)} trainings, none of them tested yet."
    metric = METRICS[teacher.metric]
    if compressed is None:
        parts = [f"**{teacher.name}**"]
        if teacher.accuracy is not None:
            where = "" if teacher.split == "test" else " in validation"
            parts.append(f"reaches **{teacher.accuracy:.1f} %** {metric} accuracy{where}")
        parts.append(_costs(teacher))
        return " ".join(part for part in parts if part) + "."
    sentence = (
        f"**{compressed.name}** reaches **{_percent(compressed)}** {metric} accuracy, "
        f"{_apart(teacher, compressed)} **{teacher.name}** ({_percent(teacher)})"
    )
    shares = [
        f"{_share(new, old)} the {name}"
        for new, old, name in (
            (compressed.params_m, teacher.params_m, "parameters"),
            (compressed.macs_g, teacher.macs_g, "MACs"),
        )
        if new and old
    ]
    sentence += f", with {' and '.join(shares)}." if shares else "."
    pair = comparable(teacher, compressed)
    if pair is not None:
        sentence += " " + _speed_sentence(*pair)
        trained = teacher.speed_as_trained
        if trained is not None and PLAIN not in pair[0].runtime:
            sentence += (
                f" As it was trained, in {trained.runtime}, the teacher takes "
                f"{trained.p50_ms:.3g} ms: {trained.p50_ms / pair[1].p50_ms:.1f} times as long."
            )
    return sentence


def _speed_sentence(theirs: Speed, ours: Speed) -> str:
    before = f"{theirs.p50_ms:.3g} ms"
    if theirs.runtime != ours.runtime:
        before += f" in {theirs.runtime}"
    times = theirs.p50_ms / ours.p50_ms
    faster = f"**{times:.1f} times as fast**" if times >= 1 else f"{1 / times:.1f} times slower"
    return f"One clip takes {ours.p50_ms:.3g} ms in {ours.runtime} instead of {before}: {faster}."


def _costs(variant: Variant) -> str:
    known = []
    if variant.params_m is not None:
        known.append(f"{variant.params_m:.3g} M parameters")
    if variant.macs_g is not None:
        known.append(f"{variant.macs_g:.3g} GMACs")
    speed = variant.fastest
    if speed is not None:
        known.append(f"{speed.p50_ms:.3g} ms per clip in {speed.runtime}")
    return f"with {', '.join(known)}" if known else ""


def _percent(variant: Variant) -> str:
    return "?" if variant.accuracy is None else f"{variant.accuracy:.1f} %"


def _apart(teacher: Variant, compressed: Variant) -> str:
    if teacher.accuracy is None or compressed.accuracy is None:
        return "made from"
    points = compressed.accuracy - teacher.accuracy
    if abs(points) < 0.05:
        return "the same as its teacher"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'} its teacher"


def _share(new: float, old: float) -> str:
    return f"{100 * new / old:.0f} % of" if old else ""


def tiles(teacher: Variant | None, compressed: Variant | None) -> Tiles:
    """The compressed network's numbers, each beside the teacher's; else the teacher's alone."""
    now = compressed or teacher
    if now is None:
        return Tiles(())
    old = teacher if compressed is not None else None
    found: list[Tile] = []

    def add(label: str, value: str, before: str = "") -> None:
        found.append(Tile(label, value, before))

    if now.accuracy is not None:
        change = difference(now) if old is not None else None
        add(f"{METRICS[now.metric]} accuracy", f"{now.accuracy:.1f} %",
            f"{change} points" if change is not None else "")  # fmt: skip
    pair = comparable(old, now) if old is not None else None
    speed = pair[1] if pair is not None else now.fastest
    if speed is not None:
        before = ""
        if pair is not None:
            elsewhere = f" ({pair[0].runtime})" if pair[0].runtime != speed.runtime else ""
            before = f"from {pair[0].p50_ms:.3g} ms{elsewhere}"
        add(f"latency, {speed.runtime}", f"{speed.p50_ms:.3g} ms", before)
    for key, label, unit in (
        ("macs_g", "MACs per clip", "G"), ("params_m", "parameters", "M"),
        ("size_mib", "size", "MiB"),
    ):  # fmt: skip
        value = getattr(now, key)
        if value is not None:
            was = getattr(old, key) if old is not None else None
            add(label, f"{format_cell(float(value))} {unit}",
                f"from {format_cell(float(was))} {unit}" if was is not None else "")  # fmt: skip
    if now.stream_fps is not None:
        add("streaming", f"{now.stream_fps:,.0f} frames/s")
    return Tiles(found)


def class_changes(teacher: Variant, compressed: Variant, task: str) -> list[Sequence[Cell]]:
    """Class, difference of the recalls, both recalls, and videos, the worst changes first."""
    if teacher.predictions is None or compressed.predictions is None:
        return []
    old, new = (v.predictions.per_class(task) for v in (teacher, compressed) if v.predictions)
    rows: list[tuple[str, float, float, float, int]] = [
        (a.name, b.recall - a.recall, a.recall, b.recall, a.support)
        for a, b in zip(old, new, strict=True)
        if a.support
    ]
    return [list(row) for row in sorted(rows, key=lambda row: (row[1], row[0]))]
