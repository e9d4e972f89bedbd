# SPDX-License-Identifier: Apache-2.0
"""Models of `transformers` in memory. Needs torch and transformers: tools/requirements-goldens.txt."""

import gc
from pathlib import Path

import numpy as np
import pytest
import qwin

pytestmark = pytest.mark.long
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PROMPT = [5, 9, 200, 7, 33, 250]
OPTIONS = {"num_threads": 1, "kv_memory": 16 << 20}


def seeded(family, tiny, dtype, **changes):
    """A random model with the shape of the tiny one, and its tokenizer."""
    config = transformers.AutoConfig.from_pretrained(tiny, **changes)
    torch.manual_seed(11)
    model = family(config).to(dtype).eval()
    return model, transformers.AutoTokenizer.from_pretrained(tiny)


@pytest.fixture(scope="module")
def tiny_folder():
    return Path(__file__).resolve().parents[1] / "testdata/tiny"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("family", "name"), [("Qwen2ForCausalLM", "qwen2_tied"), ("Qwen3ForCausalLM", "qwen3")])
def test_a_live_model_answers_like_the_one_it_saves(tiny_folder, tmp_path, family, name, dtype):
    model, tokenizer = seeded(getattr(transformers, family), tiny_folder / name, dtype)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    live = qwin.Engine(model, tokenizer=tokenizer, quantize_bits=8, **OPTIONS)
    del model
    gc.collect()
    saved = qwin.Engine(tmp_path, quantize_bits=8, **OPTIONS)
    assert np.array_equal(live.prompt_logits(PROMPT), saved.prompt_logits(PROMPT))
    assert np.array_equal(live.hidden_states(PROMPT), saved.hidden_states(PROMPT))
    answers = [engine.generate(PROMPT, 20, ignore_eos=True, with_details=True).token_ids for engine in (live, saved)]
    assert answers[0] == answers[1]
    chat = [{"role": "user", "content": "abc"}]
    assert live.apply_chat_template(chat) == saved.apply_chat_template(chat)


def test_logits_and_hidden_states_are_those_of_transformers(tiny_folder, monkeypatch):
    monkeypatch.setenv("QWIN_CPU_ISA", "float32")
    model, tokenizer = seeded(transformers.Qwen2ForCausalLM, tiny_folder / "qwen2_tied", torch.float32)
    with torch.inference_mode():
        expected = model(torch.tensor([PROMPT]), output_hidden_states=True)
    engine = qwin.Engine(model, tokenizer=tokenizer, kv_type="f32", **OPTIONS)
    for own, theirs in (
        (engine.prompt_logits(PROMPT), expected.logits[0].numpy()),
        (engine.hidden_states(PROMPT), expected.hidden_states[-1][0].numpy()),
    ):
        assert np.square(own - theirs).sum() / np.square(theirs).sum() < 1e-8


def test_the_tokenizer_is_found_where_the_model_came_from(tiny_folder, tmp_path):
    model, tokenizer = seeded(transformers.Qwen2ForCausalLM, tiny_folder / "qwen2_tied", torch.float32)
    model.config._name_or_path = str(tmp_path / "nowhere")
    with pytest.raises(qwin.InvalidArgumentError, match="tokenizer="):
        qwin.Engine(model, **OPTIONS)
    model.save_pretrained(tmp_path / "somewhere")
    tokenizer.save_pretrained(tmp_path / "somewhere")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "somewhere")
    engine = qwin.Engine(loaded, attention_type="sliding_window", window_size=32, **OPTIONS)
    assert engine.info["model_name"] == "somewhere" and engine.info["window"] == 32


def test_what_is_not_in_memory_is_refused(tiny_folder):
    config = transformers.AutoConfig.from_pretrained(tiny_folder / "qwen2_tied")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_folder / "qwen2_tied")
    with torch.device("meta"):
        model = transformers.Qwen2ForCausalLM(config)
    with pytest.raises(qwin.InvalidArgumentError, match="device_map"):
        qwin.Engine(model, tokenizer=tokenizer)


def test_other_types_and_other_families_are_refused(tiny_folder):
    model, tokenizer = seeded(transformers.Qwen2ForCausalLM, tiny_folder / "qwen2_tied", torch.float64)
    with pytest.raises(qwin.Error, match="F64"):
        qwin.Engine(model, tokenizer=tokenizer, **OPTIONS)
    config = transformers.LlamaConfig(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, vocab_size=320)
    with pytest.raises(qwin.Error, match="(?i)llama"):
        qwin.Engine(transformers.LlamaForCausalLM(config), tokenizer=tokenizer, **OPTIONS)
    with pytest.raises(qwin.InvalidArgumentError, match="object"):
        qwin.Engine(object())
