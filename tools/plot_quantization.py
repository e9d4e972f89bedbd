#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws loss against size, a panel a model and a point a file, from the tables "file, of the …" of docs/quantization.md.

usage: plot_quantization.py docs/quantization.md docs/images/size_and_loss.svg
"""

import math
import pathlib
import re
import sys

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 440, 300, 50, 34, 14, 40
COLOURS = {"plans": "#d1603d", "profiles": "#4878a8", "llama.cpp": "#6a9a52"}


def files_of(text):
    """{model: [(label, kind, per cent of 16 bits, mean KL)]}; a row without a KL is no point."""
    models = {}
    for table in re.finditer(r"^\| file, of the (\S+) \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.M):
        rows = models[table[1]] = []
        for line in table[2].splitlines():
            name, _, share, loss, *_ = (cell.strip(" *") for cell in line.strip("|").split("|"))
            if not loss:
                continue
            kind = "llama.cpp" if "llama.cpp" in name else "plans" if "--plan" in name else "profiles"
            label = "" if kind == "plans" else re.sub(r"[`,]|--profile|of llama.cpp|no importance matrix|\(.*\)", "", name).strip()
            label = " ".join(label.replace("--calibrate --repair", "repaired").replace("--calibrate", "calibrated").split())
            rows.append((label, kind, float(share.rstrip(" %")), float(loss)))
    return models


def panel(model, rows, offset):
    shares, losses = [r[2] for r in rows], [r[3] for r in rows]
    left, right = math.floor(min(shares)) - 1, math.ceil(max(shares)) + 1
    low, high = math.log10(min(losses) / 1.3), math.log10(max(losses) * 1.3)

    def at(share, loss):
        x = offset + LEFT + (share - left) / (right - left) * (WIDTH - LEFT - RIGHT)
        return x, TOP + (high - math.log10(loss)) / (high - low) * (HEIGHT - TOP - BOTTOM)

    middle = offset + LEFT + (WIDTH - LEFT - RIGHT) / 2
    out = [
        f'<text x="{middle:.0f}" y="18" text-anchor="middle">{model}: mean KL beside the 16-bit model</text>',
        f'<text x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">size of the file, % of 16 bits a weight</text>',
    ]
    for tick in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1):
        if low <= math.log10(tick) <= high:
            x, y = at(left, tick)
            out.append(f'<path d="M{x:.1f} {y:.1f}H{at(right, tick)[0]:.1f}" stroke="#8884"/>')
            out.append(f'<text x="{x - 6:.0f}" y="{y + 4:.0f}" text-anchor="end">{tick:g}</text>')
    step = next(step for step in (1, 2, 5, 10, 20) if (right - left) / step < 8)
    for share in range(-(-left // step) * step, right + 1, step):
        out.append(f'<text x="{at(share, losses[0])[0]:.0f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{share}</text>')
    for kind, colour in COLOURS.items():
        points = sorted((share, loss, label) for label, of, share, loss in rows if of == kind)
        if kind == "plans":
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(share, loss) for share, loss, _ in points))
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        end, last = False, -1.0
        for share, loss, label in points:
            # Labels of near neighbours are on either side.
            (x, y), end = at(share, loss), share > left + 0.8 * (right - left) or (share - last < 1 and not end)
            last = share
            out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            out.append(
                f'<text x="{x + (-7 if end else 7):.0f}" y="{y - 6:.0f}" text-anchor="{"end" if end else "start"}" '
                f'style="fill:{colour}">{label or "plan"}</text>'
            )
    return out


def draw(text):
    models = files_of(text)
    body = [part for i, (model, rows) in enumerate(models.items()) for part in panel(model, rows, i * WIDTH)]
    width = WIDTH * len(models)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}">\n'
        "<style>text{font:12px sans-serif;fill:#808080}</style>\n" + "\n".join(body) + "\n</svg>\n"
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    pathlib.Path(sys.argv[2]).write_text(draw(pathlib.Path(sys.argv[1]).read_text()))
