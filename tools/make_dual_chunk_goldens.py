#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/testdata/model/dual_chunk_golden.json: logits of the tiny model qwen2_tied with dual-chunk attention.

The forward pass here is double arithmetic written from the definition (arXiv 2402.17463 and 2501.15383): a matrix of
scores of all queries and keys, each pair at the distance that its two chunks give it. Without chunks it must give what
transformers gives for the same model.

usage: make_dual_chunk_goldens.py [OUTPUT.json]        needs torch, transformers
"""

import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM

TESTDATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "testdata"
# Chunks of 192 positions, of which the last 64 positions of the one before are at their true distance.
DUAL_CHUNK = dict(chunk_size=256, local_size=64, original_max_position_embeddings=300)
LENGTH = 900
POSITIONS = [0, 100, 191, 192, 250, 256, 299, 300, 301, 383, 384, 500, 575, 576, 700, 767, 768, 899]


def token_ids():
    return [(i * i * 7 + i * 13 + i // 9) % 300 for i in range(LENGTH)]


def distances(length, chunk):
    """[query, key]: how far apart attention takes them to be."""
    position = torch.arange(length)
    query, key = position[:, None], position[None, :]
    if chunk is None:
        return query - key
    size = chunk["chunk_size"] - chunk["local_size"]
    ago = query // size - key // size
    near = query % size - key % size
    previous = (query % size + size).clamp(max=chunk["chunk_size"]) - key % size
    earlier = min(2 * size - 1, chunk["chunk_size"]) - key % size
    return torch.where(ago == 0, near, torch.where(ago == 1, previous, earlier))


def score_scales(length, chunk):
    """[query, 1]: what a query's scores are multiplied by."""
    if chunk is None:
        return torch.ones(length, 1, dtype=torch.float64)
    n = torch.arange(1, length + 1, dtype=torch.float64)
    factor = (0.1 * torch.log(n / chunk["original_max_position_embeddings"]) + 1).clamp(min=1)
    return (factor * factor)[:, None]


def rms_norm(x, weight, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def attention(q, k, v, theta, chunk):
    """One head: q, k, v [length, head_dim]. A score depends on the distance d alone: q . R(-d) k."""
    length, half = len(q), q.shape[1] // 2
    frequencies = theta ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = distances(length, chunk)[:, :, None] * frequencies  # [query, key, pair]
    q1, q2, k1, k2 = q[:, None, :half], q[:, None, half:], k[None, :, :half], k[None, :, half:]
    scores = ((q1 * k1 + q2 * k2) * angle.cos() + (q1 * k2 - q2 * k1) * angle.sin()).sum(-1)
    scores = scores * score_scales(length, chunk) / (2 * half) ** 0.5
    scores = scores.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), float("-inf"))
    return scores.softmax(-1) @ v


@torch.no_grad()
def logits(model, ids, chunk):
    config, weights = model.config, {name: w.double() for name, w in model.state_dict().items()}
    theta = config.rope_parameters["rope_theta"]
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    dim = config.hidden_size // heads
    x = weights["model.embed_tokens.weight"][torch.tensor(ids)]
    for i in range(config.num_hidden_layers):
        def linear(name, y):
            full = f"model.layers.{i}.{name}"
            return y @ weights[full + ".weight"].T + weights.get(full + ".bias", 0)

        y = rms_norm(x, weights[f"model.layers.{i}.input_layernorm.weight"], config.rms_norm_eps)
        q, k, v = (linear(f"self_attn.{n}_proj", y) for n in "qkv")
        out = []
        for h in range(heads):
            kv = slice(h // (heads // kv_heads) * dim, (h // (heads // kv_heads) + 1) * dim)
            out.append(attention(q[:, h * dim : (h + 1) * dim], k[:, kv], v[:, kv], theta, chunk))
        x = x + linear("self_attn.o_proj", torch.cat(out, -1))
        y = rms_norm(x, weights[f"model.layers.{i}.post_attention_layernorm.weight"], config.rms_norm_eps)
        gate = linear("mlp.gate_proj", y)
        x = x + linear("mlp.down_proj", gate * gate.sigmoid() * linear("mlp.up_proj", y))
    return rms_norm(x, weights["model.norm.weight"], config.rms_norm_eps) @ weights["lm_head.weight"].T


def nmse(test, reference):
    return float(((test - reference) ** 2).sum() / (reference**2).sum())


def main():
    model = AutoModelForCausalLM.from_pretrained(
        TESTDATA / "tiny/qwen2_tied", dtype=torch.float32, attn_implementation="eager"
    ).eval()
    ids = token_ids()
    with torch.no_grad():
        plain = model(torch.tensor([ids])).logits[0].double()
    error = nmse(logits(model, ids, None), plain)
    print(f"without chunks, from transformers: {error:.2g}")
    assert error < 1e-9, "this is not the forward pass of the model"
    chunked = logits(model, ids, DUAL_CHUNK)
    print(f"what chunks change beyond the first: {nmse(chunked[192:], plain[192:]):.2g}")
    golden = dict(
        dual_chunk_attention_config=DUAL_CHUNK,
        token_ids=ids,
        positions=POSITIONS,
        logits=[[float("%.8g" % x) for x in chunked[p].tolist()] for p in POSITIONS],
    )
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else TESTDATA / "model/dual_chunk_golden.json"
    out.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
