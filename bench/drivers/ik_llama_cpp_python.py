# SPDX-License-Identifier: Apache-2.0
"""ik_llama.cpp by its Python package; its steps are driven directly, as its own generate() does, without sampling."""

import time

import driver


def load(model, threads, context):
    from ik_llama_cpp import IkLlama, _ctypes_api
    from ik_llama_cpp._internals import make_batch_range, make_batch_single

    llama = IkLlama(model, n_ctx=context, n_threads=threads)
    steps = llama._context  # lives as long as llama does

    def run(batch):
        code = steps.decode(batch)
        _ctypes_api.llama_batch_free(batch)
        if code != 0:
            raise RuntimeError(f"llama_decode failed: {code}")

    def measure(prompt, new):
        llama._context.kv_cache_clear()
        start = time.perf_counter()
        for first in range(0, len(prompt), steps._n_ubatch):
            chunk = prompt[first : first + steps._n_ubatch]
            run(make_batch_range(chunk, pos_start=first, logits_last=first + len(chunk) == len(prompt)))
        middle = time.perf_counter()
        for i in range(new):
            run(make_batch_single(prompt[-1], len(prompt) + i))
        return middle - start, time.perf_counter() - middle

    return measure


driver.serve(load)
