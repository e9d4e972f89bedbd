#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes examples/notebooks/*.ipynb from the scripts of examples/: a `# %%` line begins a cell.

usage: make_notebooks.py [--check]        --check: exit 1 when a notebook is not what its script says
"""

import json
import re
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
# FastAPI's example is a server.
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py") if "# %%" in path.read_text(encoding="utf-8"))


def lines_of(text):
    lines = text.strip("\n").splitlines(keepends=True)
    return lines[:-1] + [lines[-1].rstrip("\n")] if lines else []


def cell(kind, text, number):
    entry = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": lines_of(text)}
    return entry | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def cells_of(script):
    head, *parts = re.split(r"^# %%", script, flags=re.MULTILINE)
    yield "markdown", re.search(r'"""(.*?)"""', head, re.DOTALL)[1]
    for part in parts:
        kind, text = part.split("\n", 1)
        if kind.strip() == "[markdown]":
            yield "markdown", re.sub(r"^# ?", "", text.strip(), flags=re.MULTILINE)
        else:
            yield "code", text


def notebook(script):
    cells = [cell(kind, text, number) for number, (kind, text) in enumerate(cells_of(script))]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    document = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main():
    status = 0
    (EXAMPLES / "notebooks").mkdir(exist_ok=True)
    for name in NAMES:
        path = EXAMPLES / "notebooks" / f"{name}.ipynb"
        text = notebook((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"{path} is not what {name}.py says: run tools/make_notebooks.py", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
