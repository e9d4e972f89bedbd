# SPDX-License-Identifier: Apache-2.0
"""A streamed answer: an iterator, an async iterator, and a handle to stop it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from qwin.outputs import Chunk, Result, result_from_core

if TYPE_CHECKING:
    from qwin import _core


class TextStream(Iterator[Chunk], AsyncIterator[Chunk]):
    """Chunks `{"text": …, "token_ids": […]}` of one answer, each at most `interval` seconds after its text was there.

    For `for` and for `async for` (not both on one stream). Closing it, or dropping it half-way, cancels the request.
    """

    def __init__(self, stream: _core.Stream, prompt_token_ids: list[int], interval: float) -> None:
        self._stream = stream
        self._prompt_token_ids = prompt_token_ids
        self._interval = interval
        self._last = 0.0
        self._collected: dict[str, Any] | None = None  # by `async for`, until it is due
        self._done = False

    def __iter__(self) -> TextStream:
        return self

    def __aiter__(self) -> TextStream:
        return self

    def __enter__(self) -> TextStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> Chunk:
        while not self._done:
            chunk = self._chunk(self._stream.next(-1.0, max(0.0, self._pause())))
            if chunk is not None:
                return chunk
        raise StopIteration

    async def __anext__(self) -> Chunk:
        while not self._done:
            self._collect(self._stream.next(0.0))
            wait = self._pause()
            if self._stream.ended or (self._collected is not None and wait <= 0):
                output, self._collected = self._collected, None
                chunk = self._chunk(output)
                if chunk is not None:
                    return chunk
            else:
                await self._readable(None if self._collected is None else wait)
        raise StopAsyncIteration

    def close(self) -> None:
        """Cancels the request if it has not ended. Calling it again does nothing."""
        self._done = True
        self._stream.cancel()

    async def aclose(self) -> None:
        self.close()

    def result(self) -> Result:
        """The whole answer. Requires: the stream was read to its end."""
        return result_from_core(self._stream.result(), self._prompt_token_ids)

    def __del__(self) -> None:
        if not getattr(self, "_done", True):
            self._stream.cancel()

    def _pause(self) -> float:
        """Seconds until the next chunk is due: text that comes faster is joined."""
        return self._last + self._interval - time.monotonic()

    def _chunk(self, output: dict[str, Any] | None) -> Chunk | None:
        chunk: Chunk = {}
        if output is not None and (output["text"] or output["token_ids"]):
            chunk = {"text": output["text"], "token_ids": output["token_ids"]}
        elif self._stream.ended:
            self._done = True
            result = self._stream.result()
            chunk = {
                "text": "",
                "token_ids": [],
                "finish_reason": result["finish_reason"],
                "prompt_tokens": result["prompt_tokens"],
                "cached_tokens": result["cached_tokens"],
            }
        if not chunk:
            return None
        self._last = time.monotonic()
        return chunk

    def _collect(self, output: dict[str, Any] | None) -> None:
        if self._collected is None or output is None:
            self._collected = output or self._collected
        else:
            self._collected["text"] += output["text"]
            self._collected["token_ids"] += output["token_ids"]

    async def _readable(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        descriptor = self._stream.fileno()
        loop.add_reader(descriptor, _set, ready)
        try:
            await asyncio.wait([ready], timeout=seconds)
        finally:
            loop.remove_reader(descriptor)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
