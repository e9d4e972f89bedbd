#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times qwin and llama.cpp side by side: same file, same threads, alternating, median of the rounds.

usage: peers.py MODEL.gguf --llama-bench PATH [--qwin PATH] [--threads 2] [--rounds 3] [--prompt 512] [--new 64] [--depth 0 ...]

llama-bench comes with llama.cpp. Prints a Markdown table of tokens a second: reading `prompt` tokens, and writing `new`
tokens after `depth` tokens of context.
"""

import argparse
import json
import statistics
import subprocess


def run(command, text=""):
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def qwin_timings(args, prompt_tokens, new_tokens):
    # " the" is one token of every Qwen vocabulary.
    command = [args.qwin, "run", args.model, "--raw", "--json", "--temperature", "0", "--repetition-penalty", "1", "--ignore-eos",
               "--threads", str(args.threads), "--max-tokens", str(new_tokens)]
    result = json.loads(run(command, " the" * prompt_tokens))
    assert result["prompt_tokens"] == prompt_tokens, result["prompt_tokens"]
    return result["timings"]


def qwin_prefill(args):
    return qwin_timings(args, args.prompt, 1)["prefill_tokens_per_second"]


def qwin_decode(args, depth):
    return qwin_timings(args, max(depth, 1), args.new + 1)["decode_tokens_per_second"]


def llama(args, options):
    command = [args.llama_bench, "-m", args.model, "-t", str(args.threads), "-r", "1", "-o", "json", *map(str, options)]
    return json.loads(run(command))[0]["avg_ts"]


def llama_prefill(args):
    return llama(args, ["-p", args.prompt, "-n", 0])


def llama_decode(args, depth):
    return llama(args, ["-p", 0, "-n", args.new, "-d", depth])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--qwin", default="build/release/qwin")
    parser.add_argument("--llama-bench", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--depth", type=int, nargs="*", default=[0])
    args = parser.parse_args()

    tests = [(f"prefill {args.prompt}", qwin_prefill, llama_prefill)]
    for depth in args.depth:
        tests.append((f"decode {args.new} at depth {depth}", lambda a, d=depth: qwin_decode(a, d), lambda a, d=depth: llama_decode(a, d)))
    print("| test | qwin | llama.cpp | ratio | spread of qwin, llama.cpp |")
    print("|---|---|---|---|---|")
    for name, ours, theirs in tests:
        pairs = [(ours(args), theirs(args)) for _ in range(args.rounds)]
        mine, other = ([p[i] for p in pairs] for i in (0, 1))
        spreads = ", ".join(f"{min(v):.1f} … {max(v):.1f}" for v in (mine, other))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"| {name} | {statistics.median(mine):.1f} | {statistics.median(other):.1f} | {ratio:.2f} | {spreads} |", flush=True)


if __name__ == "__main__":
    main()
