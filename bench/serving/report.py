# SPDX-License-Identifier: Apache-2.0
"""Results of serving.py: kept in a JSON file, shown as Markdown and as a chart."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import peer_report  # noqa: E402

COLUMNS = {
    "clients": ("Clients that ask again and again", [
        ("clients", "clients"), ("tokens_per_second", "tokens/s written"), ("prompt_tokens_per_second", "prompt tokens/s"),
        ("ttft_p50", "first token p50, ms"), ("ttft_p95", "p95"), ("gap_p50", "between tokens p50, ms"), ("gap_p95", "p95")]),
    "stall": ("A stream while a long prompt arrives", [
        ("prompt_tokens", "prompt tokens"), ("gap_before", "between tokens before, ms"), ("gap_median", "meanwhile, median"),
        ("gap_longest", "meanwhile, longest"), ("ttft", "newcomer's first token, ms")]),
    "next": ("The next turn of a conversation", [
        ("cached_tokens", "tokens kept"), ("new_tokens", "new tokens"), ("ttft", "first token, ms"), ("ttft_longest", "longest of the rounds")]),
    "chat": ("POST /chat, a prompt never seen", [
        ("prompt_tokens", "prompt tokens"), ("cached_tokens", "of these kept (the template's)"), ("ttft", "first token, ms")]),
    "overload": ("More clients than places", [
        ("clients", "clients"), ("answers_per_second", "whole answers a second"), ("codes", "HTTP codes"), ("refused_p95", "refused within p95, ms")]),
    "leave": ("A client goes away: ms until its place is free, the longest of 20", [
        ("decoding", "while its answer is written"), ("prefilling", "while its prompt is read"), ("waiting", "while it waits")]),
    "fair": ("One question beside another client's 100 prompts of 2,000 tokens", [
        ("prompt_tokens", "prompt tokens"), ("alone", "first token alone, ms"), ("beside", "beside them"), ("beside_longest", "longest")]),
    "livez": ("GET /livez while a long prompt is read", [
        ("prompt_tokens", "prompt tokens"), ("looks", "looks"), ("livez_p50", "p50, ms"), ("livez_p99", "p99, ms")]),
}


class Results:
    """What was measured so far; every addition is saved at once."""

    def __init__(self, path, model, threads):
        self.path = path
        self.data = json.loads(path.read_text()) if path.exists() else {}
        self.model = self.data.setdefault(model, {"threads": threads})

    def add(self, measurement, server, numbers):
        self.model.setdefault(measurement, []).append({"server": server, **numbers})
        self.path.write_text(json.dumps(self.data, indent=1) + "\n")


def table(rows, columns):
    lines = ["| server | " + " | ".join(label for _, label in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = ["–" if row.get(key) is None else f"{row[key]:g}" if isinstance(row[key], (int, float)) else row[key] for key, _ in columns]
        lines.append(f"| {row['server']} | " + " | ".join(cells) + " |")
    return lines


def markdown(data):
    lines = []
    for model, found in data.items():
        lines += [f"## {model}, {found['threads']} threads", ""]
        for measurement, (title, columns) in COLUMNS.items():
            if measurement in found:
                lines += [f"{title}:", "", *table(found[measurement], columns), ""]
    return "\n".join(lines)


def svg(data):
    """Tokens written a second, by model and number of clients."""
    tests = {}
    for model, found in data.items():
        for row in found.get("clients", []):
            value = dict.fromkeys(("median", "low", "high"), row["tokens_per_second"])
            tests.setdefault(f"{model}, clients: {row['clients']}", {})[row["server"]] = value
    return peer_report.bars("Many clients at once, one server after the other", tests)
