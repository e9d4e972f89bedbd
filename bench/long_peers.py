#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a long text costs qwin and llama.cpp: processor seconds to read it, tokens a second read and written behind it.

    bench/long_peers.py read     ENGINE MODEL.gguf --server BINARY --state FOLDER --threads 1
    bench/long_peers.py continue ENGINE MODEL.gguf --server BINARY --state FOLDER --threads 2

ENGINE is exact or hybrid (BINARY is qwin) or llama.cpp (BINARY is llama-server). Both serve HTTP, get the same text and keep
K and V in f16. `read` reads to one depth after the other and leaves the state of each in FOLDER; it may take an hour, and
the processor seconds of one thread count no waiting. `continue` goes on from there, and wants a machine with nothing else
to do: it reads 256 tokens more and writes 64.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from peers import WORDS


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return urllib.request.urlopen(request, timeout=7200)


class Server:
    def __init__(self, args: argparse.Namespace) -> None:
        self.engine = args.engine
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        args.state.mkdir(parents=True, exist_ok=True)
        context, threads = str(max(args.depths) + args.more + args.new + 64), str(args.threads)
        if self.engine == "llama.cpp":
            flags = ["-m", args.model, "-c", context, "-np", "1", "-t", threads, "-fa", "on", "--cache-ram", "0", "--no-warmup",
                     "--slot-save-path", str(args.state), "--port", str(port)]
        else:
            plan = ["--attention", "hybrid"] if self.engine == "hybrid" else []
            flags = ["serve", args.model, "--ctx", context, "--threads", threads, "--max-batch-size", "1", "--chat-db", "memory",
                     "--request-timeout", "7200", "--cache-dir", str(args.state / self.engine), "--port", str(port), *plan]
        log = (args.state / f"{self.engine}.log").open("w")
        self.process = subprocess.Popen([args.server, *flags], stdout=log, stderr=log)
        while not self.answers():
            if self.process.poll() is not None:
                raise SystemExit(f"{args.server} ended; see {log.name}")
            time.sleep(0.2)
        with urllib.request.urlopen(self.url + "/v1/models") as reply:
            self.model = json.load(reply)["data"][0]["id"]

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/health"):
                return True
        except (urllib.error.URLError, ConnectionError):
            return False

    def complete(self, prompt: str, new: int) -> list[float]:
        """When its pieces came, most of them one token."""
        body = {"model": self.model, "prompt": prompt, "max_tokens": new, "temperature": 0, "ignore_eos": True, "stream": True}
        with post(self.url + "/v1/completions", body) as lines:
            return [time.monotonic() for line in lines if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["text"]]

    def slot(self, action: str, depth: int) -> None:
        if self.engine == "llama.cpp":
            post(f"{self.url}/slots/0?action={action}", {"filename": str(depth)}).read()

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.terminate()  # qwin writes what is not in its cache on disk yet
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["read", "continue"])
    parser.add_argument("engine", choices=["exact", "hybrid", "llama.cpp"])
    parser.add_argument("model")
    parser.add_argument("--server", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--depths", type=lambda text: [int(n) for n in text.split(",")], default=[8192, 16384, 32000])
    parser.add_argument("--more", type=int, default=256, help="tokens that `continue` reads")
    parser.add_argument("--new", type=int, default=64, help="tokens that it writes then")
    args = parser.parse_args()

    def text(depth: int, more: int = 0) -> str:
        """Each word is one token; what comes behind `depth` is no part of a deeper text."""
        words = WORDS.split()
        chosen = random.Random(1).choices(words, k=max(args.depths))[:depth] + random.Random(depth).choices(words, k=more)
        return "".join(" " + word for word in chosen)

    server = Server(args)
    read = 0
    for depth in args.depths:
        row = {"engine": args.engine, "depth": depth, "threads": args.threads}
        if args.what == "read":
            before = server.processor_seconds()
            server.complete(text(depth), 1)
            row["from"], row["processor_seconds"] = read, round(server.processor_seconds() - before, 2)
            server.slot("save", depth)
            read = depth
        else:
            server.slot("restore", depth)
            server.complete(text(depth), 1)  # brings qwin's pages into memory
            begin = time.monotonic()
            first = server.complete(text(depth, args.more), 1)[0]
            row["read_per_s"] = round(args.more / (first - begin), 1)
            times = server.complete(text(depth, args.more), args.new)
            row["written_per_s"] = round((args.new - 1) / (times[-1] - times[0]), 2)
        print(json.dumps(row), flush=True)
    server.stop()


if __name__ == "__main__":
    main()
