# SPDX-License-Identifier: Apache-2.0
"""The report case: a financial report of 5,000 Chinese characters by `transformers` and by qwin, and four of them at once.

    pip install . torch transformers
    python examples/financial_report/report.py MODEL [--peer-tokens 256] [--out report]

MODEL is the directory of a Qwen model or its name on the hub (tools/gguf_to_transformers.py makes a directory of a GGUF file).
Both sides start from the same `transformers` model: one as it comes, in the type of its checkpoint; the other handed to qwin at 8 bits, a window
of 2048 tokens and a batch of 4. qwin writes until the report has its characters. `transformers` writes --peer-tokens tokens, and
the time of a whole report follows from its rate: in its favour, since it slows down with the length. Prints a table; writes
OUT.svg, OUT.json and both texts.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from chart import bars

SIDES = Path(__file__).with_name("sides.py")


def measure(side, arguments):
    command = [sys.executable, str(SIDES), side, json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the {side} side failed")
    return json.loads(done.stdout.splitlines()[-1])


def rows(peer, ours):
    """(what, unit, transformers, qwin, ratio), each of the two as a number."""
    peer_rate, rate = peer["tokens"] / peer["seconds"], ours["tokens"] / ours["seconds"]
    four_rate, peer_batch_rate = (side["four_tokens"] / side["four_seconds"] for side in (ours, peer))
    return [
        ("one report", "s", ours["tokens"] / peer_rate, ours["seconds"], rate / peer_rate),
        ("one report", "tokens/s", peer_rate, rate, rate / peer_rate),
        ("four reports, transformers in a row", "tokens/s", peer_rate, four_rate, four_rate / peer_rate),
        ("four reports, transformers in a batch", "tokens/s", peer_batch_rate, four_rate, four_rate / peer_batch_rate),
        ("memory", "GB", peer["memory"] / 1e9, ours["memory"] / 1e9, peer["memory"] / ours["memory"]),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--characters", type=int, default=5000)
    parser.add_argument("--max-tokens", type=int, default=6000)
    parser.add_argument("--peer-tokens", type=int, default=256)
    parser.add_argument("--batch-tokens", type=int, help="of each of the four reports; default: as many as the one had")
    parser.add_argument("--window", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path("report"))
    options = parser.parse_args()
    arguments = {name: value for name, value in vars(options).items() if name != "out"}

    peer = measure("transformers", arguments)
    ours = measure("qwin", arguments)
    table = rows(peer, ours)
    print(f"{len(ours['text'])} characters, {ours['tokens']} tokens; transformers measured on {peer['tokens']} of them\n")
    print("| | transformers | qwin | |\n|---|---|---|---|")
    for what, unit, theirs, own, ratio in table:
        print(f"| {what}, {unit} | {theirs:.1f} | {own:.1f} | ×{ratio:.2f} |")

    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".svg").write_text(bars(table), encoding="utf-8")
    for name, side in (("transformers", peer), ("qwin", ours)):
        Path(f"{options.out}.{name}.txt").write_text(side.pop("text"), encoding="utf-8")
    options.out.with_suffix(".json").write_text(json.dumps({"arguments": arguments, "transformers": peer, "qwin": ours}, indent=1))


if __name__ == "__main__":
    main()
