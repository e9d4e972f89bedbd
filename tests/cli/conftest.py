# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from terminal_driver import Terminal  # noqa: E402


@pytest.fixture
def chat(tmp_path):
    """chat("--max-tokens", "4") -> a Terminal with a chat in it; all of one test share a home."""
    opened = []

    def start(*arguments, **options):
        opened.append(Terminal(tmp_path, *arguments, **options))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()
