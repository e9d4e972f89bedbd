# SPDX-License-Identifier: Apache-2.0
"""The wheel that `make wheel` makes, in a fresh environment without a compiler: the command, and the documented calls."""

import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.long

CALLS = """
import sys
import qwin

engine = qwin.Engine(sys.argv[1], attention_type="sliding_window", window_size=1024, quantize_bits=8, max_batch_size=4)
assert isinstance(engine.generate("What is a river?", max_length=8), str)
chunks = list(engine.stream_generate("A story.", max_length=20, temperature=0.7, stream_interval=0.05))
assert "".join(chunk["text"] for chunk in chunks) == engine.generate("A story.", max_length=20, temperature=0.7)
with qwin.ParallelEngine(engine, num_workers=4) as parallel:
    segments = qwin.split_document(engine, "A sentence. " * 200, 64, 16)
    answers = parallel.map(lambda segment: engine.generate(segment, max_length=4), segments)
assert answers == engine.generate(segments, max_length=4)
assert isinstance(qwin.process_document(engine, "A sentence. " * 200, 64, 16, max_length=4), str)
print(qwin.__version__, qwin.binary_path())
"""


@pytest.fixture(scope="module")
def environment(root, tmp_path_factory):
    """The bin/ folder of a virtual environment that holds the wheel and numpy alone."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([root / "tools/make_wheel.sh", sys.executable, folder], check=True)
    (wheel,) = folder.glob("qwin-*.whl")
    assert "manylinux" in wheel.name
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    install = [folder / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", wheel]
    done = subprocess.run(install, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "venv/bin"


@pytest.fixture(scope="module")
def version(root):
    return re.search(r'kVersion = "([0-9.]+)"', (root / "include" / "qwin" / "version.h").read_text())[1]


def output(folder, *command):
    """What a command prints, run outside the checkout with nothing but the environment on PATH."""
    done = subprocess.run(command, cwd=folder, env={"PATH": str(folder)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_command_runs(environment, version, root):
    assert output(environment, environment / "qwin", "--version") == f"qwin {version}"
    assert output(environment, environment / "python", "-m", "qwin", "--version") == f"qwin {version}"
    tiny = root / "tests/testdata/tiny/qwen2_tied"
    assert '"token_ids"' in output(environment, environment / "qwin", "run", tiny, "a", "--raw", "--max-tokens", "4", "--json")


def test_the_documented_calls_work(environment, version, root):
    tiny = root / "tests/testdata/tiny/qwen2_tied"
    printed = output(environment, environment / "python", "-c", CALLS, tiny)
    assert printed == f"{version} {(environment / 'qwin').resolve()}"
