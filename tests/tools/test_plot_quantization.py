# SPDX-License-Identifier: Apache-2.0
"""The chart of size and loss: every file of the tables that has a loss is a point, lower where it loses less."""

from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"
TABLES = """
| file, of the 0.5B | bytes | of 16 bits | mean KL | top-1 |
|---|---|---|---|---|
| base, F16 | 1,000 | 100 % | | |
| `--profile q8` | 510 | 51 % | .0007 | 98.6 % |
| IQ4_XS of llama.cpp, no importance matrix | 350 | 35 % | .0365 | 91.4 % |
| `--plan --calibrate`, `--target-size 300MB` | 300 | 30 % | **.0120** | 94.8 % |
| `--profile q4 --calibrate` (head in Q4) | 280 | 28 % | .0327 | 92.3 % |
"""


def test_every_row_with_a_loss_is_a_point(load_tool):
    tool = load_tool("plot_quantization")
    assert tool.files_of(TABLES) == {
        "0.5B": [
            ("q8", "profiles", 51.0, 0.0007),
            ("IQ4_XS", "llama.cpp", 35.0, 0.0365),
            ("", "plans", 30.0, 0.012),
            ("q4 calibrated", "profiles", 28.0, 0.0327),
        ]
    }
    svg = ElementTree.fromstring(tool.draw(TABLES))
    points = [(float(c.get("cx")), float(c.get("cy")), c.get("fill")) for c in svg.iter(SVG + "circle")]
    assert [fill for _, _, fill in points] == [tool.COLOURS[k] for k in ("plans", "profiles", "profiles", "llama.cpp")]
    largest, lowest = max(points), max(points, key=lambda point: point[1])
    assert largest == lowest  # q8 loses least
    assert min(points, key=lambda point: point[1])[2] == tool.COLOURS["llama.cpp"]


def test_the_picture_is_of_the_tables(load_tool, root):
    docs = root / "docs"
    drawn = load_tool("plot_quantization").draw((docs / "quantization.md").read_text())
    assert (docs / "images" / "size_and_loss.svg").read_text() == drawn
