#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/testdata/tokenizer/ from a Qwen GGUF file: the same tokenizer with fewer merges, and what the oracle says of it.

tokenizer.json  the real normalizer, pre-tokenizer, decoder and added tokens; the first merges and every 48th of the others
vocab.gguf      the same as GGUF metadata, without a tensor
golden.jsonl    [text, ids with added tokens recognised, ids without (left out when they are the same)] a line
unicode.json    FNV-1a hashes over the class, and over the NFC, of every code point; NFC of random sequences

usage: make_tokenizer_testdata.py MODEL.gguf; needs `pip install tokenizers gguf`; run from the repository root.
"""

import itertools
import json
import sys
from pathlib import Path

import gguf
from tokenizers import normalizers

import make_unicode_tables
import tokenizer_oracle as oracle

FIRST_MERGES, SAMPLE = 3000, 48
NUM_TEXTS = 4500
OUT = Path("tests/testdata/tokenizer")


def cut_vocabulary(tokens, types, merges):
    """Tokens and merges closed under parts: a merge is kept with all merges that make its parts."""
    rank_of = {"".join(m.split(" ")): rank for rank, m in enumerate(merges)}
    kept, todo = set(), list(range(FIRST_MERGES)) + list(range(0, len(merges), SAMPLE))
    while todo:
        rank = todo.pop()
        if rank not in kept:
            kept.add(rank)
            todo += [rank_of[part] for part in merges[rank].split(" ") if part in rank_of]
    kept_merges = [merges[rank] for rank in sorted(kept)]
    normal = [t for t, kind in zip(tokens, types) if kind == oracle.NORMAL and len(t) == 1]
    normal += [m.replace(" ", "") for m in kept_merges]
    added = [(t, kind) for t, kind in zip(tokens, types) if kind in (oracle.CONTROL, oracle.USER_DEFINED)]
    return normal + [t for t, _ in added], [oracle.NORMAL] * len(normal) + [kind for _, kind in added], kept_merges


def write_gguf(path, tokens, types, merges):
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    padding = ["[PAD0]", "[PAD1]", "[PAD2]"]
    writer.add_token_list(tokens + padding)
    writer.add_token_types(types + [5] * len(padding))
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def fnv1a(data, value=0xCBF29CE484222325):
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def unicode_hashes(sequences):
    letters, numbers, spaces = (make_unicode_tables.members(p) for p in (r"\p{L}", r"\p{N}", r"\s"))
    kinds = lambda c: 1 if c in letters else 2 if c in numbers else 4 if c in (10, 13) else 3 if c in spaces else 0
    nfc = normalizers.NFC()
    alone = "".join(nfc.normalize_str(chr(c)) for c in make_unicode_tables.CODE_POINTS)
    return {
        "classes": f"{fnv1a(bytes(map(kinds, make_unicode_tables.CODE_POINTS))):016x}",
        "nfc": f"{fnv1a(alone.encode()):016x}",
        "sequences": [[s, nfc.normalize_str(s)] for s in sequences],
    }


def main():
    tokens, types, merges = cut_vocabulary(*oracle.gguf_fields(sys.argv[1]))
    hf = oracle.hf_tokenizer(tokens, types, merges)
    plain = oracle.hf_tokenizer(tokens, types, merges, added=False)
    OUT.mkdir(parents=True, exist_ok=True)
    document = json.loads(hf.to_str())
    (OUT / "tokenizer.json").write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    write_gguf(OUT / "vocab.gguf", tokens, types, merges)

    texts = oracle.Texts(hf, [t for t, kind in zip(tokens, types) if kind != oracle.NORMAL])
    with open(OUT / "golden.jsonl", "w", encoding="utf-8") as out:
        for text in oracle.EDGE_CASES + list(itertools.islice(texts, NUM_TEXTS)):
            row = [text, hf.encode(text, add_special_tokens=False).ids]
            without = plain.encode(text, add_special_tokens=False).ids
            out.write(json.dumps(row + [without] * (without != row[1]), ensure_ascii=False, separators=(",", ":")) + "\n")
    sequences = [texts.combining() for _ in range(1200)] + [texts.jamo() for _ in range(300)]
    (OUT / "unicode.json").write_text(json.dumps(unicode_hashes(sequences), ensure_ascii=False, separators=(",", ":")) + "\n",
                                      encoding="utf-8")
    print(f"{len(tokens)} tokens, {len(merges)} merges", file=sys.stderr)


if __name__ == "__main__":
    main()
