# SPDX-License-Identifier: Apache-2.0
"""A report of peers.py as a Markdown table and as a chart. Ratios are of medians, qwin over the peer."""

from xml.sax.saxutils import escape

COLORS = {"qwin": "#d9480f"}
PEER_COLORS = ["#1c7ed6", "#4dabf7", "#0b7285", "#7048e8", "#868e96", "#adb5bd"]
WIDTH, LABELS, BAR, GAP, HEAD = 860, 170, 20, 6, 34


def engine_names(report):
    """qwin first, the others in the order they were measured."""
    return list(dict.fromkeys(name for test in report["tests"].values() for name in test))


def title(report):
    m = report["machine"]
    return f"{m['model']}: {m['cpu']}, {m['isa']}, {m['threads']} threads, median of {m['rounds']} rounds"


def markdown(report):
    names = engine_names(report)
    lines = [title(report), "", "| tokens a second | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for test, values in report["tests"].items():
        cells = []
        for name in names:
            if name not in values:
                cells.append("–")
                continue
            v = values[name]
            cell = f"{v['median']:.1f} ({v['low']:.1f} … {v['high']:.1f})"
            if name != "qwin" and "qwin" in values:
                cell += f", qwin ×{values['qwin']['median'] / v['median']:.2f}"
            cells.append(cell)
        lines.append(f"| {test} | " + " | ".join(cells) + " |")
    m = report["machine"]
    lines += ["", f"Limits at the end: int8 {m['int8_gmacs']:.0f} GMAC/s, bf16 {m['bf16_gmacs']:.0f} GMAC/s, memory read "
              f"{m['read_gb_s']:.1f} GB/s.", ""]
    lines += [f"- not measured: {name}: {why}" for name, why in report["absent"].items()]
    return "\n".join(lines).rstrip() + "\n"


def bar(y, name, value, scale, color):
    width = max(2.0, value["median"] * scale)
    low, high = (LABELS + value[key] * scale for key in ("low", "high"))
    middle = y + BAR / 2
    weight = ' font-weight="600"' if name == "qwin" else ""
    return [
        f'<text x="{LABELS - 10}" y="{middle + 4}" text-anchor="end"{weight}>{escape(name)}</text>',
        f'<rect x="{LABELS}" y="{y}" width="{width:.1f}" height="{BAR}" rx="3" fill="{color}"/>',
        f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#212529" stroke-opacity=".55" stroke-width="1.5"/>',
        f'<text x="{max(LABELS + width, high) + 8:.1f}" y="{middle + 4}"{weight}>{value["median"]:.1f}</text>',
    ]


def svg(report):
    return bars(title(report), report["tests"])


def bars(headline, tests):
    """A group of bars for each test, {engine: {"median", "low", "high"}}."""
    names = engine_names({"tests": tests})
    colors = {name: COLORS.get(name, PEER_COLORS[i % len(PEER_COLORS)]) for i, name in enumerate(names, -1)}
    parts, y = [], 56
    for test, values in tests.items():
        if not values:
            continue
        parts.append(f'<text x="24" y="{y + 14}" font-size="14" font-weight="600">{escape(test)}, tokens a second</text>')
        y += HEAD - 8
        scale = (WIDTH - LABELS - 90) / max(v["high"] for v in values.values())
        for name in (n for n in names if n in values):
            parts += bar(y, name, values[name], scale, colors[name])
            y += BAR + GAP
        y += 18
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 4}" font-family="system-ui, sans-serif" '
        'font-size="12.5" fill="#212529">',
        f'<rect width="{WIDTH}" height="{y + 4}" rx="10" fill="#fff" stroke="#dee2e6"/>',
        f'<text x="24" y="32" font-size="13" fill="#495057">{escape(headline)}</text>',
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"
