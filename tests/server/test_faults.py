# SPDX-License-Identifier: Apache-2.0
"""What may go wrong around a server: signals, memory, the model's file, shared folders, a kill at any moment."""

import concurrent.futures
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from serve_process import BINARY, TINY, Served

ENDLESS = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1000000, "ignore_eos": True, "stream": True, "window": 32}


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def raw_request(path, body, **headers):
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join(lines + [f"{name}: {value}" for name, value in headers.items()] + ["", ""]).encode() + data


def open_stream(server, body):
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(raw_request("/v1/chat/completions", body))
    return connection, connection.recv(65536)


def read_to_end(connection, text=b""):
    while part := connection.recv(1 << 20):
        text += part
    return text


@pytest.mark.parametrize("arguments, signals", [((), 2), (("--drain-timeout", "0"), 1)])
def test_streams_that_may_not_end_get_an_error_event(serve, arguments, signals):
    server = serve(*arguments)
    connection, text = open_stream(server, ENDLESS)
    for _ in range(signals):
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    events = [part for part in read_to_end(connection, text).split(b"data: ")[1:] if b"[DONE]" not in part]
    assert json.loads(events[-1].split(b"\n\n")[0])["error"]["code"] == "draining"
    assert server.process.wait(timeout=30) == 0


def test_a_model_file_that_is_cut_ends_the_process_with_a_reason(serve, tmp_path):
    """The embedding is read where it lies in the file."""
    folder = tmp_path / "model"
    shutil.copytree(TINY, folder)
    server = serve(model=folder)
    assert server.ask("/v1/completions", {"prompt": "abc", "max_tokens": 8})[0] == 200
    for file in folder.iterdir():
        os.truncate(file, 0)
    try:
        server.ask("/v1/completions", {"prompt": "xyz", "max_tokens": 8})
    except OSError:  # it closed the connection
        pass
    assert server.process.wait(timeout=30) == 1
    until(lambda: "the model's file became shorter" in "".join(server.log))


@pytest.mark.parametrize("kib", [60000, 120000, 250000, 500000])
def test_too_little_memory_is_told_and_no_crash(tmp_path, kib):
    command = f"ulimit -v {kib}; exec {BINARY} serve {TINY} --port 0 --json"
    process = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "QWIN_HOME": str(tmp_path)})
    line = process.stdout.readline()
    if line:  # it fits: then it answers, or says why not
        process.terminate()
    assert process.wait(timeout=60) in ((0,) if line else (1, 127)), process.stderr.read()


def test_two_servers_share_a_cache(serve, tmp_path):
    servers = [serve("--cache-dir", tmp_path / "cache") for _ in range(2)]
    prompts = [f"{i % 8} " + "a b c d e f g " * 6 for i in range(32)]

    def ask(i):
        return servers[i % 2].ask("/v1/completions", {"prompt": prompts[i // 2], "max_tokens": 4, "temperature": 0})[2]["choices"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(64)))
    assert answers[0::2] == answers[1::2]


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_it_connects_to_nobody(tmp_path):
    trace = tmp_path / "trace"
    process = subprocess.Popen(["strace", "-f", "-e", "trace=connect", "-o", str(trace), BINARY, "serve", str(TINY), "--port", "0", "--json"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
                               env={**os.environ, "QWIN_HOME": str(tmp_path)})
    served = Served.__new__(Served)
    served.url = json.loads(process.stdout.readline())["url"]
    picture = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/x.png"}}
    assert served.ask("/v1/chat/completions", {"messages": [{"role": "user", "content": [picture]}]})[0] == 400
    text = "![x](http://127.0.0.1:9/x.png)"
    assert served.ask("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], "max_tokens": 2})[0] == 200
    os.killpg(process.pid, signal.SIGTERM)  # strace waits for whom it watches
    process.wait(30)
    assert "connect(" not in trace.read_text()


def test_the_binary_is_hardened():
    read = lambda *options: subprocess.run(["readelf", *options, "-W", BINARY], capture_output=True, text=True, check=True).stdout  # noqa: E731
    assert "DYN (Position-Independent Executable" in read("-h")
    assert re.search(r"FLAGS_1.*NOW.*PIE", read("-d")) and "GNU_RELRO" in read("-l")
    assert not re.search(r"GNU_STACK.*RWE", read("-l"))
    imported = {line.split()[7].split("@")[0] for line in read("--dyn-syms").splitlines() if " UND " in line and len(line.split()) > 7}
    assert "__stack_chk_fail" in imported and {name for name in imported if name.endswith("_chk")} - {"__stack_chk_fail"}
    assert Path(BINARY).read_bytes().count(b"\xf3\x0f\x1e\xfa") > 1000, "no landing pads (endbr64) of -fcf-protection"
    assert not imported & {"system", "popen", "dlopen", "execve", "gets", "strcpy", "sprintf"}


def test_a_process_that_was_stopped_blames_nobody_for_it(serve):
    """A stream, half a head, half a body and an idle connection outlast deadlines that pass while the process is stopped."""
    server = serve("--header-timeout", "2", "--body-timeout", "2", "--idle-timeout", "2", "--stall-timeout", "2")
    stream, text = open_stream(server, {**ENDLESS, "max_tokens": 40})
    ask = raw_request("/v1/completions", {"prompt": "abc", "max_tokens": 2}, Connection="close")
    half_head, half_body, idle = (socket.create_connection(("127.0.0.1", server.port)) for _ in range(3))
    half_head.sendall(ask[:30])
    half_body.sendall(ask[:-5])
    idle.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(3)
    server.process.send_signal(signal.SIGCONT)
    half_head.sendall(ask[30:])
    half_body.sendall(ask[-5:])
    idle.sendall(ask)
    for connection in (half_head, half_body, idle):
        assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")
    while b"data: [DONE]" not in text:
        text += stream.recv(65536)
    assert b"error" not in text


FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@pytest.mark.skipif(not FAKETIME, reason="libfaketime is not installed")
def test_a_clock_that_is_set_ends_nothing(serve, tmp_path):
    """An hour on, then two hours back, while an answer is written and another is waited for."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    server = serve("--request-timeout", "60", env={"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
                                                   "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    created = []
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for shift in ("+0", "+1h", "-1h"):
            asked = [pool.submit(server.ask, "/v1/completions", {"prompt": f"abc {i}", "max_tokens": 64, "ignore_eos": True}) for i in range(4)]
            clock.write_text(shift)
            for one in asked:
                assert one.result()[0] == 200
            created.append(server.ask("/v1/completions", {"prompt": "abc", "max_tokens": 1})[2]["created"])
    assert created[1] - created[0] > 3000 and created[0] - created[2] > 3000, "the clock was not set"


def test_paths_and_names_lead_nowhere(serve, tmp_path):
    server = serve("--cache-dir", tmp_path / "cache", "--chat-db", tmp_path / "chats.sqlite")
    for path in ("/..%2f..%2fetc/passwd", "/../../etc/passwd", "/page/..%2f..%2fetc%2fpasswd", "/page/../../../etc/passwd", "/page/%00",
                 "/v1/models/..%2f..%2fx", "/chat/sessions/..%2fchats.sqlite", "/chat/sessions/../../x", "//etc/passwd", "/%2e%2e/etc/passwd"):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = read_to_end(connection)
        assert re.match(rb"HTTP/1.1 40[04] ", answer) and b"root:" not in answer, path
    name = "../../x"
    status, _, body = server.ask("/v1/completions", {"model": name, "prompt": "a"})
    assert status == 404 and body["error"]["code"] == "model_not_found"
    assert server.ask("/chat", {"prompt": "a", "session": name})[0] == 404
    before = {path.name for path in tmp_path.iterdir()}
    status, _, body = server.ask("/v1/completions", {"prompt": "a b c d e f g " * 6, "max_tokens": 2, "cache_salt": name, "user": name})
    assert status == 200
    assert server.stop() == 0
    assert {path.name for path in tmp_path.iterdir()} - before <= {"chats.sqlite-wal", "chats.sqlite-shm"}
    names = [path.name for path in (tmp_path / "cache").iterdir()]
    assert names and all(re.fullmatch(r"[0-9a-f]{64}(\.\w+)?", name) for name in names), names


@pytest.mark.long
def test_a_kill_at_any_moment_changes_no_answer(tmp_path, capsys):
    """200 times: start with a disk cache, ask, kill -9 while it answers and writes, ask again."""
    choose = random.Random(1)
    prompts = [f"{number} " + " ".join(choose.choice("abcdefgh") for _ in range(choose.randrange(20, 50))) for number in range(40)]

    def ask(server, number):
        status, _, body = server.ask("/v1/completions", {"prompt": prompts[number], "max_tokens": 6, "temperature": 0, "logprobs": 1})
        assert status == 200
        return body["choices"]

    plain = Served(tmp_path / "plain", TINY, "--no-prefix-cache")
    expected = [ask(plain, number) for number in range(len(prompts))]
    plain.stop()
    answers = cached = 0
    for cycle in range(200):
        server = Served(tmp_path / "home", TINY, "--cache-dir", str(tmp_path / "cache"), "--cache-max-bytes", str(4 << 20))
        for _ in range(20):
            number = choose.randrange(len(prompts))
            assert ask(server, number) == expected[number], f"cycle {cycle}"
            answers += 1
        metrics = server.ask("/metrics")[2]
        cached += int(re.search(r"^qwin_prefix_cache_hits (\d+)", metrics, re.M)[1])
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(server.ask, "/v1/completions", {"prompt": p, "max_tokens": 64}) for p in choose.sample(prompts, 4)]
            time.sleep(choose.random() * 0.1)
            server.process.kill()
            server.process.wait()
            for one in asked:
                one.exception()
    with capsys.disabled():
        print(f"\n200 kills: {answers} answers equal, {cached} prompt tokens came from the cache")
    assert cached > 0
