# SPDX-License-Identifier: Apache-2.0
"""What the clients ask: the same prompts for every server, no two of which begin alike.

The mix: of ten requests six bring a question (about 32 tokens), three a paragraph (96), one half a page (256); each writes 64 tokens.
So 1.2 prompt tokens are read for each one written.
"""

import itertools
import random

LENGTHS = [32, 96, 32, 32, 256, 32, 96, 32, 32, 96]
NEW_TOKENS = 64
WORDS = ("time year people way day man thing woman life child world school state family student group country problem hand part place "
         "case week company system program question work government number night point home water room mother area money story fact "
         "month lot right study book eye job word business issue side kind head house service friend father power hour game line end "
         "member law car city community name president team minute idea kid body information back parent face others level office door "
         "health person art war history party result change morning reason research girl guy moment air teacher force education").split()


def text(seed, num_words):
    """Words that are a token each, mostly."""
    choose = random.Random(seed)
    return " ".join(choose.choice(WORDS) for _ in range(num_words))


def prompts(salt):
    """Endless user messages of the mix, each with a beginning of its own."""
    for number in itertools.count():
        words = LENGTHS[number % len(LENGTHS)] - 28  # the question takes some
        yield f"{salt} {number}: {text(f'{salt}-{number}', max(words, 5))}. What is this about?"


def chat(content, new_tokens=NEW_TOKENS, history=()):
    """A body for /v1/chat/completions that llama-server, qwin and the FastAPI server all take."""
    return {"messages": [*history, {"role": "user", "content": content}], "max_tokens": new_tokens, "temperature": 0,
            "stream": True, "stream_options": {"include_usage": True}, "ignore_eos": True}
