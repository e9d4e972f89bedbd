#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fills a model whose weights are not at hand with random ones: for speed, memory and load time, not for answers.

usage: make_random_gguf.py HEADER OUTPUT [--seed N]

HEADER is the beginning of a GGUF file, long enough to hold its metadata and list of tensors: the real configuration,
tokenizer and types. OUTPUT becomes a whole file: norms near 1, matrices of mean 0 whose deviation is 1 / sqrt(columns), so
that activations stay finite. Written front to back, a few MiB in memory.
"""

import argparse
import math
import os
import random
import struct
import sys

# Bytes of GGUF's plain metadata types; 8 is a string, 9 an array.
VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

# Quantized types: bytes and elements of a block, where its f16 scale d lies, where its f16 offset lies (or None), that
# offset for d = 1 which makes the mean 0, and the deviation for d = 1, all other bytes being uniformly random.
BLOCKS = {
    2: ("Q4_0", 18, 32, 0, None, 0, 4.61),
    3: ("Q4_1", 20, 32, 0, 2, -7.5, 4.61),
    6: ("Q5_0", 22, 32, 0, None, 0, 9.22),
    7: ("Q5_1", 24, 32, 0, 2, -15.5, 9.22),
    8: ("Q8_0", 34, 32, 0, None, 0, 73.9),
    10: ("Q2_K", 84, 256, 80, 82, 1.5, 13.9),
    11: ("Q3_K", 110, 256, 108, None, 0, 43.3),
    12: ("Q4_K", 144, 256, 0, 2, 7.5, 259),
    13: ("Q5_K", 176, 256, 0, 2, 15.5, 527),
    14: ("Q6_K", 210, 256, 208, None, 0, 1365),
    20: ("IQ4_NL", 18, 32, 0, None, 0, 67.2),
    23: ("IQ4_XS", 136, 256, 0, None, 0, 1247),
}
# Float types: bytes, bits of the exponent, its bias.
FLOATS = {0: ("F32", 4, 8, 127), 1: ("F16", 2, 5, 15), 30: ("BF16", 2, 8, 127)}
CHUNK_BYTES = 8 << 20


class Header:
    """The tensors of a GGUF header, where its data begins, and how long the whole file is."""

    def __init__(self, path):
        self.file = open(path, "rb")
        magic, version = self.read(4), self.number("I")
        if magic != b"GGUF" or version not in (2, 3):
            sys.exit(f"{path} is no GGUF file of version 2 or 3")
        num_tensors, num_values = self.number("Q"), self.number("Q")
        alignment = 32
        for _ in range(num_values):
            key, value = self.string(), self.value(self.number("I"))
            if key == b"general.alignment":
                alignment = struct.unpack("<I", value)[0]
        self.tensors = [self.tensor() for _ in range(num_tensors)]  # (name, columns, number of elements, type, offset)
        self.data_begin = -(-self.file.tell() // alignment) * alignment
        self.tensors.sort(key=lambda tensor: tensor[4])
        ends = [offset + tensor_bytes(name, count, kind) for name, _, count, kind, offset in self.tensors]
        self.bytes = self.data_begin + -(-max(ends) // alignment) * alignment

    def read(self, count):
        data = self.file.read(count)
        if len(data) != count:
            sys.exit(f"{self.file.name} ends inside the header: give more of the file")
        return data

    def number(self, code):
        return struct.unpack("<" + code, self.read(struct.calcsize(code)))[0]

    def string(self):
        return self.read(self.number("Q"))

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind != 9:
            return self.read(VALUE_BYTES[kind])
        kind, count = self.number("I"), self.number("Q")
        if kind not in (8, 9):
            return self.read(VALUE_BYTES[kind] * count)
        for _ in range(count):
            self.value(kind)
        return None

    def tensor(self):
        name, num_dims = self.string().decode(), self.number("I")
        dims = [self.number("Q") for _ in range(num_dims)]
        return name, dims[0], math.prod(dims), self.number("I"), self.number("Q")


def tensor_bytes(name, count, kind):
    if kind in FLOATS:
        return count * FLOATS[kind][1]
    if kind not in BLOCKS:
        sys.exit(f"{name} has type {kind}, which this tool does not know")
    _, block_bytes, block_elements = BLOCKS[kind][:3]
    return count // block_elements * block_bytes


def set_every(data, first, stride, values):
    """data[first + i], data[first + i + stride] … = values[i], for each of `values`."""
    for i, value in enumerate(values):
        data[first + i :: stride] = bytes([value]) * (len(data) // stride)


def random_blocks(rng, kind, num_blocks, deviation):
    _, block_bytes, _, scale_at, offset_at, offset, unit = BLOCKS[kind]
    data = bytearray(rng.randbytes(num_blocks * block_bytes))
    set_every(data, scale_at, block_bytes, struct.pack("<e", deviation / unit))
    if offset_at is not None:
        set_every(data, offset_at, block_bytes, struct.pack("<e", offset * deviation / unit))
    return data


def random_floats(rng, kind, count, deviation):
    """Signs and fractions are random, the exponent is one for all: values between deviation / 1.5 and deviation * 1.3."""
    _, width, exponent_bits, bias = FLOATS[kind]
    exponent = (bias + math.floor(math.log2(deviation / 1.5) + 0.5)) << (8 * width - 1 - exponent_bits)
    keep = ~(((1 << exponent_bits) - 1) << (8 * width - 1 - exponent_bits))
    data = bytearray(rng.randbytes(count * width))
    for byte in (width - 1, width - 2):  # the exponent lies in the two upper bytes
        kept, added = keep >> (8 * byte) & 255, exponent >> (8 * byte) & 255
        data[byte::width] = data[byte::width].translate(bytes(value & kept | added for value in range(256)))
    return data


def norm_floats(rng, kind, count):
    """Positive values in [1, 2)."""
    data = random_floats(rng, kind, count, 1.5)
    width = FLOATS[kind][1]
    data[width - 1 :: width] = data[width - 1 :: width].translate(bytes(value & 127 for value in range(256)))
    return data


def write_tensor(output, rng, name, columns, count, kind):
    deviation = 0.05 if name.endswith(".bias") else 1 / math.sqrt(columns)
    block_bytes, block_elements = BLOCKS[kind][1:3] if kind in BLOCKS else (FLOATS[kind][1], 1)
    left = count // block_elements
    while left > 0:
        now = min(left, CHUNK_BYTES // block_bytes)
        if kind in BLOCKS:
            output.write(random_blocks(rng, kind, now, deviation))
        elif "norm" in name:
            output.write(norm_floats(rng, kind, now))
        else:
            output.write(random_floats(rng, kind, now, deviation))
        left -= now


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("header")
    parser.add_argument("output")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    header = Header(args.header)
    folder = os.statvfs(os.path.dirname(os.path.abspath(args.output)))
    if (free := folder.f_bavail * folder.f_frsize) < header.bytes:
        sys.exit(f"{args.output} needs {header.bytes} bytes, {free} are free")
    rng = random.Random(args.seed)
    header.file.seek(0)
    with open(args.output, "wb") as output:
        output.write(header.read(header.data_begin))
        for name, columns, count, kind, offset in header.tensors:
            output.write(bytes(header.data_begin + offset - output.tell()))
            write_tensor(output, rng, name, columns, count, kind)
            if sys.stderr.isatty():
                print(f"\r\033[K{output.tell() / header.bytes:.0%} {name}", end="", file=sys.stderr)
        output.write(bytes(header.bytes - output.tell()))
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(f"{args.output}: {header.bytes} bytes, {len(header.tensors)} tensors")


if __name__ == "__main__":
    main()
