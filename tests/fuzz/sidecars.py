"""JSON beside models, data and runs: descriptions of exports and streams, class names, widths."""

import json
import math
from dataclasses import asdict, fields

from slowfast.datasets.base import read_class_names
from slowfast.datasets.epic_results import read_results
from slowfast.deploy.export.info import ExportInfo, checksums, info_path, read_info
from slowfast.deploy.export.streaming import StreamInfo, read_stream_info
from slowfast.deploy.recognize_build import is_stream_file, read_task_names
from slowfast.learners.kinetics import read_split
from slowfast.learners.saving import find_descriptions, read_metadata
from slowfast.reports.stats import read_stats
from tests.fuzz.core import Target, WrongError
from tests.fuzz.mutate import encoded, mutate

HUGE = 10**400
NASTY = (
    None, True, False, 0, -1, 1, 2**31, 2**63, HUGE, 0.5, -0.0, 1e308, math.nan, math.inf, -math.inf,
    "", "a", "\0", "../../x", "/etc/passwd", "x" * 5000, "\ud800", "RGB", [], {}, [[]], [1], [None],
    ["a"], [0, 0], [math.nan] * 3, {"a": 1}, {"": None}, {"__class__": "x"}, [[[[[[]]]]]],
)  # fmt: skip
WORDS = (b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"NaN", b"Infinity", b"1e999", b"\0",
         b"\\ud800", b"\\u0000", b"-", b"9" * 5000, b"[" * 5000, b'{"a":' * 3000, b"\xef\xbb\xbf",
         b"\xff", b"/*", b"'", b"True", b"01", b"1_0", b"__proto__")  # fmt: skip
DEEP = (b"[" * 200_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000)


def example_info():
    return ExportInfo(
        inputs={"frames": [1, 3, 4, 32, 32]}, outputs=["action"], tasks=["action"], kind="logits",
        head_act="softmax", scale=None, channels="RGB", model_channels="RGB", mean=[0.45] * 3,
        std=[0.225] * 3, stride=2, target_fps=30.0, num_classes=[2],
        class_names={"action": ["left", "right"]}, num_frames=4,
        pathway_frames={"frames": [0, 1, 2, 3]}, short_side=32, crop=[32, 32], format="onnx",
        model="TinyNet", parameters=10, macs=10, versions={"torch": "2"}, config="MODEL: {ARCH: x3d}\n",
    )  # fmt: skip


def example_stream():
    values = {
        "clip": asdict(example_info()), "streaming": True, "period": 1, "states": {"a": [1, 2]},
        "window": 8, "delay": 2,
    }  # fmt: skip
    known = {f.name for f in fields(StreamInfo)}
    return {name: value for name, value in values.items() if name in known}


EXAMPLES = {
    "names": [["left", "right", "up"], {"left": 0, "right": 1}],
    "tasks": [{"verb": ["a", "b"], "noun": {"x": 0, "y": 1, "z": 2}}],
    "learner": [{"model_paths": "a.pth", "inference_params": {"num_frames": 4},
                 "optimizer_info": {}, "version": 2}],
    "kinetics": [{"abc": {"annotations": {"label": "run", "segment": [1.0, 11.0]},
                          "subset": "train"}}],
    "results": [{"verb_output": [[0.1, 0.2]], "noun_output": [[0.3]], "narration_id": ["P01_0"]}],
    "stats": [{"_type": "train_epoch", "epoch": "1/2", "loss": 0.5}],
    "info": [asdict(example_info())],
    "stream": [example_stream()],
}  # fmt: skip


def change(rng, value, depth=0):
    """A copy in which one value, somewhere, is another, is missing, or is twice there."""
    if isinstance(value, dict) and value and (depth == 0 or rng.random() < 0.7):
        value, name = dict(value), rng.choice(sorted(value))
        draw = rng.random()
        if draw < 0.15:
            del value[name]
        elif draw < 0.25:
            value[rng.choice(("", "x", name + " ", name.upper(), "\0"))] = value[name]
        else:
            value[name] = change(rng, value[name], depth + 1)
        return value
    if isinstance(value, list) and value and rng.random() < 0.6:
        value, place = list(value), rng.randrange(len(value))
        value[place] = change(rng, value[place], depth + 1)
        return value
    return rng.choice(NASTY)


def finite(value):
    """Whether no number in nested data is infinite, none, or beyond what floats hold."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(finite, value))
    return not isinstance(value, (int, float)) or (abs(value) < 1e300)


class Sidecars(Target):
    """An input is the kind, a zero byte, and the file's content."""

    name = "json"

    def __init__(self, folder):
        super().__init__(folder)
        self.model = folder / "m.onnx"
        self.model.write_bytes(b"model")
        self.sums = dict(checksums(self.model))

    def draw(self, rng):
        kind = rng.choice(sorted(EXAMPLES))
        example = rng.choice(EXAMPLES[kind])
        if kind in ("info", "stream"):
            example = example | {"sha256": self.sums}
        for _ in range(rng.choice((0, 1, 1, 2))):
            example = change(rng, example)
        text = json.dumps(example, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, 1)))
        data = encoded(rng, text)
        if rng.random() < 0.3:
            data = mutate(rng, data, WORDS, most=3)
        if rng.random() < 0.003:
            data = rng.choice(DEEP)
        return kind.encode() + b"\0" + data

    def run(self, data):
        kind, _, data = data.partition(b"\0")
        getattr(self, f"run_{kind.decode()}")(data)

    def is_named(self, text):
        return str(self.folder) in text

    def write(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def run_info(self, data):
        info_path(self.model).write_bytes(data)
        is_stream_file(self.model)
        check_info(read_info(self.model), data)

    def run_stream(self, data):
        info_path(self.model).write_bytes(data)
        is_stream_file(self.model)
        info = read_stream_info(self.model)
        check_info(info.clip, json.dumps(asdict(info.clip)))
        if not finite(asdict(info)):
            raise WrongError(f"numbers {info}")

    def run_names(self, data):
        path = self.write("names.json", data)
        names = read_class_names(path)
        expected = json.loads(data.decode("utf-8-sig"))
        if isinstance(expected, dict):
            if [expected[name] for name in names] != list(range(len(expected))):
                raise WrongError(f"{names!r:.200}")
        elif names != expected:
            raise WrongError(f"{names!r:.200} are not texts")

    def run_tasks(self, data):
        path = self.write("tasks.json", data)
        names = read_task_names(path, {"verb": 2, "noun": 3})
        if sorted(names) != ["noun", "verb"]:
            raise WrongError(f"{names!r:.200}")
        for of_task, count in ((names["verb"], 2), (names["noun"], 3)):
            if len(of_task) != count or not all(isinstance(name, str) for name in of_task):
                raise WrongError(f"{of_task!r:.200} are not texts")

    def run_learner(self, data):
        path = self.write("learner.json", data)
        found = find_descriptions(self.folder)
        metadata = read_metadata(path)
        if metadata != json.loads(data) and finite(metadata):
            raise WrongError("another description")
        if path not in found:
            raise WrongError("the folder's list lacks it")

    def run_kinetics(self, data):
        path = self.write("train.json", data)
        for name, _, label, (start, end) in read_split(path):
            if not (isinstance(label, str) and 0 <= start < end <= 1e6 and name):
                raise WrongError(f"{name!r:.80} {label!r:.80} {start} {end}")

    def run_results(self, data):
        path = self.write("results.json", data)
        results = read_results(path)
        rows = len(results.narration_id)
        if results.verb_output.shape[0] != rows or results.noun_output.shape[0] != rows:
            raise WrongError("rows")

    def run_stats(self, data):
        path = self.write("stats.jsonl", data)
        for records in read_stats(path).values():
            if not all(isinstance(record, dict) for record in records):
                raise WrongError("records")


def check_info(info, text):
    """The description says what the file says, and describes clips that there can be."""
    expected = json.loads(text)
    for name, value in asdict(info).items():
        if name in expected and value != expected[name]:
            raise WrongError(f"{name} {value!r:.100} instead of {expected[name]!r:.100}")
    numbers = (info.mean, info.std, info.stride, info.target_fps, info.num_frames, info.crop,
               info.resize, info.short_side, info.inputs, info.pathway_frames, info.num_classes)  # fmt: skip
    if not finite(numbers) or min(info.std, default=1) <= 0 or info.stride <= 0:
        raise WrongError(f"numbers {numbers!r:.300}")
    if any(size < 1 for shape in info.inputs.values() for size in shape):
        raise WrongError(f"inputs {info.inputs}")
    if any(not 0 <= n < max(info.num_frames, 1) for ns in info.pathway_frames.values() for n in ns):
        raise WrongError(f"frames {info.pathway_frames}")
