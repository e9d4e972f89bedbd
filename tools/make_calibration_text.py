#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a text for `qwin quantize --calibrate`: chats, code, Chinese and English, all of the project's own.

usage: make_calibration_text.py OUTPUT.txt

src/compress/calibration_text.txt (`--calibrate builtin`) was made by it once and stays as it is, so that files can be made again.

It mixes the passages of calibration_passages.json (written for it), pieces of the documentation (English) and pieces of the
sources (C++, Python), in an order drawn with a fixed seed, so that a cut at any place has something of each.
"""

import json
import pathlib
import random
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PIECE = 1200  # characters
NUM_DOCUMENT_PIECES, NUM_SOURCE_PIECES = 10, 14


def pieces(chooser, files, count):
    for file in chooser.sample(sorted(files), count):
        text = file.read_text(encoding="utf-8")
        begin = text.find("\n", chooser.randrange(max(1, len(text) - PIECE))) + 1
        yield text[begin : begin + PIECE]


def main():
    chooser = random.Random(1)
    texts = [text for _, text in json.loads((ROOT / "tools/calibration_passages.json").read_text(encoding="utf-8"))]
    documents = list((ROOT / "docs").glob("*.md"))
    texts += pieces(chooser, documents, min(NUM_DOCUMENT_PIECES, len(documents)))
    sources = [f for f in (ROOT / "src").rglob("*.cc") if "tables" not in f.name] + list((ROOT / "tools").glob("*.py"))
    texts += pieces(chooser, sources, NUM_SOURCE_PIECES)
    chooser.shuffle(texts)
    pathlib.Path(sys.argv[1]).write_text("\n\n".join(texts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
