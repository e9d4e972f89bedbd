# SPDX-License-Identifier: Apache-2.0
"""What repair learns from: texts that the full model writes itself, and what it holds for likely at each of their places.

A model's own answers are the text on which it should stay what it was; no other text need be there. Openings in several
languages see to it that not all of them are alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from qwin.batch import Request, run_all
from qwin.engine import Engine
from qwin.errors import InvalidArgumentError
from qwin.repair.model_file import Floats
from qwin.sampling import SamplingParams

NUM_TOP = 64
QUESTION_TOKENS, ANSWER_TOKENS = 100, 400
PLACEHOLDER = "QUESTION"

# How questions to the model begin; it goes on by itself. And how texts begin that are no chats.
QUESTIONS = (
    "", "", "", "", "Write a", "How do I", "What is", "Explain", "Why does", "Can you", "Fix this code:\n", "Give me",
    "Translate", "Summarize", "Compare", "I have a", "Write a C++", "Write a JavaScript", "Write a SQL query", "Implement",
    "\u8bf7", "\u5982\u4f55", "\u4e3a\u4ec0\u4e48", "\u5199\u4e00\u4e2a", "\u4ec0\u4e48\u662f", "\u89e3\u91ca", "\u7ed9\u6211", "\u6211\u60f3",
)  # fmt: skip
OPENINGS = (
    "import", "#include <", "# ", "class ", "def ", "package ", "function ", "// ", "\"\"\"", "use ", "SELECT", "<!DOCTYPE",
    "The", "In", "When", "This chapter", "A", "It was", "However,", "1. ", "== ", "To",
    "\u5728", "\u6839\u636e", "\u7b2c\u4e00", "\u8fd9", "\u4e2d\u56fd", "\u5982\u679c", "\u672c", "\u968f\u7740",
)  # fmt: skip
CHAT_SHARE = 0.5

Progress = Callable[[str, int, int], None]


@dataclass
class Lessons:
    """Pieces of text, and of each position the teacher's most likely ids with their log-probabilities."""

    ids: NDArray[np.int32]  # [pieces, tokens]
    top_ids: NDArray[np.int32]  # [pieces, tokens, NUM_TOP]
    top_logprobs: Floats  # [pieces, tokens, NUM_TOP]

    def save(self, path: Path) -> None:
        partial = path.with_suffix(".part.npz")
        np.savez(partial, ids=self.ids, top_ids=self.top_ids, top_logprobs=self.top_logprobs)
        partial.replace(path)

    @staticmethod
    def load(path: Path) -> Lessons:
        with np.load(path) as arrays:
            return Lessons(arrays["ids"], arrays["top_ids"], arrays["top_logprobs"])


def write_texts(engine: Engine, num_tokens: int, seed: int, progress: Progress) -> list[list[int]]:
    """Texts of `num_tokens` tokens in all, or some more: chats, half of them, and texts as files and books have them."""
    chooser = random.Random(seed)
    chat = engine.apply_chat_template([{"role": "user", "content": PLACEHOLDER}])
    before, after = (engine.tokenize(part, parse_special=True) for part in engine.detokenize(chat).split(PLACEHOLDER))
    texts: list[list[int]] = []
    written = 0
    while written < num_tokens:
        progress("writing texts", written, num_tokens)
        count = 2 * engine.info["max_batch_size"]
        num_chats = round(CHAT_SHARE * count)
        begun = [before + engine.tokenize(chooser.choice(QUESTIONS)) for _ in range(num_chats)]
        questions = _continued(engine, begun, QUESTION_TOKENS, chooser)
        prompts = [question + after for question in questions]
        prompts += [engine.tokenize(chooser.choice(OPENINGS)) for _ in range(count - num_chats)]
        batch = _continued(engine, prompts, ANSWER_TOKENS, chooser)
        written += sum(map(len, batch))
        texts += batch
    progress("writing texts", num_tokens, num_tokens)
    return texts


def _continued(engine: Engine, prompts: Sequence[list[int]], length: int, chooser: random.Random) -> list[list[int]]:
    """As the model itself draws, whatever its generation_config.json says."""
    requests = [
        Request(prompt, SamplingParams(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repetition_penalty=1.0, max_tokens=length,
                                       seed=chooser.randrange(1 << 30)).to_core(), {})
        for prompt in prompts
    ]  # fmt: skip
    results = run_all(engine._core, requests)
    return [prompt + list(result.token_ids) for prompt, result in zip(prompts, results)]


def pieces_of(texts: Sequence[Sequence[int]], separator: Sequence[int], length: int, seed: int) -> NDArray[np.int32]:
    """The texts in a random order, one behind the other, cut into pieces [pieces, length]; what is left over is dropped."""
    order = list(texts)
    random.Random(seed).shuffle(order)
    stream = [token for text in order for token in (*text, *separator)]
    count = len(stream) // length
    if count < 8:
        raise InvalidArgumentError(f"{len(stream)} tokens are less than 8 pieces of {length}; give more text")
    return np.array(stream[: count * length], np.int32).reshape(count, length)


def ask_teacher(engine: Engine, ids: NDArray[np.int32], vocab_size: int, progress: Progress) -> Lessons:
    """A larger model may have more ids than the pupil, of no token: they are left out."""
    top_ids = np.empty((*ids.shape, NUM_TOP), np.int32)
    top_logprobs = np.empty((*ids.shape, NUM_TOP), np.float32)
    for i, piece in enumerate(ids):
        progress("asking the teacher", i, len(ids))
        logits = torch.from_numpy(engine.prompt_logits(piece.tolist()))[:, :vocab_size]
        values, places = logits.topk(NUM_TOP, dim=-1)
        top_ids[i] = places.numpy()
        top_logprobs[i] = (values - logits.logsumexp(-1, keepdim=True)).numpy()
    progress("asking the teacher", len(ids), len(ids))
    return Lessons(ids, top_ids, top_logprobs)
