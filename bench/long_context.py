#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What attention plans keep of a long text: pass-key, many keys, variables followed through assignments, perplexity.

    PYTHONPATH=build/release/python bench/long_context.py MODEL --lengths 8192,16384 --plans full,window,hybrid --json OUT

Texts are Python's own sources and licences of Debian (--code, --prose), so that every machine can make them. Everything is
greedy and seeded: two runs give the same numbers.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from pathlib import Path

import qwin

# window and memory as `qwin run` has them; "sinks" is the window with the first 64 tokens.
PLANS = {
    "full": {"attention_type": "full"},
    "window": {"attention_type": "sliding_window", "window_size": 1024, "num_sink_tokens": 0},
    "sinks": {"attention_type": "sliding_window", "window_size": 1024, "num_sink_tokens": 64},
    "hybrid": {"attention_type": "hybrid", "window_size": 1024, "num_sink_tokens": 64, "memory_top_k": 128},
    "hybrid256": {"attention_type": "hybrid", "window_size": 1024, "num_sink_tokens": 64, "memory_top_k": 256},
}
DOORS = ["amber", "birch", "coral", "delta", "ember", "fjord", "grove", "heron", "ivory", "jade", "karst", "lotus"]
NUM_CHAINS = 6


def code_text() -> str:
    import sysconfig

    folder = Path(sysconfig.get_paths()["stdlib"])
    names = ("argparse.py", "tarfile.py", "inspect.py", "typing.py", "subprocess.py", "doctest.py", "zipfile.py")
    return "\n".join((folder / name).read_text() for name in names)


def prose_text() -> str:
    folder = Path("/usr/share/common-licenses")
    return "\n".join((folder / name).read_text() for name in ("GPL-3", "MPL-2.0", "GFDL-1.3", "Apache-2.0", "LGPL-2.1"))


class Document:
    """Lines of a text of so many tokens, into which other lines are put at shares of its length."""

    def __init__(self, engine: qwin.Engine, text: str, tokens: int) -> None:
        ids = engine.tokenize(text)[:tokens]
        self.lines = engine.detokenize(ids).split("\n")
        self.inserts: list[tuple[int, str]] = []

    def insert(self, share: float, line: str) -> None:
        self.inserts.append((int(share * len(self.lines)), line))

    def text(self) -> str:
        lines = list(self.lines)
        for at, line in sorted(self.inserts, reverse=True):
            lines.insert(at, line)
        return "\n".join(lines)


def number(rng: random.Random) -> str:
    return str(rng.randrange(10000, 100000))


def asked(engine: qwin.Engine, document: str, question: str, plan: dict) -> str:
    return engine.generate(document + question, 8, raw=True, temperature=0, **plan)


def keys_and_chains(engine: qwin.Engine, length: int, plan: dict) -> dict:
    """12 access codes in comments of a source file, and 6 values followed through two assignments, all asked at its end."""
    rng = random.Random(length)
    document = Document(engine, code_text(), length - 600)
    codes = {door: number(rng) for door in DOORS}
    for i, door in enumerate(DOORS):
        document.insert((i + 0.5) / len(DOORS), f"# The access code of the {door} door is {codes[door]}.")
    values = [number(rng) for _ in range(NUM_CHAINS)]
    for i, value in enumerate(values):
        shares = sorted(rng.random() for _ in range(3))
        for share, line in zip(shares, (f"seed_{i} = {value}", f"limit_{i} = seed_{i}", f"total_{i} = limit_{i}")):
            document.insert(share, line)
    text = document.text()
    found = [codes[d] in asked(engine, text, f"\n# The access code of the {d} door is", plan) for d in DOORS]
    followed = [v in asked(engine, text, f"\n# Values: seed_{i} = limit_{i} = total_{i} = ", plan) for i, v in enumerate(values)]
    return {"multikey": sum(found) / len(found), "tracking": sum(followed) / len(followed)}


def passkey(engine: qwin.Engine, length: int, plan: dict) -> float:
    rng = random.Random(length + 1)
    found = []
    for share in (0.1, 0.5, 0.9):
        document = Document(engine, prose_text(), length - 200)
        key = number(rng)
        document.insert(share, f"The pass key is {key}. Remember it. {key} is the pass key.")
        found.append(key in asked(engine, document.text(), "\nWhat is the pass key? The pass key is", plan))
    return sum(found) / len(found)


def perplexities(engine: qwin.Engine, length: int, plan: dict, text: str) -> list[float]:
    """Of the four quarters of a text."""
    ids = engine.tokenize(text)[:length]
    result = engine.generate(ids, 1, raw=True, temperature=0, prompt_logprobs=True, logprobs=0, with_details=True, **plan)
    losses = [-entry.logprob for entry in result.prompt_logprobs]
    quarter = len(losses) // 4
    return [math.exp(sum(losses[i * quarter : (i + 1) * quarter]) / quarter) for i in range(4)]


TASKS = {
    "keys": keys_and_chains,
    "passkey": lambda e, n, p: {"passkey": passkey(e, n, p)},
    "code": lambda e, n, p: {"code_perplexity": perplexities(e, n, p, code_text())},
    "prose": lambda e, n, p: {"prose_perplexity": perplexities(e, n, p, prose_text())},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--lengths", default="8192,16384")
    parser.add_argument("--plans", default="full,window,sinks,hybrid", help=", ".join(PLANS))
    parser.add_argument("--tasks", default="keys,passkey,code,prose")
    parser.add_argument("--kv-type", default="f16")
    parser.add_argument("--hybrid-from", type=int, default=0, help="0: memory from the first token that leaves the window")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    lengths = [int(n) for n in args.lengths.split(",")]
    results = []
    with qwin.Engine(args.model, attention_type="hybrid", hybrid_from=args.hybrid_from, kv_type=args.kv_type,
                     kv_memory=4 << 30) as engine:
        for length in lengths:
            for name in args.plans.split(","):
                begin = time.monotonic()
                row = {"length": length, "plan": name, "hybrid_from": args.hybrid_from}
                for task in args.tasks.split(","):
                    row.update(TASKS[task](engine, length, PLANS[name]))
                row["seconds"] = round(time.monotonic() - begin, 1)
                results.append(row)
                print(json.dumps(row), flush=True)
                if args.json:
                    args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
