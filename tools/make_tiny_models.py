#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the tiny models of tests/testdata/tiny with their reference logits, and tests/testdata/model/rope_golden.json.

The oracle is transformers: every directory is written first, then loaded again by AutoModelForCausalLM in float32 with
eager attention, so that what is compared is what the files say. Seeds are fixed.

usage: make_tiny_models.py [output directory]        needs torch, transformers, tokenizers, safetensors, gguf
"""

import json
import math
import pathlib
import shutil
import sys

import gguf
import numpy as np
import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

VOCAB_SIZE = 320  # rows of the embedding; the tokenizer has fewer, so the last rows are padding, as in Qwen2.5
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TRAINING_TEXT = [
    "The model reads the file, the file holds the weights, and the weights make the answer.",
    "A query sees the keys before it; the other keys are in the pages of the cache.",
    "for i in range(10):\n    print(i, values[i])\n    return the_result\n",
] * 4
TEXT = "The answer is in the file: print(weights[42]), then wait. \u4f60\u597d \U0001f600 it\u2019s done."
NUM_RANDOM_IDS = 40
NUM_GREEDY = 16

SIZES = dict(
    vocab_size=VOCAB_SIZE,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    rms_norm_eps=1e-6,
)


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS])
    return tokenizer


def write_tokenizer(directory, tokenizer):
    tokenizer.save(str(directory / "tokenizer.json"))
    added = {
        str(tokenizer.token_to_id(t)): dict(
            content=t, lstrip=False, normalized=False, rstrip=False, single_word=False, special=True
        )
        for t in SPECIAL_TOKENS
    }
    config = dict(
        add_bos_token=False,
        add_prefix_space=False,
        added_tokens_decoder=added,
        bos_token=None,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        eos_token="<|im_end|>",
        errors="replace",
        model_max_length=128,
        pad_token="<|endoftext|>",
        split_special_tokens=False,
        tokenizer_class="Qwen2Tokenizer",
        unk_token=None,
    )
    write_json(directory / "tokenizer_config.json", config)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def randomize(model, seed, large_k_bias):
    """Weights of the size trained models have: attention that attends, norms away from 1, biases that matter."""
    generator = torch.Generator().manual_seed(seed)
    head_dim = model.model.layers[0].self_attn.head_dim
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if name.endswith("norm.weight"):
                weight.copy_(1 + 0.25 * noise)
            elif name.endswith("bias"):
                weight.copy_(0.5 * noise)
            elif "embed_tokens" in name:
                weight.copy_(0.5 * noise)
            else:
                weight.copy_(noise * 1.2 / math.sqrt(weight.shape[-1]))
        if large_k_bias:  # Qwen2.5 has k biases beyond 100 in a few slowly turning dimensions
            for layer in model.model.layers:
                bias = layer.self_attn.k_proj.bias.view(-1, head_dim)
                bias[:, head_dim // 2 - 1] = 300.0
                bias[:, head_dim - 2] = -120.0


def prompts(tokenizer, seed):
    generator = torch.Generator().manual_seed(1000 + seed)
    ids = torch.randint(0, tokenizer.get_vocab_size(), (NUM_RANDOM_IDS,), generator=generator).tolist()
    return [(TEXT, tokenizer.encode(TEXT).ids), (None, ids)]


def nmse(test, reference):
    return float(((test.double() - reference.double()) ** 2).sum() / (reference.double() ** 2).sum())


@torch.no_grad()
def greedy(model, ids):
    out, margins, ids = [], [], list(ids)
    for _ in range(NUM_GREEDY):
        best = model(torch.tensor([ids])).logits[0, -1].topk(2)
        out.append(int(best.indices[0]))
        margins.append(round(float(best.values[0] - best.values[1]), 5))
        ids.append(out[-1])
    return out, margins


@torch.no_grad()
def write_golden(directory, model, token_lists):
    exact = type(model)(model.config).double().eval()
    exact.load_state_dict(model.state_dict())
    exact.model.rotary_emb = model.model.rotary_emb  # the same float32 angles
    entries, offset, noise = [], 0, 0.0
    with open(directory / "golden_logits.bin", "wb") as file:
        for text, ids in token_lists:
            logits = model(torch.tensor([ids])).logits[0]  # [num_tokens, vocab_size]
            noise = max(noise, nmse(logits, exact(torch.tensor([ids])).logits[0]))
            file.write(logits.numpy().astype("<f4").tobytes())
            tokens, margins = greedy(model, ids)
            entries.append(
                dict(text=text, token_ids=ids, offset=offset, greedy=tokens, greedy_margin=margins)
            )
            offset += logits.numel()
    golden = dict(
        vocab_size=VOCAB_SIZE,
        transformers=transformers.__version__,
        nmse_float32_to_float64=float("%.2g" % noise),
        prompts=entries,
    )
    text = json.dumps(golden, ensure_ascii=True, indent=1)
    (directory / "golden.json").write_text(text + "\n")
    print(f"{directory.name}: {sum(len(p[1]) for p in token_lists)} tokens, float32 noise {noise:.2g}")


def old_config(config, dtype, **more):
    """config.json as transformers 4 writes it, the form of the published Qwen2.5 models."""
    keys = list(SIZES) + ["tie_word_embeddings"]
    out = dict(architectures=["Qwen2ForCausalLM"], attention_dropout=0.0, bos_token_id=300, eos_token_id=302)
    out |= dict(hidden_act="silu", initializer_range=0.02, model_type="qwen2", rope_theta=1000000.0)
    out |= dict(sliding_window=64, max_window_layers=1, use_sliding_window=False, use_cache=True)
    out |= dict(torch_dtype=dtype, transformers_version="4.43.1", use_mrope=False)
    return out | {k: getattr(config, k) for k in keys} | more


def make_model(root, name, config, *, seed, dtype, tokenizer, large_k_bias=False, shard="1GB", config_json=None):
    directory = root / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    kind = Qwen3ForCausalLM if config.model_type == "qwen3" else Qwen2ForCausalLM
    model = kind(config)
    randomize(model, seed, large_k_bias)
    model.to(dtype).save_pretrained(directory, max_shard_size=shard)
    for path in directory.glob("*.safetensors"):
        path.chmod(0o644)
    if config_json is not None:
        write_json(directory / "config.json", config_json)
    eos = [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")]
    generation = dict(bos_token_id=eos[1], pad_token_id=eos[1], do_sample=True, eos_token_id=eos)
    generation |= dict(repetition_penalty=1.05, temperature=0.7, top_p=0.8, top_k=20, transformers_version="4.43.1")
    write_json(directory / "generation_config.json", generation)
    write_tokenizer(directory, tokenizer)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    write_golden(directory, model, prompts(tokenizer, seed))
    return model


GGUF_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name):
    stem, kind = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        _, _, layer, rest = stem.split(".", 3)
        return f"blk.{layer}.{GGUF_LAYER_NAMES[rest]}.{kind}"
    return {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}[stem] + "." + kind


def write_gguf(root, name, model, tokenizer, matrix_type):
    """Writes the tied model as GGUF; its golden logits come from the weights the file really holds."""
    directory = root / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    config = model.config
    writer = gguf.GGUFWriter(directory / "model.gguf", "qwen2")
    writer.add_name(name)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    write_gguf_tokenizer(writer, tokenizer)
    dequantized = {}
    for key, weight in model.state_dict().items():
        if key == "lm_head.weight":
            continue  # tied
        data = weight.numpy().astype(np.float32)
        kind = matrix_type if data.ndim == 2 else gguf.GGMLQuantizationType.F32
        packed = gguf.quants.quantize(data, kind)
        dequantized[key] = torch.from_numpy(gguf.quants.dequantize(packed, kind).copy())
        writer.add_tensor(gguf_name(key), packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    stored = type(model)(config).eval()
    stored.load_state_dict(dequantized, strict=False)
    stored.tie_weights()
    write_golden(directory, stored, prompts(tokenizer, 1))


def write_gguf_tokenizer(writer, tokenizer):
    vocab = {i: t for t, i in tokenizer.get_vocab().items()}
    tokens = [vocab.get(i, f"[PAD{i}]") for i in range(VOCAB_SIZE)]
    kind = gguf.TokenType
    types = [
        kind.CONTROL if t in SPECIAL_TOKENS else kind.NORMAL if i in vocab else kind.UNUSED for i, t in enumerate(tokens)
    ]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_eos_token_id(tokenizer.token_to_id("<|im_end|>"))
    writer.add_pad_token_id(tokenizer.token_to_id("<|endoftext|>"))
    writer.add_bos_token_id(tokenizer.token_to_id("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def make_tiny_models(root):
    tokenizer = make_tokenizer()
    assert tokenizer.get_vocab_size() == 303, tokenizer.get_vocab_size()
    rope = dict(rope_type="default", rope_theta=1e6)
    yarn = dict(type="yarn", factor=4.0, original_max_position_embeddings=32)
    common = dict(tokenizer=tokenizer)

    tied = Qwen2Config(**SIZES, tie_word_embeddings=True, rope_parameters=dict(rope))
    model = make_model(
        root, "qwen2_tied", tied, seed=1, dtype=torch.float32, config_json=old_config(tied, "float32"), **common
    )
    write_gguf(root, "qwen2_tied_gguf_f32", model, tokenizer, gguf.GGMLQuantizationType.F32)
    write_gguf(root, "qwen2_tied_gguf_q8_0", model, tokenizer, gguf.GGMLQuantizationType.Q8_0)

    untied = Qwen2Config(**SIZES, rope_parameters=dict(rope))
    make_model(
        root, "qwen2_untied_bf16", untied, seed=2, dtype=torch.bfloat16, config_json=old_config(untied, "bfloat16"), **common
    )

    sizes = SIZES | dict(num_hidden_layers=3)
    windowed = Qwen2Config(
        **sizes, tie_word_embeddings=True, rope_parameters=dict(rope), use_sliding_window=True, sliding_window=16,
        max_window_layers=1,
    )  # fmt: skip
    config_json = old_config(
        windowed, "bfloat16", num_hidden_layers=3, use_sliding_window=True, sliding_window=16, max_window_layers=1
    )
    make_model(root, "qwen2_windowed", windowed, seed=3, dtype=torch.bfloat16, config_json=config_json, **common)

    stretched = Qwen2Config(**SIZES | dict(max_position_embeddings=32), tie_word_embeddings=True, rope_theta=1e4,
                            rope_scaling=dict(yarn))  # fmt: skip
    config_json = old_config(stretched, "bfloat16", rope_theta=1e4, rope_scaling=yarn)
    make_model(root, "qwen2_yarn", stretched, seed=4, dtype=torch.bfloat16, config_json=config_json, **common)

    qwen3 = Qwen3Config(**SIZES, head_dim=32, tie_word_embeddings=True, rope_parameters=dict(rope))
    make_model(root, "qwen3", qwen3, seed=5, dtype=torch.bfloat16, **common)

    sharded = Qwen2Config(**SIZES, tie_word_embeddings=True, rope_parameters=dict(rope))
    make_model(
        root, "qwen2_sharded_f16", sharded, seed=6, dtype=torch.float16, large_k_bias=True, shard="80KB", **common
    )


ROPE_POSITIONS = [0, 1, 2, 17, 1000, 8191, 32767, 131071]
ROPE_CASES = {
    "default_64": dict(head_dim=64, rope_type="default", rope_theta=1e6),
    "default_128": dict(head_dim=128, rope_type="default", rope_theta=1e6),
    "default_theta_10000": dict(head_dim=64, rope_type="default", rope_theta=1e4),
    "yarn_qwen": dict(head_dim=128, rope_type="yarn", rope_theta=1e6, factor=4.0, original_max_position_embeddings=32768),
    "yarn_no_truncate": dict(head_dim=64, rope_type="yarn", rope_theta=1e6, factor=2.5, beta_fast=16.0, beta_slow=2.0,
                             truncate=False, original_max_position_embeddings=4096),
    "yarn_attention_factor": dict(head_dim=64, rope_type="yarn", rope_theta=1e4, factor=8.0, attention_factor=0.75,
                                  original_max_position_embeddings=2048),
    "yarn_mscale": dict(head_dim=64, rope_type="yarn", rope_theta=1e4, factor=40.0, mscale=1.0, mscale_all_dim=0.707,
                        original_max_position_embeddings=4096),
}  # fmt: skip


def make_rope_golden(path):
    from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

    cases = []
    for name, case in ROPE_CASES.items():
        head_dim = case["head_dim"]
        parameters = {k: v for k, v in case.items() if k != "head_dim"}
        config = Qwen2Config(hidden_size=2 * head_dim, num_attention_heads=2, num_key_value_heads=1,
                             max_position_embeddings=32768, rope_parameters=dict(parameters))  # fmt: skip
        rope = Qwen2RotaryEmbedding(config)
        cos, sin = rope(torch.zeros(1), torch.tensor([ROPE_POSITIONS]))
        half = head_dim // 2
        def floats(tensor):
            return [float("%.9g" % v) for v in tensor.flatten().tolist()]
        cases.append(
            dict(name=name, head_dim=head_dim, rope_parameters=parameters, attention_scaling=rope.attention_scaling,
                 inv_freq=floats(rope.inv_freq), cos=floats(cos[0, :, :half]), sin=floats(sin[0, :, :half]))
        )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(positions=ROPE_POSITIONS, cases=cases), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    default = pathlib.Path(__file__).resolve().parent.parent / "tests" / "testdata"
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    make_tiny_models(out / "tiny")
    make_rope_golden(out / "model" / "rope_golden.json")
