"""What docs/serve.md says is so."""

import contextlib
import io
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from slowfast.config import all_keys, parse_args
from slowfast.deploy.serve.limits import Limits

REPO = Path(__file__).parents[3]
TEXT = (REPO / "docs/serve.md").read_text("utf-8")
PARSER = runpy.run_path(str(REPO / "tools/serve.py"))["parser"]
ADDRESS = "127.0.0.1:8000"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def lines(start):
    return [line for block in blocks("bash") for line in block.splitlines() if start in line]


def test_commands_parse():
    commands = [line.split() for line in lines("tools/serve.py")]
    assert len(commands) == 6
    for words in commands:
        args = parse_args(words[2:], PARSER())
        assert all((REPO / path).exists() for path in args.cfg)
    args = parse_args(commands[1][2:], PARSER())
    assert (args.threads, args.opts) == (2, ["DEMO.LABEL_FILE_PATH", "names.txt"])


def test_options_links_and_keys():
    options = {name for action in PARSER()._actions for name in action.option_strings}
    shared = {"-h", "--help", "--traceback", "--opts", "--num_shards", "--shard_id",
              "--init_method"}  # fmt: skip
    assert set(re.findall(r"(?<![\w-])--\w+(?![\w-])", TEXT)) == options - shared
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in link]
    assert [link for link in links if not (REPO / "docs" / link).exists()] == []
    files = re.findall(r"\b(?:slowfast|tests|tools|configs)/[\w/.-]+\.(?:py|yaml)", TEXT)
    assert [file for file in files if not (REPO / file).exists()] == []
    assert set(re.findall(r"\b(?:DATA|DEMO|MODEL)\.[A-Z_]+\b", TEXT)) <= set(all_keys())


def test_limits_are_those_that_hold():
    limits, args = Limits(), PARSER().parse_args(["--model_path", "x"])
    assert args.max_upload_mb * 2**20 == limits.upload_bytes
    assert (args.max_seconds, args.max_sessions) == (limits.video_s, limits.sessions)
    assert f"{limits.video_pixels / 1e6:.1f} million pixels a frame" in TEXT
    assert f"{limits.frame_pixels / 1e6:.1f} million pixels, seen" in TEXT
    assert f"ends after {limits.idle_s:g} s without" in TEXT
    assert f"after {limits.stall_s:g} s without a byte" in TEXT
    assert limits.bytes_per_s == 16 * 1024
    assert limits.live_s == 3600


@pytest.mark.parametrize("place", [0, 1])
def test_programs_run(client, video, tmp_path, monkeypatch, place):
    shutil.copy(video, tmp_path / "video.mp4")
    monkeypatch.chdir(tmp_path)
    code = blocks("python")[place]
    assert ADDRESS in code
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code.replace(ADDRESS, client.host), "docs/serve.md", "exec"), {})
    assert "class " in said.getvalue()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_runs(client, video, tmp_path):
    shutil.copy(video, tmp_path / "video.mp4")
    commands = lines("curl")
    assert len(commands) == 2
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command.replace(ADDRESS, client.host)],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert '"segments":' in done.stdout
