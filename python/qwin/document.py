# SPDX-License-Identifier: Apache-2.0
"""Documents longer than one likes to read at once: cut at sentences, each part asked, the answers asked together."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qwin import _core
from qwin.arguments import AttentionType, given, sampling_for
from qwin.engine import Engine


@dataclass(frozen=True)
class DocumentResult:
    """The answer over the whole document, and those over its segments. Tokens are those of all requests together."""

    text: str
    segments: list[str]
    partial_answers: list[str]
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    attention: dict[str, Any]


def read_document(path: str | os.PathLike[str]) -> str:
    """The text of a file: plain text or Markdown in UTF-8, .docx, or PDF (by the program pdftotext)."""
    return _core.read_document(os.fspath(path))


def split_document(engine: Engine, text: str, segment_tokens: int = 1024, overlap: int = 256) -> list[str]:
    """Segments of at most segment_tokens tokens, cut between sentences (Chinese and English); each begins with the
    sentences that end the one before it, at most `overlap` tokens of them. A longer sentence is cut within."""
    return _texts(text, _core.split_document(engine._core, text, segment_tokens, overlap))


def process_document(
    engine: Engine,
    text: str,
    segment_tokens: int = 1024,
    overlap: int = 256,
    instruction: str | None = None,
    *,
    reduce_instruction: str | None = None,
    method: Literal["segments", "one_pass"] = "segments",
    max_length: int = 256,
    system: str | None = None,
    raw: bool = False,
    partial_answers: Sequence[str | None] | None = None,
    journal: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_text: Callable[[str], None] | None = None,
    with_details: bool = False,
    attention_type: AttentionType | None = None,
    window_size: int | None = None,
    num_sink_tokens: int | None = None,
    memory_top_k: int | None = None,
    timeout: float | None = None,
    client: str = "",
    priority: int = 0,
    cache_salt: str = "",
    **sampling: Any,
) -> Any:
    """Asks `instruction` (default: a summary, in the document's language) of every segment, then of the answers together.
    Segments run in one batch, and what their prompts begin with is read once.
    reduce_instruction: for the second step, default made from the first. method="one_pass" reads all of it in one prompt,
    with hybrid attention unless attention_type says otherwise. max_length: tokens of each answer. journal: a file that
    keeps the answers over segments, so that the same call goes on where an interrupted one was; partial_answers: those
    already known. progress(done, total) counts requests; on_text(text) hears the last answer while it is written.
    timeout is of the whole document. Further keywords are those of SamplingParams.
    Returns the text; with_details=True gives a DocumentResult. Raises as Engine.generate() does.
    """
    options = {
        "method": method,
        "instruction": instruction,
        "reduce_instruction": reduce_instruction,
        "system": system,
        "raw": raw,
        "segment_tokens": segment_tokens,
        "overlap": overlap,
        "partial_answers": None if partial_answers is None else list(partial_answers),
        "journal": None if journal is None else os.fspath(journal),
    }
    rest = {
        "attention_type": attention_type,
        "window": window_size,
        "num_sink_tokens": num_sink_tokens,
        "memory_top_k": memory_top_k,
        "client": client,
        "priority": priority,
        "cache_salt": cache_salt,
        "timeout_seconds": timeout,
    }
    params = sampling_for(max_length, sampling).to_core()
    result = _core.process_document(engine._core, text, given(options), params, given(rest), progress, on_text)
    return DocumentResult(**{**result, "segments": _texts(text, result["segments"])}) if with_details else result["text"]


def _texts(text: str, segments: list[tuple[int, int, int]]) -> list[str]:
    data = text.encode()
    return [data[begin:end].decode() for begin, end, _ in segments]
