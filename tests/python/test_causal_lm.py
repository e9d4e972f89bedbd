# SPDX-License-Identifier: Apache-2.0
"""generate() as users of transformers call it."""

from pathlib import Path

import numpy as np
import pytest
import qwin
from qwin.causal_lm import AutoModelForCausalLM

TINY = Path(__file__).resolve().parents[1] / "testdata/tiny/qwen2_tied"


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(str(TINY), num_threads=1, kv_memory=16 << 20)


class Recorder:
    def __init__(self):
        self.put_ids, self.ended = [], False

    def put(self, value):
        self.put_ids += np.ravel(value).tolist()

    def end(self):
        self.ended = True


def test_padding_is_left_out_and_answers_are_padded(model):
    ids = np.array([[0, 0, 5, 9], [1, 2, 3, 4]])
    mask = np.array([[0, 0, 1, 1], [1, 1, 1, 1]])
    output = model.generate(ids, mask, max_new_tokens=5, do_sample=False, ignore_eos=True)
    assert output.shape == (2, 9) and output.dtype == ids.dtype
    assert np.array_equal(output[:, :4], ids)
    for row, prompt in zip(output, ([5, 9], [1, 2, 3, 4])):
        alone = model.engine.generate(prompt, 5, temperature=0, ignore_eos=True, with_details=True)
        assert row[4:].tolist() == alone.token_ids


def test_a_streamer_hears_prompt_and_answer(model):
    recorder = Recorder()
    output = model.generate(np.array([[5, 9]]), max_new_tokens=6, do_sample=False, ignore_eos=True, streamer=recorder)
    assert recorder.put_ids == output[0].tolist() and recorder.ended
    with pytest.raises(qwin.InvalidArgumentError, match="one prompt"):
        model.generate(np.array([[5], [9]]), streamer=Recorder())
    with pytest.raises(qwin.InvalidArgumentError, match="batch"):
        model.generate(np.array([5, 9]))


@pytest.mark.long
def test_the_greedy_answer_of_transformers(monkeypatch, capsys):
    monkeypatch.setenv("QWIN_CPU_ISA", "float32")
    model = AutoModelForCausalLM.from_pretrained(str(TINY), num_threads=1, kv_memory=16 << 20, kv_type="f32")
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(TINY)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(TINY)
    inputs = tokenizer("some text", return_tensors="pt")
    settings = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "repetition_penalty": 1.0}
    streamer = transformers.TextStreamer(tokenizer, skip_prompt=True)
    ours = model.generate(**inputs, **settings, streamer=streamer)
    assert isinstance(ours, torch.Tensor) and torch.equal(ours, theirs.generate(**inputs, **settings))
    assert capsys.readouterr().out.strip() == tokenizer.decode(ours[0, inputs["input_ids"].shape[1] :]).strip()
