#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times qwin and its peers side by side: same file, prompt and threads, alternating, median of the rounds.

usage: peers.py MODEL.gguf --out FOLDER [--prompt 512] [--new 64] [--depth 0 ...] [--rounds 3] [--threads 2] and the peers

Writes FOLDER/peers.md, peers.json and peers.svg, and prints the table. Every peer is optional; bench/README.md says how to
get each. A peer that is not given, or cannot take the file, is named with the reason.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import peer_report
from peer_engines import Absent, Driver, LlamaBench, Prompt, Qwin

# Each is one token of every Qwen vocabulary. A prompt is one of the others and then " the" again and again: no two
# measurements in a row begin alike, since some engines keep what they have read.
WORDS = " the of and to in is for on with as at by from or an be this that it are was not have but all can will one"

REST_SECONDS = 1.0  # before each measurement: OpenMP's threads spin for a while after their work

# Option, name in the tables, script, environment.
PYTHON_PEERS = [
    ("llama_cpp_python", "llama-cpp-python", "llama_cpp_python.py", {}),
    ("ik_llama_cpp_python", "ik_llama.cpp", "ik_llama_cpp_python.py", {}),
    ("openvino", "OpenVINO GenAI", "openvino_genai.py", {}),
    ("transformers", "transformers bf16", "transformers_torch.py", {"TORCH_TYPE": "bfloat16"}),
    ("transformers_f32", "transformers f32", "transformers_torch.py", {"TORCH_TYPE": "float32"}),
]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--out", required=True)
    parser.add_argument("--prompt", type=int, nargs="*", default=[512])
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--depth", type=int, nargs="*", default=[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--qwin", default="build/release/qwin")
    parser.add_argument("--llama-bench", help="llama.cpp's llama-bench")
    for option, name, _, _ in PYTHON_PEERS:
        parser.add_argument("--" + option.replace("_", "-"), metavar="PYTHON", help=f"a Python that has {name}")
    args = parser.parse_args()
    if args.rounds < 3:
        parser.error("--rounds must be at least 3")
    return args


def open_peers(args, context):
    """The engines that are here, and {name: why not} of the others."""
    engines, absent = [Qwin(args.qwin, args.model, args.threads)], {}
    if args.llama_bench:
        engines.append(LlamaBench(args.llama_bench, args.model, args.threads))
    else:
        absent["llama.cpp"] = "not given; see bench/README.md for --llama-bench"
    for option, name, script, environment in PYTHON_PEERS:
        python = getattr(args, option)
        if not python:
            absent[name] = f"not given; see bench/README.md for --{option.replace('_', '-')}"
            continue
        try:
            engines.append(Driver(name, script, python, args.model, args.threads, context, environment))
        except (Absent, OSError) as why:
            absent[name] = str(why)
    return engines, absent


def status(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def prompts(vocabulary):
    """make(number of tokens) gives a Prompt that begins with another word each time."""
    (word, word_id), *others = vocabulary
    first = itertools.cycle(others)

    def make(length):
        start, start_id = next(first)
        return Prompt(start + word * (length - 1), [start_id] + [word_id] * (length - 1))

    return make


def measure(engines, absent, tests, rounds, make_prompt):
    """{test: {engine: [tokens/s of each round]}}; an engine that fails is dropped and named as absent."""
    samples = {name: {} for name, _, _ in tests}
    for round_number in range(rounds):
        for name, length, new in tests:
            prompt = make_prompt(length)
            for engine in [e for e in engines if e.name not in absent]:
                status(f"round {round_number + 1}: {name}, {engine.name}")
                time.sleep(REST_SECONDS)
                try:
                    samples[name].setdefault(engine.name, []).append(engine.measure(prompt, new))
                except Absent as why:
                    absent[engine.name] = str(why)
    status("")
    return {name: {e: v for e, v in values.items() if e not in absent} for name, values in samples.items()}


def vocabulary(args):
    """(word, id) of each of WORDS."""
    out = subprocess.check_output([args.qwin, "tokenize", args.model, "--json"], input=WORDS.encode())
    words, ids = WORDS.split(), json.loads(out)["token_ids"]
    if len(words) != len(ids):
        sys.exit(f"{args.model} has another vocabulary than Qwen's")
    return [(" " + word, token_id) for word, token_id in zip(words, ids)]


def machine(args):
    roofline = json.loads(subprocess.check_output([args.qwin, "bench", "--roofline", "--json", "--threads", str(args.threads)]))
    return {**roofline["machine"], **roofline["limits"], "model": os.path.basename(args.model), "rounds": args.rounds}


def main():
    args = parse_arguments()
    tests = [(f"prefill {n}", n, 0) for n in args.prompt]
    tests += [(f"decode {args.new} at depth {d}", max(d, 1), args.new) for d in args.depth]
    context = max(length + new for _, length, new in tests) + 8
    engines, absent = open_peers(args, context)
    try:
        samples = measure(engines, absent, tests, args.rounds, prompts(vocabulary(args)))
    finally:
        for engine in engines:
            engine.close()
    results = {
        test: {e: {"median": statistics.median(v), "low": min(v), "high": max(v)} for e, v in values.items()}
        for test, values in samples.items()
    }
    report = {"machine": machine(args), "tests": results, "absent": absent}
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "peers.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "peers.md").write_text(peer_report.markdown(report))
    (out / "peers.svg").write_text(peer_report.svg(report))
    print(peer_report.markdown(report), end="")


if __name__ == "__main__":
    main()
