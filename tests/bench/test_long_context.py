# SPDX-License-Identifier: Apache-2.0
"""bench/long_context.py: its questions can be answered from its documents, and lines go where they should."""

import json
import math
import os
import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, os.environ.get("QWIN_PYTHON_PATH", str(ROOT / "build/release/python")))
sys.path.insert(0, str(ROOT / "bench"))
import long_context  # noqa: E402
import plot_long_context  # noqa: E402


class Letters:
    """An engine whose tokens are letters; what it was asked is in `prompts`."""

    def __init__(self, answer):
        self.answer = answer
        self.prompts, self.plans = [], []

    def tokenize(self, text):
        return list(text)

    def detokenize(self, ids):
        return "".join(ids)

    def generate(self, prompt, *_, prompt_logprobs=False, **plan):
        self.plans.append(plan)
        if prompt_logprobs:
            return SimpleNamespace(prompt_logprobs=[SimpleNamespace(logprob=-math.log(2))] * (len(prompt) - 1))
        prompts = [prompt] if isinstance(prompt, str) else prompt
        self.prompts += prompts
        answers = [self.answer(one) for one in prompts]
        return answers[0] if isinstance(prompt, str) else answers


def questions():
    return json.loads((ROOT / "bench/long_context_questions.json").read_text())


def test_every_answer_stands_in_the_documents():
    qa = questions()
    text = "".join((ROOT / name).read_text() for name in [*qa["first"], qa["last"]])
    for item in qa["questions"]:
        assert item["evidence"] in text, item
        assert any(one.lower() in item["evidence"].replace(",", "").lower() for one in item["answers"]), item


def test_lines_are_inserted_at_their_shares_of_the_text():
    document = long_context.Document(Letters(None), "\n".join("0123456789"), 15)  # 8 lines
    document.insert(0.0, "first")
    document.insert(0.5, "middle")
    document.insert(0.99, "last")
    assert document.text().split("\n") == ["first", "0", "1", "2", "3", "middle", "4", "5", "6", "last", "7"]


def test_answers_are_judged_by_what_they_contain():
    right = {item["question"]: item["answers"][0].upper() for item in questions()["questions"]}

    def answer(prompt):
        question = prompt.split("Question about the texts above: ")[1].removesuffix(" Answer in a few words.")
        return "It is 3,000,000 euros." if "liability" in question else f"I say: {right[question]}!"

    engine = Letters(answer)
    result = long_context.questions(engine, 40000, "tokens")
    assert result == {"questions": 1.0, "questions_missed": {}}
    assert 38000 < len(engine.prompts[0]) < 40000 and len({one[:30000] for one in engine.prompts}) == 1
    missed = long_context.questions(Letters(lambda _: "Vasse"), 40000, "full")
    assert missed["questions"] == 0.05 and len(missed["questions_missed"]) == 19


def test_a_pass_key_is_asked_for_at_every_depth():
    engine = Letters(lambda prompt: prompt[prompt.index("pass key is ") :][:20] if prompt.index("pass key is ") > 1500 else "no")
    result = long_context.passkey(engine, 4000, "full")
    assert result == {"passkey": 0.6, "passkey_found_at": [0.9, 0.7, 0.5]}


def test_lines_that_matter_are_global_for_all_that_is_measured():
    engine = Letters(lambda prompt: "12345")
    result = long_context.keys(engine, 8000, "tokens")
    assert result["code_perplexity"] == [2.0] * 8 and result["multikey"] == 0 and len(result["missed"]) == 24
    assert len(engine.plans) == 4 and all(len(plan["global_texts"]) == 24 + 24 for plan in engine.plans)
    assert all(line in engine.prompts[0] for line in engine.plans[0]["global_texts"])


def test_the_picture_shows_what_lies_above_exact_attention():
    rows = [{"length": 80, "plan": "full", "code_perplexity": [2.0, 4.0]}, {"length": 40, "plan": "hybrid", "code_perplexity": [9, 9]},
            {"length": 80, "plan": "sinks", "code_perplexity": [2.0, 5.0]}, {"length": 80, "plan": "hybrid", "questions": 1.0},
            {"length": 80, "plan": "heads", "code_perplexity": [2.0, 5.0]}]
    assert plot_long_context.above_exact(rows, 80, ["sinks", "hybrid"]) == {"window and sinks": [(40.0, 0.0), (80.0, 25.0)]}
    panel = "".join(plot_long_context.panel("title", plot_long_context.above_exact(rows, 80, ["sinks", "hybrid"]), 0))
    assert "window and sinks</text>" in panel and panel.count("<polyline") == 1
