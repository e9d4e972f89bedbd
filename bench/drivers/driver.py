# SPDX-License-Identifier: Apache-2.0
"""What the drivers of peers share: one process a peer, which loads the model once and then answers lines on stdin.

A line in:  {"prompt": [ids], "new": N}      a line out: {"prefill_seconds": s, "decode_seconds": s}
The peer reads the prompt, which gives the first new token, and then runs N more steps of one token each.
"""

import json
import os
import sys


def serve(load):
    """load(model, threads, context) returns measure(prompt, new) -> (prefill seconds, decode seconds)."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the libraries print is no reply
    model, threads, context = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    measure = load(model, threads, context)
    measure([1, 2, 3], 2)
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        prefill, decode = measure(request["prompt"], request["new"])
        print(json.dumps({"prefill_seconds": prefill, "decode_seconds": decode}), file=replies, flush=True)
