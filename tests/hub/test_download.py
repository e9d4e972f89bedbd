# SPDX-License-Identifier: Apache-2.0
"""Downloads from a server that cuts, stalls, lies and changes its mind; interruption and full disks."""

import json
import os
import pathlib
import resource
import signal
import socket
import time

import pytest
from hostile_server import Answer, HostileServer
from hub_harness import LIMIT, MIB, Qwin, assert_pulled, content_of, wait_for


# A server that cuts and stalls.


@pytest.mark.parametrize("seed", range(3))
def test_connections_cut_at_random_points(qwin, server, content, seed):
    server.random.seed(seed)
    server.cut_chance = 0.6
    assert_pulled(qwin.pull("o/n", "--retries", "20"), content)
    assert any(r.sent for r in server.file_requests())


def test_cut_without_content_length(qwin, server, content):
    server.no_length = True
    server.cut_chance = 0.5
    assert_pulled(qwin.pull("o/n", "--retries", "20"), content)


def test_stalled_connections_are_replaced(qwin, server, content):
    server.stalls = 3
    assert_pulled(qwin.pull("o/n", "--stall-timeout", "1"), content)
    assert server.stalls == 0


def test_slow_answers_arrive(qwin, server, content):
    server.bytes_per_second = MIB
    assert_pulled(qwin.pull("o/n"), content)


def test_server_that_always_cuts_is_given_up(qwin, server):
    server.cut_chance = 1.0
    server.cut_at_once = True  # bytes that come count as progress, after which it is tried again
    assert "m.gguf" in qwin.fail("o/n", "network", "--retries", "1")


def test_unreachable_hub_fails_fast(qwin):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: refused
        qwin.environment["HF_ENDPOINT"] = f"http://127.0.0.1:{unused.getsockname()[1]}"
        start = time.monotonic()
        assert "127.0.0.1" in qwin.fail("o/n", "network")
        assert time.monotonic() - start < 10


# A server that lies.


def test_server_without_ranges_sends_one_stream(qwin, server, content):
    server.ranges = False
    assert_pulled(qwin.pull("o/n"), content)


def test_ranges_denied_after_the_probe(qwin, server, content):
    real = server.answer_file

    def only_probe(repository, path, request, if_range):
        server.ranges = request.range == "bytes=0-0"
        return real(repository, path, request, if_range)

    server.answer_file = only_probe
    assert_pulled(qwin.pull("o/n"), content)


@pytest.mark.parametrize("shift", [1, 5000])
def test_wrong_range_falls_back_to_one_stream(qwin, server, content, shift):
    server.shift_range = shift
    assert_pulled(qwin.pull("o/n"), content)
    assert any(r.range is None for r in server.file_requests())


def test_short_ranges_are_continued(qwin, server, content):
    server.short_range = 300_000
    assert_pulled(qwin.pull("o/n"), content)


def test_wrong_total_is_refused(qwin, server):
    server.lie_about_total = 7
    assert "bytes instead of" in qwin.fail("o/n", "network")
    assert "m.gguf" not in qwin.leftovers("o--n")


@pytest.mark.parametrize("lie", [-1000, 1000])
def test_wrong_content_length_never_passes(qwin, server, content, lie):
    server.add_length = lie
    server.ranges = False
    qwin.fail("o/n", "network", "--retries", "1")
    assert "m.gguf" not in qwin.leftovers("o--n")


def test_too_long_without_length_is_refused(qwin, server):
    server.ranges = False
    server.no_length = True
    server.extra_body = b"more"
    assert "another number of bytes" in qwin.fail("o/n", "network", "--retries", "1")


@pytest.mark.parametrize("ranges", [True, False])
def test_wrong_bytes_are_a_checksum_error(qwin, server, content, ranges):
    wrong = bytearray(content)
    wrong[-1] ^= 1
    server.served["m.gguf"] = bytes(wrong)
    server.ranges = ranges
    qwin.fail("o/n", "checksum")
    assert qwin.leftovers("o--n") == []


def test_wrong_bytes_of_a_small_file(qwin, server):
    server.files["o/st"] = {"config.json": b"{}", "model.safetensors": b"weights"}
    server.served["config.json"] = b"[]"
    qwin.fail("o/st", "checksum")
    assert json.loads(qwin.run("list", "--json").stdout) == []


@pytest.mark.parametrize("reply", [b"", b"[", b"{}", b'[{"type":"file"}]', b"[" * 100_000, b"\xff"])
def test_nonsense_listing(qwin, server, reply):
    server.answer_list = lambda *_: Answer(200, reply)
    qwin.fail("o/n", "network")


def test_listed_path_that_leaves_the_folder(qwin, server):
    server.files["o/n"]["../../evil.gguf"] = b"evil"
    qwin.fail("o/n", "path", expect=2)
    assert not list(qwin.home.rglob("evil*"))


# Interruption and resume.


def saved_bytes(qwin: Qwin) -> int:
    state = qwin.home / "models/o--n/m.gguf.partial.json"
    return sum(json.loads(state.read_text())["received"]) if state.exists() else 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_interrupted_pull_fetches_only_the_rest(qwin, server, content, how):
    server.bytes_per_second = MIB // 2  # each of four connections
    process = qwin.start("pull", "o/n")
    wait_for(lambda: saved_bytes(qwin) > MIB)
    process.send_signal(how)
    _, err = process.communicate(timeout=LIMIT)
    if how != signal.SIGKILL:
        assert process.returncode == 1 and err.startswith("error: cancelled: ")
    assert "m.gguf" not in qwin.leftovers("o--n")
    assert json.loads(qwin.run("list", "--json").stdout) == []
    time.sleep(0.3)  # the server notices
    kept = saved_bytes(qwin)
    assert kept > MIB
    server.bytes_per_second = 0
    server.requests.clear()
    assert_pulled(qwin.pull("o/n"), content)
    assert server.bytes_sent() == len(content) - kept + 1


def test_killed_again_and_again(qwin, server, content):
    server.bytes_per_second = MIB
    for _ in range(4):
        before = saved_bytes(qwin)
        process = qwin.start("pull", "o/n")
        wait_for(lambda: saved_bytes(qwin) > before + MIB // 2 or process.poll() is not None)
        process.kill()
        process.communicate(timeout=LIMIT)
    assert_pulled(qwin.pull("o/n"), content)


def interrupt_in_the_middle(qwin: Qwin, server: HostileServer):
    server.bytes_per_second = MIB // 2
    process = qwin.start("pull", "o/n")
    wait_for(lambda: saved_bytes(qwin) > MIB)
    process.kill()
    process.communicate(timeout=LIMIT)
    time.sleep(0.3)
    server.bytes_per_second = 0
    server.requests.clear()


def test_changed_tag_between_attempts_starts_over(qwin, server, content):
    interrupt_in_the_middle(qwin, server)
    server.etag = '"second"'
    assert_pulled(qwin.pull("o/n"), content)
    assert server.bytes_sent() == len(content) + 1


def test_changed_content_between_attempts_starts_over(qwin, server, content):
    interrupt_in_the_middle(qwin, server)
    other = content_of(len(content) + 5, seed=2)
    server.files["o/n"]["m.gguf"] = other
    assert_pulled(qwin.pull("o/n"), other)


def test_damaged_partial_file_is_noticed(qwin, server, content):
    interrupt_in_the_middle(qwin, server)
    partial = qwin.home / "models/o--n/m.gguf.partial"
    with open(partial, "r+b") as file:
        file.write(b"\0" * 100)
    assert_pulled(qwin.pull("o/n"), content)


@pytest.mark.parametrize("if_range", [True, False])
def test_changed_tag_in_the_middle_starts_over(qwin, server, content, if_range):
    server.if_range = if_range
    server.etag_after = (3, '"second"')
    assert_pulled(qwin.pull("o/n"), content)


def test_weak_and_missing_tags(qwin, server, content):
    server.etag = 'W/"weak"'
    assert_pulled(qwin.pull("o/n"), content)
    qwin.run("rm", "o/n")
    server.etag = None
    assert_pulled(qwin.pull("o/n"), content)


def test_two_pulls_at_once_fetch_once(qwin, server, content):
    server.bytes_per_second = MIB
    both = [qwin.start("pull", "o/n", "--json") for _ in range(2)]
    results = [process.communicate(timeout=LIMIT) for process in both]
    for process, (out, err) in zip(both, results):
        assert process.returncode == 0, err
        assert_pulled(json.loads(out), content)
    assert server.bytes_sent() == len(content) + 1
    assert sum("waiting" in err for _, err in results) == 1


def test_rm_while_pulling_is_refused(qwin, server):
    server.bytes_per_second = MIB // 2
    process = qwin.start("pull", "o/n")
    wait_for(lambda: server.bytes_sent() > 1000)
    assert "being pulled" in qwin.run("rm", "o/n", expect=2).stderr
    process.kill()
    process.communicate(timeout=LIMIT)
    qwin.run("rm", "o/n")
    assert qwin.leftovers("o--n") == []


# Disk.


def test_file_limit_is_a_clean_error(qwin, server):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))

    error = qwin.fail("o/n", "too_large", preexec_fn=limit)
    assert "m.gguf" in error
    assert "m.gguf" not in qwin.leftovers("o--n")


def test_model_larger_than_the_disk_is_refused_before_a_byte(qwin, server):
    real = server.answer_list

    def huge(repository, query):
        answer = real(repository, query)
        entries = json.loads(answer.body)
        for entry in entries:
            if "lfs" in entry:
                entry["lfs"]["size"] = 1 << 49
        answer.body = json.dumps(entries).encode()
        return answer

    server.answer_list = huge
    error = qwin.fail("o/n", "too_large")
    assert str(1 << 49) in error and "available" in error
    assert server.file_requests() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_unwritable_home(qwin, server, tmp_path):
    tmp_path.chmod(0o500)
    qwin.fail("o/n", "io", expect=2)
    tmp_path.chmod(0o700)
