# SPDX-License-Identifier: Apache-2.0
"""`qwin serve` as a process: flags, keys, signals, restarts."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request

import pytest
from serve_process import BINARY, TINY

CHAT = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}


def refused(tmp_path, *arguments, code=2):
    port = [] if "--port" in arguments else ["--port", "0"]
    done = subprocess.run([BINARY, "serve", str(TINY), *port, *map(str, arguments)], capture_output=True, timeout=60,
                          env={**os.environ, "QWIN_HOME": str(tmp_path)})
    assert done.returncode == code, done.stderr
    return done.stderr.decode().splitlines()[-1]


def test_answers_and_keeps_conversations_over_a_restart(serve):
    first = serve()
    status, _, answer = first.ask("/chat?prompt=Hi", method="POST")
    assert status == 200 and set(answer) >= {"response", "session", "usage"}
    status, _, answer = first.ask("/chat", {"prompt": "Hi", "stream": False, "max_tokens": 4})
    assert first.stop() == 0
    second = serve()
    kept = second.ask(f"/chat/sessions/{answer['session']}")[2]
    assert [message["content"] for message in kept["messages"]] == ["Hi", answer["response"]]
    status, _, more = second.ask("/chat", {"prompt": "More", "session": answer["session"], "stream": False, "max_tokens": 4})
    assert status == 200 and more["session"] == answer["session"]


def test_hosts_and_keys(serve, tmp_path):
    assert "--allow-no-auth" in refused(tmp_path, "--host", "0.0.0.0")
    keys = tmp_path / "keys"
    keys.write_text("old-key-of-mine\n")
    keys.chmod(0o644)
    server = serve("--api-key-file", keys)
    old, new = ({"Authorization": f"Bearer {key}"} for key in ("old-key-of-mine", "new-key-of-mine"))
    assert any("chmod 600" in line for line in server.log)
    assert server.ask("/v1/models")[0] == 401
    assert server.ask("/v1/models", headers=old)[0] == 200
    keys.write_text("new-key-of-mine\n")
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while server.ask("/v1/models", headers=new)[0] != 200:
        assert time.monotonic() < deadline
    assert server.ask("/v1/models", headers=old)[0] == 401
    server.stop()
    assert "key-of-mine" not in "".join(server.log)


@pytest.fixture
def two_keys(tmp_path):
    """--api-key-file of two keys, and the headers of each."""
    file = tmp_path / "two-keys"
    file.write_text("key-of-one-client\nkey-of-another-client\n")
    file.chmod(0o600)
    return file, *({"Authorization": f"Bearer {key}"} for key in file.read_text().split())


def test_one_keys_rate_limit_is_not_anothers(serve, two_keys):
    keys, one, other = two_keys
    server = serve("--api-key-file", keys, "--rate-limit", "20")
    statuses = {"one": [], "other": []}
    for i in range(100):
        status, headers, _ = server.ask("/v1/chat/completions", {**CHAT, "max_tokens": 1}, headers=one)
        statuses["one"].append(status)
        assert status == 200 or 1 <= int(headers["Retry-After"]) <= 60
        if i % 10 == 0:
            statuses["other"].append(server.ask("/v1/chat/completions", {**CHAT, "max_tokens": 1}, headers=other)[0])
    assert set(statuses["one"]) == {200, 429} and statuses["one"][:20] == [200] * 20
    assert statuses["other"] == [200] * 10


def test_nobody_learns_with_a_key_of_their_own_what_another_asked(serve, two_keys):
    keys, one, other = two_keys
    server = serve("--api-key-file", keys)
    for i in range(200):
        body = {"prompt": [i, *range(100, 140)], "max_tokens": 1}  # no two begin alike
        cached = [server.ask("/v1/completions", body, headers=key)[2]["usage"]["prompt_tokens_details"]["cached_tokens"]
                  for key in (one, other, one)]
        assert cached[:2] == [0, 0] and cached[2] > 0


def test_logs_hold_no_prompt(serve):
    server = serve()
    server.ask("/v1/chat/completions", {**CHAT, "messages": [{"role": "user", "content": "a secret of mine"}]})
    server.ask("/v1/chat/completions", {**CHAT, "nonsense": "another secret"})
    server.stop()
    requests = [json.loads(line) for line in server.log if line.startswith("{")]
    assert [r["status"] for r in requests if r["event"] == "request"] == [200, 400]
    assert "secret" not in "".join(server.log)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(serve, number):
    server = serve("--drain-timeout", "20")
    connection = socket.create_connection(("127.0.0.1", server.port))
    body = json.dumps({**CHAT, "max_tokens": 60, "ignore_eos": True, "stream": True, "window": 32}).encode()
    connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                       b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    answer = connection.recv(65536)
    server.process.send_signal(number)
    while part := connection.recv(65536):
        answer += part
    assert b"data: [DONE]" in answer
    assert server.process.wait(timeout=30) == 0


def test_a_kill_leaves_the_port_and_the_conversations(serve):
    first = serve()
    session = first.ask("/chat?prompt=Hi", method="POST")[2]["session"]
    first.process.kill()
    first.process.wait()
    second = serve("--port", first.port)
    assert second.port == first.port
    assert second.ask(f"/chat/sessions/{session}")[0] == 200


def test_a_port_in_use_is_told(serve, tmp_path):
    assert "cannot be listened on" in refused(tmp_path, "--port", serve().port)


def test_config_file(serve, tmp_path):
    config = tmp_path / "qwin.toml"
    config.write_text('name = "from-file"\nmax-choices = 2\nallow-origin = ["https://a.example"]\nno-prefix-cache = true\n')
    server = serve("--config", config)
    assert server.ask("/v1/models")[2]["data"][0]["id"] == "from-file"
    assert server.ask("/v1/chat/completions", {**CHAT, "n": 3})[2]["error"]["param"] == "n"
    assert server.ask("/livez", headers={"Origin": "https://a.example"})[0] == 200
    assert serve("--config", config, "--name", "from-flag").ask("/v1/models")[2]["data"][0]["id"] == "from-flag"
    for text, told in (("nonsense = 1\n", "--nonsense"), ("name = \n", "line 1"), ("max-choices = 999\n", "max-choices")):
        config.write_text(text)
        assert told in refused(tmp_path, "--config", config)
    assert refused(tmp_path, "--config", tmp_path / "missing.toml").startswith("error: ")


def test_ready_only_when_loaded(serve):
    server = serve()
    assert server.ask("/readyz")[2]["status"] == "ok"
    assert server.ask("/health")[2]["isa"]


def test_few_file_descriptors_are_no_busy_loop(tmp_path):
    command = f"ulimit -n 40; exec {BINARY} serve {TINY} --port 0 --json"
    process = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               env={**os.environ, "QWIN_HOME": str(tmp_path)})
    try:
        port = json.loads(process.stdout.readline())["port"]
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        time.sleep(0.5)
        ticks = lambda: sum(map(int, open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()[11:13]))  # noqa: E731
        before = ticks()
        time.sleep(2)
        assert ticks() - before < 0.5 * os.sysconf("SC_CLK_TCK")
        for client in clients:
            client.close()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=20) as response:
            assert response.status == 200
    finally:
        process.kill()
        process.wait()
