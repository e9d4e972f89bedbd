# SPDX-License-Identifier: Apache-2.0
"""The real models give one answer, bit for bit: alone, among 1 … 32 others, however the prompt was cut and cached.

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


def answer(engine, prompt, seed):
    # Log-probabilities of the prompt need every position computed; without them the cache serves what it has.
    result = engine.generate(prompt, 12, temperature=0.8, seed=seed, logprobs=3, prompt_logprobs=seed % 4 == 0,
                             ignore_eos=True, with_details=True)
    return repr((result.token_ids, result.logprobs, result.prompt_logprobs))


@pytest.mark.parametrize("kv_type", ["f16", "q8"])
def test_one_answer_whatever_else_runs(name, kv_type):
    rng = random.Random(20)
    shared = [rng.randrange(100, 150_000) for _ in range(200)]  # the cache serves it to whoever comes later
    with qwin.Engine(name, kv_memory=1 << 30, kv_type=kv_type, max_batch_size=1) as engine:
        lengths = [(rng.randrange(0, 200), rng.choice((1, 7, 63, 64, 65, 300))) for _ in range(32)]
        prompts = [shared[:common] + [rng.randrange(100, 150_000) for _ in range(own)] for common, own in lengths]
        alone = [answer(engine, prompt, seed) for seed, prompt in enumerate(prompts)]
    for others in (1, 3, 7, 16, 32):
        with qwin.Engine(name, kv_memory=1 << 30, kv_type=kv_type, max_batch_size=others) as engine:
            together = [""] * len(prompts)

            def ask(seed):
                time.sleep(rng.random() * 0.5)
                together[seed] = answer(engine, prompts[seed], seed)

            threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(others)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert together[:others] == alone[:others], f"{others} at once"
