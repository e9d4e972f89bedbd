# SPDX-License-Identifier: Apache-2.0
"""A streaming HTTP client that remembers when each piece of an answer came. Standard library alone."""

import asyncio
import json
import time
from dataclasses import dataclass, field


@dataclass
class Answer:
    """One streamed answer. Times are seconds of time.monotonic()."""

    begun: float
    times: list = field(default_factory=list)  # when each piece of text came
    texts: list = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    session: str = ""
    ended: float = 0

    @property
    def text(self):
        return "".join(self.texts)

    @property
    def ttft(self):
        return self.times[0] - self.begun

    @property
    def gaps(self):
        return [later - earlier for earlier, later in zip(self.times, self.times[1:])]


class Refused(RuntimeError):
    """An answer that is none."""

    def __init__(self, path, status, body, seconds):
        super().__init__(f"{path}: {status} {body[:300]}")
        self.status, self.seconds = status, seconds


async def _read_head(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    return int(head[0].split()[1]), headers


async def _parts(reader, headers):
    """The body as it comes: chunks, a known length, or all until the end."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            yield (await reader.readexactly(size + 2))[:-2]
    elif "content-length" in headers:
        yield await reader.readexactly(int(headers["content-length"]))
    else:
        while part := await reader.read(65536):
            yield part


def _take_event(answer, event, now):
    choice = event["choices"][0] if event.get("choices") else {}
    text = choice.get("delta", {}).get("content") or choice.get("text") or event.get("text")
    if text:
        answer.times.append(now)
        answer.texts.append(text)
    answer.session = event.get("session") or answer.session
    if usage := event.get("usage"):
        answer.prompt_tokens = usage["prompt_tokens"]
        answer.completion_tokens = usage["completion_tokens"]
        answer.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)


async def post(port, path, body, on_begin=None):
    """Sends one request on a connection of its own and reads the stream of its answer to the end."""
    answer = Answer(begun=time.monotonic())
    if on_begin:
        on_begin(answer)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    data = json.dumps(body).encode()
    writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                 f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
    try:
        status, headers = await _read_head(reader)
        if status != 200:
            body = b"".join([part async for part in _parts(reader, headers)])
            raise Refused(path, status, body, time.monotonic() - answer.begun)
        pending = b""
        async for part in _parts(reader, headers):
            now = time.monotonic()
            *events, pending = (pending + part).split(b"\n\n")
            for event in events:
                if event.startswith(b"data: ") and event != b"data: [DONE]":
                    _take_event(answer, json.loads(event[6:]), now)
    finally:
        writer.close()
        answer.ended = time.monotonic()
    return answer
