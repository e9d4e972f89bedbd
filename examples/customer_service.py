# SPDX-License-Identifier: Apache-2.0
"""Customer service: the intent by scoring the choices, then an answer over two turns."""

# %%
import os

import qwin

engine = qwin.Engine.load_pretrained(os.environ.get("QWIN_MODEL", "qwen2.5-coder-0.5b"))
INTENTS = ["refund", "delivery", "technical problem", "other"]

# %% [markdown]
# The model need not be trusted to answer with one of the choices: `score()` says how probable each one is, all in one batch.


# %%
def intent_of(message):
    question = f"Which is this customer's concern: {', '.join(INTENTS)}? Answer with one of them.\n\n{message}"
    scores = engine.score(question, INTENTS)
    return max(zip(scores, INTENTS))[1]


for message in ["My parcel has not arrived yet.", "The app crashes when I open it.", "I want my money back!"]:
    print(f"{intent_of(message)}: {message}")

# %%
message = "My parcel has not arrived yet."
chat = [
    {
        "role": "system",
        "content": f"You serve customers of a shop, politely and in two sentences. The concern: {intent_of(message)}.",
    },
    {"role": "user", "content": message},
]
for follow_up in ["It was order 4711, three weeks ago.", None]:
    answer = engine.generate(chat, max_length=80)
    print(f"> {chat[-1]['content']}\n{answer}")
    chat += [{"role": "assistant", "content": answer}, {"role": "user", "content": follow_up}]
