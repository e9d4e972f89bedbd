# SPDX-License-Identifier: Apache-2.0
"""The shape vLLM's users know: `LLM(model).generate(prompts, SamplingParams(…))` and `.chat(messages)`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from qwin.arguments import Message, Prompt
from qwin.batch import Request, run_all
from qwin.engine import Engine
from qwin.outputs import Result, TokenLogprob
from qwin.sampling import SamplingParams


@dataclass(frozen=True)
class CompletionOutput:
    """One answer. cumulative_logprob is the sum over its tokens when logprobs were asked for."""

    index: int
    text: str
    token_ids: list[int]
    finish_reason: str
    stop_reason: str | None = None
    cumulative_logprob: float | None = None
    logprobs: list[TokenLogprob] | None = None


@dataclass(frozen=True)
class RequestOutput:
    """A prompt with its answers."""

    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput] = field(default_factory=list)
    num_cached_tokens: int = 0
    finished: bool = True


class LLM:
    """A model by path or name; further arguments are those of Engine."""

    def __init__(self, model: str | os.PathLike[str], **options: Any) -> None:
        self.engine = Engine(model, **options)

    def generate(
        self,
        prompts: str | Sequence[str] | Sequence[Sequence[int]],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
    ) -> list[RequestOutput]:
        """Continues texts (or token ids) as they are, without the chat template; all run in one batch."""
        single = isinstance(prompts, str) or (len(prompts) > 0 and isinstance(prompts[0], int))
        each: list[Any] = [prompts] if single else list(prompts)
        return self._run(each, sampling_params, raw=True)

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
    ) -> list[RequestOutput]:
        """Answers one chat, or several."""
        single = len(messages) > 0 and hasattr(messages[0], "keys")
        each: list[Any] = [messages] if single else list(messages)
        return self._run(each, sampling_params, raw=False)

    def close(self) -> None:
        self.engine.close()

    def _run(
        self, prompts: list[Prompt], sampling: SamplingParams | Sequence[SamplingParams] | None, raw: bool
    ) -> list[RequestOutput]:
        if sampling is None or isinstance(sampling, SamplingParams):
            sampling = [sampling or SamplingParams()] * len(prompts)
        if len(sampling) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts and {len(sampling)} sampling_params")
        ids = [self.engine._prompt_ids(prompt, raw, None, None) for prompt in prompts]
        requests = [Request(one, params.to_core(i), {}) for one, params in zip(ids, sampling) for i in range(params.n)]
        answers = iter(run_all(self.engine._core, requests))
        outputs = []
        for prompt, one, params in zip(prompts, ids, sampling):
            results = [next(answers) for _ in range(params.n)]
            outputs.append(
                RequestOutput(
                    prompt=prompt if isinstance(prompt, str) else None,
                    prompt_token_ids=one,
                    outputs=[_completion(i, result, params) for i, result in enumerate(results)],
                    num_cached_tokens=results[0].cached_tokens,
                )
            )
        return outputs


def _completion(index: int, result: Result, params: SamplingParams) -> CompletionOutput:
    logprobs = result.logprobs if params.logprobs is not None else None
    return CompletionOutput(
        index=index,
        text=result.text,
        token_ids=result.token_ids,
        finish_reason=result.finish_reason,
        stop_reason=result.stop_string,
        cumulative_logprob=None if logprobs is None else sum(entry.logprob for entry in logprobs),
        logprobs=logprobs,
    )
