# SPDX-License-Identifier: Apache-2.0
"""Documents longer than one likes to read at once: cut at sentences, each part asked, the answers asked together."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qwin.engine import Engine
from qwin.errors import InvalidArgumentError

# A sentence ends after its mark (and closing quotes), or with its paragraph; Chinese marks need no space behind them.
_SENTENCE_END = re.compile(r"(?<=[。！？；])[”’」』）]*|(?<=[.!?])[\"')\]]*\s+|\n+")


@dataclass(frozen=True)
class DocumentResult:
    """The answer over the whole document, and those over its segments."""

    text: str
    segments: list[str]
    partial_answers: list[str]


def split_document(engine: Engine, text: str, segment_tokens: int = 1024, overlap: int = 256) -> list[str]:
    """Segments of at most segment_tokens tokens, cut between sentences; each begins with the sentences that end the one
    before it, at most `overlap` tokens of them. A sentence longer than a segment is cut between tokens."""
    if segment_tokens < 16 or not 0 <= overlap < segment_tokens:
        raise InvalidArgumentError(
            f"segment_tokens must be at least 16 and overlap less than it, not {segment_tokens} and {overlap}"
        )
    pieces: list[tuple[str, int]] = []
    for sentence in _sentences(text):
        pieces += _fitting(engine, sentence, segment_tokens)
    segments: list[str] = []
    current: list[tuple[str, int]] = []
    for piece in pieces:
        if current and sum(n for _, n in current) + piece[1] > segment_tokens:
            segments.append("".join(part for part, _ in current))
            current = _tail(current, min(overlap, segment_tokens - piece[1]))
        current.append(piece)
    if current:
        segments.append("".join(part for part, _ in current))
    return [segment for segment in segments if segment.strip()]


def process_document(
    engine: Engine,
    text: str,
    segment_tokens: int = 1024,
    overlap: int = 256,
    instruction: str = "Summarize the following text.",
    *,
    reduce_instruction: str | None = None,
    max_length: int = 256,
    progress: Callable[[int, int], None] | None = None,
    with_details: bool = False,
    **arguments: Any,
) -> Any:
    """Asks `instruction` of every segment of `text`, then (when there are several) of the answers together.

    The segments run in one batch, and the instruction they begin with is read once. reduce_instruction: for the second
    step, default the same instruction. max_length: tokens of each answer. progress(done, total) counts segments.
    Further keywords are those of Engine.generate(). Returns the text; with_details=True gives a DocumentResult.
    """
    segments = split_document(engine, text, segment_tokens, overlap)
    if not segments:
        raise InvalidArgumentError("the document is empty")
    partial: list[str] = []
    batch = max(1, engine.info["max_batch_size"])
    for first in range(0, len(segments), batch):
        prompts = [f"{instruction}\n\n{segment}" for segment in segments[first : first + batch]]
        partial += engine.generate(prompts, max_length, **arguments)
        if progress is not None:
            progress(len(partial), len(segments))
    answer = partial[0] if len(partial) == 1 else _reduce(engine, partial, reduce_instruction or instruction, segment_tokens, max_length, arguments)
    return DocumentResult(answer, segments, partial) if with_details else answer


def _reduce(
    engine: Engine, answers: list[str], instruction: str, segment_tokens: int, max_length: int, arguments: dict[str, Any]
) -> str:
    """One answer from many: as many at a time as fit into a segment, until one is left."""
    while len(answers) > 1:
        groups: list[list[str]] = [[]]
        size = 0
        for answer in answers:
            tokens = len(engine.tokenize(answer))
            if len(groups[-1]) >= 2 and size + tokens > segment_tokens:
                groups.append([])
                size = 0
            groups[-1].append(answer)
            size += tokens
        prompts = [f"{instruction}\n\n" + "\n\n".join(group) for group in groups]
        answers = engine.generate(prompts, max_length, **arguments)
    return answers[0]


def _sentences(text: str) -> list[str]:
    sentences = []
    begin = 0
    for match in _SENTENCE_END.finditer(text):
        if match.end() > begin:
            sentences.append(text[begin : match.end()])
            begin = match.end()
    if begin < len(text):
        sentences.append(text[begin:])
    return sentences


def _fitting(engine: Engine, sentence: str, limit: int) -> list[tuple[str, int]]:
    ids = engine.tokenize(sentence)
    if len(ids) <= limit:
        return [(sentence, len(ids))]
    # Halves until each fits, so that no character is cut.
    middle = len(sentence) // 2
    return _fitting(engine, sentence[:middle], limit) + _fitting(engine, sentence[middle:], limit)


def _tail(pieces: list[tuple[str, int]], limit: int) -> list[tuple[str, int]]:
    tail: list[tuple[str, int]] = []
    for piece in reversed(pieces):
        if sum(n for _, n in tail) + piece[1] > limit:
            break
        tail.insert(0, piece)
    return tail
