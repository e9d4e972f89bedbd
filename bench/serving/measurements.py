# SPDX-License-Identifier: Apache-2.0
"""What is measured of one server. Each function returns plain numbers, times in milliseconds."""

import asyncio
import collections
import math
import statistics
import time
import urllib.request

import workload
from client import Refused, post

CHAT = "/v1/chat/completions"


def percentile(values, share):
    """The smallest value that `share` of them do not exceed; nothing of nothing."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None


def _ms(seconds):
    return None if seconds is None else round(1000 * seconds, 1)


async def crowd(port, num_clients, seconds, salt):
    """`num_clients` clients, each asking anew as soon as it is answered, for so long.

    Tokens written are those that came within the time; of a prompt, those of requests answered within it count.
    """
    answers, prompts = [], workload.prompts(salt)
    begin = time.monotonic()
    end = begin + seconds

    async def client():
        while time.monotonic() < end:
            await post(port, CHAT, workload.chat(next(prompts)), answers.append)

    tasks = [asyncio.create_task(client()) for _ in range(num_clients)]
    await asyncio.sleep(seconds)
    begun = [answer for answer in answers if answer.times]
    written = sum(len(answer.times) for answer in begun)
    read = sum(answer.prompt_tokens for answer in begun if answer.ended)
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome
    first = [answer.ttft for answer in begun]
    # Who has not seen a first token yet has waited at least until now.
    first += [end - answer.begun for answer in answers if not answer.times and end - answer.begun > max(first, default=0)]
    gaps = [gap for answer in begun for gap in answer.gaps]
    return {"clients": num_clients, "requests": len(answers), "answered": sum(answer.ended > 0 for answer in begun),
            "tokens_per_second": round(written / seconds, 1), "prompt_tokens_per_second": round(read / seconds, 1),
            "ttft_p50": _ms(percentile(first, 0.5)), "ttft_p95": _ms(percentile(first, 0.95)),
            "gap_p50": _ms(percentile(gaps, 0.5)), "gap_p95": _ms(percentile(gaps, 0.95))}


async def overload(port, num_clients, seconds, salt):
    """More clients than there are places; who is refused comes again soon. Whole answers a second, and what was refused how."""
    answered, codes, refusals = [], collections.Counter(), []
    prompts = workload.prompts(salt)
    end = time.monotonic() + seconds

    async def client():
        while time.monotonic() < end:
            try:
                answered.append(await post(port, CHAT, workload.chat(next(prompts), 16)))
                codes[200] += 1
            except Refused as refused:
                codes[refused.status] += 1
                refusals.append(refused.seconds)
                await asyncio.sleep(5)

    tasks = [asyncio.create_task(client()) for _ in range(num_clients)]
    await asyncio.sleep(seconds)
    whole = len(answered)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"clients": num_clients, "answers_per_second": round(whole / seconds, 2),
            "codes": " ".join(f"{code}: {count}" for code, count in sorted(codes.items())), "refused_p95": _ms(percentile(refusals, 0.95))}


async def stall(port, salt, prompt_words=4000):
    """A stream runs; a long prompt arrives. The longest silence of the stream until the newcomer's first token."""
    streams = []
    running = asyncio.create_task(post(port, CHAT, workload.chat(f"{salt}. Count from 1 to 5000, one number a line.", 100000), streams.append))
    while not streams or len(streams[0].times) < 20:
        await asyncio.sleep(0.01)
    before = percentile(streams[0].gaps, 0.5)
    newcomer = await post(port, CHAT, workload.chat(f"{salt}: {workload.text(salt, prompt_words)}", 2))
    await asyncio.sleep(0.2)
    times = [newcomer.begun] + [t for t in streams[0].times if newcomer.begun < t <= newcomer.times[0]] + [newcomer.times[0]]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    return {"prompt_tokens": newcomer.prompt_tokens, "ttft": _ms(newcomer.ttft), "gap_before": _ms(before),
            "gap_median": _ms(percentile(gaps, 0.5)), "gap_longest": _ms(max(gaps))}


async def conversation(port, salt, num_words=1970):
    """A first turn of some 2,000 tokens, and the history it leaves."""
    content = f"{salt}: {workload.text(salt, num_words)}"
    first = await post(port, CHAT, workload.chat(content, 16))
    return first, [{"role": "user", "content": content}, {"role": "assistant", "content": first.text}]


async def next_turns(port, history, words, rounds=5):
    """The first token of a next turn with so many words, the median of several different ones."""
    answers = []
    for number in range(rounds):
        content = workload.text(f"turn-{words}-{number}-{time.monotonic()}", words)
        answers.append(await post(port, CHAT, workload.chat(content, 2, history)))
    return {"new_tokens": answers[0].prompt_tokens - answers[0].cached_tokens, "cached_tokens": answers[0].cached_tokens,
            "ttft": _ms(statistics.median(answer.ttft for answer in answers)),
            "ttft_longest": _ms(max(answer.ttft for answer in answers))}


async def first_words(port, words, rounds=3):
    """POST /chat with a prompt never seen: the time to its first token."""
    answers = []
    for number in range(rounds):
        prompt = workload.text(f"chat-{words}-{number}-{time.monotonic()}", words)
        answers.append(await post(port, "/chat", {"prompt": prompt, "max_tokens": 2, "temperature": 0}))
    return {"prompt_tokens": answers[0].prompt_tokens, "cached_tokens": answers[0].cached_tokens,
            "ttft": _ms(statistics.median(answer.ttft for answer in answers))}


def _gauges(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as response:
        lines = response.read().decode().splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines if not line.startswith("#"))}


async def _until_gone(port, gauge, running):
    """Breaks a connection off; ms until the server's metrics show it. A look every 5 ms."""
    count = _gauges(port)[gauge]
    running.cancel()
    begin = time.monotonic()
    while True:
        await asyncio.sleep(0.005)
        if (await asyncio.to_thread(_gauges, port))[gauge] < count:
            return _ms(time.monotonic() - begin)


async def leave(port, salt, rounds=20):
    """A client goes away while its answer is written, its prompt read, or while it waits. For a server with one place."""
    taken = collections.defaultdict(list)
    for number in range(rounds):
        streams = []
        writing = asyncio.create_task(post(port, CHAT, workload.chat(f"{salt} {number} count", 100000), streams.append))
        while not streams or len(streams[0].times) < 5:
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(post(port, CHAT, workload.chat(f"{salt} {number} wait")))
        while (await asyncio.to_thread(_gauges, port))["qwin_requests_waiting"] == 0:
            await asyncio.sleep(0.01)
        taken["waiting"].append(await _until_gone(port, "qwin_requests_waiting", waiting))
        taken["decoding"].append(await _until_gone(port, "qwin_requests_running", writing))
        reading = asyncio.create_task(post(port, CHAT, workload.chat(f"{salt} {number}: {workload.text(f'{salt}{number}', 3000)}")))
        while (await asyncio.to_thread(_gauges, port))["qwin_requests_running"] == 0:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        taken["prefilling"].append(await _until_gone(port, "qwin_requests_running", reading))
        await asyncio.gather(waiting, writing, reading, return_exceptions=True)
    return {state: max(values) for state, values in taken.items()}


async def fair(port, salt, words, rounds=8):
    """One client's question, alone and beside 100 prompts of 2,000 tokens that another client sent at once."""
    ask = lambda name: workload.chat(f"{name}: {workload.text(name, words)}", 2) | {"user": "one"}  # noqa: E731
    alone = [await post(port, CHAT, ask(f"{salt} alone {i}")) for i in range(rounds)]
    crowd = [asyncio.create_task(post(port, CHAT, workload.chat(f"{salt} {i}: {workload.text(f'{salt}{i}', 1970)}") | {"user": "many"}))
             for i in range(100)]
    await asyncio.sleep(2)
    beside = []
    for i in range(rounds):
        beside.append(await post(port, CHAT, ask(f"{salt} beside {i}")))
        await asyncio.sleep(0.5)
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    median = lambda answers: _ms(statistics.median(answer.ttft for answer in answers))  # noqa: E731
    return {"prompt_tokens": alone[0].prompt_tokens, "alone": median(alone), "beside": median(beside),
            "beside_longest": _ms(max(answer.ttft for answer in beside))}


async def livez(port, salt, prompt_words=4000):
    """GET /livez twenty times a second while a long prompt is read."""

    def look():
        begin = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=60) as response:
            assert response.status == 200
        return time.monotonic() - begin

    reading = asyncio.create_task(post(port, CHAT, workload.chat(f"{salt}: {workload.text(salt, prompt_words)}", 2)))
    waits = []
    while not reading.done():
        waits.append(await asyncio.to_thread(look))
        await asyncio.sleep(0.05)
    return {"prompt_tokens": (await reading).prompt_tokens, "looks": len(waits), "livez_p50": _ms(percentile(waits, 0.5)),
            "livez_p99": _ms(percentile(waits, 0.99))}


async def warm_up(port):
    await post(port, CHAT, workload.chat("Hello", 8))
