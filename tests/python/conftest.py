# SPDX-License-Identifier: Apache-2.0
"""The package as it was built: QWIN_PYTHON_PATH, by default the release build's folder."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

sys.path.insert(0, os.environ.get("QWIN_PYTHON_PATH", str(ROOT / "build/release/python")))

import qwin  # noqa: E402

TINY = ROOT / "tests/testdata/tiny/qwen2_tied"


@pytest.fixture(scope="module")
def engine():
    with qwin.Engine(TINY, num_threads=1, num_sink_tokens=4, kv_memory=64 << 20) as engine:
        yield engine


@pytest.fixture(scope="session")
def exit_code_of_a_child():
    """Of a forked child that ends with what run() returns; 1 when it raises."""

    def fork(run):
        child = os.fork()
        if child == 0:
            try:
                os._exit(run())
            finally:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    return fork


@pytest.fixture(scope="session")
def is_refused_in_a_child(exit_code_of_a_child):
    """Whether a forked child that uses its parent's engine is told so."""

    def check(engine, prompt):
        def ask():
            try:
                engine.generate(prompt, 2)
            except qwin.Error as error:
                return 0 if "fork" in str(error) else 2
            return 1

        return exit_code_of_a_child(ask) == 0

    return check
