#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What Python costs: import time, tokens per second beside the command's, and what a waiting call leaves of the interpreter.

usage: python_overhead.py MODEL [--tokens 128] [--rounds 3]        in an environment with qwin
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time

import qwin

PROMPT = "Count from one to two hundred in words."


def command(model, tokens):
    arguments = [qwin.binary_path(), "run", model, PROMPT, "--max-tokens", str(tokens), "--ignore-eos", "--json"]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return json.loads(done.stdout)["timings"]["decode_tokens_per_second"]


def generated(engine, tokens):
    result = engine.generate(PROMPT, tokens, ignore_eos=True, with_details=True)
    return result.timings.decode_tokens_per_second


def streamed(engine, tokens, interval):
    """By the clock of the reader, from the first chunk to the last."""
    stream = iter(engine.stream_generate(PROMPT, tokens, ignore_eos=True, stream_interval=interval))
    next(stream)
    start = time.perf_counter()
    for _ in stream:
        pass
    return (tokens - 1) / (time.perf_counter() - start)


def counting_share(engine, tokens):
    """How fast a thread counts while another one waits for an answer, as a share of its speed alone."""
    count, stop = [0], threading.Event()

    def work():
        while not stop.is_set():
            count[0] += 1

    thread = threading.Thread(target=work)
    thread.start()

    def rate(wait):
        before, start = count[0], time.perf_counter()
        wait()
        return (count[0] - before) / (time.perf_counter() - start)

    alone = rate(lambda: time.sleep(0.5))
    beside = rate(lambda: engine.generate(PROMPT, tokens, ignore_eos=True))
    stop.set()
    thread.join()
    return beside / alone


def import_milliseconds():
    code = "import time; t = time.perf_counter(); import qwin; print((time.perf_counter() - t) * 1e3)"
    times = [float(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout) for _ in range(5)]
    return statistics.median(times)


def share(values, others):
    """Rounds are compared one by one: the machine's speed changes from minute to minute."""
    return f"×{statistics.median(value / other for value, other in zip(values, others, strict=True)):.3f} of generate"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"import qwin: {import_milliseconds():.0f} ms")
    engine = qwin.Engine.load_pretrained(options.model, kv_memory=1 << 30)
    generated(engine, 8)
    ways = {
        "qwin run": lambda: command(options.model, options.tokens),
        "generate": lambda: generated(engine, options.tokens),
        "stream, every token": lambda: streamed(engine, options.tokens, 0),
        "stream, every 50 ms": lambda: streamed(engine, options.tokens, 0.05),
    }
    rates = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            rates[name].append(way())
    for name, values in rates.items():
        print(f"{name}: {statistics.median(values):.1f} tokens/s ({min(values):.1f} … {max(values):.1f}), {share(values, rates['generate'])}")
    print(f"a counting thread keeps {counting_share(engine, options.tokens):.0%} of its speed beside generate()")


if __name__ == "__main__":
    main()
