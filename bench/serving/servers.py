# SPDX-License-Identifier: Apache-2.0
"""Servers to be measured, each a process of its own on a free port."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Runs from `with` to its end."""

    name = ""

    def __init__(self, command, port, environment=None):
        self.command, self.port, self.environment = [str(part) for part in command], port, environment or {}

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env={**os.environ, **self.environment})
        deadline = time.monotonic() + 300
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not start: {' '.join(self.command)}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False


class Qwin(Server):
    name = "qwin"

    def __init__(self, binary, model, threads, *more):
        port = free_port()
        super().__init__([binary, "serve", model, "--port", port, "--threads", threads, "--chat-db", "memory", *more], port,
                         {"QWIN_LOG": "warn"})


class LlamaServer(Server):
    name = "llama-server"

    def __init__(self, binary, model, threads, context):
        port = free_port()
        super().__init__([binary, "-m", model, "--port", port, "-t", threads, "-np", 8, "-cb", "-c", context], port)


class Transformers(Server):
    name = "transformers + FastAPI"

    def __init__(self, python, model, threads, dtype):
        port = free_port()
        super().__init__([python or sys.executable, HERE / "transformers_server.py", model, port, threads, dtype], port)
