#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the first inputs of the HTTP fuzzer in tests/fuzz/corpus/http_request: a byte that tells the size of the pieces, then a request.

usage: make_http_fuzz_seeds.py
"""

import json
import pathlib
import shutil

CORPUS = pathlib.Path(__file__).resolve().parent.parent / "tests/fuzz/corpus/http_request"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True, "stream_options": {"include_usage": True},
        "temperature": 0.7, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "n": 2, "stop": ["a", "b"], "seed": 7, "logprobs": True,
        "top_logprobs": 5, "logit_bias": {"5": -100}, "max_tokens": 16, "cache_salt": "s", "window": 64}
TEXT = {"prompt": [[1, 2, 3], [4]], "max_tokens": 4, "echo": True, "logprobs": 3, "suffix": "x", "stop_token_ids": [7], "ignore_eos": True}
TURN = {"prompt": "Hi", "session": "chat-0", "system": "s", "replace_from": 0, "stream": False}


def request(head, body=b""):
    return head.replace("\n", "\r\n").encode() + b"\r\n" + body


def with_length(path, value):
    body = json.dumps(value).encode()
    return request(f"POST {path} HTTP/1.1\nHost: localhost\nContent-Type: application/json\nContent-Length: {len(body)}\n", body)


def main():
    shutil.rmtree(CORPUS, ignore_errors=True)
    CORPUS.mkdir(parents=True)
    seeds = {
        "get": request("GET /livez HTTP/1.1\nHost: localhost\n"),
        "query": request("POST /chat?prompt=Hi%20there&session=a+b HTTP/1.1\nHost: localhost\nContent-Length: 0\n"),
        "chat": with_length("/v1/chat/completions", CHAT),
        "text": with_length("/v1/completions", TEXT),
        "turn": with_length("/chat", TURN),
        "deep": with_length("/chat", json.loads("[" * 40 + "]" * 40)),
        "chunked": request("POST /chat HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n",
                           b"5;x=y\r\n{\"pro\r\n0d\r\nmpt\": \"a b\"  }\r\n0\r\nA: b\r\n\r\n"),
        "both_lengths": request("POST /chat HTTP/1.1\nHost: localhost\nContent-Length: 3\nTransfer-Encoding: chunked\n", b"0\r\n\r\n"),
        "http_1_0": request("GET / HTTP/1.0\nConnection: keep-alive\n"),
        "expect": request("POST /chat HTTP/1.1\nHost: localhost\nExpect: 100-continue\nContent-Length: 2\n", b"{}"),
    }
    for number, (name, seed) in enumerate(seeds.items()):
        (CORPUS / name).write_bytes(bytes([number * 7]) + seed)


if __name__ == "__main__":
    main()
