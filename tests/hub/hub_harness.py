# SPDX-License-Identifier: Apache-2.0
"""The `qwin` command with a home and a hub of its own, and helpers the pull tests share."""

import hashlib
import json
import os
import pathlib
import random
import subprocess
import time

import pytest
from hostile_server import HostileServer

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("QWIN_BINARY", str(ROOT / "build/release/qwin"))
MIB = 1 << 20
LIMIT = 60  # seconds a command may take before the test fails


def content_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


class Qwin:
    """The command with its own home and hub."""

    def __init__(self, home: pathlib.Path):
        self.home = home
        names = ("PATH", "HOME", "LD_LIBRARY_PATH", "ASAN_OPTIONS")
        self.environment = {n: os.environ[n] for n in names if n in os.environ}
        self.environment |= {"QWIN_HOME": str(home), "QWIN_STALL_TIMEOUT": "2", "QWIN_PYTHON": "/bin/false"}
        self.environment["no_proxy"] = "*"

    def use(self, server: HostileServer):
        self.environment["HF_ENDPOINT"] = server.address

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        return subprocess.Popen(
            [BINARY, *arguments], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )

    def run(self, *arguments: str, expect: int = 0, **options) -> subprocess.CompletedProcess:
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=LIMIT)
        assert process.returncode == expect, f"exit {process.returncode}\n{out}{err}"
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def pull(self, name: str, *flags: str) -> dict:
        return json.loads(self.run("pull", name, "--json", *flags).stdout)

    def fail(self, name: str, error_class: str, *flags: str, expect: int = 1, **options) -> str:
        err = self.run("pull", name, *flags, expect=expect, **options).stderr
        last = err.splitlines()[-1]
        assert last.startswith(f"error: {error_class}: "), err
        return last

    def leftovers(self, folder: str) -> list[str]:
        path = self.home / "models" / folder
        return sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()) if path.exists() else []


@pytest.fixture
def qwin(tmp_path):
    return Qwin(tmp_path / "home")


@pytest.fixture
def content():
    return content_of(6 * MIB + 123)


@pytest.fixture
def server(qwin, content):
    with HostileServer({"o/n": {"m.gguf": content, "README.md": b"read me"}}) as server:
        qwin.use(server)
        yield server


def assert_pulled(result: dict, content: bytes):
    assert pathlib.Path(result["path"]).read_bytes() == content
    assert result["bytes"] == len(content)
    assert result["sha256"] == hashlib.sha256(content).hexdigest()


def wait_for(condition, seconds: float = 20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
