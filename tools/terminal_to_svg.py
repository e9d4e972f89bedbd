#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws terminal text, as `tmux capture-pane -ep` prints it, as an SVG picture: a dark window with monospace text.

    tools/terminal_to_svg.py TITLE < screen.txt > picture.svg
"""

import re
import sys
import unicodedata
from xml.sax.saxutils import escape

FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
FONT_SIZE, CELL, LINE = 14, 8.43, 20  # pixels; a cell is one column
MARGIN, BAR = 20, 40  # around the text; the window's title bar
GROUND, FRAME, TEXT, FAINT = "#161b22", "#30363d", "#e6edf3", "#8b949e"
COLOURS = ["#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4"]
ESCAPE = re.compile(r"\x1b\[([0-9;:]*)m|\x1b\[[0-9;?]*[A-Za-ln-z]|\x1b[()][0-9A-B]|[\x00-\x08\x0b-\x1f]")


def width(text):
    """Columns that the text takes."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def change_style(style, codes):
    """The style (colour, bold, dim) after the codes of one escape sequence."""
    colour, bold, dim = style
    for code in (int(c or 0) for c in re.split("[;:]", codes)):
        if code == 0:
            colour, bold, dim = None, False, False
        elif code in (1, 2):
            bold, dim = bold or code == 1, dim or code == 2
        elif code == 22:
            bold, dim = False, False
        elif 30 <= code <= 37 or 90 <= code <= 97:
            colour = COLOURS[code % 10]
        elif code == 39:
            colour = None
    return colour, bold, dim


def spans(line, style):
    """[(column, text, style)] of one line, and the style that holds after it."""
    found, column, start = [], 0, 0
    for match in [*ESCAPE.finditer(line), None]:
        text = line[start : match.start() if match else len(line)]
        if text:
            found.append((column, text, style))
            column += width(text)
        if match:
            start = match.end()
            if match[1] is not None:
                style = change_style(style, match[1])
    return found, style


def draw_line(pieces, y):
    out = []
    for column, text, (colour, bold, dim) in pieces:
        lead = len(text) - len(text.lstrip(" "))
        if not text.strip():
            continue
        x = MARGIN + (column + lead) * CELL
        fill = colour or (FAINT if dim else TEXT)
        weight = ' font-weight="bold"' if bold else ""
        shown = text.strip(" ")
        length = f' textLength="{width(shown) * CELL:.1f}" lengthAdjust="spacingAndGlyphs"' if len(shown) > 1 else ""
        out.append(f'<text x="{x:.1f}" y="{y}" fill="{fill}"{weight}{length}>{escape(shown)}</text>')
    return out


def draw(text, title):
    lines = [line.expandtabs(8) for line in text.rstrip().split("\n")]
    style, rows = (None, False, False), []
    for line in lines:
        pieces, style = spans(line, style)
        rows.append(pieces)
    columns = max((p[-1][0] + width(p[-1][1].rstrip()) for p in rows if p), default=0)
    w, h = round(2 * MARGIN + max(columns, 40) * CELL), BAR + MARGIN + LINE * len(rows)
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect x="0.5" y="0.5" width="{w - 1}" height="{h - 1}" rx="10" fill="{GROUND}" stroke="{FRAME}"/>',
        *(f'<circle cx="{MARGIN + 20 * i}" cy="{BAR / 2}" r="6" fill="{COLOURS[c]}"/>' for i, c in enumerate((1, 3, 2))),
        f'<g font-family="{FONT}" font-size="{FONT_SIZE}" xml:space="preserve">',
        f'<text x="{w / 2:.1f}" y="{BAR / 2 + 5}" fill="{FAINT}" text-anchor="middle">{escape(title)}</text>',
    ]
    for i, pieces in enumerate(rows):
        svg += draw_line(pieces, BAR + LINE * i + 15)
    return "\n".join([*svg, "</g>", "</svg>"]) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.stdout.write(draw(sys.stdin.read(), sys.argv[1]))
