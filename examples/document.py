# SPDX-License-Identifier: Apache-2.0
"""Summarizes a text file: `python examples/document.py FILE [MODEL]`."""

import sys
from pathlib import Path

import qwin

engine = qwin.Engine.load_pretrained(sys.argv[2] if len(sys.argv) > 2 else "qwen2.5-coder-0.5b")
summary = qwin.process_document(
    engine,
    Path(sys.argv[1]).read_text(encoding="utf-8"),
    instruction="Summarize the following text in three sentences.",
    max_length=128,
    progress=lambda done, total: print(f"{done} of {total} segments", file=sys.stderr),
)
print(summary)
