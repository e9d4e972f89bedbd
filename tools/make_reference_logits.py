#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Logits of a Hugging Face directory in float32, for `qwin eval MODEL --kld OUTPUT.npz`.

usage: make_reference_logits.py DIRECTORY TEXTS.json OUTPUT.npz [--each N] [--tokens N] [--threads N]

TEXTS.json is a list of [name, text]; `--each` takes the first N texts of each kind (names that differ in the number at the end),
`--tokens` the first N tokens of each text. OUTPUT holds names, and for text i: ids_i [n], top_ids_i and top_logits_i [n, 64],
lse_i [n] (log-sum-exp over all ids).                                                       needs torch, transformers
"""

import argparse
import json
import sys

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

NUM_TOP = 64


def chosen(texts, each):
    seen = {}
    for name, text in texts:
        kind = name.rsplit("_", 1)[0]
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= each:
            yield name, text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory")
    parser.add_argument("texts")
    parser.add_argument("output")
    parser.add_argument("--each", type=int, default=1000000)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers.utils.logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(args.directory)
    model = AutoModelForCausalLM.from_pretrained(args.directory, dtype=torch.float32).eval()
    with open(args.texts, encoding="utf-8") as file:
        texts = list(chosen(json.load(file), args.each))
    arrays, total = {"names": np.array([name for name, _ in texts])}, 0
    for i, (name, text) in enumerate(texts):
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids[:, : args.tokens]
        with torch.no_grad():
            logits = model(ids).logits[0]
        values, top = logits.topk(NUM_TOP, dim=-1)
        arrays[f"ids_{i}"] = ids[0].int().numpy()
        arrays[f"top_ids_{i}"] = top.int().numpy()
        arrays[f"top_logits_{i}"] = values.numpy()
        arrays[f"lse_{i}"] = torch.logsumexp(logits.double(), -1).numpy()
        total += ids.shape[1]
        print(f"{i + 1} of {len(texts)}: {name}, {total} tokens", file=sys.stderr, flush=True)
    np.savez_compressed(args.output, **arrays)


if __name__ == "__main__":
    main()
