#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Collects the texts on which quantized models are judged: nothing that a calibration sees.

usage: make_held_out_texts.py OUTPUT.json [--qwin BINARY --model MODEL] [--pieces N]

A JSON list of [name, text], some 500 tokens a piece, N pieces (16) of each kind:

    code   the standard library of this Python            prose_en, prose_zh   Debian's handbook (package debian-handbook)
    chat   answers of MODEL to the questions below, in its own template (only with --model)
"""

import argparse
import html.parser
import json
import pathlib
import random
import subprocess
import sysconfig

HANDBOOK = pathlib.Path("/usr/share/doc/debian-handbook/html")
CODE = ("argparse", "bisect", "calendar", "configparser", "csv", "difflib", "fractions", "heapq", "ipaddress", "mailbox")
PIECE_CHARACTERS = {"code": 2000, "prose_en": 2200, "prose_zh": 800}
QUESTIONS = (
    "Why do leaves change colour in autumn?",
    "Write a Python function that merges two sorted lists, and explain its cost.",
    "\u8bf7\u7528\u4e09\u70b9\u8bf4\u660e\u8fdc\u7a0b\u529e\u516c\u7684\u5229\u5f0a\u3002",
    "How would you find a memory leak in a C++ server?",
    "\u5199\u4e00\u4e2a\u5224\u65ad\u8d28\u6570\u7684 JavaScript \u51fd\u6570\uff0c\u5e76\u89e3\u91ca\u601d\u8def\u3002",
    "Give me a plan for learning to bake bread in a month.",
    "A train leaves at 9:40 and arrives at 13:05 after a stop of 12 minutes. How long does it move?",
    "\u4ec0\u4e48\u662f\u6570\u636e\u5e93\u7d22\u5f15\uff1f\u4ec0\u4e48\u65f6\u5019\u4e0d\u8be5\u4f7f\u7528\u5b83\uff1f",
    "Translate into French: The committee will publish its report next week.",
    "Explain the difference between TCP and UDP to a child.",
    "Write SQL for the three best customers of every month.",
    "\u7ed9\u65b0\u5458\u5de5\u5199\u4e00\u5c01\u6b22\u8fce\u90ae\u4ef6\u3002",
    "What did the industrial revolution change in the life of families?",
    "Write a bash script that keeps the newest five backups and deletes the others.",
    "\u628a\u201c\u65f6\u95f4\u5c31\u662f\u91d1\u94b1\u201d\u5199\u6210\u4e00\u9996\u77ed\u8bd7\u3002",
    "Review this code: def mean(xs): return sum(xs) / len(xs)",
)


class Paragraphs(html.parser.HTMLParser):
    """The text of <p>, <li> and <pre> elements."""

    def __init__(self):
        super().__init__()
        self.depth, self.text = 0, []

    def handle_starttag(self, tag, attributes):
        self.depth += tag in ("p", "pre")

    def handle_endtag(self, tag):
        if tag in ("p", "pre") and self.depth:
            self.depth -= 1
            self.text.append("\n")

    def handle_data(self, data):
        if self.depth:
            self.text.append(data)


def handbook(root, language):
    files = sorted((root / language).glob("*.html"))
    if not files:
        raise SystemExit(f"{root / language} is not there; install the package debian-handbook or give --handbook")
    texts = []
    for file in files:
        parser = Paragraphs()
        parser.feed(file.read_text(encoding="utf-8"))
        texts.append("".join(parser.text).strip())
    return [t for t in texts if len(t) > 4000]


def pieces(kind, texts, count):
    """`count` pieces from random places, each beginning with a line."""
    chooser = random.Random(kind)
    size = PIECE_CHARACTERS[kind]
    for i in range(count):
        text = texts[chooser.randrange(len(texts))]
        begin = text.find("\n", chooser.randrange(len(text) - size)) + 1
        yield [f"{kind}_{i}", text[begin : begin + size]]


def chats(qwin, model, count):
    for i, question in enumerate(QUESTIONS[:count]):
        command = [qwin, "run", model, question, "--json", "--temperature", "1", "--seed", str(i), "--max-tokens", "400"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        answer = json.loads(done.stdout)["text"]
        system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        turns = (("system", system), ("user", question), ("assistant", answer))
        yield [f"chat_{i}", "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--qwin", default="build/release/qwin")
    parser.add_argument("--model")
    parser.add_argument("--pieces", type=int, default=16)
    parser.add_argument("--handbook", type=pathlib.Path, default=HANDBOOK)
    args = parser.parse_args()
    library = pathlib.Path(sysconfig.get_path("stdlib"))
    texts = [*pieces("code", [(library / f"{name}.py").read_text() for name in CODE], args.pieces)]
    texts += pieces("prose_en", handbook(args.handbook, "en-US"), args.pieces)
    texts += pieces("prose_zh", handbook(args.handbook, "zh-CN"), args.pieces)
    if args.model:
        texts += chats(args.qwin, args.model, args.pieces)
    args.output.write_text(json.dumps(texts, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
