#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws a plan of `qwin quantize --save-plan` as an SVG: a cell for every matrix, its colour the type it gets, its number the
mean KL (1e-5 nats) that Q4 alone would cost there.

usage: plot_plan.py PLAN.json OUTPUT.svg
"""

import html
import json
import pathlib
import re
import sys

COLUMNS = {
    "q": ("q_proj", "attn_q."), "k": ("k_proj", "attn_k."), "v": ("v_proj", "attn_v."), "o": ("o_proj", "attn_output"),
    "gate": ("gate_proj", "ffn_gate"), "up": ("up_proj", "ffn_up"), "down": ("down_proj", "ffn_down"),
}  # fmt: skip
COLORS = {"Q3": "#f2d9c7", "Q4": "#e8eef5", "Q5": "#c3d8ea", "Q6": "#8fb8de", "Q8": "#2f6da8"}
CELL, ROW, LEFT, TOP = 62, 17, 50, 44


def cell(x, y, width, fill, text, ink="#1c2733"):
    return (
        f'<rect x="{x}" y="{y}" width="{width - 2}" height="{ROW - 2}" fill="{fill}"/>'
        f'<text x="{x + width / 2 - 1}" y="{y + ROW - 5}" text-anchor="middle" fill="{ink}">{html.escape(text)}</text>'
    )


def place_of(name):
    """(layer, column), or None for a matrix of no layer."""
    layer = re.search(r"\.(\d+)\.", name)
    column = next((i for i, kinds in enumerate(COLUMNS.values()) if any(k in name for k in kinds)), None)
    return None if layer is None or column is None else (int(layer[1]), column)


def draw(plan):
    places = [(place_of(t["tensor"]), t) for t in plan["tensors"]]
    rows = 1 + max((p[0] for p, _ in places if p), default=-1)
    width, height = LEFT + CELL * len(COLUMNS) + 10, TOP + ROW * (rows + 2) + 26
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="10">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="16" font-size="12" fill="#1c2733">Types within {plan["bytes"] / 1e6:.1f} MB of matrices; '
        f"losses add up to a mean KL of {plan['loss']:.4f}</text>",
    ]
    for i, name in enumerate(COLUMNS):
        parts.append(f'<text x="{LEFT + CELL * (i + 0.5)}" y="{TOP - 8}" text-anchor="middle" fill="#1c2733">{name}</text>')
    below = 0
    for place, tensor in places:
        lost = next((o["loss"] for o in tensor["options"] if o["type"] == "Q4"), 0) * 1e5
        ink = "#ffffff" if tensor["type"] == "Q8" else "#1c2733"
        if place:
            x, y = LEFT + CELL * place[1], TOP + ROW * place[0]
            parts.append(cell(x, y, CELL, COLORS[tensor["type"]], f"{lost:.1f}", ink))
        else:
            y = TOP + ROW * (rows + 0.4 + below)
            parts.append(cell(LEFT, y, CELL * len(COLUMNS), COLORS[tensor["type"]], f"{tensor['tensor']}: {lost:.1f}", ink))
            below += 1
    for row in range(rows):
        parts.append(f'<text x="{LEFT - 8}" y="{TOP + ROW * row + ROW - 5}" text-anchor="end" fill="#5a6978">{row}</text>')
    y = height - 18
    for i, (name, color) in enumerate(COLORS.items()):
        parts.append(cell(LEFT + 54 * i, y, 50, color, name, "#ffffff" if name == "Q8" else "#1c2733"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    plan = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    pathlib.Path(sys.argv[2]).write_text(draw(plan), encoding="utf-8")


if __name__ == "__main__":
    main()
