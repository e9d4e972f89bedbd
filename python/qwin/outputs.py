# SPDX-License-Identifier: Apache-2.0
"""What comes back: a result with its details, and chunks of a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypedDict


class Chunk(TypedDict, total=False):
    """A piece of a streamed answer. Text is whole characters; the last chunk has `finish_reason`."""

    text: str
    token_ids: list[int]
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int


@dataclass(frozen=True)
class TokenLogprob:
    """A token with the natural logarithm of its probability, and the most probable alternatives, best first."""

    token_id: int
    logprob: float
    top: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Timings:
    """Milliseconds until a place in the batch and until the first token; tokens per second of both phases."""

    queue_ms: float
    ttft_ms: float
    prefill_tokens_per_second: float
    decode_tokens_per_second: float


@dataclass(frozen=True)
class Result:
    """An answer with its details.

    finish_reason: "stop" (end of text or a stop string), "length" (max_tokens or the context's end) or "cancelled".
    cached_tokens: tokens of the prompt that the prefix cache knew.
    prompt_logprobs: of prompt tokens 1 …, when asked for.
    attention: how its tokens saw each other: attention_type, window, num_sink_tokens, memory_top_k, hybrid_from.
    """

    text: str
    token_ids: list[int]
    prompt_token_ids: list[int]
    finish_reason: str
    stop_string: str | None
    context_full: bool
    cached_tokens: int
    logprobs: list[TokenLogprob]
    prompt_logprobs: list[TokenLogprob]
    timings: Timings
    attention: dict[str, Any]

    @property
    def prompt_tokens(self) -> int:
        return len(self.prompt_token_ids)


def _logprobs(entries: list[tuple[int, float, list[tuple[int, float]]]]) -> list[TokenLogprob]:
    return [TokenLogprob(token, logprob, top) for token, logprob, top in entries]


def result_from_core(core: dict[str, Any], prompt_token_ids: list[int]) -> Result:
    return Result(
        text=core["text"],
        token_ids=core["token_ids"],
        prompt_token_ids=prompt_token_ids,
        finish_reason=core["finish_reason"],
        stop_string=core["stop_string"] or None,
        context_full=core["context_full"],
        cached_tokens=core["cached_tokens"],
        logprobs=_logprobs(core["logprobs"]),
        prompt_logprobs=_logprobs(core["prompt_logprobs"]),
        timings=Timings(
            core["queue_ms"],
            core["ttft_ms"],
            core["prefill_tokens_per_second"],
            core["decode_tokens_per_second"],
        ),
        attention=core["attention"],
    )
