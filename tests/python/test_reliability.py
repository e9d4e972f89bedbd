# SPDX-License-Identifier: Apache-2.0
"""What may go wrong around an engine: threads, callbacks, streams left half-way, closing, forks, signals, the interpreter's end."""

import asyncio
import copy
import gc
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import qwin

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests/testdata/tiny/qwen2_tied"


PROMPT = [5, 9, 200, 7]
ENDLESS = {"window_size": 16, "ignore_eos": True}


def wait_until_idle(engine):
    for _ in range(500):
        stats = engine.stats
        if stats["requests_running"] + stats["requests_waiting"] == 0:
            return stats
        time.sleep(0.01)
    raise AssertionError(f"still busy: {engine.stats}")


def run_python(code, *arguments, **options):
    """A process that has imported qwin and opened the tiny model as `engine`."""
    head = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # tests in the background ignore it
        f"import sys; sys.path.insert(0, {str(Path(qwin.__file__).parents[1])!r})\n"
        f"import qwin\nengine = qwin.Engine({str(TINY)!r}, kv_memory=64 << 20, num_sink_tokens=4, num_threads=1)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def finished(process):
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out.strip(), err


def test_eight_threads_of_fifty_answers_are_those_of_one(engine):
    prompts = [[1 + (thread * 50 + i) % 290, 2, 3 + thread, i + 1] for thread in range(8) for i in range(50)]
    settings = [{"temperature": 0.0 if i % 2 else 1.0, "seed": i} for i in range(400)]

    def answer(i):
        return engine.generate(prompts[i], 6, ignore_eos=True, with_details=True, **settings[i]).token_ids

    alone = [answer(i) for i in range(400)]
    together = [None] * 400

    def work(thread):
        for i in range(thread * 50, thread * 50 + 50):
            together[i] = answer(i)

    threads = [threading.Thread(target=work, args=(t,)) for t in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
    assert wait_until_idle(engine)["kv_pages_used"] == 0


def test_an_exception_in_a_callback_reaches_the_caller_and_leaves_the_engine_well(engine):
    def progress(done, total):
        raise ZeroDivisionError(f"{done} of {total}")

    with pytest.raises(ZeroDivisionError):
        qwin.process_document(engine, "One. " * 100, 32, 8, max_length=2, progress=progress, raw=True)
    assert len(engine.generate(PROMPT, 5, ignore_eos=True, with_details=True).token_ids) == 5
    assert wait_until_idle(engine)["kv_pages_used"] == 0


def test_an_error_in_a_task_cancels_its_stream(engine):
    async def fail():
        async for _ in engine.stream_generate(PROMPT, **ENDLESS):
            raise KeyError("half-way")

    async def cancelled():
        async for _ in engine.stream_generate(PROMPT, **ENDLESS):
            await asyncio.sleep(0)

    async def both():
        with pytest.raises(KeyError):
            await fail()
        task = asyncio.create_task(cancelled())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(both())
    gc.collect()
    assert wait_until_idle(engine)["kv_pages_used"] == 0


def test_a_stream_outlives_its_engine_and_ends():
    engine = qwin.Engine(TINY, kv_memory=16 << 20, num_threads=1, num_sink_tokens=4)
    stream = engine.stream_generate(PROMPT, **ENDLESS)
    next(stream)
    closer = threading.Thread(target=engine.close)
    closer.start()
    last = list(stream)[-1]
    closer.join()
    engine.close()
    assert last["finish_reason"] == "cancelled"
    stream.close()
    for use in (
        lambda: engine.generate(PROMPT, 2),
        lambda: engine.stream_generate(PROMPT),
        lambda: engine.tokenize("a"),
        lambda: engine.stats,
        lambda: engine.embed("a"),
    ):
        with pytest.raises(qwin.Error, match="closed"):
            use()


def test_waiting_calls_end_when_another_thread_closes_the_engine():
    engine = qwin.Engine(TINY, kv_memory=16 << 20, num_threads=1, num_sink_tokens=4)
    errors = []

    def wait():
        try:
            engine.generate(PROMPT, **ENDLESS)
        except qwin.CancelledError as error:
            errors.append(error)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    while engine.stats["requests_running"] < 4:
        time.sleep(0.01)
    engine.close()
    for thread in threads:
        thread.join(timeout=20)
    assert len(errors) == 4


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_engines_are_neither_pickled_nor_copied(engine, duplicate):
    with pytest.raises(TypeError, match="pickle"):
        duplicate(engine)


def test_streams_are_not_pickled(engine):
    stream = engine.stream_generate(PROMPT, 2)
    with pytest.raises(TypeError):
        pickle.dumps(stream)
    list(stream)


def test_ctrl_c_ends_a_waiting_call_and_the_engine_goes_on():
    process = run_python(
        "print('ready', flush=True)\n"
        "try:\n    engine.generate([1, 2, 3], window_size=16, ignore_eos=True)\n"
        "except KeyboardInterrupt:\n"
        "    print(len(engine.generate([1, 2], 4, ignore_eos=True, with_details=True).token_ids))\n"
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert finished(process)[:2] == (0, "4")


@pytest.mark.parametrize(
    "leave",
    [
        "stream = engine.stream_generate([1], window_size=16, ignore_eos=True); next(stream)",
        "import threading; threading.Thread(target=lambda: engine.generate([1], window_size=16, ignore_eos=True), daemon=True).start()\n"
        "import time; time.sleep(0.2)",
        "stream = engine.stream_generate([1], window_size=16, ignore_eos=True); next(stream); raise SystemExit(0)",
    ],
)
def test_the_interpreter_may_end_in_the_middle_of_anything(leave):
    code, _, err = finished(run_python(leave))
    assert code == 0 and "leaked" not in err and "Fatal" not in err, err


def test_a_fork_in_the_middle_of_an_answer_harms_neither_side(engine, is_refused_in_a_child):
    stream = engine.stream_generate(PROMPT, **ENDLESS)
    next(stream)
    assert is_refused_in_a_child(engine, PROMPT)
    assert next(stream)["token_ids"]
    stream.close()
    wait_until_idle(engine)


def test_a_child_may_load_an_engine_of_its_own(engine, exit_code_of_a_child):
    expected = engine.generate(PROMPT, 4, ignore_eos=True, with_details=True).token_ids

    def load_and_ask():
        own = qwin.Engine(TINY, num_threads=1, num_sink_tokens=4, kv_memory=16 << 20)
        return 0 if own.generate(PROMPT, 4, ignore_eos=True, with_details=True).token_ids == expected else 1

    assert exit_code_of_a_child(load_and_ask) == 0


@pytest.mark.long
def test_ten_thousand_sequences_leave_nothing_behind():
    with qwin.Engine(TINY, num_threads=1, num_sink_tokens=4, kv_memory=16 << 20) as engine:

        def thousand(first):
            for i in range(first, first + 1000):
                engine.generate([1 + i % 290, 1 + i // 290 % 290, 7, 1 + i % 13], 4, ignore_eos=True, logprobs=2, with_details=True)
                if i % 10 == 0:
                    stream = engine.stream_generate([1 + i % 290, 5], **ENDLESS)
                    next(stream)
                    stream.close()
            gc.collect()
            wait_until_idle(engine)
            return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

        thousand(0)
        before = thousand(1000)
        for first in range(2000, 12000, 1000):
            after = thousand(first)
        assert (after - before) / 10000 < 1024, f"{before} bytes, then {after}"
