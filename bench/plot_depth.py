#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws tokens per second against depth, one line a file of `qwin bench --json`, prefill and decode side by side.

    bench/plot_depth.py exact=full.json hybrid=hybrid.json --out docs/images/attention_depth.svg
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

COLOURS = ("#4878a8", "#d1603d", "#6a9a52", "#8a6fb0")
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 380, 260, 50, 40, 12, 40


def points(path: Path, test: str) -> list[tuple[float, float]]:
    results = json.loads(path.read_text())["results"]
    return sorted((r["depth"], r["tokens_per_second"]) for r in results if r["test"] == test)


def panel(title: str, lines: dict[str, list[tuple[float, float]]], offset: int) -> list[str]:
    deepest = max(x for line in lines.values() for x, _ in line)
    fastest = 1.1 * max(y for line in lines.values() for _, y in line)
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        return offset + LEFT + x / deepest * wide, TOP + (1 - y / fastest) * high

    def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
        return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{words}</text>'

    out = [text(offset + LEFT + wide / 2, 18, title)]
    for i in range(5):
        y = fastest * i / 4
        (x1, row), (x2, _) = at(0, y), at(deepest, y)
        out.append(f'<path d="M{x1:.1f} {row:.1f}H{x2:.1f}" stroke="#8884"/>' + text(x1 - 6, row + 4, f"{y:.0f}", "end"))
    for depth in sorted({x for line in lines.values() for x, _ in line}):
        out.append(text(at(depth, 0)[0], HEIGHT - BOTTOM + 16, f"{depth / 1000:.0f}k"))
    for (name, line), colour in zip(lines.items(), COLOURS):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in line))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x, y = at(*line[-1])
        out.append(f'<text x="{x:.0f}" y="{y - 7:.0f}" text-anchor="end" style="fill:{colour}">{name}</text>')
    return out


def picture(body: list[str]) -> str:
    """Two panels side by side."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" width="{2 * WIDTH}" height="{HEIGHT}">\n'
        "<style>text{font:12px sans-serif;fill:#808080}</style>\n" + "\n".join(body) + "\n</svg>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    files = {name: Path(path) for name, path in (line.split("=", 1) for line in args.lines)}
    body = []
    for i, (test, title) in enumerate((("prefill", "reading, tokens/s at a depth"), ("decode", "writing, tokens/s at a depth"))):
        body += panel(title, {name: points(path, test) for name, path in files.items()}, i * WIDTH)
    args.out.write_text(picture(body))


if __name__ == "__main__":
    main()
