# SPDX-License-Identifier: Apache-2.0
"""qwin for EleutherAI's lm-evaluation-harness: `python -m qwin.lm_eval --model qwin --model_args model=NAME --tasks …`.

Needs the package `lm-eval`. model_args are `model` (a name or path) and the keywords of qwin.Engine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from lm_eval import utils
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from qwin.engine import Engine
from qwin.outputs import Result


@register_model("qwin")
class QwinLM(TemplateLM):  # type: ignore[misc]
    """All requests of a task run in the engine's one batch; batch_size is not needed."""

    def __init__(
        self, model: str, batch_size: Any = None, max_batch_size: int = 16, device: str | None = None, **options: Any
    ) -> None:
        super().__init__()
        self.engine = Engine.load_pretrained(model, max_batch_size=max_batch_size, **options)

    @property
    def eot_token_id(self) -> int:
        return self.engine.tokenize("<|endoftext|>", parse_special=True)[0]

    @property
    def tokenizer_name(self) -> str:
        return str(self.engine.info["model_name"]).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        return self.engine.tokenize(string, parse_special=True)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        if not add_generation_prompt:
            raise NotImplementedError("qwin's template always asks for an answer; leave --fewshot_as_multiturn out")
        return self.engine.detokenize(self.engine.apply_chat_template(chat_history))

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        length = self.engine.info["context_length"] - 1
        sums = []
        for (text,) in [request.args for request in requests]:
            windows = utils.get_rolling_token_windows(self.tok_encode(text), self.prefix_token_id, length, 1)
            parts = [(None, *utils.make_disjoint_window(window)) for window in windows]
            sums.append(sum(logprob for logprob, _ in self._loglikelihood_tokens(parts)))
        return sums

    def _loglikelihood_tokens(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
        room = self.engine.info["context_length"] - 1
        prompts = [(context + continuation)[-room:] for _, context, continuation in requests]
        results: list[Result] = self.engine.generate(prompts, 1, with_details=True, prompt_logprobs=True, logprobs=1)
        answers = []
        for result, (_, _, continuation) in zip(results, requests):
            entries = result.prompt_logprobs[-len(continuation) :]
            is_greedy = all(entry.token_id == entry.top[0][0] for entry in entries)
            answers.append((sum(entry.logprob for entry in entries), is_greedy))
        return answers

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        texts: dict[int, str] = {}
        kinds: dict[str, list[int]] = defaultdict(list)  # requests that may share a batch
        for i, request in enumerate(requests):
            kinds[repr(request.args[1])].append(i)
        for numbers in kinds.values():
            answers = self._continue([requests[i].args[0] for i in numbers], **requests[numbers[0]].args[1])
            texts.update(zip(numbers, answers))
        return [texts[i] for i in range(len(texts))]

    def _continue(
        self,
        contexts: list[str],
        until: str | Sequence[str] = (),
        max_gen_toks: int = 256,
        do_sample: bool = False,
        temperature: float = 0.0,
        **_: Any,
    ) -> list[str]:
        stop = [text for text in ([until] if isinstance(until, str) else until) if text]
        return self.engine.generate(
            contexts, max_gen_toks, raw=True, stop=stop, temperature=temperature if do_sample else 0.0
        )


if __name__ == "__main__":
    import sys

    from lm_eval.__main__ import cli_evaluate

    # Under its own name, so that the class is registered once.
    sys.modules["qwin.lm_eval"] = sys.modules["__main__"]
    cli_evaluate()
