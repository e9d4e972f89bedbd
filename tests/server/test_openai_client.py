# SPDX-License-Identifier: Apache-2.0
"""The openai client against `qwin serve`: what its users do every day."""

import asyncio
import time

import openai
import pytest

MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def chat(client, **options):
    return client.chat.completions.create(model="qwen2_tied", messages=MESSAGES, **{"max_tokens": 8, "temperature": 0, **options})


def test_models(client):
    listed = [model.id for model in client.models.list()]
    assert len(listed) == 1
    assert client.models.retrieve(listed[0]).id == listed[0]


def test_chat_and_stream_agree(client):
    whole = chat(client)
    assert whole.choices[0].finish_reason in ("length", "stop")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices].count(None) == sum(bool(c.choices) for c in chunks) - 1
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[0].choices[0].delta.role == "assistant"


def test_the_same_answer_again_with_a_cached_prompt(client):
    first, second = chat(client, logprobs=True), chat(client, logprobs=True)
    assert first.choices[0].logprobs == second.choices[0].logprobs


def test_seeds(client):
    ask = lambda seed: chat(client, temperature=2, seed=seed, max_tokens=16).choices[0].message.content  # noqa: E731
    assert ask(1) == ask(1) != ask(2)


def test_n_and_stop(client):
    answers = chat(client, n=3, temperature=2, seed=5, max_tokens=12).choices
    assert [choice.index for choice in answers] == [0, 1, 2]
    text = chat(client, max_tokens=12).choices[0].message.content
    if len(text) > 2:
        stopped = chat(client, max_tokens=12, stop=[text[1:3]]).choices[0]
        assert stopped.message.content == text[: text.index(text[1:3])]
        assert stopped.finish_reason == "stop"


def test_logprobs(client):
    content = chat(client, logprobs=True, top_logprobs=5).choices[0].logprobs.content
    assert all(len(token.top_logprobs) == 5 for token in content)
    assert all(token.logprob <= 0 and token.top_logprobs[0].logprob >= token.logprob - 1e-6 for token in content)


def test_completions(client):
    done = client.completions.create(model="qwen2_tied", prompt=["a", "b"], max_tokens=4, temperature=0, n=2, logprobs=1)
    assert [choice.index for choice in done.choices] == [0, 1, 2, 3]
    assert done.choices[0].text == done.choices[1].text
    assert len(done.choices[0].logprobs.token_logprobs) == len(done.choices[0].logprobs.tokens)
    echoed = client.completions.create(model="qwen2_tied", prompt="abc", max_tokens=0, echo=True, logprobs=0)
    assert echoed.choices[0].text == "abc"
    assert echoed.choices[0].logprobs.token_logprobs[0] is None
    streamed = client.completions.create(model="qwen2_tied", prompt="a", max_tokens=4, temperature=0, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == done.choices[0].text


def test_token_id_prompts_equal_text(client, server):
    ids = server.ask("/tokenize", {"text": "hello"})[2]["token_ids"]
    by_ids, by_text = (client.completions.create(model="", prompt=p, max_tokens=4, temperature=0) for p in (ids, "hello"))
    assert by_ids.choices[0].text == by_text.choices[0].text
    assert server.ask("/detokenize", {"token_ids": ids})[2]["text"] == "hello"


def test_errors_become_the_clients_exceptions(client):
    with pytest.raises(openai.BadRequestError) as refused:
        chat(client, temperature=-1)
    assert refused.value.param == "temperature"
    with pytest.raises(openai.BadRequestError, match="tools"):
        chat(client, tools=[])
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-4", messages=MESSAGES)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model="", prompt=[1] * 100000, stream=True)
    assert long.value.code == "context_length_exceeded"


def test_many_at_once_answer_as_one_alone(server):
    async def run():
        client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=5)
        ask = lambda i: client.completions.create(model="", prompt=f"number {i % 4}", max_tokens=12, temperature=0,  # noqa: E731
                                                  logprobs=2, extra_body={"return_token_ids": True})
        alone = [(await ask(i)).choices[0] for i in range(4)]
        together = await asyncio.gather(*(ask(i) for i in range(24)))
        for i, answer in enumerate(together):
            assert answer.choices[0].token_ids == alone[i % 4].token_ids
            assert answer.choices[0].logprobs == alone[i % 4].logprobs

    asyncio.run(run())


def test_a_client_that_tries_again_gets_through_a_full_queue(serve):
    """One runs, one waits, five ask: the client waits as long as Retry-After says."""
    server = serve("--max-batch-size", "1", "--queue", "1")
    statuses = []

    async def run():
        transport = openai.DefaultAsyncHttpxClient(event_hooks={"response": [note]})
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=30, http_client=transport) as client:
            ask = lambda i: client.completions.create(model="", prompt=f"number {i}", max_tokens=60, temperature=0,  # noqa: E731
                                                      extra_body={"ignore_eos": True})
            answers = await asyncio.gather(*(ask(i) for i in range(5)))
        assert all(answer.usage.completion_tokens == 60 for answer in answers)

    async def note(response):
        statuses.append(response.status_code)

    asyncio.run(run())
    assert set(statuses) == {200, 429} and statuses.count(200) == 5


def test_a_reader_that_stops_frees_its_place(client, server):
    stream = chat(client, stream=True, max_tokens=100000, extra_body={"ignore_eos": True, "window": 64})
    next(iter(stream))
    stream.close()
    free = ("\nqwin_requests_running 0\n", "\nqwin_kv_pages_used 0\n")
    deadline = time.monotonic() + 60  # on a machine that has much else to do
    while not all(line in (metrics := server.ask("/metrics")[2]) for line in free) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(line in metrics for line in free)
