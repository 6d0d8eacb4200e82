"""Programs in a .pt2 file that would run on loading are refused."""

import io
import json
import zipfile

import pytest
import torch

from slowfast.deploy.archive import check_program, is_plain_expression
from slowfast.deploy.export.info import ExportError


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A file whose batch size is free, and takes part in arithmetic."""

    class Halves(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 3)
            self.register_buffer("offset", torch.ones(3))

        def forward(self, x):
            return self.layer(x.unflatten(0, (x.shape[0] // 4, 4))).flatten(0, 1) + self.offset

    path = tmp_path_factory.mktemp("program") / "model.pt2"
    batch = 4 * torch.export.Dim("quarter")
    exported = torch.export.export(Halves(), (torch.ones(8, 2),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, path)
    return path


def changed(program, tmp_path, change, name="model.json", extra=None):
    """The archive with the JSON of one file changed, and further files."""
    path = tmp_path / "changed.pt2"
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.namelist():
            text = old.read(entry)
            if entry.endswith(name):
                text = json.dumps(change(json.loads(text)))
            new.writestr(entry, text)
        for entry, text in (extra or {}).items():
            new.writestr(entry, text)
    return path


def test_ours_are_loaded(program, tmp_path):
    check_program(program)
    check_program(changed(program, tmp_path, lambda found: found))
    with zipfile.ZipFile(program) as archive:
        graph = archive.read("model/models/model.json").decode()
    assert "expr_str" in graph


def test_pickles_are_refused(program, tmp_path):
    def pickled(found):
        next(iter(found["config"].values()))["use_pickle"] = True
        return found

    with pytest.raises(ExportError, match="holds pickled objects"):
        check_program(changed(program, tmp_path, pickled, "weights_config.json"))


class Runs:
    def __reduce__(self):
        return print, ("executed",)


def test_pickled_examples_are_refused(program, tmp_path, capsys):
    path = tmp_path / "model.pt2"
    buffer = io.BytesIO()
    torch.save(((Runs(),), {}), buffer)
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, buffer.getvalue() if entry.endswith(".pt") else old.read(entry))
    with pytest.raises(ExportError, match="holds pickled objects"):
        check_program(path)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["constants/opaque_obj_0", "constants/model.pt", "aotinductor/m.so"]
)
def test_objects_and_code_are_refused(program, tmp_path, name):
    path = changed(program, tmp_path, lambda found: found, extra={f"m/data/{name}": b"x"})
    with pytest.raises(ExportError, match=f"more than weights and a graph: m/data/{name}"):
        check_program(path)


def test_expressions_are_refused(program, tmp_path):
    def evil(found):
        found["hidden"] = [{"expr_str": "__import__('os').system('true')"}]
        return found

    with pytest.raises(ExportError, match=r"an expression that is no size: .__import__"):
        check_program(changed(program, tmp_path, evil))


def test_what_is_no_archive(tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ExportError, match=r"no file of torch\.export"):
        check_program(path)


@pytest.mark.parametrize(
    "text",
    ["Symbol('s63', positive=True, integer=True)", "Mul(Integer(4), Symbol('s1'))", "Integer(-3)",
     "FloorDiv(Symbol('u0', integer=True), Integer(2))"],
)  # fmt: skip
def test_sizes(text):
    assert is_plain_expression(text)


@pytest.mark.parametrize(
    "text", ["print(1)", "s1.__class__", "s1[0]", "'a'", "lambda: 1", None, "é"]
)
def test_no_sizes(text):
    assert not is_plain_expression(text)
