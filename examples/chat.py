# SPDX-License-Identifier: Apache-2.0
"""A chat of several turns, streamed. `QWIN_MODEL` is a name or a path; put `input("> ")` in the place of the questions."""

# %%
import os

import qwin

engine = qwin.Engine.load_pretrained(os.environ.get("QWIN_MODEL", "qwen2.5-coder-0.5b"))

# %% [markdown]
# Every turn sends the whole chat; what was read and written before is in the prefix cache, so only the new question is read.

# %%
messages = []
for question in ["Name the three longest rivers of China.", "Which of them is the longest?", "Say that in Chinese."]:
    messages.append({"role": "user", "content": question})
    print(f"> {question}")
    answer = ""
    for chunk in engine.stream_generate(messages, max_length=100):
        answer += chunk["text"]
        print(chunk["text"], end="", flush=True)
    print(f"\n  ({chunk['cached_tokens']} of {chunk['prompt_tokens']} tokens were read before)")
    messages.append({"role": "assistant", "content": answer})
