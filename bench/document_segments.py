#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long segments should be and how much they should overlap: questions on the lease and the paper of examples/documents.

    PYTHONPATH=build/release/python bench/document_segments.py MODEL --segments 512:0,512:128,1024:0,1024:256 --json OUT

Each question is asked of its document alone, as `qwin summarize --instruction` does, greedily. `found`: the answer is among
those over the segments; `right`: it is in the last one.
`first` is what the first question on each document reads, `later` the mean of the others, which find the segments in the cache.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import qwin
from long_context import has_answer

HERE = Path(__file__).resolve().parent


def questions_by_document() -> dict[str, list[dict[str, Any]]]:
    """{text: its questions}; each belongs to the document that its evidence is in."""
    qa = json.loads((HERE / "long_context_questions.json").read_text())
    texts = [(HERE.parent / path).read_text() for path in [*qa["first"], qa["last"]]]
    return {text: [item for item in qa["questions"] if item["evidence"] in text] for text in texts}


def study(engine: qwin.Engine, segment_tokens: int, overlap: int) -> dict[str, Any]:
    counts = dict.fromkeys(("segments", "found", "right", "first"), 0)
    later: list[int] = []
    missed = []
    begin = time.process_time()
    for text, items in questions_by_document().items():
        for number, item in enumerate(items):
            result = qwin.process_document(
                engine, text, segment_tokens, overlap, item["question"], max_length=64, temperature=0, with_details=True,
                cache_salt=f"{segment_tokens}:{overlap}",
            )
            read = result.prompt_tokens - result.cached_tokens
            if number == 0:
                counts["segments"] += len(result.segments)
                counts["first"] += read
            else:
                later.append(read)
            counts["found"] += any(has_answer(item, answer) for answer in result.partial_answers)
            if has_answer(item, result.text):
                counts["right"] += 1
            else:
                missed.append({"question": item["question"], "answer": result.text, "partial_answers": result.partial_answers})
    row = {"segment_tokens": segment_tokens, "overlap": overlap, **counts, "later": round(sum(later) / len(later))}
    return {**row, "processor_seconds": round(time.process_time() - begin), "missed": missed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--segments", default="512:0,512:128,1024:0,1024:128,1024:256,1024:512,2048:0,2048:256",
                        help="pairs of segment_tokens:overlap")
    parser.add_argument("--threads", type=int, help="default: every physical core")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    with qwin.Engine(args.model, num_threads=args.threads, kv_memory=2 << 30, max_step_seconds=0) as engine:
        for pair in args.segments.split(","):
            rows.append(study(engine, *(int(n) for n in pair.split(":"))))
            print(json.dumps({key: value for key, value in rows[-1].items() if key != "missed"}), flush=True)
            if args.json:
                args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
