# SPDX-License-Identifier: Apache-2.0
"""Object files compiled for one instruction set hold no symbol that the linker might take for other processors too."""

import os
import subprocess
from pathlib import Path

import pytest

WEAK_KINDS = set("WwVvu")


def weak_symbols(object_file):
    """Names of the weak (inline, template) definitions in an object file."""
    lines = subprocess.run(["nm", "-C", "--defined-only", object_file], check=True, capture_output=True, text=True).stdout
    return [line for line in lines.splitlines() if line.split()[1] in WEAK_KINDS]


def test_isa_objects_define_no_weak_symbol(root):
    binary = Path(os.environ.get("QWIN_BINARY", root / "build/release/qwin"))
    folder = binary.parent / "src/kernels/CMakeFiles/qwin_kernels.dir"
    objects = sorted([*folder.glob("x86/*.o"), *folder.glob("arm/*.o")])
    if not objects:
        pytest.skip(f"no instruction-set objects beside {binary}")
    found = {object_file.name: weak_symbols(object_file) for object_file in objects}
    assert {name: symbols for name, symbols in found.items() if symbols} == {}
