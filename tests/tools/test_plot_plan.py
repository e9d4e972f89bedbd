# SPDX-License-Identifier: Apache-2.0
"""The chart of a plan: every matrix in its row and column, in the colour of its type."""

from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"


def tensor(name, kind, loss):
    options = [{"type": t, "bytes": b, "loss": loss * f} for t, b, f in (("Q4", 68, 1), ("Q6", 100, 0.05), ("Q8", 130, 0.003))]
    return {"tensor": name, "type": kind, "options": options}


def test_every_matrix_has_its_cell(load_tool):
    tool = load_tool("plot_plan")
    names = [("blk.0.attn_q.weight", "Q4"), ("model.layers.1.mlp.down_proj.weight", "Q8"), ("token_embd.weight", "Q6")]
    plan = {"bytes": 298, "loss": 0.01, "tensors": [tensor(n, k, (i + 1) * 1e-3) for i, (n, k) in enumerate(names)]}
    svg = ElementTree.fromstring(tool.draw(plan))
    cells = [(float(r.get("x", 0)), float(r.get("y", 0)), r.get("fill")) for r in svg.iter(SVG + "rect")]
    assert (tool.LEFT, tool.TOP, tool.COLORS["Q4"]) in cells
    assert (tool.LEFT + 6 * tool.CELL, tool.TOP + tool.ROW, tool.COLORS["Q8"]) in cells
    texts = [t.text for t in svg.iter(SVG + "text")]
    assert {"100.0", "200.0", "token_embd.weight: 300.0"} <= set(texts)
    assert any("mean KL of 0.0100" in t for t in texts)
