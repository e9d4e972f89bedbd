# SPDX-License-Identifier: Apache-2.0
"""What callers may say, and what they are told when they may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union

from qwin.errors import InvalidArgumentError
from qwin.sampling import SamplingParams, sampling_from

AttentionType = Literal["full", "sliding_window", "hybrid"]
OverflowPolicy = Literal["error", "window"]
GlobalMessage = Literal["system", "question"]
Message = Mapping[str, Any]
# A text, a chat, or token ids.
Prompt = Union[str, Sequence[Message], Sequence[int]]


def as_list(prompt: Any) -> tuple[list[Prompt], bool]:
    """The prompts, and whether a list of them was given rather than one text, chat or list of token ids."""
    prompt = plain_prompt(prompt)
    if isinstance(prompt, str):
        return [prompt], False
    if prompt and (is_token(prompt[0]) or isinstance(prompt[0], Mapping)):
        return [prompt], False
    return list(prompt), True


def plain_prompt(prompt: Any) -> Any:
    """A text or a sequence; arrays of NumPy and torch become lists."""
    if hasattr(prompt, "tolist"):
        prompt = prompt.tolist()
    if not isinstance(prompt, Sequence) or isinstance(prompt, (bytes, bytearray)):
        raise InvalidArgumentError(
            f"a prompt is a text, a list of messages or a list of token ids, not {type(prompt).__name__}"
        )
    return prompt


def is_token(value: Any) -> bool:
    """Integers, NumPy's too."""
    return hasattr(value, "__index__")


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was left at None."""
    return {name: value for name, value in values.items() if value is not None}


def sampling_for(max_length: int | None, sampling: dict[str, Any]) -> SamplingParams:
    if max_length is not None:
        if "max_tokens" in sampling:
            raise InvalidArgumentError("max_length and max_tokens are the same; give one of them")
        sampling = {**sampling, "max_tokens": max_length}
    params = sampling_from(sampling)
    if params.n != 1:
        raise InvalidArgumentError("n is for qwin.LLM; here give a list with the prompt n times, each with its seed")
    return params


def attention_for(
    attention_type: str,
    window_size: int | None,
    num_sink_tokens: int,
    memory_top_k: int | None,
    hybrid_from: int | None,
    global_heads: int | None,
) -> dict[str, Any]:
    """What the engine is loaded with; names it does not know it refuses itself."""
    if attention_type == "full" and window_size is not None:
        raise InvalidArgumentError('window_size needs attention_type="sliding_window" or "hybrid"')
    if attention_type != "hybrid" and any(value is not None for value in (memory_top_k, hybrid_from, global_heads)):
        raise InvalidArgumentError('memory_top_k, hybrid_from and global_heads need attention_type="hybrid"')
    window = None if window_size is None else at_least("window_size", window_size, 1)
    return {
        "attention_type": attention_type,
        "num_sink_tokens": num_sink_tokens,
        **given({"window": window, "memory_top_k": memory_top_k, "hybrid_from": hybrid_from, "global_heads": global_heads}),
    }


def request_for(
    *,
    window_size: int | None,
    global_spans: Sequence[tuple[int, int]] | None,
    global_texts: Sequence[str] | None,
    global_messages: Sequence[GlobalMessage] | None,
    **others: Any,
) -> dict[str, Any]:
    """What one request has besides its prompt and sampling; what is None is as the engine was loaded."""
    return given(
        {
            "window": window_size,
            "global_spans": None if global_spans is None else [tuple(span) for span in global_spans],
            "global_texts": None if global_texts is None else list(global_texts),
            "global_messages": None if global_messages is None else list(global_messages),
            **others,
        }
    )


def checked_bits(quantize_bits: int | None) -> int:
    """As the engine wants it: 0 leaves the weights as they are stored."""
    if quantize_bits not in (None, 4, 8):
        raise InvalidArgumentError(f"quantize_bits must be None, 4 or 8, not {quantize_bits!r}")
    return quantize_bits or 0


def at_least(name: str, value: float, low: float) -> Any:
    if not value >= low:  # not-a-number neither
        raise InvalidArgumentError(f"{name} must be at least {low}, not {value}")
    return value
