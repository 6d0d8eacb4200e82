"""Puts together what several tools found out about the same network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from slowfast.checkpoint.io import best_path
from slowfast.config import cfg_from_yaml
from slowfast.engine.predictions import SINGLE_TASK, Predictions
from slowfast.engine.run import CONFIG_FILE
from slowfast.models.profile import build_cost
from slowfast.reports.runs.facts import (
    DISTILLED,
    METRICS,
    PRUNED,
    QUANTISED,
    TRAINED,
    Runs,
    Speed,
    Training,
    Variant,
)
from slowfast.reports.runs.timed import add_ways, made_from, runtime_name, same_costs
from slowfast.utils.errors import UserError
from slowfast.utils.plain_json import parse_json

CLASS_NAMES = "class_names.json"
STEPS = ORIGINAL, MADE = ("original", "made")
COSTS = ("params_m", "macs_g", "size_mib")
SAME = 0.5  # percent points between two tests of one network, in two runtimes


class Gathering:
    """Fills :class:`Runs` from one source after the other.

    Args:
        runs: has the trainings already.
        named: folders of the runs and their names.
    """

    def __init__(self, runs: Runs, named: Mapping[Path, str]) -> None:
        self.runs, self.named = runs, named
        self._trainings = {training.folder: training for training in runs.trainings}
        self._configs = {path: _config(path) for path in named}

    def add_training(self, path: Path) -> None:
        """The network that a training left, unless another tool reports it."""
        training = self._trainings.get(path)
        trains = training is not None and "train_epoch" in training.stats
        if not trains or training is None or self._is_part(path):
            return
        config = self._configs[path]
        kind = DISTILLED if (path / "distill.json").exists() else TRAINED
        variant = Variant(self.named[path], kind, path, best_path(path), config=config)
        _take_test(variant, training)
        if variant.accuracy is None:
            _take_validation(variant, training)
        if config is not None:
            variant.fill(**build_costs(config))
        self.runs.variants.append(variant)

    def add_report(self, path: Path, document: Mapping[str, Any], step: str) -> None:
        """The networks of a report of pruning, distilling or quantising.

        Args:
            path: folder it lies in.
            document: what may be one.
            step: ``ORIGINAL``: what the others were made from; ``MADE``: the others.
        """
        rows = document.get("rows")
        if not isinstance(rows, dict):
            return
        if {"goal", "ratio"} <= document.keys():
            self._add_rows(path, document, step, ["before"], PRUNED)
        elif "teachers" in document:
            teachers = [name for name in rows if name.startswith("teacher")]
            self._add_rows(path, document, step, teachers, DISTILLED)
        elif {"backend", "result"} <= document.keys():
            self._add_rows(path, document, step, [next(iter(rows))], QUANTISED)

    def _add_rows(
        self,
        path: Path,
        document: Mapping[str, Any],
        step: str,
        originals: Sequence[str],
        kind: str,
    ) -> None:
        rows, machine = document["rows"], document.get("machine", {})
        elsewhere = {**machine, "runtime": "openvino"}  # what "(openvino)" in a name says
        self._note_machine(machine)
        files = {name: Path(file) for name, file in document.get("files", {}).items()}
        parents = []
        for row, teacher in zip(
            originals, document.get("teachers") or [None] * len(originals), strict=False
        ):
            checkpoint = Path(teacher).resolve() if teacher else files.get(row)
            variant = self._original(path, row, rows[row], checkpoint)
            parents.append(variant)
            if step == ORIGINAL:
                _take_row(variant, rows[row], machine, document.get("split", "test"))
        if step == ORIGINAL:
            return
        result = _result_of(document, kind)
        for row in rows:
            if row in originals:
                continue
            name = self.named[path] if row == result else f"{self.named[path]} ({row})"
            file = files.get({"cut": "pruned"}.get(row, row))
            variant = self._named(name) or self._new(name, kind, path)
            variant.kind, variant.checkpoint = kind, file or variant.checkpoint
            parent = parents[0] if parents else None
            variant.parent = parent if parent is not variant else None
            variant.fill(config=(variant.parent.config if variant.parent else None))
            timed_on = elsewhere if "(openvino)" in row else machine
            _take_row(variant, rows[row], timed_on, document.get("split", "test"), own=True)
            variant.is_result = row == result
            variant.refused = _why_refused(document, row, originals[0]) if row == result else ""

    def _original(
        self, path: Path, row: str, facts: Mapping[str, Any], checkpoint: Path | None
    ) -> Variant:
        """The network that others were made from: known by its file, or by what it costs."""
        known = self._by_checkpoint(checkpoint) or self._like(facts)
        if known is not None:
            return known
        found = self._new(f"{self.named[path]} ({row})", TRAINED, path)
        found.checkpoint = checkpoint
        return found

    def add_test(self, path: Path, predictions: Predictions | None) -> None:
        """The result of a test: of the folder's own network, or of a checkpoint elsewhere."""
        training, config = self._trainings.get(path), self._configs[path]
        tested = config.TEST.CHECKPOINT_FILE_PATH if config is not None else ""
        variant = self._by_checkpoint(Path(tested)) if tested else None
        variant = variant or self._exported(Path(tested), path) or self._in_folder(path)
        has_test = training is not None and "test_final" in training.stats
        if variant is None and (has_test or predictions is not None) and not self._is_part(path):
            variant = self._new(self.named[path], TRAINED, path)
            variant.config = config
            variant.checkpoint = Path(tested).resolve() if tested else None
            if config is not None:
                variant.fill(**build_costs(config))
        if variant is None:
            return
        if training is not None and has_test:
            _take_test(variant, training)
        known = variant.predictions
        if predictions is not None and (known is None or known.num_views <= predictions.num_views):
            if config is not None and not predictions.class_names:
                predictions = replace(predictions, class_names=build_class_names(config))
            variant.predictions = predictions
            variant.fill(config=config)
            metrics = predictions.metrics()
            metric = next((name for name in METRICS if name in metrics), variant.metric)
            facts = (metrics.get(metric), metrics.get("top5_acc"), metrics.get("mean_class_acc"))
            variant.fill(**dict(zip(("accuracy", "top5", "mean_class"), facts, strict=True)))

    def _exported(self, tested: Path, path: Path) -> Variant | None:
        """The network that an exported file is of, when a test in ``path`` was of such a file."""
        training = self._trainings.get(path)
        for file in self.runs.exports:
            if file.path.resolve() == tested.resolve() and training is not None:
                if known := made_from(self.runs, file.info.get("source", {})):
                    return known
                test = training.stats.get("test_final", [{}])[-1]
                facts = {
                    "params_m": file.info.get("parameters", 0) / 1e6,
                    "macs_g": file.info.get("macs", 0) / 1e9,
                    "accuracy": float(test["top1_acc"]) if "top1_acc" in test else None,
                }
                return self._like(facts)
        return None

    def add_benchmark(self, path: Path, document: Mapping[str, Any]) -> None:
        """What tools/benchmark.py measured, of the networks with these costs or files."""
        machine = document.get("machine", {})
        if isinstance(document.get("rows"), list) and "reference" in document:
            self._note_machine(machine)
            for row in add_ways(self.runs, document, describe_machine(machine)):
                self.runs.notes.append(f"{path}: {row.get('name')} was timed and is not known")
        elif {"latency", "params_m"} <= document.keys():
            self._note_machine(machine)
            variant = self._like(document) or self._new(self.named[path], TRAINED, path)
            variant.fill(
                **{key: document.get(key) for key in COSTS},
                memory_mib=document.get("peak_memory_mib"),
                throughput=document.get("throughput", {}).get("median"),
            )
            _add_latency(variant, document["latency"], machine)

    def _is_part(self, path: Path) -> bool:
        """Whether a training is a step of a pruning."""
        return any(
            (above / file).exists()
            for above in (path.parent, path)
            for file in ("prune.json", "widths.json")
        )

    def _new(self, name: str, kind: str, path: Path) -> Variant:
        taken = {variant.name for variant in self.runs.variants}
        unique = name if name not in taken else f"{name} ({path.name})"
        variant = Variant(unique, kind, path)
        self.runs.variants.append(variant)
        return variant

    def _named(self, name: str) -> Variant | None:
        return next((v for v in self.runs.variants if v.name == name), None)

    def _in_folder(self, path: Path) -> Variant | None:
        inside = [v for v in self.runs.variants if v.folder == path]
        inside.sort(key=lambda variant: variant.name != self.named[path])  # its result first
        return next(iter(inside), None)

    def _by_checkpoint(self, file: Path | None) -> Variant | None:
        if file is None:
            return None
        wanted = file.resolve()
        for variant in self.runs.variants:
            if variant.checkpoint is not None and variant.checkpoint.resolve() == wanted:
                return variant
        inside = [wanted.parent, wanted.parent.parent]  # another epoch of a training
        return next(
            (v for v in self.runs.variants if v.kind == TRAINED and v.folder in inside), None
        )

    def _like(self, facts: Mapping[str, Any]) -> Variant | None:
        """The network with these costs and, where it is known, about this accuracy."""
        accuracy = facts.get("accuracy")
        found: list[tuple[float, int, Variant]] = []
        for variant in self.runs.variants:
            if not same_costs(variant, facts):
                continue
            apart = 0.0
            if accuracy is not None and variant.accuracy is not None:
                apart = abs(accuracy - variant.accuracy)
            if apart <= SAME or variant.split != "test":
                found.append((apart, len(found), variant))
        return min(found)[2] if found else None

    def _note_machine(self, machine: Mapping[str, Any]) -> None:
        text = describe_machine(machine)
        if text and text not in self.runs.machines:
            self.runs.machines.append(text)


def describe_machine(machine: Mapping[str, Any]) -> str:
    """Processor, threads and versions, as one line."""
    if "name" not in machine:
        return ""
    rest = [
        f"{key} {machine[key]}" for key in ("torch", "onnxruntime", "openvino") if key in machine
    ]
    threads = f", threads: {machine['threads']}" if "threads" in machine else ""
    return f"{machine['name']}{threads}, {', '.join(rest)}".rstrip(", ")


def _config(path: Path) -> Any:
    """The config a run kept; ``None`` where there is none that this version reads."""
    file = path / CONFIG_FILE
    try:
        return cfg_from_yaml(file.read_text("utf-8")) if file.is_file() else None
    except (UserError, ValueError, KeyError):
        return None


def build_costs(cfg: Any) -> dict[str, float]:
    """Parameters (M) and MACs (G) of the network of a config; nothing where it does not build."""
    try:
        cost = build_cost(cfg)
    except (UserError, ValueError, RuntimeError, ModuleNotFoundError):
        return {}  # a network of another version: its costs stay unknown
    return {"params_m": cost.parameters / 1e6, "macs_g": cost.macs_test_crop / 1e9}


def build_class_names(cfg: Any) -> dict[str, list[str]]:
    """Names from ``class_names.json`` of the data, which tools/make_synthetic.py writes.

    Predictions have them only where ``DATA.CLASS_NAMES_PATH`` said so.
    """
    file = Path(cfg.DATA.PATH_TO_DATA_DIR) / CLASS_NAMES
    try:
        numbers = parse_json(file.read_text("utf-8"))
        names = sorted(numbers, key=lambda name: int(numbers[name]))
    except (OSError, ValueError, TypeError):
        return {}
    return {SINGLE_TASK: names} if len(names) == cfg.MODEL.NUM_CLASSES else {}


def _result_of(document: Mapping[str, Any], kind: str) -> str:
    """The row that a tool was run for."""
    if kind == PRUNED:
        return "finetuned" if "finetuned" in document["rows"] else "cut"
    return str(document.get("result", "student"))


def _why_refused(document: Mapping[str, Any], row: str, original: str) -> str:
    """Why a quantised file should not be used in place of the float one; empty: it may."""
    if "max_drop" not in document:
        return ""
    rows, reasons = document["rows"], []
    lost = (rows[original].get("accuracy") or 0.0) - (rows[row].get("accuracy") or 0.0)
    if lost > document["max_drop"]:
        reasons.append(f"it loses {lost:.1f} points where {document['max_drop']:g} are allowed")
    times = document.get("speedup", {}).get(original)
    if times is not None and times["q25"] <= 1:
        reasons.append(f"it is not faster than {original} on this machine")
    return ", and ".join(reasons)


def _take_row(
    variant: Variant, row: Mapping[str, Any], machine: Mapping[str, Any], split: str,
    *, own: bool = False,
) -> None:  # fmt: skip
    """What a report says of a network; ``own``: it was made there, so this is what counts."""
    metrics = row.get("metrics", {})
    facts = {key: row.get(key) for key in (*COSTS, "accuracy")}
    facts |= {"top5": metrics.get("top5_acc"), "mean_class": metrics.get("mean_class_acc")}
    facts["memory_mib"] = row.get("peak_mib")
    if own:
        facts["agreement"] = row.get("agreement")
        variant.metric, variant.split = row.get("metric", variant.metric), split
        for key, value in facts.items():
            setattr(variant, key, value if value is not None else getattr(variant, key))
    elif variant.split != split and facts["accuracy"] is not None:  # so far of the validation
        variant.split = split
        for key in ("accuracy", "top5", "mean_class"):
            setattr(variant, key, facts[key])
    variant.fill(**facts)
    _add_latency(variant, row.get("latency", {}), machine)


def _add_latency(variant: Variant, latency: Mapping[str, Any], machine: Mapping[str, Any]) -> None:
    if "p50_ms" in latency:
        text = describe_machine(machine)
        variant.add_speed(
            Speed(runtime_name(machine), latency["p50_ms"], latency.get("p90_ms"), text)
        )
        variant.fill(throughput=latency.get("clips_per_s"))


def _take_test(variant: Variant, training: Training) -> None:
    """The last test in a log. PySlowFast logs numbers as text."""
    for record in training.stats.get("test_final", [])[-1:]:
        metric = next((name for name in METRICS if name in record), None)
        if metric is None:
            return
        views = int(record.get("num_views", 0))
        if variant.split == "test" and variant.accuracy is not None and views < variant.views:
            return
        variant.metric, variant.split, variant.views = metric, "test", views
        variant.accuracy = float(record[metric])
        for key, name in (("top5", "top5_acc"), ("mean_class", "mean_class_acc")):
            if name in record:
                setattr(variant, key, float(record[name]))


def _take_validation(variant: Variant, training: Training) -> None:
    """The best validation in a log."""
    for metric in METRICS:
        records = [r for r in training.stats.get("val_epoch", []) if metric in r]
        if records:
            best = max(records, key=lambda record: float(record[metric]))
            variant.metric, variant.split = metric, "val"
            variant.accuracy = float(best[metric])
            if "mean_class_acc" in best:
                variant.mean_class = float(best["mean_class_acc"])
            return
