# SPDX-License-Identifier: Apache-2.0
"""A chat in twenty lines: `python examples/chat.py [MODEL]`."""

import sys

import qwin

engine = qwin.Engine.load_pretrained(sys.argv[1] if len(sys.argv) > 1 else "qwen2.5-coder-0.5b")
messages = []
while True:
    try:
        messages.append({"role": "user", "content": input("> ")})
    except EOFError:
        break
    answer = ""
    for chunk in engine.stream_generate(messages, max_length=512):
        answer += chunk["text"]
        print(chunk["text"], end="", flush=True)
    print()
    messages.append({"role": "assistant", "content": answer})
