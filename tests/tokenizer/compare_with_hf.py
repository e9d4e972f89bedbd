#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares `qwin tokenize` with the Hugging Face tokenizers library: random strings of all kinds, zero differences allowed.

usage: compare_with_hf.py MODEL.gguf [--strings 100000] [--seed 7] [--text FILE]...

The strings travel in one text, parted by <|endoftext|> (or the last control token): text on both sides of an added token is
tokenized on its own. The whole text is then compared once more with no added token recognised.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import tokenizer_oracle as oracle  # noqa: E402

BINARY = os.environ.get("QWIN_BINARY", str(ROOT / "build/release/qwin"))


def qwin(command, model, text, *flags):
    done = subprocess.run([BINARY, command, model, "--json", *flags], input=text.encode(), stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def split_ids(ids, separator):
    groups, group = [], []
    for i in ids:
        if i == separator:
            groups.append(group)
            group = []
        else:
            group.append(i)
    return groups + [group]


def compare_strings(model, hf, strings, separator):
    token = hf.id_to_token(separator)
    got = split_ids(qwin("tokenize", model, token.join(strings), "--special")["token_ids"], separator)
    want = [e.ids for e in hf.encode_batch(strings, add_special_tokens=False)]
    if len(got) != len(strings):
        sys.exit(f"{len(strings)} strings gave {len(got)} groups of ids")
    differences = [(s, g, w) for s, g, w in zip(strings, got, want) if g != w]
    for s, g, w in differences[:10]:
        print(f"DIFFERENT {s!r}\n  qwin {g}\n  hf   {w}")
    return len(strings), len(differences)


def compare_decoding(model, hf, num_ids, seed):
    import random

    ids = random.Random(seed).choices(range(num_ids), k=20000)
    text = qwin("detokenize", model, json.dumps({"token_ids": ids}))["text"]
    return text != hf.decode(ids, skip_special_tokens=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--strings", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--text", action="append", default=[], help="a text file to compare as a whole")
    options = parser.parse_args()

    tokens, types, merges = oracle.gguf_fields(options.model)
    hf = oracle.hf_tokenizer(tokens, types, merges)
    plain_hf = oracle.hf_tokenizer(tokens, types, merges, added=False)
    added = [t for t, kind in zip(tokens, types) if kind in (oracle.CONTROL, oracle.USER_DEFINED)]
    separator = max(i for i, kind in enumerate(types) if kind == oracle.CONTROL)
    num_ids = max(i for i, kind in enumerate(types) if kind != 5) + 1

    usable = (s for s in oracle.Texts(hf, added, options.seed) if tokens[separator] not in s)
    texts = itertools.islice(usable, options.strings)
    every_code_point = (f"a{chr(c)}b {chr(c)}1" for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF)
    failures = 0
    for name, strings in [("random strings", itertools.chain(oracle.EDGE_CASES, texts)), ("code points", every_code_point)]:
        strings = list(strings)
        count, different = compare_strings(options.model, hf, strings, separator)
        whole = "".join(strings)
        same_plain = qwin("tokenize", options.model, whole)["token_ids"] == plain_hf.encode(whole, add_special_tokens=False).ids
        print(f"{name}: {count} compared, {different} different; in one text without added tokens: {'same' if same_plain else 'DIFFERENT'}")
        failures += different + (not same_plain)
    for path in options.text:
        text = Path(path).read_bytes().decode("utf-8", errors="replace")
        same = qwin("tokenize", options.model, text, "--special")["token_ids"] == hf.encode(text, add_special_tokens=False).ids
        print(f"{path}: {'same' if same else 'DIFFERENT'}")
        failures += not same
    different = compare_decoding(options.model, hf, num_ids, options.seed)
    print(f"decoding 20000 random ids: {'DIFFERENT' if different else 'same'}")
    sys.exit(1 if failures + different else 0)


if __name__ == "__main__":
    main()
