#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a GGUF model as a directory that `transformers` loads: the same weights, dequantized to bfloat16.

usage: gguf_to_transformers.py MODEL.gguf DIRECTORY        needs torch, transformers, accelerate, gguf
"""

import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    folder, name = os.path.split(os.path.abspath(sys.argv[1]))
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(sys.argv[2])
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(sys.argv[2])


if __name__ == "__main__":
    main()
