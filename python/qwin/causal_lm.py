# SPDX-License-Identifier: Apache-2.0
"""The shape users of `transformers` know: `AutoModelForCausalLM.from_pretrained(name).generate(**inputs)`.

    from qwin.causal_lm import AutoModelForCausalLM        # the one line to change
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from qwin.arguments import Prompt
from qwin.engine import Engine
from qwin.errors import InvalidArgumentError


class Streamer(Protocol):
    """What `transformers.TextStreamer` has."""

    def put(self, value: Any) -> None: ...
    def end(self) -> None: ...


class AutoModelForCausalLM:
    @staticmethod
    def from_pretrained(name: str, **options: Any) -> CausalLM:
        """A model by name or path; options are those of qwin.Engine."""
        return CausalLM(Engine.load_pretrained(name, **options))


class CausalLM:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def generate(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        *,
        max_new_tokens: int = 20,
        min_new_tokens: int | None = None,
        do_sample: bool | None = None,
        streamer: Streamer | None = None,
        pad_token_id: int = 0,
        **sampling: Any,
    ) -> Any:
        """Prompts and answers [batch, length], right-padded, of the kind (NumPy, torch) that input_ids [batch, length] is.

        do_sample=False takes the most probable token; otherwise the checkpoint's settings hold, as in `transformers`. Further
        keywords are those of qwin.SamplingParams.
        """
        import numpy as np

        ids = np.asarray(input_ids)
        if ids.ndim != 2:
            raise InvalidArgumentError(f"input_ids must be [batch, length], not {list(ids.shape)}")
        mask = np.ones_like(ids) if attention_mask is None else np.asarray(attention_mask)
        prompts = [row[keep != 0].tolist() for row, keep in zip(ids, mask)]
        if do_sample is False:
            sampling["temperature"] = 0.0
        if min_new_tokens is not None:
            sampling["min_tokens"] = min_new_tokens
        if streamer is None:
            results = self.engine.generate(prompts, max_new_tokens, with_details=True, **sampling)
            answers = [result.token_ids for result in results]
        else:
            answers = [self._streamed(ids, prompts, max_new_tokens, streamer, sampling)]
        length = max(map(len, answers))
        padded = np.array([answer + [pad_token_id] * (length - len(answer)) for answer in answers], ids.dtype)
        output = np.concatenate([ids, padded.reshape(len(ids), length)], axis=1)
        return output if isinstance(input_ids, (np.ndarray, Sequence)) else _as_torch(output)

    def _streamed(
        self, ids: Any, prompts: Sequence[Prompt], max_new_tokens: int, streamer: Streamer, sampling: dict[str, Any]
    ) -> list[int]:
        import numpy as np

        if len(prompts) != 1:
            raise InvalidArgumentError(f"a streamer is for one prompt, not {len(prompts)}")
        streamer.put(ids)
        answer: list[int] = []
        for chunk in self.engine.stream_generate(prompts[0], max_new_tokens, stream_interval=0, **sampling):
            if chunk["token_ids"]:
                streamer.put(np.array(chunk["token_ids"]))
                answer += chunk["token_ids"]
        streamer.end()
        return answer


def _as_torch(array: Any) -> Any:
    import torch

    return torch.from_numpy(array)
