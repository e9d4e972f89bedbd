#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/testdata/quant/*.bin: blocks of every type and the floats that the package `gguf` makes of them, or, for
qwin's own types, the few lines of numpy here.

Needs `pip install gguf numpy`. Run from the repository root: python tools/make_quant_goldens.py
A record of dequantize.bin: name[8], uint32 num_elements, uint32 num_bytes, the bytes, the floats.
quantize_q8_0.bin: uint32 num_elements, the floats, the blocks.
"""
import struct
from pathlib import Path

import gguf
import numpy as np

OUT = Path("tests/testdata/quant")
# Byte offsets of the f16 fields, and how many random blocks to write.
SCALES = {
    "Q4_0": ([0], 48), "Q4_1": ([0, 2], 48), "Q5_0": ([0], 48), "Q5_1": ([0, 2], 48), "Q8_0": ([0], 48),
    "IQ4_NL": ([0], 48), "Q2_K": ([80, 82], 12), "Q3_K": ([108], 12), "Q4_K": ([0, 2], 12), "Q5_K": ([0, 2], 12),
    "Q6_K": ([208], 12), "IQ4_XS": ([0], 12),
}  # fmt: skip
# Zero, minus zero, the smallest and largest denormal, the smallest normal, +-1, the largest values of f16.
EXTREME_SCALES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF]


def set_f16(blocks, offset, bits):
    blocks[:, offset : offset + 2] = np.asarray(bits, dtype="<u2").reshape(-1, 1).view(np.uint8)


def blocks_of(name, rng):
    size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]][1]
    offsets, count = SCALES[name]
    random = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for offset in offsets:
        set_f16(random, offset, (rng.standard_normal(count) * 0.02).astype(np.float16).view(np.uint16))
    extreme = rng.integers(0, 256, (len(EXTREME_SCALES), size), dtype=np.uint8)
    extreme[3::3] = 0xFF
    extreme[4::3] = 0x00
    for i, offset in enumerate(offsets):
        set_f16(extreme, offset, np.roll(EXTREME_SCALES, 2 * i))
    return np.concatenate([random, extreme])


def own_blocks(name, rng):
    """Random blocks of Q3, Q4, Q5, Q6 or Q8, without infinite scales, and their floats."""
    size = {"Q3": 52, "Q4": 68, "Q5": 84, "Q6": 100, "Q8": 130}[name]
    data = rng.integers(0, 256, (33, size), dtype=np.uint8)
    if name == "Q8":
        set_f16(data, 0, (rng.standard_normal(33) * 0.02).astype(np.float16).view(np.uint16))
        d = data[:, :2].copy().view(np.float16).astype(np.float32)
        return data, d * data[:, 2:].view(np.int8).astype(np.float32)
    scale = (np.abs(rng.standard_normal(33)) * 0.002).astype(np.float16).view(np.uint16).astype(np.uint32) >> 3
    scale[:3] = 0, 1, 0xF7F
    head = scale << 20 | rng.integers(0, 1 << 20, 33, dtype=np.uint32)
    head[3:5] = scale[3:5] << 20 | np.uint32(0x84210)
    data[:, :4] = head.astype("<u4")[:, None].view(np.uint8)
    sub = (head[:, None] >> (5 * np.arange(4, dtype=np.uint32)) & 31).astype(np.int32)
    sub = np.where(sub > 15, sub - 32, sub)
    table = np.array(gguf.quants.IQ4_NL.kvalues, np.int32)
    if name == "Q3":
        low = data[:, None, 4:36] >> (2 * np.arange(4, dtype=np.uint8))[None, :, None] & 3
        high = (data[:, None, 36:] >> np.arange(8, dtype=np.uint8)[None, :, None] & 1).reshape(-1, 4, 32)
        codes = table[2 * (low + 4 * high)]
    else:
        pairs = data[:, 4:68].reshape(-1, 2, 1, 32)
        codes = np.concatenate([pairs & 15, pairs >> 4], axis=2).reshape(-1, 4, 32).astype(np.int32)
    if name == "Q4":
        codes = table[codes]
    elif name == "Q5":
        codes = (codes | (data[:, None, 68:] >> np.arange(8, dtype=np.uint8)[None, :, None] & 1).reshape(-1, 4, 32).astype(np.int32) << 4) - 16
    elif name == "Q6":
        codes = (codes | (data[:, None, 68:] >> (2 * np.arange(4))[None, :, None] & 3).astype(np.int32) << 4) - 32
    d = (scale << 3).astype(np.uint16).view(np.float16).astype(np.float32)[:, None] * np.float32(2**-12) * sub.astype(np.float32)
    return data, d[:, :, None] * codes.astype(np.float32)


def plain_bits(name, rng):
    bits = {"F32": 32, "F16": 16, "BF16": 16}[name]
    values = rng.integers(0, 2**bits, 1024, dtype=np.uint64)
    exponent = {"F32": 0x7F800000, "F16": 0x7C00, "BF16": 0x7F80}[name]
    values[values & exponent == exponent] &= ~np.uint64(exponent)  # infinities and NaN only where meant
    sign = 1 << (bits - 1)
    values[:9] = [0, sign, 1, sign | 1, exponent, sign | exponent, exponent - 1, exponent >> 1, sign | (exponent - 1)]
    return values.astype(f"<u{bits // 8}").view(np.uint8)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20240607)
    with open(OUT / "dequantize.bin", "wb") as out:
        for name in ["F32", "F16", "BF16", *SCALES]:
            data = plain_bits(name, rng) if name not in SCALES else blocks_of(name, rng)
            floats = gguf.quants.dequantize(data, gguf.GGMLQuantizationType[name]).astype("<f4").ravel()
            out.write(struct.pack("<8sII", name.encode(), floats.size, data.size) + data.tobytes() + floats.tobytes())
        own = np.random.default_rng(20260101)
        for name in ["Q4", "Q6", "Q8", "Q3", "Q5"]:
            data, floats = own_blocks(name, own)
            out.write(struct.pack("<8sII", name.encode(), floats.size, data.size) + data.tobytes() + floats.tobytes())

    x = (rng.standard_normal((160, 32)) * 10.0 ** rng.integers(-6, 3, (160, 1))).astype(np.float32)
    x[0] = 0
    x[1] = -0.0
    x[2] = np.float32(1e-36)  # a denormal scale whose inverse is still finite
    x[3] = np.float32(6e4 * 127)
    x[4] = np.linspace(-127, 127, 32)
    x[5] = np.arange(32) - 15.5  # halves: with the largest 127 the scale is 1 and rounding is half away from zero
    x[5, 0] = 127
    x[6] = x[5] * -1
    x[7] = np.arange(32) * 2.0**-24
    with open(OUT / "quantize_q8_0.bin", "wb") as out:
        q = gguf.quants.quantize(x, gguf.GGMLQuantizationType.Q8_0)
        out.write(struct.pack("<I", x.size) + x.astype("<f4").tobytes() + q.tobytes())


if __name__ == "__main__":
    main()
