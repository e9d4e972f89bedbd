#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What attention plans keep of a long text: keys at every depth, values followed through assignments, answers, perplexity.

    PYTHONPATH=build/release/python bench/long_context.py MODEL --lengths 8192,16384 --plans full,window,hybrid --json OUT

Texts are Python's own sources, licences of Debian and the documents of this repository, so that every machine can make them.
Everything is greedy and seeded: two runs give the same numbers, whatever the threads. A text is read once for a plan; its
questions find it in the prefix cache.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sysconfig
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import qwin

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent

# Window and memory as `qwin run` has them. "heads" and "tokens" see sinks, window, and what is global; nothing is found again.
WINDOW = {"attention_type": "sliding_window", "window_size": 1024}
HYBRID = {"attention_type": "hybrid", "window_size": 1024, "num_sink_tokens": 64}
PLANS: dict[str, dict[str, Any]] = {
    "full": {"attention_type": "full"},
    "window": {**WINDOW, "num_sink_tokens": 0},
    "sinks": {**WINDOW, "num_sink_tokens": 64},
    "heads": {**HYBRID, "memory_top_k": 0, "global_heads": 12},
    "heads24": {**HYBRID, "memory_top_k": 0, "global_heads": 24},
    "tokens": {**HYBRID, "memory_top_k": 0},
    "hybrid": {**HYBRID, "memory_top_k": 384},
    "hybrid256": {**HYBRID, "memory_top_k": 256},
    "hybrid192": {**HYBRID, "memory_top_k": 192},
    "hybrid128": {**HYBRID, "memory_top_k": 128},
    "hybrid-heads": {**HYBRID, "memory_top_k": 384, "global_heads": 12},
}
DOORS = ["amber", "birch", "coral", "delta", "ember", "fjord", "grove", "heron", "ivory", "jade", "karst", "lotus",
         "maple", "night", "ochre", "pearl", "quartz", "river", "slate", "tulip", "umber", "violet", "willow", "zinc"]
NUM_CHAINS = 8
DEPTHS = (0.9, 0.7, 0.5, 0.3, 0.1)  # of pass-keys, deepest first: the next text shares more of what was read


def code_text() -> str:
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


def asked(engine: qwin.Engine, document: str, questions: list[str], plan: dict[str, Any]) -> list[str]:
    """What follows the document and each question; they run in one batch, after the document was read."""
    return engine.generate([document + question for question in questions], 8, raw=True, temperature=0, **plan)


def with_tokens(name: str, texts: Iterable[str]) -> dict[str, Any]:
    """The plan of that name; "tokens" makes the texts global, as a user who knows what matters would."""
    return {**PLANS[name], "global_texts": list(texts)} if name == "tokens" else PLANS[name]


def share(found: list[bool]) -> float:
    return round(sum(found) / len(found), 4)


def followed(engine: qwin.Engine, text: str, chain: str, values: list[str], plan: dict[str, Any]) -> list[bool]:
    answers = asked(engine, text, ["\n# Values: " + chain.format(i) for i in range(len(values))], plan)
    return [value in answer for value, answer in zip(values, answers)]


def keys(engine: qwin.Engine, length: int, name: str) -> dict[str, Any]:
    """24 access codes in comments of source files, 8 values followed through one and two assignments; perplexity of it all."""
    rng = random.Random(length)
    document = Document(engine, code_text(), length - 1000)
    codes = {door: number(rng) for door in DOORS}
    lines = [f"# The access code of the {door} door is {codes[door]}." for door in DOORS]
    for i, line in enumerate(lines):
        document.insert((i + 0.5) / len(DOORS), line)
    values = [number(rng) for _ in range(NUM_CHAINS)]
    for i, value in enumerate(values):
        chain = [f"seed_{i} = {value}", f"limit_{i} = seed_{i}", f"total_{i} = limit_{i}"]
        for place, line in zip(sorted(rng.random() for _ in range(3)), chain):
            document.insert(place, line)
        lines += chain
    text, plan = document.text(), with_tokens(name, lines)
    result: dict[str, Any] = {"code_perplexity": perplexities(engine, length, plan, text)}
    answers = asked(engine, text, [f"\n# The access code of the {door} door is" for door in DOORS], plan)
    found = [codes[door] in answer for door, answer in zip(DOORS, answers)]
    missed = [door for door, right in zip(DOORS, found) if not right]
    once = followed(engine, text, "seed_{0} = limit_{0} = ", values, plan)
    twice = followed(engine, text, "seed_{0} = limit_{0} = total_{0} = ", values, plan)
    return {"multikey": share(found), "missed": missed, "tracking1": share(once), "tracking2": share(twice), **result}


def passkey(engine: qwin.Engine, length: int, name: str) -> dict[str, Any]:
    """One key in prose, at each depth in turn."""
    found = []
    key = number(random.Random(length + 1))
    line = f"The pass key is {key}. Remember it. {key} is the pass key."
    for depth in DEPTHS:
        document = Document(engine, prose_text(), length - 200)
        document.insert(depth, line)
        question = "\nWhat is the pass key? The pass key is"
        found.append(key in asked(engine, document.text(), [question], with_tokens(name, [line]))[0])
    return {"passkey": share(found), "passkey_found_at": [d for d, right in zip(DEPTHS, found) if right]}


def has_answer(item: dict[str, Any], text: str) -> bool:
    """`item` of long_context_questions.json; numbers count with and without their commas."""
    return any(one.lower() in text.replace(",", "").lower() for one in item["answers"])


def questions(engine: qwin.Engine, length: int, name: str) -> dict[str, Any]:
    """Questions with short answers on a lease, a paper and what stands between them, as a chat; right when the answer has it."""
    qa = json.loads((HERE / "long_context_questions.json").read_text())
    parts = [(REPOSITORY / path).read_text() for path in qa["first"]]
    head, tail = engine.tokenize("\n\n".join(parts)), engine.tokenize("\n\n" + (REPOSITORY / qa["last"]).read_text())
    middle = engine.tokenize("\n\n" + prose_text())[: length - 400 - len(head) - len(tail)]
    text = engine.detokenize(head + middle + tail)
    asked_for = [item["question"] for item in qa["questions"]]
    prompts = [f"{text}\n\n---\nQuestion about the texts above: {one} Answer in a few words." for one in asked_for]
    plan = with_tokens(name, [item["evidence"] for item in qa["questions"]])
    answers = [engine.generate(prompts[0], 48, temperature=0, **plan)]  # reads the texts
    answers += engine.generate(prompts[1:], 48, temperature=0, **plan)
    right = [has_answer(item, answer) for item, answer in zip(qa["questions"], answers)]
    missed = {question: answer for question, answer, good in zip(asked_for, answers, right) if not good}
    return {"questions": share(right), "questions_missed": missed}


def perplexities(engine: qwin.Engine, length: int, plan: dict[str, Any], text: str) -> list[float]:
    """Of the eight parts of a text."""
    ids = engine.tokenize(text)[:length]
    result = engine.generate(ids, 1, raw=True, temperature=0, prompt_logprobs=True, logprobs=0, with_details=True, **plan)
    losses = [-entry.logprob for entry in result.prompt_logprobs]
    part = len(losses) // 8
    return [round(math.exp(sum(losses[i * part : (i + 1) * part]) / part), 4) for i in range(8)]


TASKS = {
    "keys": keys,
    "passkey": passkey,
    "questions": questions,
    "prose": lambda e, n, p: {"prose_perplexity": perplexities(e, n, PLANS[p], prose_text())},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--lengths", default="8192,16384")
    parser.add_argument("--plans", default="full,window,sinks,hybrid", help=", ".join(PLANS))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--kv-type", default="q8")
    parser.add_argument("--threads", type=int, help="default: every physical core")
    parser.add_argument("--hybrid-from", type=int, default=0, help="0: memory from the first token that leaves the window")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results = []
    with qwin.Engine(args.model, attention_type="hybrid", hybrid_from=args.hybrid_from, kv_type=args.kv_type,
                     num_threads=args.threads, kv_memory=4 << 30, max_step_seconds=0) as engine:
        for length in [int(n) for n in args.lengths.split(",")]:
            for name in args.plans.split(","):
                for task in args.tasks.split(","):
                    begin = time.monotonic()
                    row = {"length": length, "plan": name, "hybrid_from": args.hybrid_from, **TASKS[task](engine, length, name)}
                    row["seconds"] = round(time.monotonic() - begin, 1)
                    results.append(row)
                    print(json.dumps(row), flush=True)
                    if args.json:
                        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
