#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Loads qwin and its peers with the same clients, in turns, and tells what the clients saw.

usage: serving.py MODEL.gguf --out FOLDER [--measure clients stall next chat overload leave fair livez] [--clients 1 4 8 16] [--seconds 30]
       [--threads 2] [--qwin build/release/qwin] [--llama-server PATH] [--transformers PYTHON] [--dtype float32]

Writes FOLDER/serving.json (added to, measurement by measurement), serving.md and serving.svg. bench/README.md says how to get the peers.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

import measurements
import report
from servers import LlamaServer, Qwin, Transformers

NEXT_TURN_WORDS = [8, 16, 24, 32, 48, 64, 96, 128]
CHAT_WORDS = [16, 32, 48, 64, 96, 128]
SLOT_CONTEXT = 8192  # tokens of one request at llama-server, which divides its context among its slots


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--measure", nargs="+", choices=list(MEASUREMENTS), default=list(MEASUREMENTS))
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--qwin", type=Path, default="build/release/qwin")
    parser.add_argument("--llama-server", type=Path)
    parser.add_argument("--transformers", type=Path, metavar="PYTHON", help="a Python that has transformers, fastapi and uvicorn")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    return parser.parse_args()


def makers(args, crowd=True):
    """name -> a function that makes a server. transformers serves one at a time: it takes part in crowds alone."""
    made = {Qwin.name: lambda *more: Qwin(args.qwin, args.model, args.threads, *more)}
    if args.llama_server:
        made[LlamaServer.name] = lambda: LlamaServer(args.llama_server, args.model, args.threads, 8 * SLOT_CONTEXT)
    if args.transformers and crowd:
        made[Transformers.name] = lambda: Transformers(args.transformers, args.model, args.threads, args.dtype)
    return made


async def measure_clients(args, results):
    """The servers take turns at every number of clients: memory and clocks change within minutes."""
    for clients in args.clients:
        for name, make in makers(args).items():
            with make() as server:
                await measurements.warm_up(server.port)
                found = await measurements.crowd(server.port, clients, args.seconds, f"{name}-{clients}-{time.time():.0f}")
                results.add("clients", name, found)


async def measure_stall(args, results):
    for name, make in makers(args, crowd=False).items():
        with make() as server:
            await measurements.warm_up(server.port)
            results.add("stall", name, await measurements.stall(server.port, str(time.time())))


async def measure_next(args, results):
    """A conversation of 2,000 tokens goes on: at once, after a restart, and read anew."""
    with tempfile.TemporaryDirectory() as cache:
        make = makers(args)[Qwin.name]
        salt = str(time.time())
        with make("--cache-dir", cache) as server:
            await measurements.warm_up(server.port)
            first, history = await measurements.conversation(server.port, salt)
            whole = {"new_tokens": first.prompt_tokens - first.cached_tokens, "cached_tokens": first.cached_tokens,
                     "ttft": round(1000 * first.ttft, 1)}
            results.add("next", "qwin, read anew", whole)
            for words in NEXT_TURN_WORDS:
                results.add("next", "qwin", await measurements.next_turns(server.port, history, words))
            time.sleep(1)  # the pages are written by a thread of their own
        with make("--cache-dir", cache) as server:
            # Not warmed up: the very first request finds the conversation on disk.
            results.add("next", "qwin, restarted", await measurements.next_turns(server.port, history, 32, rounds=1))


async def measure_chat(args, results):
    with makers(args)[Qwin.name]() as server:
        await measurements.warm_up(server.port)
        for words in CHAT_WORDS:
            results.add("chat", "qwin", await measurements.first_words(server.port, words))


async def measure_overload(args, results):
    """16 places and a queue of 16; then as many clients as fill them, and ten times as many."""
    with makers(args)[Qwin.name]("--queue", 16) as server:
        await measurements.warm_up(server.port)
        for clients in (32, 320):
            results.add("overload", "qwin", await measurements.overload(server.port, clients, args.seconds, str(time.time())))


async def measure_leave(args, results):
    with makers(args)[Qwin.name]("--max-batch-size", "1") as server:
        await measurements.warm_up(server.port)
        results.add("leave", "qwin", await measurements.leave(server.port, str(time.time())))


async def measure_fair(args, results):
    for words in (16, 80):
        with makers(args)[Qwin.name]() as server:
            await measurements.warm_up(server.port)
            results.add("fair", "qwin", await measurements.fair(server.port, str(time.time()), words))


async def measure_livez(args, results):
    with makers(args)[Qwin.name]() as server:
        await measurements.warm_up(server.port)
        results.add("livez", "qwin", await measurements.livez(server.port, str(time.time())))


MEASUREMENTS = {"clients": measure_clients, "stall": measure_stall, "next": measure_next, "chat": measure_chat, "overload": measure_overload,
                "leave": measure_leave, "fair": measure_fair, "livez": measure_livez}


def main():
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    results = report.Results(args.out / "serving.json", args.model.stem, args.threads)
    for name in args.measure:
        asyncio.run(MEASUREMENTS[name](args, results))
    text = report.markdown(results.data)
    (args.out / "serving.md").write_text(text)
    (args.out / "serving.svg").write_text(report.svg(results.data))
    print(text)


if __name__ == "__main__":
    main()
