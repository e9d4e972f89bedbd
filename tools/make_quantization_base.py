#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the full-precision model that quantizations are compared with, from a quantized GGUF file.

usage: make_quantization_base.py MODEL.gguf OUTPUT [--seed N] [--check]     needs torch, transformers, safetensors, gguf

OUTPUT.gguf and the directory OUTPUT hold the same weights in F16. They are MODEL's, dequantized, tied to one embedding (the
finer of the two a file may have), and moved off MODEL's own grid, where quantizing them again would cost next to nothing:
channels between two layers are scaled by random factors from 0.8 to 1.25 and back again, which leaves the function as it was.

    input_layernorm -> q, k, v        post_attention_layernorm -> gate, up        up -> down        v -> o

The embedding has residual channels alone, which nothing can take back: it stays on MODEL's grid. --check compares the logits
of the dequantized, the scaled and the rounded model in float32.
"""

import argparse
import gc
import json
import pathlib

import gguf
import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
CHECK_TEXT = (
    "def quicksort(items):\n    if len(items) < 2:\n        return items\n    pivot = items[0]\n"
    "The harbour was quiet before dawn. \u672c\u5b63\u5ea6\u8425\u4e1a\u6536\u5165\u540c\u6bd4\u589e\u957f\u3002"
)


def hf_name(name):
    if name in ("token_embd.weight", "output_norm.weight"):
        return {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{kind}"


def read_weights(reader):
    """GGUF name -> float32 array, with one embedding: that of the head, where a file has both."""
    tensors = {t.name: t for t in reader.tensors}
    head = tensors.pop("output.weight", None)
    if head is not None:
        if [int(n) for n in head.shape] != [int(n) for n in tensors["token_embd.weight"].shape]:
            raise SystemExit("the head has another shape than the embedding")
        tensors["token_embd.weight"] = head
    return {name: gguf.dequantize(t.data, t.tensor_type).astype(np.float32) for name, t in tensors.items()}


def scale_channels(weights, num_layers, num_heads, num_kv_heads, seed):
    """Scales in place. Factors are even on a logarithmic scale."""
    random = np.random.default_rng(seed)

    def factors(n):
        return np.exp(random.uniform(np.log(0.8), np.log(1.25), n)).astype(np.float32)

    for i in range(num_layers):
        w = {k: f"blk.{i}.{k}.weight" for k in LAYER_NAMES}
        for norm, readers in (("attn_norm", ("attn_q", "attn_k", "attn_v")), ("ffn_norm", ("ffn_gate", "ffn_up"))):
            f = factors(weights[w[norm]].size)
            weights[w[norm]] *= f
            for name in readers:
                weights[w[name]] /= f
        f = factors(weights[w["ffn_up"]].shape[0])
        weights[w["ffn_up"]] *= f[:, None]
        weights[w["ffn_down"]] /= f
        # Query heads of a group share one head of v, so its channels have one factor for all of them.
        f = factors(weights[w["attn_v"]].shape[0])
        weights[w["attn_v"]] *= f[:, None]
        bias = f"blk.{i}.attn_v.bias"
        if bias in weights:
            weights[bias] *= f
        weights[w["attn_output"]] /= np.repeat(f.reshape(num_kv_heads, -1), num_heads // num_kv_heads, axis=0).reshape(-1)


def rounded(weights):
    """Matrices in F16; norms and biases stay float32, as llama.cpp asks."""
    half = {name: w.astype(np.float16) if w.ndim == 2 else w for name, w in weights.items()}
    for name, w in half.items():
        if not np.isfinite(w).all():
            raise SystemExit(f"{name} has values beyond F16")
    return half


def write_directory(path, weights, source):
    """The Hugging Face form; configuration and tokenizer come from the source file, by way of transformers."""
    path.mkdir(parents=True, exist_ok=True)
    folder, file = str(source.parent), source.name
    AutoTokenizer.from_pretrained(folder, gguf_file=file).save_pretrained(path)
    read = AutoConfig.from_pretrained(folder, gguf_file=file)
    config = read.to_dict() | {"tie_word_embeddings": True, "dtype": "float16", "architectures": ["Qwen2ForCausalLM"]}
    for key in ("_name_or_path", "quantization_config"):
        config.pop(key, None)
    (path / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file({hf_name(n): w for n, w in weights.items()}, str(path / "model.safetensors"), metadata={"format": "pt"})


def write_gguf(path, reader, weights):
    architecture = reader.get_field("general.architecture").contents()
    writer = gguf.GGUFWriter(str(path), architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = int(gguf.LlamaFileType.MOSTLY_F16) if name == "general.file_type" else field.contents()
        element = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, field.types[0], sub_type=element)
    for name, w in weights.items():
        writer.add_tensor(name, w)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def logits(directory, weights):
    """In float32; with other weights than the directory's, where they are given."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    parameters = dict(model.named_parameters())
    for name, w in (weights or {}).items():
        parameters[hf_name(name)].data = torch.from_numpy(w)
    model.tie_weights()
    ids = AutoTokenizer.from_pretrained(directory)(CHECK_TEXT, return_tensors="pt").input_ids
    with torch.no_grad():
        result = model(ids).logits[0].double()
    del model, parameters
    gc.collect()
    return result


def compare(what, base, other):
    p, q = base.log_softmax(-1), other.log_softmax(-1)
    kl = (p.exp() * (p - q)).sum(-1).mean().item()
    nmse = ((base - other).square().sum() / base.square().sum()).item()
    print(f"{what}: largest difference {(base - other).abs().max().item():.2e}, NMSE {nmse:.2e}, mean KL {kl:.2e}")
    return nmse


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()

    reader = gguf.GGUFReader(str(args.model))
    architecture = reader.get_field("general.architecture").contents()
    count = {k: reader.get_field(f"{architecture}.{k}").contents() for k in ("block_count", "attention.head_count", "attention.head_count_kv")}
    weights = read_weights(reader)
    scale_channels(weights, count["block_count"], count["attention.head_count"], count["attention.head_count_kv"], args.seed)
    half = rounded(weights)
    write_directory(args.output, half, args.model)
    write_gguf(args.output.with_name(args.output.name + ".gguf"), reader, half)
    if not args.check:
        return
    scaled = logits(args.output, weights)
    weights = half = None  # one model in memory at a time
    rounded_logits = logits(args.output, None)
    reference = logits(args.output, read_weights(reader))
    if compare("scaled, float32", reference, scaled) > 1e-9:
        raise SystemExit("scaling changed the function")
    compare("rounded to F16", reference, rounded_logits)


if __name__ == "__main__":
    main()
