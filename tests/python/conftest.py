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
