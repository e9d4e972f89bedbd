# SPDX-License-Identifier: Apache-2.0
"""qwin: an inference engine for Qwen language models on CPUs.

This package installs the command `qwin` and tells where it is; it does not hold the engine itself for Python.
"""

import sysconfig
from importlib import metadata
from pathlib import Path

__all__ = ["__version__", "binary_path"]
__version__ = metadata.version("qwin")


def binary_path() -> Path:
    """Path of the installed `qwin` command; FileNotFoundError when the installation lost it."""
    for file in metadata.files("qwin") or []:
        if file.name in ("qwin", "qwin.exe") and file.parent.name in ("bin", "Scripts"):
            return Path(file.locate()).resolve()
    beside_python = Path(sysconfig.get_path("scripts")) / "qwin"
    if beside_python.is_file():
        return beside_python
    raise FileNotFoundError("the qwin command is not where `pip install` put it; install the package again")
