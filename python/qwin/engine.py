# SPDX-License-Identifier: Apache-2.0
"""The engine: a loaded model that answers many requests at once."""

from __future__ import annotations

import atexit
import json
import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, overload

from qwin import _core
from qwin.arguments import AttentionType, GlobalMessage, Message, OverflowPolicy, Prompt, as_list, at_least, attention_for, checked_bits, is_token, plain_prompt, request_for, sampling_for
from qwin.batch import Request, run_all
from qwin.errors import InvalidArgumentError
from qwin.live_model import is_live_model, opened
from qwin.stream import TextStream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

Pooling = Literal["mean", "last"]

_open_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class Engine:
    """A model, loaded. Thread-safe: requests from threads, tasks and lists go forward together, in one batch.

    model: path of a GGUF file or of a directory with config.json and safetensors, the name of a pulled model, or a
        `transformers` model in memory, whose weights are quantized while they are taken and may be freed afterwards.
    tokenizer: of a model in memory; default the one from where it was loaded.
    attention_type: "full" is exact; "sliding_window" sees the first `num_sink_tokens` and the last `window_size` tokens
        (default 1024), and what leaves the window is forgotten; "hybrid" sees these and, for each KV head, the
        `memory_top_k` pieces of 16 tokens (default 384) that matter most of all between them, chosen anew by every token:
        nothing is forgotten. Tokens before position `hybrid_from` (default 8192) see everything, and so do `global_heads`
        KV heads of all layers, those that `qwin calibrate-heads` found to need it most.
    overflow_policy: a prompt longer than the context is refused ("error") or read with a sliding window ("window").
    quantize_bits: 4 or 8 quantizes the weights while they are loaded. None keeps a GGUF file's own bits, and computes float
        files in 8 bits, groups of 32.
    max_batch_size: sequences that run in one step. timeout: seconds an idle engine holds a first request so that others
        can start with it; a busy one never waits. max_step_seconds: prompts are read in pieces that keep a step below this,
        so that nobody waits long for a first token or the next one; longer pieces read a little faster, 0 takes the longest.
    context_length: tokens of prompt and answer together; default the model's own, as far as KV memory allows.
    kv_type: "f16", "q8" (half the memory) or "f32". kv_memory: bytes; default what the weights leave of the memory, less 20 %.
        kv_dir: a folder on a disk, where K and V go that are too many for kv_memory; default nowhere.
    prefix_cache: keep what was read and written for later requests that begin so; cache_dir: also on disk, across
        restarts, up to cache_max_bytes.

    Raises InvalidArgumentError, ModelFileError, TooLargeError (before anything large is allocated).
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | PreTrainedModel,
        *,
        tokenizer: Any | None = None,
        attention_type: AttentionType = "full",
        window_size: int | None = None,
        num_sink_tokens: int = 64,
        memory_top_k: int | None = None,
        hybrid_from: int | None = None,
        global_heads: int | None = None,
        overflow_policy: OverflowPolicy = "error",
        quantize_bits: Literal[None, 4, 8] = None,
        sparse_threshold: float = 0.0,
        max_batch_size: int = 16,
        timeout: float = 0.0,
        max_queue: int = 256,
        max_step_seconds: float = 0.19,
        context_length: int | None = None,
        num_threads: int | None = None,
        kv_type: Literal["f16", "q8", "f32"] = "f16",
        kv_memory: int | None = None,
        kv_dir: str | os.PathLike[str] | None = None,
        prefix_cache: bool = True,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_max_bytes: int = 4 << 30,
    ) -> None:
        options: dict[str, Any] = {
            **attention_for(attention_type, window_size, num_sink_tokens, memory_top_k, hybrid_from, global_heads),
            "overflow_policy": overflow_policy,
            "max_batch_size": at_least("max_batch_size", max_batch_size, 1),
            "batch_timeout_seconds": float(at_least("timeout", timeout, 0)),
            "max_queue_length": at_least("max_queue", max_queue, 1),
            "max_step_seconds": float(at_least("max_step_seconds", max_step_seconds, 0)),
            "context_length": context_length or 0,
            "num_threads": num_threads or 0,
            "kv_type": kv_type,
            "quantize_bits": checked_bits(quantize_bits),
            "kv_memory_bytes": kv_memory or 0,
            "kv_directory": "" if kv_dir is None else os.fspath(kv_dir),
            "prefix_cache": prefix_cache,
            "cache_directory": "" if cache_dir is None else os.fspath(cache_dir),
            "cache_max_bytes": cache_max_bytes,
        }
        if sparse_threshold != 0.0:
            raise InvalidArgumentError("sparse_threshold is not there yet; leave it at 0.0")
        self._core = _load(model, tokenizer, options)
        _open_engines.add(self)

    @classmethod
    def load_pretrained(cls, name: str, *, progress: Callable[[int, int], None] | None = None, **options: Any) -> Engine:
        """Loads a model by its name on the hub ("Qwen/Qwen2.5-7B") or in `qwin pull`, fetching it when it is not there, or
        by its path.

        progress(done, total) hears bytes. Offline, or with HF_HUB_OFFLINE=1, only what was pulled before is found.
        """
        return cls(name if os.path.exists(name) else _core.pull(name, progress), **options)

    # ---- answers

    @overload
    def generate(
        self, prompt: str | Sequence[Message], max_length: int | None = ..., *, with_details: Literal[False] = ...,
        **arguments: Any,
    ) -> str: ...
    @overload
    def generate(
        self, prompt: list[str], max_length: int | None = ..., *, with_details: Literal[False] = ..., **arguments: Any
    ) -> list[str]: ...
    @overload
    def generate(self, prompt: Any, max_length: int | None = ..., *, with_details: bool, **arguments: Any) -> Any: ...

    def generate(
        self,
        prompt: Any,
        max_length: int | None = None,
        *,
        with_details: bool = False,
        raw: bool = False,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        attention_type: AttentionType | None = None,
        window_size: int | None = None,
        num_sink_tokens: int | None = None,
        memory_top_k: int | None = None,
        global_heads: int | None = None,
        global_spans: Sequence[tuple[int, int]] | None = None,
        global_texts: Sequence[str] | None = None,
        global_messages: Sequence[GlobalMessage] | None = None,
        overflow_policy: OverflowPolicy | None = None,
        prompt_logprobs: bool = False,
        timeout: float | None = None,
        client: str = "",
        priority: int = 0,
        cache_salt: str = "",
        **sampling: Any,
    ) -> Any:
        """Answers a prompt (a text, a chat, token ids) or a list of prompts, all of which run in one batch.

        A text becomes a user's message of the model's chat template unless `raw`; then, and for a model without a
        template, it is continued as it is. max_length counts new tokens. Further keywords are those of SamplingParams.
        global_spans (pairs [begin, end) of the prompt's tokens), global_texts (wherever they stand in it) and
        global_messages ("system", "question") name tokens that all later ones see under hybrid attention.
        Returns the text, or a list of them; with_details=True gives Result objects.
        Raises InvalidArgumentError, ContextLengthError, QueueFullError, TimedOutError, NumericalError, CancelledError.
        """
        prompts, is_list = as_list(prompt)
        params = sampling_for(max_length, sampling)
        rest = request_for(
            attention_type=attention_type,
            window_size=window_size,
            num_sink_tokens=num_sink_tokens,
            memory_top_k=memory_top_k,
            global_heads=global_heads,
            global_spans=global_spans,
            global_texts=global_texts,
            global_messages=global_messages,
            overflow_policy=overflow_policy,
            prompt_logprobs=prompt_logprobs,
            client=client,
            priority=priority,
            cache_salt=cache_salt,
            timeout_seconds=timeout,
        )
        ids = [self._prompt_ids(p, raw, system, tools) for p in prompts]
        requests = [Request(one, params.to_core(), rest) for one in ids]
        results = run_all(self._core, requests)
        answers: list[Any] = results if with_details else [result.text for result in results]
        return answers if is_list else answers[0]

    def stream_generate(
        self,
        prompt: Prompt,
        max_length: int | None = None,
        temperature: float | None = None,
        stream_interval: float = 0.05,
        *,
        raw: bool = False,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        attention_type: AttentionType | None = None,
        window_size: int | None = None,
        num_sink_tokens: int | None = None,
        memory_top_k: int | None = None,
        global_heads: int | None = None,
        global_spans: Sequence[tuple[int, int]] | None = None,
        global_texts: Sequence[str] | None = None,
        global_messages: Sequence[GlobalMessage] | None = None,
        overflow_policy: OverflowPolicy | None = None,
        client: str = "",
        priority: int = 0,
        cache_salt: str = "",
        **sampling: Any,
    ) -> TextStream:
        """Like generate() for one prompt, but yields chunks `{"text": …}` as text comes, at most `stream_interval` seconds
        late. Works with `for` and `async for`; closing it cancels the request."""
        if temperature is not None:
            sampling["temperature"] = temperature
        params = sampling_for(max_length, sampling)
        ids = self._prompt_ids(prompt, raw, system, tools)
        rest = request_for(
            attention_type=attention_type,
            window_size=window_size,
            num_sink_tokens=num_sink_tokens,
            memory_top_k=memory_top_k,
            global_heads=global_heads,
            global_spans=global_spans,
            global_texts=global_texts,
            global_messages=global_messages,
            overflow_policy=overflow_policy,
            client=client,
            priority=priority,
            cache_salt=cache_salt,
        )
        stream = self._core.submit(ids, params.to_core(), rest)
        return TextStream(stream, ids, at_least("stream_interval", stream_interval, 0))

    @overload
    def embed(self, prompt: str, *, pooling: Pooling = ..., normalize: bool = ...) -> NDArray[np.float32]: ...
    @overload
    def embed(self, prompt: Sequence[int], *, pooling: Pooling = ..., normalize: bool = ...) -> NDArray[np.float32]: ...
    @overload
    def embed(self, prompt: Sequence[str], *, pooling: Pooling = ..., normalize: bool = ...) -> NDArray[np.float32]: ...

    def embed(self, prompt: Any, *, pooling: Pooling = "mean", normalize: bool = True) -> NDArray[np.float32]:
        """A vector float32 [hidden_size] of a text or of token ids, or [number of texts, hidden_size] of a list: the mean
        of the hidden states, or the last one. normalize: to length 1, so that a dot product is a cosine."""
        if pooling not in ("mean", "last"):
            raise InvalidArgumentError(f'pooling must be "mean" or "last", not {pooling!r}')
        prompts, is_list = as_list(prompt)
        if not prompts:
            raise InvalidArgumentError("there is no text to embed")
        ids = [self._prompt_ids(p, True, None, None) for p in prompts]
        import numpy as np  # late: half of what `import qwin` would take

        with ThreadPoolExecutor(16) as pool:
            states = list(pool.map(self.hidden_states, ids))
        vectors = np.stack([one.mean(axis=0) if pooling == "mean" else one[-1] for one in states])
        if normalize:
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        answer: NDArray[np.float32] = vectors if is_list else vectors[0]
        return answer

    def hidden_states(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Hidden states of every position after the last norm, float32 [len(token_ids), hidden_size]."""
        states: NDArray[np.float32] = self._core.hidden_states(list(token_ids))
        return states

    def prompt_logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits of every position, float32 [len(token_ids), vocab_size]."""
        logits: NDArray[np.float32] = self._core.prompt_logits(list(token_ids))
        return logits

    def score(self, prompt: Prompt, choices: Sequence[str]) -> list[float]:
        """Log-probability of each choice as the beginning of the answer to `prompt` (natural logarithm, the sum over its
        tokens); all choices run in one batch. exp() of them need not add up to 1."""
        ids = self._prompt_ids(prompt, False, None, None)
        tails = [self._core.tokenize(choice, False) for choice in choices]
        if not all(tails):
            raise InvalidArgumentError("a choice is empty")
        results = self.generate([ids + tail for tail in tails], 1, with_details=True, prompt_logprobs=True, logprobs=0)
        return [
            sum(entry.logprob for entry in result.prompt_logprobs[-len(tail) :]) for result, tail in zip(results, tails)
        ]

    # ---- texts and tokens

    def tokenize(self, text: str, *, parse_special: bool = False) -> list[int]:
        """Token ids of a text; with parse_special, added tokens such as <|im_start|> are recognised in it."""
        return self._core.tokenize(text, parse_special)

    def detokenize(self, token_ids: Sequence[int]) -> str:
        """The text of token ids; bytes that are no UTF-8 become U+FFFD."""
        return self._core.detokenize(list(token_ids))

    def apply_chat_template(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """Token ids of a chat, ready to be answered. Text of the fields never becomes a special token."""
        chat: Any = list(messages)
        if tools is not None:
            chat = {"messages": chat, "tools": list(tools)}
        return self._core.tokenize_chat(json.dumps(chat))

    # ---- the engine itself

    @property
    def info(self) -> dict[str, Any]:
        """What was loaded and how it runs: model_name, isa, weight_bytes, kv_bytes_per_token, context_length, …"""
        return self._core.info()

    @property
    def stats(self) -> dict[str, Any]:
        """Counts since the start, and what is going on now."""
        return self._core.stats()

    def close(self) -> None:
        """Ends what is running (`cancelled`) and frees the memory. Calling it again does nothing."""
        self._core.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("an Engine cannot be pickled: load one in each process, or use threads")

    def __repr__(self) -> str:
        if self._core.closed:
            return "<qwin.Engine, closed>"
        info = self.info
        return f"<qwin.Engine {info['model_name']}, {info['bits_per_weight']:.2f} bits a weight, {info['isa']}>"

    def _prompt_ids(
        self, prompt: Any, raw: bool, system: str | None, tools: Sequence[Mapping[str, Any]] | None
    ) -> list[int]:
        prompt = plain_prompt(prompt)
        is_text = isinstance(prompt, str)
        if not is_text and not prompt:
            raise InvalidArgumentError("the prompt is empty")
        if (is_text and raw) or (not is_text and is_token(prompt[0])):
            if system is not None or tools is not None:
                raise InvalidArgumentError("system and tools are for chats, not for raw texts and token ids")
            return self._core.tokenize_prompt(prompt) if is_text else list(prompt)
        messages: list[Message] = [{"role": "user", "content": prompt}] if is_text else list(prompt)
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        return self.apply_chat_template(messages, tools)


def _load(model: Any, tokenizer: Any | None, options: dict[str, Any]) -> _core.Engine:
    if is_live_model(model):
        with opened(model, tokenizer) as (directory, weights):
            return _core.Engine(directory, weights, options)
    if not isinstance(model, (str, os.PathLike)):
        raise InvalidArgumentError(f"model must be a path, a name or a transformers model, not {type(model).__name__}")
    if tokenizer is not None:
        raise InvalidArgumentError("tokenizer is for a transformers model in memory; files have their own")
    return _core.Engine(_core.find_model(os.fspath(model)), options)


# Engines left open would otherwise end with their threads in the middle of a step, and a daemon thread that waits for an
# answer would want the GIL of an interpreter that is gone: it gets it once more first.
@atexit.register
def _close_all() -> None:
    for engine in list(_open_engines):
        engine.close()
    give_up = time.monotonic() + 5
    while _core.calls_without_gil() > 0 and time.monotonic() < give_up:
        time.sleep(0.001)
