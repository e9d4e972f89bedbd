# SPDX-License-Identifier: Apache-2.0
"""Where the installed `qwin` command is."""

from __future__ import annotations

import sysconfig
from importlib import metadata
from pathlib import Path


def binary_path() -> Path:
    """Path of the installed `qwin` command; FileNotFoundError when the installation lost it."""
    for file in metadata.files("qwin") or []:
        if file.name in ("qwin", "qwin.exe") and file.parent.name in ("bin", "Scripts"):
            return Path(str(file.locate())).resolve()
    beside_python = Path(sysconfig.get_path("scripts")) / "qwin"
    if beside_python.is_file():
        return beside_python
    raise FileNotFoundError("the qwin command is not where `pip install` put it; install the package again")
