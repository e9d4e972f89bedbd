# SPDX-License-Identifier: Apache-2.0
"""OpenVINO GenAI, which reads GGUF files itself."""

import os
import sys

sys.path.pop(0)  # this folder, where this file would hide the package of the same name
import numpy  # noqa: E402
import openvino as ov  # noqa: E402
import openvino_genai  # noqa: E402

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import driver  # noqa: E402


def tensor(values):
    return ov.Tensor(numpy.array([values], dtype=numpy.int64))


def load(model, threads, _context):
    pipeline = openvino_genai.LLMPipeline(model, "CPU", INFERENCE_NUM_THREADS=threads)

    def measure(prompt, new):
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = new + 1
        config.ignore_eos = True
        config.do_sample = False
        inputs = openvino_genai.TokenizedInputs(tensor(prompt), tensor([1] * len(prompt)))
        result = pipeline.generate(inputs, config)
        metrics = result.perf_metrics
        return metrics.get_ttft().mean / 1e3, metrics.get_tpot().mean / 1e3 * new if new > 0 else 0.0

    return measure


driver.serve(load)
