# SPDX-License-Identifier: Apache-2.0
"""Intent by scoring the choices, then an answer: `python examples/customer_service.py [MODEL]`.

A choice's score is the log-probability of its tokens after the question; the choices share the question's prefix, which is
read once.
"""

import sys

import qwin

INTENTS = ["refund", "delivery", "technical problem", "other"]
MESSAGES = ["My parcel has not arrived yet.", "The app crashes when I open it.", "I want my money back!"]

engine = qwin.Engine.load_pretrained(sys.argv[1] if len(sys.argv) > 1 else "qwen2.5-coder-0.5b")


def score(prompt: list[int], choice: str) -> float:
    ids = engine.tokenize(choice)
    details = engine.generate(prompt + ids, 1, with_details=True, prompt_logprobs=True, logprobs=0)
    return sum(entry.logprob for entry in details.prompt_logprobs[-len(ids) :]) / len(ids)


for message in MESSAGES:
    question = f"Which is this customer's concern: {', '.join(INTENTS)}? Answer with one of them.\n\n{message}"
    prompt = engine.apply_chat_template([{"role": "user", "content": question}])
    intent = max(INTENTS, key=lambda choice: score(prompt, choice))
    chat = [
        {"role": "system", "content": f"You serve customers, politely and in two sentences. The concern: {intent}."},
        {"role": "user", "content": message},
    ]
    print(f"{message}\n  [{intent}] {engine.generate(chat, max_length=80)}")
