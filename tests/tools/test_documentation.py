# SPDX-License-Identifier: Apache-2.0
"""The pages that list commands and variables list the ones there are."""

import re


def test_every_variable_the_sources_read_is_documented(root):
    sources = [path for path in (root / "src").rglob("*.cc")]
    read = {name for path in sources for name in re.findall(r'getenv\("(\w+)"\)', path.read_text(encoding="utf-8"))}
    page = (root / "docs" / "environment_variables.md").read_text(encoding="utf-8")
    # The system's own variables need no words of ours.
    undocumented = {name for name in read - {"HOME", "TERM", "NO_COLOR"} if f"`{name}`" not in page}
    assert read, "no getenv() found: has the way to read the environment changed?"
    assert not undocumented


def test_the_developers_page_names_tasks_that_exist(root):
    tasks = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", (root / "DEVELOPING.md").read_text()))
    assert named
    assert named <= tasks
