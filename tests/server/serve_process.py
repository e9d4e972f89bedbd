# SPDX-License-Identifier: Apache-2.0
"""`qwin serve` as a process of its own."""

import json
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("QWIN_BINARY", str(ROOT / "build/release/qwin"))
TINY = ROOT / "tests/testdata/tiny/qwen2_tied"


class Served:
    """A `qwin serve` on a free port."""

    def __init__(self, home, model=TINY, *arguments, env=None):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("QWIN_")}
        environment |= {"QWIN_HOME": str(home), **(env or {})}
        port = [] if "--port" in arguments else ["--port", "0"]
        command = [BINARY, "serve", str(model), "--json", *port, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        self.log = []
        threading.Thread(target=self._read_log, daemon=True).start()
        line = self.process.stdout.readline()
        assert line, "".join(self.log)
        self.url = json.loads(line)["url"]
        self.port = json.loads(line)["port"]

    def _read_log(self):
        for line in self.process.stderr:
            self.log.append(line.decode())

    def ask(self, path, body=None, method=None, headers=None):
        """(status, headers, body), the body read as JSON where it is JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method,
                                         headers={"Content-Type": "application/json", **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return self._read(response)
        except urllib.error.HTTPError as error:
            return self._read(error)

    @staticmethod
    def _read(response):
        text = response.read().decode()
        is_json = response.headers["Content-Type"] == "application/json"
        return response.status, response.headers, json.loads(text) if is_json else text

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=60)
