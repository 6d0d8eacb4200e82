"""``tools/distill.py`` on real videos: what it must equal, what it leaves, what it refuses."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from slowfast.checkpoint import read_checkpoint, write_checkpoint
from slowfast.checkpoint.io import last_checkpoint
from slowfast.compression.distillation.build import build_losses, build_teacher_cfg
from slowfast.compression.distillation.objective import DistillationError
from slowfast.compression.distillation.run import run
from slowfast.compression.pruning.channels import prune_channels
from slowfast.config import load_cfg
from slowfast.engine.hook import Hook
from slowfast.engine.run import build_training
from slowfast.engine.weights import load_model
from slowfast.models.profile import build_model_inputs
from slowfast.utils.widths import read_widths
from tests.small import write_config, write_folders

REPO = Path(__file__).parents[3]


def tool(name):
    return runpy.run_path(str(REPO / "tools" / name))["main"]


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """The student's YAML."""
    root = write_folders(tmp_path_factory.mktemp("videos"))
    changes = """
MODEL: {DROPOUT_RATE: 0.5}
TINY: {WIDTH: 4}
SOLVER: {BASE_LR: 0.05}
"""
    return write_config(root / "student.yaml", root, changes)


@pytest.fixture(scope="module")
def teacher(student, tmp_path_factory):
    """A trained checkpoint of a network that sees more frames and pixels, and its YAML."""
    out = tmp_path_factory.mktemp("teacher")
    path = out / "teacher.yaml"
    path.write_text(
        f"""
_BASE_: {student}
TINY: {{WIDTH: 8}}
DATA: {{NUM_FRAMES: 8, SAMPLING_RATE: 1, TRAIN_JITTER_SCALES: [44, 48], TRAIN_CROP_SIZE: 40,
        TEST_CROP_SIZE: 40}}
"""
    )
    build_training(load_cfg(path, ["OUTPUT_DIR", str(out)])).run()
    return last_checkpoint(out), path


def distill(student, teacher, out, *words):
    """The report of ``tools/distill.py``."""
    tool("distill.py")(["--student_cfg", str(student), "--teacher_model", str(teacher[0]), *words,
                        "OUTPUT_DIR", str(out)])  # fmt: skip
    return json.loads((out / "distill.json").read_text())


def weights(out):
    return read_checkpoint(last_checkpoint(out))["model_state"]


def assert_equal(ours, theirs):
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def test_the_whole_way(student, teacher, tmp_path, capsys):
    report = distill(student, teacher, tmp_path / "a", "--loss", "dist", "kd=0.5")
    assert report["losses"] == {"dist": 1.0, "kd": 0.5}
    rows = report["rows"]
    assert list(rows) == ["teacher", "student"]
    assert rows["teacher"]["agreement"] == 100
    assert rows["student"]["params_m"] < rows["teacher"]["params_m"]
    assert {"macs_g", "size_mib", "accuracy", "latency", "agreement"} <= set(rows["student"])
    assert "student.pyth" in capsys.readouterr().out
    model, cfg = load_model(tmp_path / "a" / "student.pyth")
    assert cfg.TINY.WIDTH == 4
    assert set(model.state_dict()) == set(weights(tmp_path / "a"))
    tested = tool("run_net.py")(
        ["--cfg", str(student), "--eval", "TEST.CHECKPOINT_FILE_PATH",
         str(tmp_path / "a" / "student.pyth"), "OUTPUT_DIR", str(tmp_path / "b")]
    )  # fmt: skip
    assert tested is None or tested["top1_acc"] == rows["student"]["accuracy"]


def test_by_labels_alone_it_is_an_ordinary_training(student, teacher, tmp_path):
    distill(student, teacher, tmp_path / "a", "--alpha", "1")
    build_training(load_cfg(student, ["OUTPUT_DIR", str(tmp_path / "b")])).run()
    assert_equal(weights(tmp_path / "a"), weights(tmp_path / "b"))
    distill(student, teacher, tmp_path / "c", "--alpha", "0.9")
    with pytest.raises(AssertionError):
        assert_equal(weights(tmp_path / "c"), weights(tmp_path / "b"))


def test_a_yaml_takes_the_place_of_the_stored_config(student, teacher, tmp_path):
    distill(student, teacher, tmp_path / "a")
    distill(student, teacher, tmp_path / "b", "--teacher_cfg", str(teacher[1]))
    assert_equal(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_kept_logits_are_those_of_the_teacher(student, teacher, tmp_path, caplog):
    words = ["--loss", "kd", "DATA.FIXED_VIEWS", "True", "MODEL.DROPOUT_RATE", "0.0"]
    distill(student, teacher, tmp_path / "a", *words)
    distill(student, teacher, tmp_path / "b", *words, "--cache_teacher")
    ours, theirs = weights(tmp_path / "a"), weights(tmp_path / "b")
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5)
    caplog.set_level("INFO")
    distill(student, teacher, tmp_path / "b", *words, "--cache_teacher")
    assert "the teachers' logits are those in" in caplog.text
    caplog.clear()
    changed = [*words, "DATA.TRAIN_JITTER_SCALES", "[36, 44]", "SOLVER.MAX_EPOCH", "3"]
    distill(student, teacher, tmp_path / "b", *changed, "--cache_teacher")
    assert "the teachers' logits of the training videos" in caplog.text  # asked anew


class KilledError(Exception):
    pass


class Kill(Hook):
    def before_epoch(self, trainer):
        if trainer.epoch == 1:
            raise KilledError


def test_resumed_with_what_is_trained_beside_the_student(student, teacher, tmp_path, monkeypatch):
    words = ["--loss", "feature", "attention=0.1", "--alpha", "0.2"]
    distill(student, teacher, tmp_path / "a", *words)
    module = "slowfast.compression.distillation.run.build_training"
    with monkeypatch.context() as patch:
        patch.setattr(module, lambda *a, **k: build_training(*a, **k, hooks=[Kill()]))
        with pytest.raises(KilledError):
            distill(student, teacher, tmp_path / "b", *words)
    state = read_checkpoint(last_checkpoint(tmp_path / "b"))["trainer_state"]["objective"]
    assert [*state] == ["projector.weight", "projector.bias"]
    distill(student, teacher, tmp_path / "b", *words)
    assert_equal(weights(tmp_path / "a"), weights(tmp_path / "b"))
    with pytest.raises(SystemExit):
        distill(student, teacher, tmp_path / "b", "--loss", "kd", "SOLVER.MAX_EPOCH", "3")


def test_a_pruned_student_and_two_teachers(student, teacher, tmp_path):
    cfg = load_cfg(student)
    model = load_model(teacher[0])[0]
    pruned = prune_channels(model, build_model_inputs(cfg), ratio=0.5)
    path = tmp_path / "pruned.pyth"
    text = load_cfg(teacher[1]).dump()
    write_checkpoint(path, epoch=0, model=pruned, optimizer=None, cfg_yaml=text)
    words = [str(teacher[0]), "--student_model", str(path)]
    report = distill(teacher[1], teacher, tmp_path / "a", *words)
    assert list(report["rows"]) == ["teacher 1", "teacher 2", "student"]
    assert report["rows"]["teacher 2"]["agreement"] == 100
    found, _ = load_model(report["files"]["student"])
    assert read_widths(found) == read_widths(pruned)


def test_a_teachers_network_on_the_students_data(student, teacher):
    cfg = load_cfg(student, ["DATA.PATH_TO_DATA_DIR", "elsewhere", "TEST.NUM_ENSEMBLE_VIEWS", "5"])
    found = build_teacher_cfg(cfg, load_cfg(teacher[1]))
    assert (found.DATA.PATH_TO_DATA_DIR, found.TEST.NUM_ENSEMBLE_VIEWS) == ("elsewhere", 5)
    assert (found.DATA.NUM_FRAMES, found.TINY.WIDTH, found.DATA.TEST_CROP_SIZE) == (8, 8, 40)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["DISTILLATION.TEACHER_CHECKPOINTS", "[]"], "no teacher: give its checkpoint as --teach"),
        (["DISTILLATION.TEACHER_CHECKPOINTS", "[a.pyth]"], "--teacher_model a.pyth: no such file"),
        (["DISTILLATION.TEACHER_CFG_FILES", "[a, b]"], "1 teachers .* and 2 configs"),
        (["DISTILLATION.LOSSES", "[dits]"], "--loss dits: no such loss; known: kd, kd_zscore"),
        (["DISTILLATION.LOSSES", "[kd=x]"], "--loss kd=x: expected a number after '='"),
        (["DISTILLATION.LOSSES", "[kd, kd=2]"], "--loss kd is given twice"),
        (["DISTILLATION.LOSSES", "[]"], "--loss: give at least one of"),
        (
            ["MODEL.LOSS_FUNC", "bce_logit", "MODEL.HEAD_ACT", "sigmoid"],
            "MODEL.LOSS_FUNC bce_logit does not go with a teacher",
        ),
        (["DISTILLATION.CACHE_TEACHER", "True"], "set DATA.FIXED_VIEWS True too"),
        (
            ["DISTILLATION.CACHE_TEACHER", "True", "DATA.FIXED_VIEWS", "True", "MIXUP.ENABLE",
             "True", "MODEL.LOSS_FUNC", "soft_cross_entropy"],
            "mixup shows other mixtures in every epoch",
        ),
        (
            ["DISTILLATION.CACHE_TEACHER", "True", "DATA.FIXED_VIEWS", "True",
             "DISTILLATION.LOSSES", "[feature]"],
            r"keeps logits, which the losses \['feature'\] do not compare",
        ),
    ],
)  # fmt: skip
def test_mistakes(student, teacher, tmp_path, words, message):
    given = ["DISTILLATION.TEACHER_CHECKPOINTS", f"[{teacher[0]}]", "OUTPUT_DIR", str(tmp_path)]
    with pytest.raises(DistillationError, match=message):
        run(load_cfg(student, [*given, *words]))


def test_other_classes_are_refused(student, teacher, tmp_path):
    with pytest.raises(SystemExit):
        distill(student, teacher, tmp_path, "MODEL.NUM_CLASSES", "3")


def test_losses_and_weights(student):
    cfg = load_cfg(student, ["DISTILLATION.LOSSES", "[dkd, 'attention=100']"])
    assert build_losses(cfg) == {"dkd": 1.0, "attention": 100.0}
