# SPDX-License-Identifier: Apache-2.0
"""The package is typed, strictly, and the extension is what its stub says."""

import subprocess
import sys
from pathlib import Path

import pytest
from qwin import _core

pytestmark = pytest.mark.long
pytest.importorskip("mypy")
ROOT = Path(__file__).resolve().parents[2]


def test_the_sources_are_strictly_typed():
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stub_names_what_the_extension_has():
    stub = (ROOT / "python/qwin/_core.pyi").read_text()
    for kind in (_core.Engine, _core.Stream):
        for name in vars(kind):
            assert name.startswith("__") or f"def {name}(" in stub, f"{kind.__name__}.{name} is not in the stub"
