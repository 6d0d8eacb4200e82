import hashlib
import json

import pytest

from slowfast.reports.page.contents import page_of
from slowfast.reports.runs.facts import TRAINED, Variant, choose_compressed, choose_teacher
from slowfast.reports.runs.read import RunsError, read_runs
from slowfast.reports.runs.series import epoch_minutes, learning_rates, peak_memory, validation
from slowfast.reports.runs.timed import runtime_name
from tests.reports.run_folders import (
    COSTS,
    MACHINE,
    SMALL,
    predictions,
    row,
    write_log,
    write_pruning,
    write_set,
)


@pytest.fixture
def runs(tmp_path):
    return read_runs({"set": write_set(tmp_path)})


def named(runs):
    return {variant.name: variant for variant in runs.variants}


def test_a_pruned_network_knows_what_it_was_made_from(runs):
    found = named(runs)
    small = found["prune"]
    assert (small.kind, small.accuracy, small.macs_g) == ("pruned", 79.0, 0.25)
    assert small.parent.accuracy == 80.0
    assert small.fastest.runtime == "OpenVINO"
    assert found["prune (cut)"].accuracy == 30.0
    assert choose_compressed(runs.variants) is small
    assert choose_teacher(runs.variants, small) is small.parent


def test_steps_of_a_pruning_are_trainings_but_no_networks(runs):
    assert [t.name for t in runs.trainings] == ["prune/finetune", "teacher"]
    assert "prune/finetune" not in named(runs)


def test_predictions_go_to_the_network_of_their_folder(runs):
    found = named(runs)
    assert found["teacher"].predictions is not None
    assert found["prune"].predictions is not None


def test_the_network_that_was_pruned_is_the_one_that_was_timed(tmp_path):
    write_pruning(tmp_path / "prune")
    timed = COSTS | {"latency": {"p50_ms": 4.0, "p90_ms": 5.0}, "throughput": {"median": 9.0}}
    timed |= {"peak_memory_mib": 70.0, "machine": MACHINE | {"runtime": "onnxruntime"}}
    (tmp_path / "prune/benchmark.json").write_text(json.dumps(timed))
    before = named(read_runs({"set": tmp_path}))["prune (before)"]
    assert [s.runtime for s in before.speeds] == ["OpenVINO", "ONNX Runtime"]
    assert (before.throughput, before.memory_mib) == (9.0, 70.0)


def test_ways_of_running_go_to_their_networks(tmp_path):
    write_pruning(tmp_path / "prune")
    ways = [
        SMALL | {"name": "a", "model": "finetuned.pyth", "form": "clip", "runtime": "openvino",
                 "precision": "bf16", "threads": 1, "batch": 1, "p50_ms": 0.5, "p90_ms": 0.6},
        SMALL | {"name": "b", "model": "finetuned.pyth", "form": "clip", "runtime": "openvino",
                 "precision": "f32", "batch": 8, "clips_per_s": {"median": 900.0}},
        {"name": "c", "model": "finetuned_stream.onnx", "form": "stream", "runtime": "eager",
         "batch": 1, "frames_per_s": {"median": 321.0}},
        {"name": "d", "model": "other.onnx", "form": "clip", "params_m": 7.0, "macs_g": 9.0},
    ]  # fmt: skip
    document = {"rows": ways, "reference": "a", "machine": MACHINE}
    (tmp_path / "prune/ways.json").write_text(json.dumps(document))
    runs = read_runs({"set": tmp_path})
    small = named(runs)["prune"]
    assert [s.runtime for s in small.speeds] == ["OpenVINO", "OpenVINO bf16, 1 thread"]
    assert (small.throughput, small.stream_fps) == (900.0, 321.0)
    assert runs.notes == [f"{tmp_path / 'prune'}: d was timed and is not known"]


def test_a_latency_by_turns_counts_more_than_one_on_its_own(tmp_path):
    write_pruning(tmp_path / "prune")
    alone = named(read_runs({"set": tmp_path}))["prune"].speed_in("OpenVINO").p50_ms
    ways = [
        SMALL | {"name": name, "model": "finetuned.pyth", "form": "clip", "runtime": "openvino",
                 "precision": "f32", "batch": 1, "p50_ms": p50, "p90_ms": 99.0}
        for name, p50 in (("first", alone + 1), ("second", alone + 2))
    ]  # fmt: skip
    document = {"rows": ways, "reference": "first", "machine": MACHINE}
    (tmp_path / "prune/ways.json").write_text(json.dumps(document))
    assert named(read_runs({"set": tmp_path}))["prune"].speed_in("OpenVINO").p50_ms == alone + 1


def test_a_student_is_taught_by_the_checkpoint_it_names(tmp_path):
    write_log(tmp_path / "big", test=80.0)
    write_log(tmp_path / "other", test=80.0)
    write_log(tmp_path / "small")
    rows = {"teacher": row(COSTS, 80.0, 9.0), "student": row(SMALL, 70.0, 2.0)}
    report = {"rows": rows, "teachers": [str(tmp_path / "big/checkpoints/best.pyth")],
              "split": "test", "machine": MACHINE, "files": {}}  # fmt: skip
    (tmp_path / "small/distill.json").write_text(json.dumps(report))
    found = named(read_runs({"set": tmp_path}))
    assert list(found) == ["big", "other", "small"]
    assert found["small"].parent is found["big"]
    assert (found["small"].accuracy, found["small"].split) == (70.0, "test")
    assert found["big"].macs_g == 1.5


def test_without_a_test_the_best_validation_counts(tmp_path):
    write_log(tmp_path / "only", epochs=3)
    (variant,) = read_runs({"x": tmp_path}).variants
    assert (variant.accuracy, variant.split) == (70.0, "val")


def test_damaged_files_are_named_and_passed_over(tmp_path):
    write_log(tmp_path, test=50.0)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    runs = read_runs({"x": tmp_path})
    assert len(runs.variants) == 1
    assert [note.split(":")[0].rsplit("/", 1)[1] for note in runs.notes] == [
        "broken.json", "broken.npz",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "message"), [("nowhere", "is not a folder"), ("", "nothing to report in")]
)
def test_nothing_to_read_is_an_error(tmp_path, folder, message):
    with pytest.raises(RunsError, match=message):
        read_runs({"x": tmp_path / folder})


def test_within_two_points_the_fastest_is_chosen(tmp_path):
    teacher = Variant("t", TRAINED, tmp_path, accuracy=80.0, macs_g=9.0)
    made = [
        Variant(name, "pruned", tmp_path, parent=teacher, accuracy=accuracy, macs_g=macs)
        for name, accuracy, macs in (("a", 79.9, 5.0), ("b", 78.1, 2.0), ("c", 70.0, 1.0))
    ]
    assert choose_compressed([teacher, *made]).name == "b"
    assert choose_compressed([teacher, made[2]]).name == "c"
    assert choose_compressed([teacher]) is None


def test_commands_of_a_pipeline_and_the_name_of_its_training(tmp_path):
    write_log(tmp_path / "train", test=50.0)
    (tmp_path / ".stages").mkdir()
    (tmp_path / ".stages/train.sh").write_text("python tools/run_net.py --cfg x.yaml\n")
    runs = read_runs({"x3d": tmp_path})
    assert runs.commands == {"train": "python tools/run_net.py --cfg x.yaml"}
    assert list(named(runs)) == ["x3d"]


def test_a_test_of_an_exported_file_is_one_of_its_network(tmp_path):
    from slowfast.config import get_cfg

    write_pruning(tmp_path / "prune")
    file = tmp_path / "export/finetuned.onnx"
    file.parent.mkdir()
    info = {"sha256": {}, "inputs": {}, "parameters": 500_000, "macs": 250_000_000}
    file.with_name("finetuned.onnx.json").write_text(json.dumps(info))
    write_log(tmp_path / "parity", epochs=0, test=79.1)
    text = get_cfg().dump().replace("CHECKPOINT_FILE_PATH: ''", f"CHECKPOINT_FILE_PATH: {file}")
    (tmp_path / "parity/config.yaml").write_text(text)
    predictions().save(tmp_path / "parity/preds")
    found = named(read_runs({"set": tmp_path}))
    assert "parity" not in found
    assert found["prune"].predictions is not None


def test_numbers_of_a_log(runs):
    training = runs.trainings[1]
    assert learning_rates(training) == [(0.5, 0.1), (1.5, 0.05), (2.5, 0.1 / 3), (3.5, 0.025)]
    assert epoch_minutes(training) == pytest.approx(0.1)
    assert peak_memory(training) == ("RAM", 1.5)
    assert validation(training)[1][-1] == (4.0, 80.0)


def test_runtimes_say_what_tells_them_apart():
    assert runtime_name(MACHINE) == "OpenVINO"
    assert runtime_name({"device": "cuda:0"}) == "PyTorch (cuda:0)"
    assert runtime_name({"runtime": "onnxruntime", "precision": "int8"}) == "ONNX Runtime int8"


def test_what_is_quantised_is_the_network_that_was_made_before(tmp_path):
    write_pruning(tmp_path / "prune")
    rows = {name: row(SMALL, 79.0, p50) for name, p50 in (("float32", 2.0), ("int8", 0.9))}
    report = {"backend": "onnxruntime", "result": "int8", "split": "test", "rows": rows,
              "machine": MACHINE | {"runtime": "onnxruntime"}, "files": {}}  # fmt: skip
    (tmp_path / "quantize").mkdir()
    (tmp_path / "quantize/quantize.json").write_text(json.dumps(report))
    found = named(read_runs({"set": tmp_path}))
    assert "quantize (float32)" not in found
    assert found["quantize"].parent is found["prune"]
    assert found["quantize"].root is found["prune (before)"]


def quantised(tmp_path, *, accuracy, gain):
    """The networks where the result of int8 has this accuracy and is so many times faster."""
    write_pruning(tmp_path / "prune")
    rows = {
        name: row(SMALL, percent, p50)
        for name, percent, p50 in (
            ("float32", 79.0, 1.0), ("bf16", 79.0, 0.4), ("int8", accuracy, 1.0 / gain),
        )
    }  # fmt: skip
    report = {"backend": "openvino", "result": "int8", "split": "test", "rows": rows, "files": {},
              "max_drop": 1.0, "speedup": {"float32": {"q25": gain}},
              "machine": MACHINE}  # fmt: skip
    (tmp_path / "quantize").mkdir()
    (tmp_path / "quantize/quantize.json").write_text(json.dumps(report))
    return read_runs({"set": tmp_path})


def test_what_was_made_to_compare_with_is_no_result(tmp_path):
    """bf16 is faster still, and is in the table, and is not what the page is about."""
    runs = quantised(tmp_path, accuracy=78.5, gain=2.0)
    assert choose_compressed(runs.variants).name == "quantize"
    assert not named(runs)["quantize (bf16)"].is_result


@pytest.mark.parametrize(
    ("accuracy", "gain", "reason"),
    [
        (77.5, 2.0, "it loses 1.5 points where 1 are allowed"),
        (79.0, 0.9, "it is not faster than float32 on this machine"),
    ],
)
def test_a_refused_file_is_no_result_either(tmp_path, accuracy, gain, reason):
    runs = quantised(tmp_path, accuracy=accuracy, gain=gain)
    assert named(runs)["quantize"].refused == reason
    assert choose_compressed(runs.variants).name == "prune"
    page = page_of(runs, "x")
    (networks,) = (section for section in page.sections if section.key == "networks")
    assert f"**quantize** is refused: {reason}." in networks.blocks[-1].text


def test_streams_and_exports_go_to_the_checkpoint_they_name(tmp_path):
    """Also where another network's file has the same name, and where it has been moved since."""
    digests = {}
    for name in ("a", "b"):
        write_log(tmp_path / name, test=80.0)
        checkpoint = tmp_path / name / "checkpoints/best.pyth"
        checkpoint.parent.mkdir()
        checkpoint.write_bytes(name.encode())
        digests[name] = hashlib.sha256(name.encode()).hexdigest()
    sources = [
        {"file": str(tmp_path / "a/checkpoints/best.pyth"), "sha256": digests["a"]},
        {"file": "/elsewhere/best.pyth", "sha256": digests["b"]},
        {"file": "/elsewhere/best.pyth", "sha256": "0" * 64},
    ]
    ways = [
        {"name": f"{rate}", "model": "best_stream.xml", "form": "stream", "runtime": "openvino",
         "batch": 1, "frames_per_s": {"median": rate}, "source": source}
        for rate, source in zip((100.0, 200.0, 300.0), sources, strict=True)
    ]  # fmt: skip
    document = {"rows": ways[2:] + ways[:2], "reference": "100.0", "machine": MACHINE}
    (tmp_path / "streams.json").write_text(json.dumps(document))
    runs = read_runs({"set": tmp_path})
    found = named(runs)
    assert (found["a"].stream_fps, found["b"].stream_fps) == (100.0, 200.0)
    assert runs.notes == [f"{tmp_path}: 300.0 was timed and is not known"]
