# SPDX-License-Identifier: Apache-2.0
"""llama.cpp by its Python API, llama-cpp-python."""

import time

import driver


def load(model, threads, context):
    from llama_cpp import Llama

    llama = Llama(model_path=model, n_ctx=context, n_threads=threads, n_threads_batch=threads, verbose=False)

    def measure(prompt, new):
        llama.reset()
        start = time.perf_counter()
        llama.eval(prompt)
        middle = time.perf_counter()
        for _ in range(new):
            llama.eval([prompt[-1]])
        return middle - start, time.perf_counter() - middle

    return measure


driver.serve(load)
