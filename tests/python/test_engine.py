# SPDX-License-Identifier: Apache-2.0
"""The engine as Python sees it, on a tiny model."""

import asyncio
import gc
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import qwin
from qwin import _core

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests/testdata/tiny/qwen2_tied"

PROMPT = [5, 9, 200, 7]
ENDLESS = {"window_size": 16, "ignore_eos": True}


def greedy(engine, prompt=PROMPT, length=12, **arguments):
    return engine.generate(prompt, length, ignore_eos=True, with_details=True, **arguments)


def wait_until_idle(engine):
    for _ in range(500):
        stats = engine.stats
        if stats["requests_running"] + stats["requests_waiting"] == 0:
            return stats
        time.sleep(0.01)
    raise AssertionError(f"still busy: {engine.stats}")


def test_a_list_gives_what_its_prompts_give_alone(engine):
    prompts = [[1 + i, 2, 3] * (i + 1) for i in range(6)]
    together = engine.generate(prompts, 10, ignore_eos=True, with_details=True)
    assert [r.token_ids for r in together] == [greedy(engine, p, 10).token_ids for p in prompts]
    assert isinstance(engine.generate("abc", 3, raw=True), str)
    assert isinstance(engine.generate(["abc"], 3, raw=True), list)


def test_a_list_may_be_longer_than_the_queue():
    with qwin.Engine(TINY, num_threads=1, kv_memory=16 << 20, max_batch_size=2, max_queue=3) as engine:
        prompts = [[1 + i, 2] for i in range(40)]
        answers = engine.generate(prompts, 3, ignore_eos=True, with_details=True)
        assert [answer.prompt_token_ids for answer in answers] == prompts
        with pytest.raises(qwin.InvalidArgumentError):
            engine.generate([*prompts, [99999]], 3)
        wait_until_idle(engine)


def test_a_prompt_is_read_in_steps_as_long_as_one_wants():
    steps = []
    for seconds in (0.19, 0):
        with qwin.Engine(TINY, num_threads=1, kv_memory=16 << 20, max_step_seconds=seconds) as engine:
            assert engine.generate(list(range(100)), 1, ignore_eos=True, with_details=True).prompt_tokens == 100
            steps.append(engine.stats["steps"])
    assert steps[0] > steps[1] == 1


def test_details_tell_all_about_an_answer(engine):
    result = greedy(engine, logprobs=2, prompt_logprobs=True)
    assert len(result.token_ids) == 12 and result.finish_reason == "length"
    assert result.prompt_token_ids == PROMPT and result.prompt_tokens == 4
    assert [entry.token_id for entry in result.logprobs] == result.token_ids
    assert [entry.token_id for entry in result.prompt_logprobs] == PROMPT[1:]
    assert all(entry.logprob <= entry.top[0][1] for entry in result.prompt_logprobs)
    assert result.timings.ttft_ms > 0


def test_prompt_logits_agree_with_the_greedy_token(engine):
    logits = engine.prompt_logits(PROMPT)
    assert logits.shape == (4, engine.info["vocab_size"]) and logits.dtype == np.float32
    assert greedy(engine, length=1).token_ids == [int(np.argmax(logits[-1][:303]))]


def test_a_choice_scores_the_sum_of_its_tokens(engine):
    choices = ["abc", "b", " long answer"]
    logits = [engine.prompt_logits(PROMPT + engine.tokenize(choice)).astype(np.float64) for choice in choices]
    expected = []
    for choice, rows in zip(choices, logits):
        ids = engine.tokenize(choice)
        logprobs = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
        expected.append(sum(logprobs[len(PROMPT) - 1 + i, token] for i, token in enumerate(ids)))
    assert engine.score(PROMPT, choices) == pytest.approx(expected, abs=1e-4)
    with pytest.raises(qwin.InvalidArgumentError, match="empty"):
        engine.score(PROMPT, ["a", ""])


def test_embeddings_are_pooled_hidden_states(engine):
    ids = engine.tokenize("some text")
    states = engine.hidden_states(ids)
    assert states.shape == (len(ids), engine.info["hidden_size"]) and states.dtype == np.float32
    mean, last = engine.embed("some text"), engine.embed("some text", pooling="last", normalize=False)
    assert np.allclose(mean, states.mean(axis=0) / np.linalg.norm(states.mean(axis=0)), atol=1e-6)
    assert np.array_equal(last, states[-1])
    many = engine.embed(["some text", "another, longer one", "some text"])
    assert many.shape == (3, states.shape[1])
    assert np.array_equal(many[0], mean) and np.array_equal(many[2], mean) and not np.array_equal(many[1], mean)
    for wrong in ({"prompt": []}, {"prompt": "a", "pooling": "max"}):
        with pytest.raises(qwin.InvalidArgumentError):
            engine.embed(**wrong)


def test_weights_in_memory_are_taken_from_anything_with_a_buffer(engine):
    """The array protocol alone; tests/python/test_live_model.py has the models of transformers."""
    file = (TINY / "model.safetensors").read_bytes()
    size = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + size])
    weights = [
        (name, np.frombuffer(file[8 + size :][slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"]))
        for name, entry in header.items()
        if name != "__metadata__"
    ]
    options = {"num_threads": 1, "kv_memory_bytes": 16 << 20}
    taken = _core.Engine(str(TINY), weights, options)
    assert np.array_equal(taken.prompt_logits(PROMPT), engine.prompt_logits(PROMPT))
    for wrong, error in ((np.float64, "F64"), (np.int32, "no float")):
        with pytest.raises(qwin.Error, match=error):
            _core.Engine(str(TINY), [(weights[0][0], weights[0][1].astype(wrong)), *weights[1:]], options)


def test_a_stream_is_the_answer_in_pieces(engine):
    expected = greedy(engine, length=40)
    stream = engine.stream_generate(PROMPT, 40, ignore_eos=True, stream_interval=0)
    chunks = list(stream)
    assert "".join(chunk["text"] for chunk in chunks) == expected.text
    assert [token for chunk in chunks for token in chunk["token_ids"]] == expected.token_ids
    assert [chunk["finish_reason"] for chunk in chunks if "finish_reason" in chunk] == ["length"]
    assert stream.result().token_ids == expected.token_ids
    assert list(stream) == []


def test_text_that_comes_faster_is_joined_and_the_end_is_not_held_back(engine):
    expected = greedy(engine, length=60).text
    start = time.monotonic()
    chunks = list(engine.stream_generate(PROMPT, 60, ignore_eos=True, stream_interval=30))

    async def collect():
        return [c async for c in engine.stream_generate(PROMPT, 60, ignore_eos=True, stream_interval=30)]

    for chunks in (chunks, asyncio.run(collect())):
        assert len(chunks) <= 3 and "finish_reason" in chunks[-1]
        assert "".join(chunk["text"] for chunk in chunks) == expected
        assert sum(len(chunk["token_ids"]) for chunk in chunks) == 60
    assert time.monotonic() - start < 20


def test_an_async_stream_lets_others_run(engine):
    expected = greedy(engine, length=60).text

    async def collect():
        return "".join([c["text"] async for c in engine.stream_generate(PROMPT, 60, ignore_eos=True, stream_interval=0)])

    async def both():
        return await asyncio.gather(collect(), collect(), collect())

    assert asyncio.run(both()) == [expected] * 3


def test_closing_or_dropping_a_stream_cancels_its_request(engine):
    with engine.stream_generate(PROMPT, **ENDLESS) as stream:
        next(stream)
    wait_until_idle(engine)
    dropped = engine.stream_generate(PROMPT, **ENDLESS)
    next(dropped)
    del dropped
    gc.collect()
    assert wait_until_idle(engine)["kv_pages_used"] == 0


def test_an_exception_between_chunks_leaves_the_engine_well(engine):
    with pytest.raises(ZeroDivisionError):
        for _ in engine.stream_generate(PROMPT, **ENDLESS):
            1 / 0
    gc.collect()
    wait_until_idle(engine)
    assert greedy(engine).token_ids == greedy(engine).token_ids


def test_threads_share_the_batch_and_get_their_own_answers(engine):
    prompts = [[1 + i % 7, 2, 3, i] for i in range(40)]
    expected = [greedy(engine, p).token_ids for p in prompts]
    with qwin.ParallelEngine(engine, num_workers=8) as parallel:
        answers = parallel.map(lambda prompt: greedy(engine, prompt).token_ids, prompts)
    assert answers == expected


def test_map_raises_what_a_call_raised(engine):
    with qwin.ParallelEngine(engine, num_workers=2) as parallel, pytest.raises(qwin.InvalidArgumentError):
        parallel.map(lambda prompt: greedy(engine, prompt), [[1], [99999], [2]])


@pytest.mark.parametrize(
    ("arguments", "error", "names"),
    [
        ({"temperature": -1}, qwin.InvalidArgumentError, "temperature"),
        ({"top_p": 1.5}, qwin.InvalidArgumentError, "top_p"),
        ({"max_length": 0}, qwin.InvalidArgumentError, "max_tokens"),
        ({"window_size": -3}, qwin.InvalidArgumentError, "window"),
        ({"memory_top_k": 3}, qwin.InvalidArgumentError, "memory_top_k"),
        ({"attention_type": "sparse"}, qwin.InvalidArgumentError, "attention_type"),
        ({"tempreature": 1}, TypeError, "tempreature"),
        ({"prompt": [320]}, qwin.InvalidArgumentError, "320"),
        ({"prompt": [1] * 5000}, qwin.ContextLengthError, "5000"),
        ({"prompt": 3.5}, qwin.InvalidArgumentError, "float"),
    ],
)
def test_bad_requests_name_what_is_wrong(engine, arguments, error, names):
    with pytest.raises(error, match=names):
        engine.generate(**{"prompt": PROMPT, "max_length": 3, **arguments})


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"window_size": 5}, "sliding_window"),
        ({"memory_top_k": 5}, "hybrid"),
        ({"attention_type": "hybrid", "window_size": 63}, "window"),
        ({"overflow_policy": "cut"}, "overflow_policy"),
        ({"attention_type": "sparse"}, "attention_type"),
        ({"quantize_bits": 3}, "4 or 8"),
        ({"sparse_threshold": 0.2}, "sparse_threshold"),
        ({"kv_type": "f8"}, "kv_type"),
        ({"max_batch_size": 0}, "max_batch_size"),
        ({"max_step_seconds": -1}, "max_step_seconds"),
        ({"context_length": 10**6}, "10"),
    ],
)
def test_impossible_engines_are_refused(options, names):
    with pytest.raises(qwin.InvalidArgumentError, match=names):
        qwin.Engine(TINY, kv_memory=16 << 20, **options)


@pytest.mark.parametrize("bits, farthest", [(4, 0.3), (8, 0.05)])
def test_weights_are_quantized_while_they_are_loaded(span_model, bits, farthest):
    """As the command does with --bits, and not for nothing."""
    ids = [i * 37 % 290 for i in range(24)]
    with qwin.Engine(span_model, num_threads=1) as plain, qwin.Engine(span_model, num_threads=1, quantize_bits=bits) as quantized:
        logits, own = plain.prompt_logits(ids), quantized.prompt_logits(ids)
        assert 0 < np.abs(own - logits).max() and np.abs(own - logits).mean() < farthest * np.abs(logits).mean()
        assert quantized.info["weight_bytes"] <= plain.info["weight_bytes"]
    command = [os.environ.get("QWIN_BINARY", str(ROOT / "build/release/qwin")), "logits", str(span_model), "--bits", str(bits)]
    text = json.dumps({"token_ids": ids, "top": 1})
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    assert [top[0] for top in json.loads(done.stdout)["top_ids"]] == own.argmax(axis=1).tolist()


def test_missing_and_broken_models_are_refused(tmp_path):
    with pytest.raises(qwin.Error):
        qwin.Engine(tmp_path / "nothing.gguf")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\xff" * 100)
    with pytest.raises(qwin.ModelFileError) as caught:
        qwin.Engine(tmp_path / "broken.gguf")
    assert caught.value.code == "bad_version"


def test_a_window_goes_on_past_the_context():
    with qwin.Engine(TINY, attention_type="sliding_window", window_size=32, num_sink_tokens=4) as engine:
        assert len(greedy(engine, length=400).token_ids) == 400


def test_plans_of_attention_are_told():
    with qwin.Engine(TINY, attention_type="hybrid", window_size=64, memory_top_k=2, hybrid_from=0) as engine:
        assert engine.info["attention_type"] == "hybrid" and engine.info["memory_top_k"] == 2
        details = {"raw": True, "max_length": 2, "with_details": True}
        assert engine.generate("abc", **details).attention["hybrid_from"] == 0
        assert engine.generate("abc", attention_type="full", **details).attention["attention_type"] == "full"
        long = engine.generate([1] * 500, overflow_policy="window", **details)
        assert long.attention["attention_type"] == "sliding_window" and long.prompt_tokens == 500


def test_closed_engines_say_so_and_close_twice():
    engine = qwin.Engine(TINY, kv_memory=16 << 20)
    stream = engine.stream_generate(PROMPT, **{**ENDLESS, "window_size": None, "max_length": 100})
    engine.close()
    engine.close()
    assert list(stream)[-1]["finish_reason"] in ("cancelled", "length")
    with pytest.raises(qwin.Error, match="closed"):
        engine.generate(PROMPT)
    assert "closed" in repr(engine)


def test_engines_are_not_pickled(engine):
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(engine)


def test_the_interpreter_may_end_while_an_answer_is_written():
    code = (
        f"import sys; sys.path.insert(0, {str(Path(qwin.__file__).parents[1])!r})\n"
        f"import qwin\nengine = qwin.Engine({str(TINY)!r}, kv_memory=64 << 20, num_sink_tokens=4)\n"
        "stream = engine.stream_generate([1, 2, 3], window_size=16, ignore_eos=True)\n"
        "print(len(next(stream)['token_ids']) > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_told_to_load_its_own(engine, is_refused_in_a_child):
    engine.generate(PROMPT, 2)
    assert is_refused_in_a_child(engine, PROMPT)
    assert greedy(engine).finish_reason == "length"


def test_waiting_leaves_the_interpreter_to_others(engine):
    counted = 0
    stop = threading.Event()

    def count():
        nonlocal counted
        while not stop.is_set():
            counted += 1

    thread = threading.Thread(target=count)
    thread.start()
    before = counted
    greedy(engine, length=5000, window_size=16)
    stop.set()
    thread.join()
    assert counted > before


def test_llm_has_the_shape_of_vllm():
    llm = qwin.LLM(TINY, kv_memory=64 << 20)
    params = qwin.SamplingParams(n=2, temperature=1.5, seed=3, max_tokens=5, ignore_eos=True, logprobs=1)
    outputs = llm.generate(["abc", "de"], params)
    assert [output.prompt for output in outputs] == ["abc", "de"]
    for output in outputs:
        assert [answer.index for answer in output.outputs] == [0, 1]
        assert output.outputs[0].token_ids != output.outputs[1].token_ids
        assert output.outputs[0].cumulative_logprob == pytest.approx(sum(e.logprob for e in output.outputs[0].logprobs))
    assert llm.generate(["abc"], params)[0].outputs[0].token_ids == outputs[0].outputs[0].token_ids
    llm.close()


def test_documents_are_cut_between_sentences_with_overlap(engine):
    text = "".join(f"Sentence number {i} is here. " for i in range(60)) + "".join(f"这是第{i}句。真的{i}吗？" for i in range(20))
    segments = qwin.split_document(engine, text, 64, 16)
    assert len(segments) > 3
    assert all(len(engine.tokenize(segment)) <= 80 for segment in segments)
    position = 0
    for segment in segments:  # each begins within what is covered already, and nothing is left out
        begin = text.index(segment)
        assert begin <= position
        position = begin + len(segment)
    assert position == len(text)
    with pytest.raises(qwin.InvalidArgumentError):
        qwin.split_document(engine, text, 64, 64)


def test_a_document_goes_on_where_it_was_interrupted(engine, tmp_path):
    text = "".join(f"Sentence number {i} is here. " for i in range(12))
    arguments = dict(segment_tokens=64, overlap=8, instruction="Say:", reduce_instruction="All:", raw=True, max_length=4, ignore_eos=True)
    whole = qwin.process_document(engine, text, with_details=True, **arguments)
    assert len(whole.segments) == len(whole.partial_answers) > 2

    journal = tmp_path / "journal"

    def stop(done, total):
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        qwin.process_document(engine, text, journal=journal, progress=stop, **arguments)
    heard, counts = [], []
    again = qwin.process_document(
        engine, text, journal=journal, with_details=True, on_text=heard.append,
        progress=lambda done, total: counts.append((done, total)), **arguments,
    )
    assert (again.text, again.partial_answers) == (whole.text, whole.partial_answers) == ("".join(heard), again.partial_answers)
    assert again.completion_tokens < whole.completion_tokens
    assert counts[-1][0] == counts[-1][1] and not journal.exists()
    known = qwin.process_document(engine, text, partial_answers=whole.partial_answers, with_details=True, **arguments)
    assert known.text == whole.text and known.completion_tokens == whole.completion_tokens - 4 * len(whole.segments)
    one = qwin.process_document(engine, text[:100], method="one_pass", with_details=True, **arguments)
    assert one.attention["attention_type"] == "hybrid" and len(one.segments) == 1
    with pytest.raises(qwin.InvalidArgumentError):
        qwin.process_document(engine, text, method="both", **arguments)


def test_files_become_text(tmp_path):
    (tmp_path / "a.txt").write_text("有字。", encoding="utf-8")
    assert qwin.read_document(tmp_path / "a.txt") == "有字。"
    with pytest.raises(qwin.Error, match="no file"):
        qwin.read_document(tmp_path / "b.txt")


def test_the_package_is_typed():
    assert (ROOT / "python/qwin/py.typed").exists()
    assert (ROOT / "python/qwin/_core.pyi").exists()
