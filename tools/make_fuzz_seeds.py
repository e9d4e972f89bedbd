#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the first inputs of the model file fuzzers in tests/fuzz/corpus/{gguf,safetensors,config}.

usage: make_fuzz_seeds.py        needs gguf, numpy, safetensors
"""

import json
import pathlib
import shutil

import gguf
import numpy as np
from safetensors.numpy import save

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests/fuzz/corpus"
TINY = ROOT / "tests/testdata/tiny"
HIDDEN, HEADS, KV_HEADS, FFN, VOCAB = 32, 2, 1, 64, 8


def qwen_tensors(arch):
    head_dim = HIDDEN // HEADS
    kv = KV_HEADS * head_dim
    yield "token_embd.weight", (VOCAB, HIDDEN)
    yield "output_norm.weight", (HIDDEN,)
    for name, rows in (("attn_q", HIDDEN), ("attn_k", kv), ("attn_v", kv)):
        yield f"blk.0.{name}.weight", (rows, HIDDEN)
        if arch == "qwen2":
            yield f"blk.0.{name}.bias", (rows,)
        elif name != "attn_v":
            yield f"blk.0.{name}_norm.weight", (head_dim,)
    yield "blk.0.attn_output.weight", (HIDDEN, HIDDEN)
    yield "blk.0.attn_norm.weight", (HIDDEN,)
    yield "blk.0.ffn_norm.weight", (HIDDEN,)
    yield "blk.0.ffn_gate.weight", (FFN, HIDDEN)
    yield "blk.0.ffn_up.weight", (FFN, HIDDEN)
    yield "blk.0.ffn_down.weight", (HIDDEN, FFN)


def write_gguf(path, arch, quant, yarn=False):
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    if yarn:
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(16)
    writer.add_token_list(["a", "b", "<|im_end|>"])
    writer.add_token_types([1, 1, 3])
    writer.add_eos_token_id(2)
    for name, shape in qwen_tensors(arch):
        if len(shape) == 1:
            writer.add_tensor(name, np.ones(shape, np.float32))
        elif quant == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(name, np.zeros(shape, np.float32))
        else:
            zeros = gguf.quants.quantize(np.zeros(shape, np.float32), quant)
            writer.add_tensor(name, zeros, raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_mixed_gguf(path):
    """One tensor of every readable type and metadata of every kind: structure only, no model."""
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_uint8("a.u8", 1)
    writer.add_int64("a.i64", -1)
    writer.add_float64("a.f64", 0.5)
    writer.add_bool("a.bool", True)
    writer.add_array("a.floats", [1.5, 2.5])
    writer.add_array("a.strings", ["x", "yz"])
    for name in "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS".split():
        quant = gguf.GGMLQuantizationType[name]
        elements, size = gguf.GGML_QUANT_SIZES[quant]
        data = np.zeros((1, 256 // elements * size), np.uint8)
        writer.add_tensor(name.lower(), data, raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    for name in ("gguf", "safetensors", "config"):
        shutil.rmtree(CORPUS / name, ignore_errors=True)
        (CORPUS / name).mkdir(parents=True)
    types = gguf.GGMLQuantizationType
    write_gguf(CORPUS / "gguf/qwen2_f32", "qwen2", types.F32)
    write_gguf(CORPUS / "gguf/qwen2_q8_0", "qwen2", types.Q8_0)
    write_gguf(CORPUS / "gguf/qwen3_q4_0_yarn", "qwen3", types.Q4_0, yarn=True)
    write_mixed_gguf(CORPUS / "gguf/every_type")

    values = {"a": np.zeros((2, 3), np.float32), "b.weight": np.zeros((4,), np.float16)}
    (CORPUS / "safetensors/two").write_bytes(save(values, metadata={"format": "pt"}))
    header = json.dumps({"c": {"dtype": "BF16", "shape": [], "data_offsets": [0, 2]}}).encode()
    (CORPUS / "safetensors/scalar").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    (CORPUS / "safetensors/empty").write_bytes(b"\2\0\0\0\0\0\0\0{}")

    for directory in sorted(TINY.iterdir()):
        if not (directory / "config.json").exists():
            continue
        text = (directory / "config.json").read_bytes()
        generation = directory / "generation_config.json"
        if generation.exists():
            text += b"\0" + generation.read_bytes()
        (CORPUS / "config" / directory.name).write_bytes(text)


if __name__ == "__main__":
    main()
