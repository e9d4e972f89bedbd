# SPDX-License-Identifier: Apache-2.0
"""Every example runs, on the tiny model; the notebooks are what the scripts say, and run too."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import qwin

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
TINY = ROOT / "tests/testdata/tiny/qwen2_tied"
SCRIPTS = ["chat", "batch", "customer_service", "document", "quantize"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The tiny model with room for a chat: rotary positions need no training to go on."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    shutil.copytree(TINY, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    return folder


@pytest.fixture
def environment(model):
    path = os.pathsep.join([str(Path(qwin.__file__).parents[1]), str(EXAMPLES)])
    binary = Path(os.environ.get("QWIN_BINARY", ROOT / "build/release/qwin"))
    commands = os.pathsep.join([str(binary.parent), os.environ["PATH"]])
    return {**os.environ, "PATH": commands, "PYTHONPATH": path, "QWIN_MODEL": str(model), "QWIN_LOG": "warn"}


def run(environment, *command):
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_runs(environment, name):
    assert run(environment, EXAMPLES / f"{name}.py")


def test_the_notebooks_are_what_the_scripts_say():
    run(os.environ, ROOT / "tools/make_notebooks.py", "--check")
    assert sorted(path.stem for path in (EXAMPLES / "notebooks").glob("*.ipynb")) == sorted(SCRIPTS)


@pytest.mark.long
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_notebook_runs(environment, name, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    notebook = nbformat.read(EXAMPLES / f"notebooks/{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.long
def test_the_chat_service_streams(environment):
    pytest.importorskip("fastapi")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "fastapi_chat:app", "--port", str(port), "--log-level", "warning"]
    server = subprocess.Popen(command, env=environment)
    try:
        address = f"http://127.0.0.1:{port}/chat?prompt=hello"
        for _ in range(200):
            try:
                answer = urllib.request.urlopen(urllib.request.Request(address, method="POST"), timeout=20).read().decode()
                break
            except OSError:
                time.sleep(0.1)
        chunks = [json.loads(line.removeprefix("data: ")) for line in answer.split("\n\n") if line]
        assert "".join(chunk["text"] for chunk in chunks)
        assert [chunk["finish_reason"] for chunk in chunks if "finish_reason" in chunk] in (["stop"], ["length"])
    finally:
        server.terminate()
        server.wait(timeout=20)


@pytest.mark.long
def test_the_report_case_compares_and_draws(environment, model, tmp_path):
    pytest.importorskip("transformers")
    arguments = ["--characters", "40", "--peer-tokens", "8", "--batch-tokens", "8", "--window", "64", "--threads", "1"]
    script = EXAMPLES / "financial_report/report.py"
    printed = run(environment, script, model, *arguments, "--out", tmp_path / "out")
    assert "| one report, tokens/s |" in printed and "four reports" in printed
    measured = json.loads((tmp_path / "out.json").read_text())
    assert measured["qwin"]["four_tokens"] == 32 and measured["transformers"]["tokens"] == 8
    assert (tmp_path / "out.svg").read_text().startswith("<svg")
    assert len((tmp_path / "out.qwin.txt").read_text(encoding="utf-8")) >= 40
