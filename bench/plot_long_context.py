#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws how much perplexity lies above that of exact attention along a text, one panel a file of `bench/long_context.py --json`.

    bench/plot_long_context.py 0.5B=small.json 1.5B=large.json --out docs/images/attention_quality.svg
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from plot_depth import WIDTH, panel, picture

NAMES = {"sinks": "window and sinks", "heads": "and global heads"}


def above_exact(rows: list[dict], length: int, plans: list[str]) -> dict[str, list[tuple[float, float]]]:
    """Of each plan: percent above the exact one for each part of the text, against the position of the part's end."""
    rows = [row for row in rows if row["length"] == length and "code_perplexity" in row]
    exact = next(row["code_perplexity"] for row in rows if row["plan"] == "full")
    lines = {}
    for row in rows:
        if row["plan"] not in plans:
            continue
        shares = [100 * (a / b - 1) for a, b in zip(row["code_perplexity"], exact)]
        lines[NAMES.get(row["plan"], row["plan"])] = [((i + 1) * length / len(shares), s) for i, s in enumerate(shares)]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panels", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--plans", default="hybrid,sinks")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    body = []
    for i, (name, path) in enumerate(one.split("=", 1) for one in args.panels):
        rows = json.loads(Path(path).read_text())
        longest = max(row["length"] for row in rows if row["plan"] == "full")
        body += panel(f"{name}: perplexity above exact, %", above_exact(rows, longest, args.plans.split(",")), i * WIDTH)
    args.out.write_text(picture(body))


if __name__ == "__main__":
    main()
