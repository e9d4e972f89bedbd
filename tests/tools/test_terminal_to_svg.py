# SPDX-License-Identifier: Apache-2.0
"""Pictures of terminal text: well-formed, every word in its column and colour."""

from xml.etree import ElementTree


def texts(svg):
    """(x, fill, text) of every text but the title."""
    nodes = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return [(float(node.get("x")), node.get("fill"), node.text) for node in nodes][1:]


def test_words_stand_in_their_columns_and_colours(load_tool):
    tool = load_tool("terminal_to_svg")
    svg = tool.draw("\x1b[1;36m>>>\x1b[0m a <b> & c\n    \x1b[2mdim\n中 \x1b[mx\n", "t & u")
    cell, left = tool.CELL, tool.MARGIN
    expected = [
        (0, tool.COLOURS[6], ">>>"),
        (4, tool.TEXT, "a <b> & c"),
        (4, tool.FAINT, "dim"),
        (0, tool.FAINT, "中"),
        (3, tool.TEXT, "x"),
    ]
    found = texts(svg)
    assert [entry[1:] for entry in found] == [entry[1:] for entry in expected]
    assert all(abs(entry[0] - left - column * cell) < 0.1 for entry, (column, _, _) in zip(found, expected))


def test_other_escape_sequences_leave_nothing(load_tool):
    tool = load_tool("terminal_to_svg")
    assert [text for _, _, text in texts(tool.draw("\x1b[?2004h\x1b[Ka\x0fb\x1b(B", "t"))] == ["a", "b"]
