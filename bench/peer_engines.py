# SPDX-License-Identifier: Apache-2.0
"""The engines that peers.py compares: each has a name and measure(prompt, new), which gives tokens a second:
of reading the prompt when `new` is 0, else of writing `new` tokens after it."""

import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

DRIVERS = Path(__file__).parent / "drivers"


class Prompt(NamedTuple):
    text: str
    ids: list


class Absent(Exception):
    """The engine is not here, or cannot take the file; the text says why and what to do."""


class Command:
    """An engine that is a command: a process a measurement, which reports its own times."""

    def __init__(self, name, command):
        self.name, self.command = name, command

    def run(self, *arguments, text=""):
        done = subprocess.run([self.command, *map(str, arguments)], input=text, capture_output=True, text=True)
        if done.returncode != 0:
            raise Absent(f"{self.command} failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
        return done.stdout

    def close(self):
        pass


class Qwin(Command):
    """`qwin run`: engine, tokenizer and sampling as a user has them."""

    def __init__(self, command, model, threads):
        super().__init__("qwin", command)
        self.model, self.threads = model, threads

    def measure(self, prompt, new):
        result = json.loads(self.run(
            "run", self.model, "--raw", "--json", "--temperature", 0, "--repetition-penalty", 1, "--ignore-eos",
            "--threads", self.threads, "--max-tokens", new + 1, text=prompt.text))
        if result["prompt_tokens"] != len(prompt.ids):
            raise Absent(f"qwin read {result['prompt_tokens']} tokens instead of {len(prompt.ids)}")
        timings = result["timings"]
        return timings["decode_tokens_per_second"] if new > 0 else timings["prefill_tokens_per_second"]


class LlamaBench(Command):
    def __init__(self, command, model, threads):
        super().__init__("llama.cpp", command)
        self.model, self.threads = model, threads

    def measure(self, prompt, new):
        test = ["-p", 0, "-n", new, "-d", len(prompt.ids)] if new > 0 else ["-p", len(prompt.ids), "-n", 0]
        out = self.run("-m", self.model, "-t", self.threads, "-r", 1, "-o", "json", *test)
        return json.loads(out)[0]["avg_ts"]


class Driver:
    """An engine behind a Python of its own: a process that keeps the model loaded (drivers/driver.py)."""

    def __init__(self, name, script, python, model, threads, context, environment=()):
        self.name = name
        # Between measurements the others must have the cores for themselves.
        quiet = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [python, DRIVERS / script, model, str(threads), str(context)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env={**os.environ, **quiet, **dict(environment)})
        self.reply("ready")

    def reply(self, expected=None):
        line = self.process.stdout.readline()
        if not line:
            lines = self.process.communicate()[1].strip().splitlines()
            errors = [line[:200] for line in lines if "error" in line.lower()]
            code = self.process.returncode
            raise Absent((errors or ([f"ended by signal {-code}"] if code < 0 else lines) or ["no message"])[-1].strip())
        return line.strip() if expected else json.loads(line)

    def measure(self, prompt, new):
        self.process.stdin.write(json.dumps({"prompt": prompt.ids, "new": new}) + "\n")
        self.process.stdin.flush()
        reply = self.reply()
        return new / reply["decode_seconds"] if new > 0 else len(prompt.ids) / reply["prefill_seconds"]

    def close(self):
        self.process.terminate()
        self.process.communicate()
