# SPDX-License-Identifier: Apache-2.0
"""The adapter for lm-evaluation-harness against the engine's own logits, and through the harness's command."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import qwin

pytestmark = pytest.mark.long
pytest.importorskip("lm_eval")
TINY = Path(__file__).resolve().parents[1] / "testdata/tiny/qwen2_tied"

TASK = """
task: choices
dataset_path: json
dataset_kwargs: {data_files: {test: ITEMS}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
doc_to_choice: "{{choices}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture(scope="module")
def model():
    from qwin.lm_eval import QwinLM

    return QwinLM(str(TINY), num_threads=1, kv_memory=16 << 20)


def requests(*arguments):
    return [SimpleNamespace(args=one) for one in arguments]


def log_probability(engine, context, continuation):
    """(sum over the continuation's tokens, whether each is the most probable one)"""
    rows = engine.prompt_logits(context + continuation)[len(context) - 1 : -1].astype(np.float64)
    logprobs = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    chosen = logprobs[np.arange(len(continuation)), continuation]
    return chosen.sum(), bool((rows.argmax(axis=1) == continuation).all())


def test_log_likelihoods_are_those_of_the_logits(model):
    pairs = [("a text", " and more"), ("ab", "c"), ("", "xyz")]
    for (context, continuation), answer in zip(pairs, model.loglikelihood(requests(*pairs))):
        whole = model.tok_encode(context + continuation)
        before = model.tok_encode(context) or [model.eot_token_id]
        after = whole[len(model.tok_encode(context)) :]
        expected = log_probability(model.engine, before, after)
        assert answer[0] == pytest.approx(expected[0], abs=1e-3) and answer[1] == expected[1]


def test_a_text_longer_than_the_context_is_read_in_windows(model):
    text = "some words " * 40
    ids = model.tok_encode(text)
    assert len(ids) > model.engine.info["context_length"]
    (rolling,) = model.loglikelihood_rolling(requests((text,)))
    assert -20 * len(ids) < rolling < 0


def test_answers_end_at_their_stops(model):
    whole = model.generate_until(requests(("abc", {"until": [], "max_gen_toks": 12}), ("d", {"until": [], "max_gen_toks": 3})))
    assert whole[0] == model.engine.generate("abc", 12, raw=True, temperature=0)
    stop = whole[0][4]
    (cut,) = model.generate_until(requests(("abc", {"until": [stop], "max_gen_toks": 12})))
    assert cut == whole[0][: whole[0].index(stop)]


def test_the_command_evaluates_a_task(tmp_path):
    items = [{"question": f"q{i}", "choices": ["a", "b"], "answer": i % 2} for i in range(4)]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, items)))
    (tmp_path / "task.yaml").write_text(TASK.replace("ITEMS", str(tmp_path / "items.jsonl")))
    command = [sys.executable, "-m", "qwin.lm_eval", "--model", "qwin", "--model_args", f"model={TINY},kv_memory=16777216"]
    environment = {**os.environ, "PYTHONPATH": str(Path(qwin.__file__).parents[1]), "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [*command, "--tasks", "choices", "--include_path", str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and "|acc" in done.stdout, done.stdout + done.stderr
