# SPDX-License-Identifier: Apache-2.0
"""Many requests of one caller: as many at a time as the engine's queue takes, their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from qwin import _core
from qwin.errors import CancelledError, QueueFullError
from qwin.outputs import Result, result_from_core


class Request(NamedTuple):
    prompt: list[int]
    sampling: dict[str, Any]
    rest: dict[str, Any]  # attention_type, window, prompt_logprobs, client, priority, cache_salt, timeout_seconds


def run_all(core: _core.Engine, requests: Iterable[Request]) -> list[Result]:
    """Raises what a request failed with; the others are then cancelled."""
    running: deque[tuple[_core.Stream, list[int]]] = deque()
    results: list[Result] = []
    try:
        for request in requests:
            while (stream := _submit(core, request, may_wait=bool(running))) is None:
                results.append(_result(*running.popleft()))
            running.append((stream, request.prompt))
        while running:
            results.append(_result(*running.popleft()))
    except BaseException:
        for stream, _ in running:
            stream.cancel()
        raise
    return results


def _submit(core: _core.Engine, request: Request, may_wait: bool) -> _core.Stream | None:
    """None when the queue is full and one of the caller's own requests will make room."""
    try:
        return core.submit(*request)
    except QueueFullError:
        if may_wait:
            return None
        raise


def _result(stream: _core.Stream, prompt: list[int]) -> Result:
    try:
        while not stream.ended:
            stream.next(-1.0)
    except BaseException:
        stream.cancel()
        raise
    result = result_from_core(stream.result(), prompt)
    if result.finish_reason == "cancelled":
        raise CancelledError("the request was cancelled, or the engine closed, before the answer was done")
    return result
