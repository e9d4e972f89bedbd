# SPDX-License-Identifier: Apache-2.0
"""A terminal with `qwin run` in it: types keys, waits for what appears."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("QWIN_BINARY", str(ROOT / "build/release/qwin"))
TINY = ROOT / "tests/testdata/tiny/qwen2_tied"
PATIENCE = 60  # seconds; only a failure waits so long
ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[a-zA-Z]|[=>]|\([B0])")
PROMPT = "\n>>> "  # with the line break: an edited line is drawn anew with its prompt


class Terminal:
    """One process on a pseudo terminal. `seen` is all that it wrote, `shown` the same without escape sequences."""

    def __init__(self, home, *arguments, model=TINY, stdout=None, **environment):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("QWIN_") and k != "NO_COLOR"}
        variables = {"TERM": "xterm", "HOME": str(home), "QWIN_HOME": str(home / "qwin"), "LC_ALL": "C.UTF-8"}
        self.process = subprocess.Popen(
            [BINARY, "run", str(model), "--threads", "1", *arguments],
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            env={**inherited, **variables, **environment},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.master = master
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.seen = ""
        self.position = 0  # of shown: what was waited for lies before it

    @property
    def shown(self):
        return ESCAPES.sub("", self.seen).replace("\r", "")

    def receive(self):
        readable, _, _ = select.select([self.master], [], [], 0.1)
        if not readable:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the other side is closed
            return False
        self.seen += self.decoder.decode(data)
        return bool(data)

    def wait_for(self, text):
        """What appeared before `text`, from where the last wait ended."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.shown.find(text, self.position)
            if found >= 0:
                before = self.shown[self.position : found]
                self.position = found + len(text)
                return before
            assert time.monotonic() < deadline and self.receive(), f"no {text!r} in {self.shown[self.position :]!r}"

    def type(self, keys):
        os.write(self.master, keys.encode())

    def ask(self, text, enter="\r"):
        """Types a line and returns what appeared until the next prompt."""
        self.wait_for(PROMPT)
        return self.enter(text, enter)

    def enter(self, text, enter="\r"):
        self.type(text + enter)
        shown = self.wait_for(PROMPT)
        self.position -= len(PROMPT)
        return shown

    def paste(self, text):
        self.type("\x1b[200~" + text.replace("\n", "\r") + "\x1b[201~")

    def interrupt(self):
        self.type("\x03")

    def exit_code(self):
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still running: {self.shown[-500:]!r}"
            self.receive()
        while self.receive():
            if not select.select([self.master], [], [], 0)[0]:
                break
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.master)
