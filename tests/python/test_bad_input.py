# SPDX-License-Identifier: Apache-2.0
"""Whatever is said to an engine, it answers, or raises an error of qwin's own that names what is wrong, or a TypeError."""

from pathlib import Path

import numpy as np
import pytest
import qwin

TINY = Path(__file__).resolve().parents[1] / "testdata/tiny/qwen2_tied"
PROMPT = [1, 2, 3]
NAN, INFINITY = float("nan"), float("inf")

REQUESTS = [
    ("prompt", [2**40]),
    ("prompt", [-1]),
    ("prompt", [1.5]),
    ("prompt", [1, "a"]),
    ("prompt", b"abc"),
    ("prompt", [{"content": "x"}]),
    ("prompt", [{"role": "user", "content": NAN}]),
    ("prompt", "\ud800"),
    ("max_length", 1.5),
    ("max_length", 2**40),
    ("temperature", "hot"),
    ("temperature", NAN),
    ("stop", [1]),
    ("stop", ["a"] * 20),
    ("logit_bias", {"a": 1}),
    ("logit_bias", {1: NAN}),
    ("logit_bias", [1]),
    ("seed", -1),
    ("seed", 2**64),
    ("top_k", 2**40),
    ("min_tokens", 9),
    ("logprobs", 21),
    ("stop_token_ids", [2**40]),
    ("ignore_eos", "no"),
    ("window_size", 2**70),
    ("window_size", 2**62),
    ("window_size", 1.5),
    ("timeout", NAN),
    ("timeout", -1),
    ("timeout", "x"),
    ("client", 5),
    ("priority", 2**40),
    ("prompt_logprobs", "yes"),
    ("system", "be kind"),
    ("tools", []),
]
OPTIONS = [
    ("kv_memory", -1),
    ("kv_memory", 2**70),
    ("kv_memory", 1),
    ("num_threads", -1),
    ("num_threads", 10**6),
    ("context_length", -5),
    ("context_length", 2.5),
    ("max_batch_size", 10**6),
    ("max_batch_size", 2**40),
    ("timeout", NAN),
    ("timeout", INFINITY),
    ("num_sink_tokens", -1),
    ("cache_max_bytes", -1),
    ("kv_dir", "/proc/nowhere"),
    ("cache_dir", "/proc/nowhere"),
    ("tokenizer", 5),
    ("quantize_bits", "4"),
    ("prefix_cache", "no"),
]


@pytest.mark.parametrize(("name", "value"), REQUESTS)
def test_a_request_is_refused_by_name(engine, name, value):
    with pytest.raises(qwin.InvalidArgumentError) as caught:
        engine.generate(**{"prompt": PROMPT, "max_length": 3, name: value})
    said = str(caught.value)
    known = {"max_length": "max_tokens", "timeout": "timeout", "window_size": "window"}.get(name, name)
    assert known in said or name == "prompt" or "system and tools" in said, said


@pytest.mark.parametrize(("name", "value"), OPTIONS)
def test_an_engine_is_refused_by_name(name, value):
    with pytest.raises(qwin.Error) as caught:
        qwin.Engine(TINY, **{"num_threads": 1, "kv_memory": 16 << 20, name: value})
    assert str(caught.value)


def test_other_types_are_type_errors(engine):
    for use in (
        lambda: engine.tokenize(5),
        lambda: engine.apply_chat_template(5),
        lambda: engine.apply_chat_template([{"role": "user", "content": b"x"}]),
        lambda: engine.generate(PROMPT, stop_token_ids=5),
    ):
        with pytest.raises(TypeError):
            use()


def test_ids_outside_the_vocabulary_have_no_text(engine):
    for ids in ([-1], [10**6], [2**40]):
        with pytest.raises(qwin.InvalidArgumentError):
            engine.detokenize(ids)


def test_arrays_are_prompts_too(engine):
    expected = engine.generate(PROMPT, 4, temperature=0)
    for prompt in (tuple(PROMPT), np.array(PROMPT), list(np.array(PROMPT, np.int32))):
        assert engine.generate(prompt, 4, temperature=0) == expected
    assert engine.generate(np.array([PROMPT, PROMPT]), 4, temperature=0) == [expected, expected]
    assert engine.generate([], 4) == []
