# SPDX-License-Identifier: Apache-2.0
"""Calls as clients of llama.cpp's server and of vLLM make them, with the fields of the answers that those clients read."""

import json

import pytest

CHAT = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}], "max_tokens": 8}


def events(text):
    parts = [part[6:] for part in text.split("\n\n") if part.startswith("data: ")]
    assert parts.pop() == "[DONE]"
    return [json.loads(part) for part in parts]


@pytest.mark.parametrize("body", [
    # llama.cpp's server: its web page and its examples
    {"messages": [{"role": "user", "content": "Hi"}], "stream": False, "temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05,
     "max_tokens": 8, "seed": 42, "stop": ["</s>"], "presence_penalty": 0, "frequency_penalty": 0},
    {"model": "", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "max_tokens": 8, "logprobs": True, "top_logprobs": 3},
    # vLLM: its OpenAI examples and benchmark client
    {**CHAT, "model": "qwen2_tied", "n": 2, "temperature": 1, "seed": 1, "top_k": 20, "repetition_penalty": 1.05, "stop_token_ids": [3],
     "min_tokens": 2, "logit_bias": {"5": -10}, "user": "u"},
    {**CHAT, "max_completion_tokens": 8, "max_tokens": None, "ignore_eos": True, "return_token_ids": True, "cache_salt": "tenant"},
])
def test_chats(server, body):
    status, _, answer = server.ask("/v1/chat/completions", body)
    assert status == 200, answer
    assert len(answer["choices"]) == body.get("n", 1)
    for choice in answer["choices"]:
        assert choice["message"]["role"] == "assistant" and isinstance(choice["message"]["content"], str)
        assert choice["finish_reason"] in ("stop", "length")
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    assert {"prompt_n", "prompt_ms", "prompt_per_second", "predicted_n", "predicted_ms", "predicted_per_second"} <= set(answer["timings"])


def test_vllms_benchmark_client(server):
    body = {"model": "qwen2_tied", "prompt": "one two", "temperature": 0, "repetition_penalty": 1, "max_tokens": 6, "logprobs": None,
            "stream": True, "stream_options": {"include_usage": True}, "ignore_eos": True}
    status, headers, text = server.ask("/v1/completions", body)
    assert status == 200 and headers["Content-Type"].startswith("text/event-stream")
    *chunks, usage = events(text)
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 6
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"][0]["finish_reason"]] == ["length"]


def test_tokenize_as_both_have_it(server):
    llama = server.ask("/tokenize", {"content": "hello world"})[2]
    vllm = server.ask("/tokenize", {"model": "qwen2_tied", "prompt": "hello world"})[2]
    assert llama["tokens"] == vllm["tokens"] and vllm["count"] == len(vllm["tokens"]) and vllm["max_model_len"] > 0
    assert server.ask("/detokenize", {"tokens": llama["tokens"]})[2]["content"] == "hello world"
    assert server.ask("/detokenize", {"model": "qwen2_tied", "tokens": vllm["tokens"]})[2]["prompt"] == "hello world"
    assert server.ask("/tokenize", {"model": "qwen2_tied", "messages": CHAT["messages"]})[2]["count"] > 4


def test_health_and_models(server):
    assert server.ask("/health")[2]["status"] == "ok"
    card = server.ask("/v1/models")[2]["data"][0]
    assert card["object"] == "model" and card["max_model_len"] > 0 and card["meta"]["n_vocab"] > 0
