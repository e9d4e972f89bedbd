# SPDX-License-Identifier: Apache-2.0
"""The real models against transformers: KL divergence, float32 logits and greedy continuations of tests/testdata/golden.

The models are those of `qwin pull`; one that is not in $QWIN_HOME is skipped.
"""

import json
import os
import pathlib
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("QWIN_BINARY", str(ROOT / "build/release/qwin"))
GOLDEN = ROOT / "tests/testdata/golden"
SAFE_MARGIN = 0.3  # logits: below it the rounding of 8 bits may choose the other token

MAX_MEAN_KL = {"qwen2.5-coder-0.5b": 7e-4, "qwen2.5-coder-1.5b": 1e-3}
MIN_TOP1 = {"qwen2.5-coder-0.5b": 0.98, "qwen2.5-coder-1.5b": 0.99}

pytestmark = pytest.mark.long


def run(*arguments, text="", isa=None):
    environment = {k: v for k, v in os.environ.items() if k == "QWIN_HOME" or not k.startswith("QWIN_")}
    if isa is not None:
        environment["QWIN_CPU_ISA"] = isa
    done = subprocess.run([BINARY, *arguments], input=text, capture_output=True, text=True, env=environment, timeout=3000)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=sorted(MAX_MEAN_KL))
def model(request):
    if request.param not in [local["name"] for local in run("list", "--json")]:
        pytest.skip(f"{request.param} is not here; `qwin pull {request.param}` fetches it")
    return request.param


@pytest.fixture(scope="module")
def golden(model):
    return np.load(GOLDEN / f"{model}.npz")


def kld(model, *options, isa=None):
    return run("eval", model, "--kld", str(GOLDEN / f"{model}.npz"), "--json", *options, isa=isa)


def test_integers_are_near_the_reference(model):
    result = kld(model)
    assert result["mean_kl"] <= MAX_MEAN_KL[model], result
    assert result["top1"] >= MIN_TOP1[model], result
    assert result["long_text"]["mean_kl"] <= 2 * MAX_MEAN_KL[model], result
    assert result["long_text"]["top1"] >= MIN_TOP1[model] - 0.01, result
    assert result["mean_kl"] > 1e-7, "this is not the integer path"


def test_keys_and_values_in_8_bits_are_near_the_reference(model):
    result = kld(model, "--kv-type", "q8")
    assert result["mean_kl"] <= MAX_MEAN_KL[model], result
    assert result["top1"] >= MIN_TOP1[model], result
    assert result["long_text"]["mean_kl"] <= 2 * MAX_MEAN_KL[model], result
    assert result["long_text"]["top1"] >= MIN_TOP1[model] - 0.01, result


def test_float32_is_the_reference(model):
    result = kld(model, "--kv-type", "f32", "--skip-long", isa="float32")
    assert result["nmse"] <= 1e-6, result
    assert result["mean_kl"] <= 1e-6, result
    assert result["top1"] >= 0.999, result


def test_greedy_continuations_follow_the_reference(model, golden):
    compared = 0
    for i, name in enumerate(golden["names"]):
        ids = golden[f"ids_{i}"].tolist()
        prompt = run("detokenize", model, "--json", text=json.dumps({"token_ids": ids}))["text"]
        greedy = ["--temperature", "0", "--repetition-penalty", "1", "--ignore-eos", "--max-tokens", "48"]
        result = run("run", model, "--raw", "--json", *greedy, text=prompt)
        assert result["prompt_tokens"] == len(ids), name
        unsafe = np.flatnonzero(golden[f"greedy_margin_{i}"] < SAFE_MARGIN)
        steps = int(unsafe[0]) if unsafe.size else 48
        assert result["token_ids"][:steps] == golden[f"greedy_{i}"][:steps].tolist(), name
        compared += steps
    assert compared >= 48, "too few safe steps to say anything"
