"""Lock, licences and SBOM belong together and to what is declared."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from slowfast.utils.optional import keep_quiet

REPO = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(REPO / "scripts/supply_chain.py"))
LOCKED = SCRIPT["locked"]()
ROWS = dict(
    re.findall(r"^\| ([\w.-]+) \| (.+?) \| .+ \|$", (REPO / "docs/licences.md").read_text(), re.M)
)


def test_everything_required_is_locked_at_its_version_with_a_hash():
    required = [Requirement(line) for line in (REPO / "requirements.txt").read_text().splitlines()
                if line and line[0] != "#"]  # fmt: skip
    assert len(required) > 10
    for requirement in required:
        version, _ = LOCKED[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement
    text = SCRIPT["LOCK"].read_text()
    assert text.count("==") == text.count("--hash=sha256:") == len(LOCKED) > 30


def test_what_is_locked_needs_nothing_else():
    for name in LOCKED:
        wanted = {canonicalize_name(one.name) for one in SCRIPT["needs"](Requirement(name))}
        assert wanted <= LOCKED.keys(), name


def test_every_declared_dependency_has_a_licence_that_fits():
    declared = {canonicalize_name(r.name) for rs in SCRIPT["declared"]().values() for r in rs}
    assert len(declared) > 30
    assert declared - ROWS.keys() == set()
    assert "?" not in ROWS.values()
    assert SCRIPT["incompatible"]() == []


def test_copyleft_and_unknown_licences_are_found(monkeypatch):
    monkeypatch.setitem(SCRIPT["incompatible"].__globals__["KNOWN"], "yacs", "GPL-3.0-or-later")
    monkeypatch.setitem(SCRIPT["incompatible"].__globals__["KNOWN"], "rich", "")
    assert SCRIPT["incompatible"]() == ["rich: unknown", "yacs: GPL-3.0-or-later"]


def test_sbom_is_cyclonedx_of_the_lock():
    """The parts of the 1.6 schema that it uses."""
    bom = json.loads(SCRIPT["SBOM"].read_text())
    assert (bom["bomFormat"], bom["specVersion"], bom["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bom["serialNumber"])
    found = {part["name"]: (part["version"], part["hashes"][0]["content"])
             for part in bom["components"]}  # fmt: skip
    assert found == LOCKED
    refs = {part["bom-ref"] for part in [*bom["components"], bom["metadata"]["component"]]}
    assert len(refs) == len(found) + 1
    assert {edge["ref"] for edge in bom["dependencies"]} == refs
    assert {one for edge in bom["dependencies"] for one in edge["dependsOn"]} < refs
    assert all(part["licenses"][0]["expression"] for part in bom["components"])
    assert bom["serialNumber"] == SCRIPT["sbom"]()["serialNumber"]


@pytest.mark.parametrize("what", ["lock", "sbom", "licences"])
def test_no_place_of_this_machine_is_in_what_is_written(what):
    place = {"lock": "LOCK", "sbom": "SBOM", "licences": "LICENCES"}[what]
    text = SCRIPT[place].read_text()
    assert "file:" not in text
    assert not re.search(r"https?://(?!cyclonedx\.org)", text)


def test_usage_reports_are_off(monkeypatch):
    """OpenVINO would send one whenever it is imported."""
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    keep_quiet()
    with pytest.raises(ImportError):
        import openvino_telemetry  # noqa: F401
    monkeypatch.undo()
