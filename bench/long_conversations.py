#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Several long conversations at once with little memory for K and V: are the answers right, how fast, how much memory.

    PYTHONPATH=build/release/python bench/long_conversations.py MODEL --kv-memory 300000000 --kv-dir DIR

Each reads a text of its own with two pass-keys in it, is asked for the first one and then, in a second turn, for the other.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sysconfig
import threading
import time
from pathlib import Path
from typing import Any

import qwin


def sources() -> str:
    folder = Path(sysconfig.get_paths()["stdlib"])
    return "\n".join(path.read_text(errors="ignore") for path in sorted(folder.glob("[a-z]*.py")))


def conversation(engine: qwin.Engine, ids: list[int], index: int, length: int) -> tuple[str, list[str]]:
    """The text of one, and its two keys."""
    rng = random.Random(index)
    keys = [str(rng.randrange(10000, 100000)) for _ in range(2)]
    lines = engine.detokenize(ids[index * length : (index + 1) * length - 300]).split("\n")
    for name, key in zip(("first", "second"), keys):
        lines.insert(rng.randrange(len(lines)), f"# The {name} pass key is {key}. Remember it. {key} is the {name} pass key.")
    return "Read these files.\n\n" + "\n".join(lines), keys


class Memory:
    """The most memory of this process while it lives, in MiB: its own, and of files that it has mapped."""

    def __init__(self) -> None:
        self.own = self.mapped = 0.0
        self.stops = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while not self.stops.wait(0.2):
            sizes = {m[1]: int(m[2]) / 1024 for m in re.finditer(r"(\w+):\s+(\d+) kB", Path("/proc/self/status").read_text())}
            self.own = max(self.own, sizes["RssAnon"])
            self.mapped = max(self.mapped, sizes["RssFile"] + sizes["RssShmem"])

    def end(self) -> dict[str, int]:
        self.stops.set()
        self.thread.join()
        return {"own_mib": round(self.own), "mapped_mib": round(self.mapped)}


def turn(engine: qwin.Engine, chats: list[list[dict[str, str]]], question: str, plan: dict[str, Any]) -> tuple[list[str], dict]:
    for chat in chats:
        chat[-1]["content"] += f"\n\nWhat is the {question} pass key?"
    begin = time.monotonic()
    results = engine.generate(list(chats), 32, temperature=0, with_details=True, **plan)
    seconds = time.monotonic() - begin
    read = sum(r.prompt_tokens - r.cached_tokens for r in results)
    written = sum(len(r.token_ids) for r in results)
    return [r.text for r in results], {"seconds": round(seconds, 1), "tokens_read": read, "tokens_written": written,
                                       "tokens_per_second": round((read + written) / seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--conversations", type=int, default=8)
    parser.add_argument("--length", type=int, default=16384, help="tokens of each text")
    parser.add_argument("--attention", default="hybrid")
    parser.add_argument("--hybrid-from", type=int, default=8192)
    parser.add_argument("--kv-type", default="q8")
    parser.add_argument("--kv-memory", type=int, required=True, help="bytes for the K and V of all")
    parser.add_argument("--kv-dir", help="a folder on a disk for what is beyond them")
    parser.add_argument("--cache-dir", help="where what was read lives on: an interrupted run goes on where it was")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    with qwin.Engine(args.model, attention_type="hybrid", hybrid_from=args.hybrid_from, kv_type=args.kv_type,
                     kv_memory=args.kv_memory, kv_dir=args.kv_dir, cache_dir=args.cache_dir, max_batch_size=args.conversations,
                     num_threads=args.threads) as engine:
        ids = engine.tokenize(sources())
        if len(ids) < args.conversations * args.length:
            parser.error(f"the sources of Python have {len(ids)} tokens only")
        texts, keys = zip(*(conversation(engine, ids, i, args.length) for i in range(args.conversations)))
        plan = {"attention_type": args.attention}
        memory = Memory()
        chats: list[list[dict[str, str]]] = [[{"role": "user", "content": text}] for text in texts]
        for number, name in enumerate(("first", "second")):
            answers, row = turn(engine, chats, name, plan)
            right = sum(key[number] in answer for key, answer in zip(keys, answers))
            print(json.dumps({"turn": name, "right": right, "of": len(answers), **row}), flush=True)
            for chat, answer in zip(chats, answers):
                chat += [{"role": "assistant", "content": answer}, {"role": "user", "content": ""}]
        print(json.dumps({"preemptions": engine.stats["preemptions"], **memory.end()}), flush=True)


if __name__ == "__main__":
    main()
