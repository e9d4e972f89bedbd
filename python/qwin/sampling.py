# SPDX-License-Identifier: Apache-2.0
"""How tokens are chosen and when an answer ends: names and meanings of the OpenAI API and of vLLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from qwin.errors import InvalidArgumentError


@dataclass(frozen=True)
class SamplingParams:
    """Parameters of one request. `None` means: as the checkpoint's generation_config.json says, else the default.

    temperature: 0 … 100; 0 takes the most probable token (default 0).
    top_k, top_p, min_p: cut the distribution before drawing (default: nothing is cut).
    repetition_penalty, presence_penalty, frequency_penalty: act on tokens seen before (default: none).
    seed: the same seed gives the same tokens.
    max_tokens: the longest answer, in tokens (default: up to the context's end).
    min_tokens: no end before this many tokens.
    stop: texts before which the answer ends. stop_token_ids: tokens that end it.
    ignore_eos: go on after an end-of-text token.
    logprobs: 0 … 20, also give natural log-probabilities of the tokens and of this many alternatives.
    logit_bias: token id -> -100 … 100, added to its logit.
    n: answers to each prompt, 1 … 8; with a seed, answer i uses seed + i.
    """

    n: int = 1
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    min_tokens: int | None = None
    stop: str | Sequence[str] | None = None
    stop_token_ids: Sequence[int] | None = None
    ignore_eos: bool | None = None
    logprobs: int | None = None
    logit_bias: Mapping[int, float] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.n, int) or not 1 <= self.n <= 8:
            raise InvalidArgumentError(f"n must be 1 … 8, not {self.n!r}")
        if self.logit_bias is not None and not isinstance(self.logit_bias, Mapping):
            raise InvalidArgumentError(f"logit_bias must map token ids to numbers, not {self.logit_bias!r}")

    def to_core(self, answer: int = 0) -> dict[str, Any]:
        """The values that were set, as the extension takes them; `answer` counts from 0 to n - 1."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "n"}
        core = {name: value for name, value in values.items() if value is not None}
        if isinstance(self.stop, str):
            core["stop"] = [self.stop]
        elif self.stop is not None:
            core["stop"] = list(self.stop)
        if self.stop_token_ids is not None:
            core["stop_token_ids"] = list(self.stop_token_ids)
        if self.logit_bias is not None:
            core["logit_bias"] = list(self.logit_bias.items())
        if self.n > 1:
            core["seed"] = (self.seed or 0) + answer
        return core


def sampling_from(values: Mapping[str, Any]) -> SamplingParams:
    """SamplingParams from keyword arguments; a name it does not know raises TypeError naming the known ones."""
    known = {f.name for f in fields(SamplingParams)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise TypeError(f"unknown argument {unknown[0]!r}; sampling takes {', '.join(sorted(known))}")
    return SamplingParams(**values)
