# SPDX-License-Identifier: Apache-2.0
"""Crowds: readers that stall, connections that come and go, more requests than there are places."""

import concurrent.futures
import json
import os
import resource
import socket
import time

import pytest

pytestmark = pytest.mark.long
MIB = 1 << 20


def memory(process):
    """RssAnon + VmSwap in bytes."""
    fields = dict(line.split(":") for line in open(f"/proc/{process.pid}/status"))
    return sum(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "VmSwap"))


def descriptors(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def metric(server, name):
    lines = server.ask("/metrics")[2].splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"qwin_{name} "))


def stream_request(**fields):
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "stream": True, **fields}).encode()
    return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body))


def until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 8192:
        pytest.skip("this process may not open 8,192 files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def first_answer(port, request=b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
    """All that a connection of its own brings."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def test_two_thousand_stalled_readers_take_bounded_memory(serve, many_descriptors, capsys):
    """Until every reader's buffer is full: with logprobs an event has some KiB, so that is soon so."""
    server = serve("--queue", "4096", "--stall-timeout", "600", "--max-batch-size", "16", "--kv-memory", str(16 * MIB))
    before = memory(server.process)
    clients = []
    for _ in range(2000):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", server.port))
        client.sendall(stream_request(max_tokens=100000, ignore_eos=True, window=32, logprobs=True, top_logprobs=20))
        clients.append(client)
    until(lambda: metric(server, "requests_held") == len(clients), 900)
    waits = []
    for _ in range(200):
        start = time.monotonic()
        assert server.ask("/livez")[0] == 200
        waits.append(time.monotonic() - start)
    whole = memory(server.process)
    with capsys.disabled():
        print(f"\n2,000 stalled readers: {whole / MIB:.0f} MiB, {(whole - before) / MIB:.0f} MiB more than before they came, "
              f"/livez p99 {sorted(waits)[197] * 1e3:.1f} ms, {metric(server, 'generation_tokens_total'):.0f} tokens written")
    assert whole <= 192 * MIB
    for client in clients:
        client.close()
    until(lambda: metric(server, "requests_running") + metric(server, "requests_waiting") == 0)
    assert metric(server, "kv_pages_used") == 0


def test_connections_come_and_go(serve):
    server = serve()
    server.ask("/livez")
    base = descriptors(server.process)
    for _ in range(10000):
        socket.create_connection(("127.0.0.1", server.port)).close()
    until(lambda: descriptors(server.process) <= base + 1)
    assert server.ask("/livez")[0] == 200


def test_one_connection_too_many_is_told_so_and_the_next_one_answered(serve, many_descriptors):
    server = serve()
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4096)]
    refused = first_answer(server.port)
    assert refused.startswith(b"HTTP/1.1 503 ") and b"\r\nRetry-After: " in refused
    clients.pop().close()
    until(lambda: first_answer(server.port).startswith(b"HTTP/1.1 200 "), 1)
    for client in clients:
        client.close()


def test_overload_is_refused_with_429_alone(serve):
    server = serve("--queue", "8", "--max-batch-size", "4")
    request = {"prompt": "a b c", "max_tokens": 24, "ignore_eos": True}
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: server.ask("/v1/completions", request), range(600)))
    assert {status for status, _, _ in answers} <= {200, 429}
    assert all(1 <= int(headers["Retry-After"]) <= 60 for status, headers, _ in answers if status == 429)
    assert len({json.dumps(body["choices"][0]["text"]) for status, _, body in answers if status == 200}) >= 1


def test_memory_comes_back_after_hostile_heads(serve, many_descriptors):
    server = serve()
    before = memory(server.process)
    for head in (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100000, b"GET / HTTP/1.1\r\nA: " + b"x" * (1 << 20)):
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(500)]
        for client in clients:
            try:
                client.sendall(head)
            except OSError:  # closed by the server, which has seen enough
                pass
        for client in clients:
            client.close()
    assert server.ask("/livez")[0] == 200
    assert memory(server.process) - before <= 64 * MIB
