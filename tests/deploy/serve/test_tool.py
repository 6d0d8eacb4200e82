"""tools/serve.py as a program."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

REPO = Path(__file__).parents[3]


@pytest.mark.slow
def test_it_serves_until_it_is_told_to_stop(checkpoint, tmp_path):
    command = [sys.executable, str(REPO / "tools/serve.py"), "--model_path", str(checkpoint)]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [*command, "--port", "0", "--token", "secret", "--threads", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    try:
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"open (http://127\.0\.0\.1:\d+/)#token=secret", line):
                break
        with urllib.request.urlopen(f"{found[1]}healthz", timeout=20) as answer:
            assert json.load(answer)["status"] == "ok"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=20)[0]
    finally:
        process.kill()
    assert "Traceback" not in said
    assert process.returncode == 0, said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max_upload_mb", "0"], "upload_bytes"),
        (["--token", "a b"], "--token"),
        (["--mode", "stream", "--every_s", "-1"], "every_s"),
        (["--port", "70000"], "port 70000"),
    ],
)
def test_mistakes_are_one_line(checkpoint, capsys, words, message):
    main = runpy.run_path(str(REPO / "tools/serve.py"))["main"]
    with pytest.raises(SystemExit) as ended:
        main(["--model_path", str(checkpoint), *words])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
