# SPDX-License-Identifier: Apache-2.0
"""The engine: a loaded model that answers many requests at once."""

from __future__ import annotations

import atexit
import json
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Union, overload

from qwin import _core
from qwin.errors import CancelledError, InvalidArgumentError
from qwin.outputs import Result, result_from_core
from qwin.sampling import SamplingParams, sampling_from
from qwin.stream import TextStream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AttentionType = Literal["full", "sliding_window", "hybrid"]
Message = Mapping[str, Any]
# A text, a chat, or token ids.
Prompt = Union[str, Sequence[Message], Sequence[int]]

_DEFAULT_WINDOW = 1024
_open_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class Engine:
    """A model, loaded. Thread-safe: requests from threads, tasks and lists go forward together, in one batch.

    model: path of a GGUF file or of a directory with config.json and safetensors, or the name of a pulled model.
    attention_type: "full" is exact; "sliding_window" sees the first `num_sink_tokens` and the last `window_size` tokens
        (default 1024), and what leaves the window is forgotten.
    quantize_bits: None keeps a GGUF file's own bits, and 8 bits for float files; 8 asks for that explicitly.
    max_batch_size: sequences that run in one step. timeout: seconds an idle engine holds a first request so that others
        can start with it; a busy one never waits.
    context_length: tokens of prompt and answer together; default the model's own, as far as KV memory allows.
    kv_type: "f16", "q8" (half the memory) or "f32". kv_memory: bytes; default what the weights leave of the memory, less 20 %.
    prefix_cache: keep what was read and written for later requests that begin so; cache_dir: also on disk, across
        restarts, up to cache_max_bytes.

    Raises InvalidArgumentError, ModelFileError, TooLargeError (before anything large is allocated).
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        attention_type: AttentionType = "full",
        window_size: int | None = None,
        num_sink_tokens: int = 64,
        quantize_bits: Literal[None, 4, 8] = None,
        sparse_threshold: float = 0.0,
        max_batch_size: int = 16,
        timeout: float = 0.0,
        max_queue: int = 256,
        context_length: int | None = None,
        num_threads: int | None = None,
        kv_type: Literal["f16", "q8", "f32"] = "f16",
        kv_memory: int | None = None,
        prefix_cache: bool = True,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_max_bytes: int = 4 << 30,
    ) -> None:
        if not isinstance(model, (str, os.PathLike)):
            raise InvalidArgumentError(
                "model must be a path or a name; a live transformers model is not taken yet: save it with "
                "save_pretrained() and give the directory"
            )
        path = _core.find_model(os.fspath(model))
        options: dict[str, Any] = {
            "window": _window(attention_type, window_size),
            "num_sink_tokens": num_sink_tokens,
            "max_batch_size": _at_least("max_batch_size", max_batch_size, 1),
            "batch_timeout_seconds": float(_at_least("timeout", timeout, 0)),
            "max_queue_length": _at_least("max_queue", max_queue, 1),
            "context_length": context_length or 0,
            "num_threads": num_threads or 0,
            "kv_type": kv_type,
            "kv_memory_bytes": kv_memory or 0,
            "prefix_cache": prefix_cache,
            "cache_directory": "" if cache_dir is None else os.fspath(cache_dir),
            "cache_max_bytes": cache_max_bytes,
        }
        _check_bits(quantize_bits, path)
        if sparse_threshold != 0.0:
            raise InvalidArgumentError("sparse_threshold is not there yet; leave it at 0.0")
        self._core = _core.Engine(path, options)
        _open_engines.add(self)

    @classmethod
    def load_pretrained(cls, name: str, *, progress: Callable[[int, int], None] | None = None, **options: Any) -> Engine:
        """Loads a model by its name on the hub ("Qwen/Qwen2.5-7B") or in `qwin pull`, fetching it when it is not there.

        progress(done, total) hears bytes. Offline, or with HF_HUB_OFFLINE=1, only what was pulled before is found.
        """
        return cls(_core.pull(name, progress), **options)

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
        window_size: int | None = None,
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
        Returns the text, or a list of them; with_details=True gives Result objects.
        Raises InvalidArgumentError, ContextLengthError, QueueFullError, TimedOutError, NumericalError, CancelledError.
        """
        prompts, is_list = _as_list(prompt)
        params = _params(max_length, sampling)
        rest = {"client": client, "priority": priority, "cache_salt": cache_salt, "timeout_seconds": timeout or 0.0}
        ids = [self._prompt_ids(p, raw, system, tools) for p in prompts]
        streams: list[_core.Stream] = []
        try:
            for one in ids:
                streams.append(self._core.submit(one, params.to_core(), window_size, prompt_logprobs, rest))
            results = [_wait(stream, one) for stream, one in zip(streams, ids)]
        except BaseException:
            for stream in streams:
                stream.cancel()
            raise
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
        window_size: int | None = None,
        client: str = "",
        priority: int = 0,
        cache_salt: str = "",
        **sampling: Any,
    ) -> TextStream:
        """Like generate() for one prompt, but yields chunks `{"text": …}` as text comes, at most `stream_interval` seconds
        late. Works with `for` and `async for`; closing it cancels the request."""
        if temperature is not None:
            sampling["temperature"] = temperature
        params = _params(max_length, sampling)
        ids = self._prompt_ids(prompt, raw, system, tools)
        rest = {"client": client, "priority": priority, "cache_salt": cache_salt}
        stream = self._core.submit(ids, params.to_core(), window_size, False, rest)
        return TextStream(stream, ids, _at_least("stream_interval", stream_interval, 0))

    def prompt_logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits of every position, float32 [len(token_ids), vocab_size]."""
        logits: NDArray[np.float32] = self._core.prompt_logits(list(token_ids))
        return logits

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
        self, prompt: Prompt, raw: bool, system: str | None, tools: Sequence[Mapping[str, Any]] | None
    ) -> list[int]:
        if isinstance(prompt, str):
            if raw:
                return self._core.tokenize_prompt(prompt)
            prompt = [{"role": "user", "content": prompt}]
        if not prompt:
            raise InvalidArgumentError("the prompt is empty")
        if isinstance(prompt[0], int):
            return [int(token) for token in prompt]  # type: ignore[arg-type]
        messages: list[Message] = list(prompt)  # type: ignore[arg-type]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        return self.apply_chat_template(messages, tools)


def _wait(stream: _core.Stream, prompt_token_ids: list[int]) -> Result:
    while not stream.ended:
        stream.next(-1.0)
    result = result_from_core(stream.result(), prompt_token_ids)
    if result.finish_reason == "cancelled":
        raise CancelledError("the request was cancelled, or the engine closed, before the answer was done")
    return result


def _as_list(prompt: Any) -> tuple[list[Prompt], bool]:
    """The prompts, and whether a list of them was given rather than one text, chat or list of token ids."""
    if isinstance(prompt, str):
        return [prompt], False
    if not isinstance(prompt, Sequence):
        raise InvalidArgumentError(
            f"a prompt is a text, a list of messages or a list of token ids, not {type(prompt).__name__}"
        )
    if prompt and isinstance(prompt[0], (int, Mapping)):
        return [prompt], False
    return list(prompt), True


def _params(max_length: int | None, sampling: dict[str, Any]) -> SamplingParams:
    if max_length is not None:
        if "max_tokens" in sampling:
            raise InvalidArgumentError("max_length and max_tokens are the same; give one of them")
        sampling = {**sampling, "max_tokens": max_length}
    params = sampling_from(sampling)
    if params.n != 1:
        raise InvalidArgumentError("n is for qwin.LLM; here give a list with the prompt n times, each with its seed")
    return params


def _window(attention_type: str, window_size: int | None) -> int:
    if attention_type == "full":
        if window_size is not None:
            raise InvalidArgumentError('window_size needs attention_type="sliding_window"')
        return 0
    if attention_type == "sliding_window":
        return int(_at_least("window_size", _DEFAULT_WINDOW if window_size is None else window_size, 1))
    if attention_type == "hybrid":
        raise InvalidArgumentError('attention_type="hybrid" is not there yet; use "full" or "sliding_window"')
    raise InvalidArgumentError(f'attention_type must be "full" or "sliding_window", not {attention_type!r}')


def _check_bits(quantize_bits: int | None, path: str) -> None:
    if quantize_bits is None:
        return
    if quantize_bits not in (4, 8):
        raise InvalidArgumentError(f"quantize_bits must be None, 4 or 8, not {quantize_bits!r}")
    if path.endswith(".gguf"):
        raise InvalidArgumentError("a GGUF file is quantized already; leave quantize_bits at None")
    if quantize_bits == 4:
        raise InvalidArgumentError("quantize_bits=4 is not there yet; use 8, or a GGUF file with 4 bits")


def _at_least(name: str, value: float, low: float) -> Any:
    if value < low:
        raise InvalidArgumentError(f"{name} must be at least {low}, not {value}")
    return value


# Engines left open would otherwise end with their threads in the middle of a step.
@atexit.register
def _close_all() -> None:
    for engine in list(_open_engines):
        engine.close()
