# SPDX-License-Identifier: Apache-2.0
"""bench/serving against a server that answers by the clock."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench/serving"))
import measurements  # noqa: E402
import report  # noqa: E402
import workload  # noqa: E402


async def answer(reader, writer):
    """Four pieces, 20 ms apart, in chunks that do not respect the events."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    body = json.loads(await reader.readexactly(length))
    if len(body["messages"][-1]["content"]) > 5000:
        writer.write(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\n{}")
        return writer.close()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    events = [{"choices": [{"index": 0, "delta": {"content": "ab"}}]}] * 4
    events.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}}})
    for event in events:
        text = b"data: " + json.dumps(event).encode() + b"\n\n"
        for part in (text[:9], text[9:]):
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
        await asyncio.sleep(0.02)
    writer.write(b"0\r\n\r\n")
    writer.close()


def with_server(use):
    async def run():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            return await use(server.sockets[0].getsockname()[1])

    return asyncio.run(run())


def test_an_answer_is_read_with_its_times_and_counts():
    async def use(port):
        return await measurements.post(port, "/v1/chat/completions", workload.chat("Hi"))

    found = with_server(use)
    assert found.text == "abababab" and len(found.gaps) == 3 and min(found.gaps) > 0.01
    assert (found.prompt_tokens, found.cached_tokens, found.completion_tokens) == (7, 2, 4)


def test_a_crowd_counts_what_came_within_the_time():
    found = with_server(lambda port: measurements.crowd(port, 3, 0.5, "x"))
    assert found["requests"] >= found["answered"] >= 3
    assert found["tokens_per_second"] > 0 and found["ttft_p95"] >= found["ttft_p50"] > 0 and found["gap_p95"] >= found["gap_p50"]


def test_a_refusal_says_its_status():
    with pytest.raises(measurements.Refused, match="429") as refused:
        with_server(lambda port: measurements.post(port, "/v1/chat/completions", workload.chat("x" * 6000)))
    assert refused.value.status == 429


def test_percentiles():
    assert [measurements.percentile(range(1, 101), share) for share in (0.5, 0.95, 1)] == [50, 95, 100]
    assert measurements.percentile([], 0.5) is None


def test_the_prompts_of_the_mix_begin_differently():
    prompts = workload.prompts("salt")
    texts = [next(prompts) for _ in range(40)]
    assert len({text[:12] for text in texts}) == 40
    assert texts[:3] == [text for text, _ in zip(workload.prompts("salt"), range(3))]


def test_results_are_kept_and_shown(tmp_path):
    results = report.Results(tmp_path / "serving.json", "model", 2)
    results.add("clients", "qwin", {"clients": 8, "tokens_per_second": 60.5, "ttft_p95": None})
    again = report.Results(tmp_path / "serving.json", "model", 2)
    again.add("overload", "qwin", {"clients": 320, "codes": "200: 5 429: 9"})
    text = report.markdown(again.data)
    assert "| qwin | 8 | 60.5 | – |" in text and "200: 5 429: 9" in text


def test_usage_is_told():
    done = subprocess.run([sys.executable, ROOT / "bench/serving/serving.py", "--help"], capture_output=True, text=True, check=True)
    assert "--llama-server" in done.stdout
