# SPDX-License-Identifier: Apache-2.0
"""Many calls at once: threads that only wait, since the engine batches what they ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

from qwin.engine import Engine
from qwin.errors import InvalidArgumentError

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class ParallelEngine:
    """`with qwin.ParallelEngine(engine, num_workers=4) as p: p.map(fn, items)`, where fn may call engine.generate().

    num_workers calls of fn are under way at once; their requests run in one batch. backend: "threads" ("ray" is for
    later).
    """

    def __init__(self, engine: Engine, num_workers: int = 4, backend: Literal["threads"] = "threads") -> None:
        if num_workers < 1:
            raise InvalidArgumentError(f"num_workers must be at least 1, not {num_workers}")
        if backend != "threads":
            raise InvalidArgumentError(f'backend must be "threads", not {backend!r}')
        self.engine = engine
        self._pool = ThreadPoolExecutor(num_workers, thread_name_prefix="qwin")

    def map(self, fn: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """fn of every item, in order. The first exception is raised, and items not begun are left."""
        futures = [self._pool.submit(fn, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """Waits for the calls under way."""
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> ParallelEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
