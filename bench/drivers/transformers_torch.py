# SPDX-License-Identifier: Apache-2.0
"""transformers on the same weights, dequantized from the GGUF file; TORCH_TYPE is bfloat16 or float32."""

import os
import time

import driver


def load(model, threads, _context):
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    torch.set_num_threads(threads)
    folder, name = os.path.split(os.path.abspath(model))
    network = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=name,
        dtype=getattr(torch, os.environ["TORCH_TYPE"]),
        quantization_config=GgufConfig(dequantize=True),  # else the blocks stay packed, for slower kernels
    )
    network.eval()

    @torch.inference_mode()
    def measure(prompt, new):
        start = time.perf_counter()
        out = network(torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
        middle = time.perf_counter()
        for _ in range(new):
            best = out.logits[:, -1:].argmax(-1)
            out = network(best, past_key_values=out.past_key_values, use_cache=True, logits_to_keep=1)
        return middle - start, time.perf_counter() - middle

    return measure


driver.serve(load)
