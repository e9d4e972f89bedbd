# SPDX-License-Identifier: Apache-2.0
"""The real models give one answer, bit for bit: alone, among 1 … 32 others under other plans of attention, however the prompt
was cut and cached, with too few pages for all, and from disk after a restart.

Requests are told apart by their seeds; compared are token ids and float32 log-probabilities of what was read and written.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, os.environ.get("QWIN_PYTHON_PATH", str(ROOT / "build/release/python")))

import qwin  # noqa: E402

pytestmark = pytest.mark.long

BINARY = os.environ.get("QWIN_BINARY", str(ROOT / "build/release/qwin"))


@pytest.fixture(scope="module", params=["qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"])
def name(request):
    local = json.loads(subprocess.run([BINARY, "list", "--json"], capture_output=True, check=True).stdout)
    if request.param not in [model["name"] for model in local]:
        pytest.skip(f"{request.param} is not here; `qwin pull {request.param}` fetches it")
    return request.param


# Memory begins at token 100, so that short prompts reach it.
HYBRID = {"attention_type": "hybrid", "window_size": 64, "num_sink_tokens": 4, "memory_top_k": 5, "hybrid_from": 100}
PLANS = ({}, {"attention_type": "full"}, {"window_size": 100, "memory_top_k": 9},
         {"attention_type": "sliding_window", "window_size": 80})


def answer(engine, prompt, seed, tokens=12):
    # Log-probabilities of the prompt need every position computed; without them the cache serves what it has.
    result = engine.generate(prompt, tokens, temperature=0.8, seed=seed, logprobs=3, prompt_logprobs=seed % 4 == 0,
                             ignore_eos=True, with_details=True, **PLANS[seed % len(PLANS)])
    return repr((result.token_ids, result.logprobs, result.prompt_logprobs))


@pytest.mark.parametrize("kv_type", ["f16", "q8"])
def test_one_answer_whatever_else_runs(name, kv_type):
    rng = random.Random(20)
    shared = [rng.randrange(100, 150_000) for _ in range(200)]  # the cache serves it to whoever comes later
    with qwin.Engine(name, kv_memory=1 << 30, kv_type=kv_type, max_batch_size=1, **HYBRID) as engine:
        lengths = [(rng.randrange(0, 200), rng.choice((1, 7, 63, 64, 65, 300))) for _ in range(32)]
        prompts = [shared[:common] + [rng.randrange(100, 150_000) for _ in range(own)] for common, own in lengths]
        alone = [answer(engine, prompt, seed) for seed, prompt in enumerate(prompts)]
    for others in (1, 3, 7, 16, 32):
        with qwin.Engine(name, kv_memory=1 << 30, kv_type=kv_type, max_batch_size=others, **HYBRID) as engine:
            assert ask_together(engine, prompts[:others], rng) == alone[:others], f"{others} at once"


def ask_together(engine, prompts, rng, tokens=12):
    answers = [""] * len(prompts)

    def ask(seed, pause):
        time.sleep(pause)
        answers[seed] = answer(engine, prompts[seed], seed, tokens)

    threads = [threading.Thread(target=ask, args=(seed, rng.random() * 0.5)) for seed in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_memory_survives_pre_emption_and_a_restart(name, tmp_path):
    rng = random.Random(21)
    shared = [rng.randrange(100, 150_000) for _ in range(700)]
    prompts = [shared[: 300 + 50 * i] + [rng.randrange(100, 150_000) for _ in range(100)] for i in range(8)]
    tokens = 130  # two pages: those that were let in grow beyond what there is
    with qwin.Engine(name, kv_memory=1 << 30, max_batch_size=1, prefix_cache=False, **HYBRID) as engine:
        alone = [answer(engine, prompt, seed, tokens) for seed, prompt in enumerate(prompts)]
        page = 64 * engine.info["kv_bytes_per_token"]
    options = {"kv_memory": 24 * page, "context_length": 1024, "max_batch_size": 6, "cache_dir": tmp_path, **HYBRID}
    with qwin.Engine(name, **options) as engine:
        assert ask_together(engine, prompts, rng, tokens) == alone
        assert engine.stats["preemptions"] > 0
    with qwin.Engine(name, **options) as engine:
        assert ask_together(engine, prompts, rng, tokens) == alone
        assert engine.stats["prefix_cache_hit_tokens"] > 8 * 64
