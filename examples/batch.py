# SPDX-License-Identifier: Apache-2.0
"""Many prompts at once, and in a row: `python examples/batch.py [MODEL]`."""

import sys
import time

import qwin

PROMPTS = [f"Write one sentence about the number {i}." for i in range(1, 9)]

engine = qwin.Engine.load_pretrained(sys.argv[1] if len(sys.argv) > 1 else "qwen2.5-coder-0.5b", prefix_cache=False)
for name, run in (
    ("in a row", lambda: [engine.generate(prompt, max_length=32) for prompt in PROMPTS]),
    ("together", lambda: engine.generate(PROMPTS, max_length=32)),
):
    start = time.monotonic()
    answers = run()
    print(f"{name}: {time.monotonic() - start:.1f} s; the first: {answers[0]}")
