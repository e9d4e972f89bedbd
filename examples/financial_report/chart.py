# SPDX-License-Identifier: Apache-2.0
"""Pairs of bars as SVG."""

WIDTH, LABELS, BAR = 640, 130, 20
COLORS = {"transformers": "#adb5bd", "qwin": "#4263eb"}


def bars(table):
    """table: (what, unit, transformers, qwin, ratio)."""
    parts, y = [], 20
    for what, unit, theirs, own, ratio in table:
        parts.append(f'<text x="20" y="{y + 12}" font-weight="600">{what}, {unit}: ×{ratio:.2f}</text>')
        y += 20
        scale = (WIDTH - LABELS - 90) / max(theirs, own)
        for name, value in (("transformers", theirs), ("qwin", own)):
            width = value * scale
            parts += [
                f'<text x="{LABELS - 10}" y="{y + 14}" text-anchor="end">{name}</text>',
                f'<rect x="{LABELS}" y="{y}" width="{width:.1f}" height="{BAR}" rx="3" fill="{COLORS[name]}"/>',
                f'<text x="{LABELS + width + 8:.1f}" y="{y + 14}">{value:.1f}</text>',
            ]
            y += BAR + 4
        y += 14
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="system-ui, sans-serif" font-size="12.5">'
        f'<rect width="{WIDTH}" height="{y}" rx="10" fill="#fff" stroke="#dee2e6"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"
