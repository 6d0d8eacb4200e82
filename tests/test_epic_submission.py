"""tools/epic_submission.py and what it is made of, on a made-up split; then on the real one."""

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast.datasets.epic_kitchens import read_segments
from slowfast.datasets.epic_results import Results, ResultsError, read_results, write_results
from slowfast.metrics.epic import log_probabilities
from slowfast.reports.epic_submission import (
    check_narrations,
    check_submission,
    ensemble,
    read_submission,
    validation_report,
    write_submission,
)
from slowfast.utils.safe_pickle import UnsafePickleError
from tools.epic_submission import main

REAL = Path(__file__).parents[2] / "shared/data/epic-kitchens-100-annotations"
TIMED = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame"


def make_results(num, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    verb, noun = rng.normal(size=(num, 97)) * 3, rng.normal(size=(num, 300)) * 3
    ids = tuple(f"P{number % 4:02d}_01_{number}" for number in range(num))
    return Results(verb.astype(dtype), noun.astype(dtype), ids)


@pytest.fixture
def annotations(tmp_path):
    """Ten segments of four participants, labelled by the best classes of ``make_results(10)``."""
    folder = tmp_path / "annotations"
    folder.mkdir()
    results = make_results(10)
    rows = [
        f"{name},{name[:3]},{name[:6]},00:00:00.00,00:00:01.00,1,60"
        for name in results.narration_id
    ]
    (folder / "EPIC_100_test_timestamps.csv").write_text("\n".join([TIMED, *rows]) + "\n")
    verbs, nouns = results.verb_output.argmax(1), results.noun_output.argmax(1)
    labelled = [f"{row},{v},{n}" for row, v, n in zip(rows, verbs, nouns, strict=True)]
    header = f"{TIMED},verb_class,noun_class"
    (folder / "EPIC_100_validation.csv").write_text("\n".join([header, *labelled]) + "\n")
    (folder / "EPIC_100_tail_verbs.csv").write_text(f"verb\n{verbs[0]}\n")
    (folder / "EPIC_100_tail_nouns.csv").write_text(f"noun\n{nouns[1]}\n")
    (folder / "EPIC_100_unseen_participant_ids_validation.csv").write_text("participant_id\nP03\n")
    return folder


def as_dicts(results, convert=lambda scores: scores):
    return [
        {"verb_output": convert(v), "noun_output": convert(n), "narration_id": name}
        for v, n, name in zip(
            results.verb_output, results.noun_output, results.narration_id, strict=True
        )
    ]


def as_dict(results, convert=lambda scores: scores):
    return {
        "verb_output": convert(results.verb_output),
        "noun_output": convert(results.noun_output),
        "narration_id": list(results.narration_id),
    }


@pytest.mark.parametrize("suffix", ["npz", "json", "pkl"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_round_trip(tmp_path, suffix, dtype):
    results = make_results(5, dtype=dtype)
    write_results(tmp_path / f"r.{suffix}", results)
    again = read_results(tmp_path / f"r.{suffix}")
    np.testing.assert_array_equal(again.verb_output, results.verb_output)
    np.testing.assert_array_equal(again.noun_output, results.noun_output)
    assert again.narration_id == results.narration_id
    if suffix != "json":
        assert again.verb_output.dtype == dtype
    with pytest.raises(FileExistsError, match="--force"):
        write_results(tmp_path / f"r.{suffix}", results)
    write_results(tmp_path / f"r.{suffix}", results, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"r.{suffix}"]


@pytest.mark.parametrize("form", [as_dicts, as_dict])
@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor, np.ndarray.tolist])
@pytest.mark.parametrize("suffix", ["pkl", "pt"])
def test_official_forms_are_read(tmp_path, form, convert, suffix):
    results, path = make_results(4), tmp_path / f"r.{suffix}"
    data = form(results, convert)
    if suffix == "pt":
        torch.save(data, path)
    else:
        path.write_bytes(pickle.dumps(data))
    again = read_results(path)
    np.testing.assert_array_equal(again.verb_output, results.verb_output)
    np.testing.assert_array_equal(again.noun_output, results.noun_output)
    assert again.narration_id == results.narration_id


def test_pickle_of_epic_slowfast(tmp_path):
    results = make_results(4)
    data = as_dict(results) | {"narration_id": np.array(results.narration_id, dtype=object)}
    for protocol in (2, 3, 4, 5):
        (tmp_path / "test.pkl").write_bytes(pickle.dumps(data, protocol=protocol))
        assert read_results(tmp_path / "test.pkl").narration_id == results.narration_id


class Evil:
    def __reduce__(self):
        return (print, ("run!",))


def test_malicious_files_are_refused(tmp_path, capsys):
    (tmp_path / "r.pkl").write_bytes(pickle.dumps([{"verb_output": Evil()}]))
    with pytest.raises(UnsafePickleError, match=r"r\.pkl: refused.*builtins\.print"):
        read_results(tmp_path / "r.pkl")
    torch.save({"verb_output": Evil()}, tmp_path / "r.pt")
    with pytest.raises(ResultsError, match=r"r\.pt: not a torch file of plain data"):
        read_results(tmp_path / "r.pt")
    np.savez(tmp_path / "r.npz", verb_output=np.array([Evil()], dtype=object))
    with pytest.raises(ResultsError, match=r"r\.npz"):
        read_results(tmp_path / "r.npz")
    assert "run!" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noun_output": None}, "no entry noun_output"),
        ({"verb_output": np.zeros((3, 97))}, r"shape \(3, 97\) for 4"),
        ({"verb_output": np.full((4, 97), np.inf)}, "verb_output of P00_01_0 is not finite"),
        ({"narration_id": ["a", "b", "a", "c"]}, "more than once: a"),
        ({"noun_output": [["x"]] * 4}, "not a table of numbers"),
    ],
)
def test_bad_results(tmp_path, change, message):
    data = as_dict(make_results(4)) | change
    data = {key: value for key, value in data.items() if value is not None}
    (tmp_path / "r.pkl").write_bytes(pickle.dumps(data))
    with pytest.raises(ResultsError, match=message):
        read_results(tmp_path / "r.pkl")


def test_unknown_and_damaged_files(tmp_path):
    (tmp_path / "r.txt").touch()
    with pytest.raises(ResultsError, match=r"\.npz, \.json"):
        read_results(tmp_path / "r.txt")
    (tmp_path / "r.json").write_text("[1, 2]")
    with pytest.raises(ResultsError, match="neither a dict"):
        read_results(tmp_path / "r.json")


def test_report(annotations, tmp_path, capsys):
    results = make_results(10)
    shuffled = results.in_order(results.narration_id[::-1])
    write_results(tmp_path / "r.npz", shuffled)
    status = main(["report", str(tmp_path / "r.npz"), "--annotations", str(annotations),
                   "--json", str(tmp_path / "figures.json")])  # fmt: skip
    assert status == 0
    table = capsys.readouterr().out
    assert "10 segments" in table
    assert "| unseen | 100.00 | 100.00 | 100.00 | - | - | - |" in table
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert len(figures) == 13
    assert set(figures.values()) == {10.0, 100.0}


def test_report_refuses_a_part_unless_asked(annotations, caplog):
    part = make_results(10).in_order(make_results(10).narration_id[:4])
    with pytest.raises(ResultsError, match="6 of 10 narration ids are missing: P00_01_4"):
        validation_report(part, annotations)
    assert validation_report(part, annotations, partial=True)["num_segments"] == 4
    assert "4 of 10 segments" in caplog.text
    with pytest.raises(ResultsError, match="1 narration ids that are not in the annotations"):
        check_narrations(make_results(11), make_results(10).narration_id)


def test_report_keeps_the_order_of_the_file(annotations, monkeypatch):
    """The challenge's softmax sums over all rows: in another order near ties fall otherwise."""
    results = make_results(10)
    shuffled = results.in_order(results.narration_id[::-1])
    seen = []
    monkeypatch.setattr(
        "slowfast.engine.epic.epic_accuracies",
        lambda verb_scores, *_, **truth: seen.append((verb_scores, truth)) or {},
    )
    validation_report(shuffled, annotations)
    ((verb_scores, truth),) = seen
    np.testing.assert_array_equal(verb_scores, results.verb_output[::-1])
    assert truth["verbs"] == results.verb_output[::-1].argmax(1).tolist()


def test_report_warns_of_probabilities(annotations, caplog):
    results = make_results(10)
    probabilities = Results(
        np.exp(log_probabilities(results.verb_output)), results.noun_output, results.narration_id
    )
    validation_report(probabilities, annotations)
    assert "verb scores look like probabilities" in caplog.text
    assert "noun scores" not in caplog.text


def test_ensemble_is_the_weighted_mean_of_log_probabilities(tmp_path, capsys):
    first, second = make_results(6), make_results(6, seed=1)
    probabilities = Results(
        np.exp(log_probabilities(second.verb_output)) * 30,  # summed over 30 views
        np.exp(log_probabilities(second.noun_output)),
        second.narration_id,
    ).in_order(second.narration_id[::-1])
    merged = ensemble([first, probabilities], [3, 1])
    for key in ("verb_output", "noun_output"):
        scores = [np.exp(getattr(run, key).astype(float)) for run in (first, second)]
        logs = [np.log(values / values.sum(1, keepdims=True)) for values in scores]
        np.testing.assert_allclose(getattr(merged, key), 0.75 * logs[0] + 0.25 * logs[1], atol=1e-6)
    write_results(tmp_path / "a.npz", first)
    write_results(tmp_path / "b.pkl", probabilities)
    command = ["ensemble", str(tmp_path / "a.npz"), str(tmp_path / "b.pkl"), "--weights", "3", "1",
               "--output", str(tmp_path / "c.json")]  # fmt: skip
    assert main(command) == 0
    np.testing.assert_allclose(
        read_results(tmp_path / "c.json").verb_output, merged.verb_output, atol=1e-12
    )
    assert main(command) == 1
    assert "--force" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0


def test_ensemble_errors():
    with pytest.raises(ValueError, match="2 positive numbers"):
        ensemble([make_results(3), make_results(3)], [1.0])
    with pytest.raises(ValueError, match="2 positive numbers"):
        ensemble([make_results(3), make_results(3)], [1.0, 0.0])
    with pytest.raises(ResultsError, match="1 of 3 narration ids are missing"):
        ensemble([make_results(3), make_results(2)])


@pytest.mark.parametrize("actions", [False, True])
def test_submission(annotations, tmp_path, actions, capsys):
    results = make_results(10)
    write_results(tmp_path / "r.pkl", results)
    command = ["pack", str(tmp_path / "r.pkl"), "--annotations", str(annotations), "--output",
               str(tmp_path / "s.zip"), "--sls", "1", "2", "3"]  # fmt: skip
    command += ["--actions"] if actions else []
    assert main(command) == 0
    with zipfile.ZipFile(tmp_path / "s.zip") as zipped:
        (info,) = zipped.infolist()
        document = json.loads(zipped.read(info))
    assert (info.filename, info.compress_type) == ("test.json", zipfile.ZIP_DEFLATED)
    assert {key: value for key, value in document.items() if key != "results"} == {
        "version": "0.2", "challenge": "action_recognition", "sls_pt": 1, "sls_tl": 2, "sls_td": 3,
    }  # fmt: skip
    assert list(document["results"]) == list(results.narration_id)
    entry = document["results"]["P01_01_1"]
    assert entry["verb"] == {str(i): float(s) for i, s in enumerate(results.verb_output[1])}
    assert entry["noun"] == {str(i): float(s) for i, s in enumerate(results.noun_output[1])}
    assert ("action" in entry) == actions
    if actions:
        best = f"{results.verb_output[1].argmax()},{results.noun_output[1].argmax()}"
        assert max(entry["action"], key=entry["action"].get) == best
        assert len(entry["action"]) == 100
    assert main(["check", str(tmp_path / "s.zip"), "--annotations", str(annotations)]) == 0
    assert main(command) == 1
    assert main([*command, "--force"]) == 0
    capsys.readouterr()


def test_submission_turns_probabilities_into_logarithms(tmp_path):
    results = make_results(3)
    logs = log_probabilities(results.verb_output)
    write_submission(
        tmp_path / "s.zip", Results(np.exp(logs), results.noun_output, results.narration_id),
        results.narration_id,
    )  # fmt: skip
    entry = read_submission(tmp_path / "s.zip")["results"]["P00_01_0"]
    np.testing.assert_allclose(list(entry["verb"].values()), logs[0], atol=1e-9)


def test_pack_refuses_what_does_not_fit(annotations, tmp_path, capsys):
    results = make_results(11)
    for name, rows in (("few", results.narration_id[:9]), ("many", results.narration_id)):
        write_results(tmp_path / f"{name}.npz", results.in_order(rows))
        status = main(["pack", str(tmp_path / f"{name}.npz"), "--annotations", str(annotations),
                       "--output", str(tmp_path / "s.zip")])  # fmt: skip
        assert status == 3
    errors = capsys.readouterr().err
    assert "1 of 10 narration ids are missing: P01_01_9" in errors
    assert "not in the annotations: P02_01_10" in errors
    (tmp_path / "none.json").write_text('{"verb_output": [[1]]}')
    none = ["pack", str(tmp_path / "none.json"), "--annotations", str(annotations), "--output",
            str(tmp_path / "s.zip")]  # fmt: skip
    assert main(none) == 2
    narrow = Results(results.verb_output[:, :96], results.noun_output, results.narration_id)
    with pytest.raises(ResultsError, match="verb classes missing: 96"):
        write_submission(tmp_path / "s.zip", narrow, results.narration_id)
    with pytest.raises(ResultsError, match="sls_tl 6"):
        write_submission(tmp_path / "s.zip", results, results.narration_id, supervision=(0, 6, 0))
    assert not list(tmp_path.glob("*s.zip*"))


def first_segment(document):
    return document["results"]["P00_01_0"]


def set_actions(document, key):
    first_segment(document)["action"] = {key.format(number): 1.0 for number in range(100)}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.update(version="0.1"), "version '0.1'"),
        (lambda d: d.pop("version"), "version None"),
        (lambda d: d.update(challenge="x"), "challenge 'x'"),
        (lambda d: d.pop("sls_pt"), "sls_pt None"),
        (lambda d: d.update(sls_td=6), "sls_td 6"),
        (lambda d: d.pop("results"), "no property 'results'"),
        (lambda d: d["results"].pop("P00_01_0"), "1 narration ids are missing: P00_01_0"),
        (lambda d: d["results"].update(x={}), "1 narration ids are unexpected: x"),
        (lambda d: first_segment(d).pop("verb"), "segment P00_01_0 has no verb scores"),
        (lambda d: first_segment(d)["verb"].pop("96"), "verb classes missing: 96"),
        (lambda d: first_segment(d)["noun"].update({"300": 1.0}), "unexpected noun classes: 300"),
        (lambda d: first_segment(d)["noun"].update(x=1.0), "unexpected noun classes: x"),
        (lambda d: first_segment(d)["noun"].update({"3": "1"}), "no finite numbers: 3"),
        (lambda d: first_segment(d)["noun"].update({"3": float("nan")}), "no finite numbers: 3"),
        (lambda d: first_segment(d).pop("action"), "for all segments or for none"),
        (lambda d: first_segment(d)["action"].popitem(), "99 action scores, expected 100"),
        (lambda d: set_actions(d, "97,{}"), "bad action entries"),
        (lambda d: set_actions(d, "{}"), "bad action entries"),
    ],
)  # fmt: skip
def test_every_check_of_the_validator(tmp_path, spoil, message):
    results = make_results(3)
    write_submission(tmp_path / "s.zip", results, results.narration_id, actions=True)
    document = read_submission(tmp_path / "s.zip")
    check_submission(document, results.narration_id)
    spoil(document)
    with pytest.raises(ResultsError, match=message):
        check_submission(document, results.narration_id)


def test_zip_with_other_contents(tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as zipped:
        zipped.writestr("submission.pt", b"")
    with pytest.raises(ResultsError, match=r"submission\.pt.*expected test\.json only"):
        read_submission(tmp_path / "s.zip")
    (tmp_path / "s.zip").write_bytes(b"no zip")
    with pytest.raises(ResultsError, match="not a zip"):
        read_submission(tmp_path / "s.zip")


@pytest.mark.skipif(
    not REAL.is_dir(), reason="the official annotations are not beside the checkout"
)
def test_report_on_the_official_validation_set():
    segments = read_segments(REAL / "EPIC_100_validation.csv")
    rng = np.random.default_rng(0)
    verbs = rng.normal(size=(len(segments), 97)).astype(np.float32)
    nouns = rng.normal(size=(len(segments), 300)).astype(np.float32)
    for row, segment in enumerate(segments):  # right in 60 and 50 percent, independently
        verbs[row, segment.verb] += 100 * (rng.random() < 0.6)
        nouns[row, segment.noun] += 100 * (rng.random() < 0.5)
    results = Results(verbs, nouns, tuple(segment.narration_id for segment in segments))
    figures = validation_report(results, REAL)
    assert len(figures) == 13
    assert figures["all_verb_accuracy_at_1"] == pytest.approx(60.4, abs=2)
    assert figures["tail_action_accuracy_at_1"] == pytest.approx(30, abs=3)
    assert figures["unseen_noun_accuracy_at_1"] == pytest.approx(50, abs=5)
