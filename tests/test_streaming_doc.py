"""What docs/streaming.md says is so."""

import math
import re
from pathlib import Path

import pytest
import torch

from slowfast.config import all_keys, load_cfg
from slowfast.models import build_model
from slowfast.models.profile import build_model_inputs, count_macs
from slowfast.models.streaming import build_streaming
from slowfast.models.streaming.cost import count_step_macs

REPO = Path(__file__).parents[1]
PAGE = (REPO / "docs/streaming.md").read_text("utf-8")
ROWS = {
    cells[0].strip("`"): cells[1:]
    for cells in (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if re.match(r"\| `\w[\w-]*/\w+` ", line)
    )
}


def measure(name):
    """The cells of a row, from the config."""
    cfg = load_cfg(REPO / "configs" / f"{name}.yaml")
    with torch.device("meta"):
        model = build_model(cfg).eval()
    stream, dense = build_streaming(cfg, model), ""
    spec = stream.spec
    if spec.period > 1:
        every = build_streaming(cfg, model, dense=True)
        dense = f"{count_step_macs(every) / 1e9:.3f}, {every.state_bytes() / 1e6:.1f}"
    field = "all" if math.isinf(spec.receptive_field) else str(spec.receptive_field)
    clip = count_macs(model, build_model_inputs(cfg)) / 1e9
    frame, state = count_step_macs(stream) / 1e9, stream.state_bytes() / 1e6
    return [
        *(str(n) for n in (spec.window, stream.lookahead, spec.delay)),
        *(field, str(spec.period), f"{clip:.3f}", f"{frame:.3f}", f"{state:.1f}", dense),
    ]


def test_the_row_of_x3d_s_is_what_the_config_gives():
    assert ROWS["Kinetics/X3D_S"] == measure("Kinetics/X3D_S")


@pytest.mark.slow
def test_every_row_is_what_its_config_gives():
    assert len(ROWS) == 16
    assert {name: measure(name) for name in ROWS} == ROWS


def test_keys_links_and_files_exist():
    known = set(all_keys())
    named = set(re.findall(r"\b[A-Z][A-Z0-9]+\.[A-Z_0-9]+(?:\.[A-Z_0-9]+)*\b", PAGE))
    assert len(named) >= 8
    assert named - known == {"MODEL.STREAMING"}
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in link]
    assert [link for link in links if not (REPO / "docs" / link).exists()] == []
    files = re.findall(r"\b(?:slowfast|tests|tools|configs)/[\w/.-]+\.(?:py|yaml)", PAGE)
    assert len(files) >= 5
    assert [file for file in files if not (REPO / file).exists()] == []
