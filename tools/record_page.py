#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Takes the picture of the chat page: a real model, a real Chromium, real timings (so: on a quiet machine).

usage: record_page.py MODEL OUT.png [--dark] [--qwin build/release/qwin]        needs playwright and chromium
"""

import argparse
import json
import os
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

EARLIER = ["What is a prime number?", "为什么天空是蓝色的？", "A regular expression for ISO dates"]
QUESTION = "Implement binary search in Python, in at most ten lines of code. Then state its running time in LaTeX, as $T(n) = \\ldots$."


def ask(url, prompt):
    data = json.dumps({"prompt": prompt, "stream": False, "max_tokens": 8}).encode()
    urllib.request.urlopen(urllib.request.Request(url + "/chat", data, {"Content-Type": "application/json"})).read()


def take(url, out, scheme):
    with sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_context(color_scheme=scheme, locale="en-US", viewport={"width": 1200, "height": 880}).new_page()
        page.goto(url)
        page.fill("#prompt", QUESTION)
        page.keyboard.press("Enter")
        page.wait_for_selector(".facts", timeout=120000)
        page.evaluate("document.getElementById('log').scrollTop = 0")
        page.mouse.move(700, 80)  # over the question: its tools show
        page.wait_for_timeout(400)
        page.screenshot(path=out)
        browser.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--qwin", default="build/release/qwin")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        server = subprocess.Popen([args.qwin, "serve", args.model, "--port", "0", "--json", "--chat-db", f"{home}/chats.sqlite"],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "QWIN_LOG": "warn"})
        url = json.loads(server.stdout.readline())["url"]
        try:
            for prompt in EARLIER:
                ask(url, prompt)
            take(url, args.out, "dark" if args.dark else "light")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
