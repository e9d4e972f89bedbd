# SPDX-License-Identifier: Apache-2.0
"""Four requests at once and in a row. They end in the same batch, as a list or from a function of yours in four threads."""

# %%
import os
import time

import qwin

# Without the prefix cache, so that no run profits from the one before it.
engine = qwin.Engine.load_pretrained(os.environ.get("QWIN_MODEL", "qwen2.5-coder-0.5b"), prefix_cache=False)
segments = [f"Write three sentences about the number {i}." for i in range(1, 5)]


def answer(segment):
    return engine.generate(segment, max_length=64, ignore_eos=True)


def mapped():
    with qwin.ParallelEngine(engine, num_workers=4) as parallel:
        return parallel.map(answer, segments)


# %%
seconds, answers = {}, {}
for name, run in {
    "in a row": lambda: [answer(segment) for segment in segments],
    "mapped": mapped,
    "as a list": lambda: engine.generate(segments, max_length=64, ignore_eos=True),
}.items():
    start = time.perf_counter()
    answers[name] = run()
    seconds[name] = time.perf_counter() - start
    print(f"{name}: {seconds[name]:.2f} s, ×{seconds['in a row'] / seconds[name]:.1f}")

# %% [markdown]
# An answer does not depend on what else is in its batch:

# %%
assert answers["in a row"] == answers["mapped"] == answers["as a list"]
print(answers["mapped"][0])
