# SPDX-License-Identifier: Apache-2.0
"""A file that `qwin quantize` wrote, as far as repair needs it: weights as scale times integer, and a copy with other scales.

The format: docs/quantization.md and src/quant/block_formats.h. A repaired file has the same layout, so that it is a copy
in which some bytes differ.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from qwin.errors import ModelFileError

Floats = NDArray[np.float32]

F32, F16, BF16, Q3, Q4, Q5, Q6, Q8 = 0, 1, 30, 0x51570003, 0x51570004, 0x51570005, 0x51570006, 0x51570008
SPAN = 128
BLOCK_BYTES = {F32: 4, F16: 2, BF16: 2, Q3: 52, Q4: 68, Q5: 84, Q6: 100, Q8: 130}
BLOCK_ELEMENTS = {F32: 1, F16: 1, BF16: 1, Q3: SPAN, Q4: SPAN, Q5: SPAN, Q6: SPAN, Q8: SPAN}
HEAD_UNIT = 2.0**-12  # of the 12 bits of a scale
TABLE = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int16)
ALIGNMENT = 32
RESIDUAL, RESIDUAL_ROWS = ".residual.weight", "qwin.residual_rows."  # a tensor's name ends so, a key begins so

# GGUF's numbers of metadata types: 8 is a text, 9 an array.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

HF_NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
HF_MODEL_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight",
}  # fmt: skip


@dataclass(frozen=True)
class StoredTensor:
    type: int
    shape: tuple[int, ...]  # outermost first
    offset: int  # in the file
    num_bytes: int


@dataclass
class Spans:
    """A matrix as scale [rows, columns / 128] times integer [rows, columns]."""

    scales: Floats
    integers: NDArray[np.int16]

    def weights(self) -> Floats:
        rows, columns = self.integers.shape
        spans = self.integers.reshape(rows, -1, SPAN) * self.scales[:, :, None]
        return spans.reshape(rows, columns).astype(np.float32, copy=False)


@dataclass(frozen=True)
class ModelShape:
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope_theta: float
    rms_norm_eps: float


def hf_name(name: str) -> str:
    """The Hugging Face name of a tensor, however the file spells it."""
    if name.endswith(RESIDUAL):
        return hf_name(name.removesuffix(RESIDUAL) + ".weight").removesuffix(".weight") + RESIDUAL
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)
    if match and match[2] in HF_NAMES:
        return f"model.layers.{match[1]}.{HF_NAMES[match[2]]}.{match[3]}"
    return HF_MODEL_NAMES.get(name, name)


class QuantizedFile:
    """Tensors by their Hugging Face names. Raises ModelFileError for a file that is not qwin's or cut short."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            with open(self.path, "rb") as file:
                self._read_header(file)
        except (struct.error, UnicodeDecodeError, KeyError) as error:
            raise ModelFileError(f"{self.path} is no GGUF file, or damaged") from error
        except OSError as error:
            raise ModelFileError(f"{self.path}: {error.strerror}") from error
        if "qwin.format_version" not in self.metadata:
            raise ModelFileError(f"{self.path} is not a file of `qwin quantize`; repair needs its scales")
        self.bytes: NDArray[np.uint8] = np.memmap(self.path, np.uint8, "r")
        for name, tensor in self.tensors.items():
            if tensor.offset + tensor.num_bytes > self.bytes.size:
                raise ModelFileError(f"{self.path} ends within tensor {name}")

    def _read_header(self, file: BinaryIO) -> None:
        if file.read(4) != b"GGUF":
            raise ModelFileError(f"{self.path} is no GGUF file")
        _, num_tensors, num_keys = _unpack(file, "IQQ")
        self.metadata = {_text(file): _value(file, _unpack(file, "I")[0]) for _ in range(num_keys)}
        pending = []
        for _ in range(num_tensors):
            name, (rank,) = _text(file), _unpack(file, "I")
            shape = _unpack(file, f"{rank}Q")[::-1]
            pending.append((name, shape, *_unpack(file, "IQ")))
        begin = -(-file.tell() // ALIGNMENT) * ALIGNMENT
        self.tensors: dict[str, StoredTensor] = {}
        for name, shape, kind, offset in pending:
            if kind in BLOCK_BYTES:
                num_bytes = math.prod(shape) // BLOCK_ELEMENTS[kind] * BLOCK_BYTES[kind]
                self.tensors[hf_name(name)] = StoredTensor(kind, shape, begin + offset, num_bytes)
        self.residual_rows: dict[str, NDArray[np.int64]] = {
            hf_name(key.removeprefix(RESIDUAL_ROWS)): np.array(rows, np.int64)
            for key, rows in self.metadata.items()
            if key.startswith(RESIDUAL_ROWS)
        }

    def shape(self) -> ModelShape:
        config = self._config()
        if config.pop("rope_scaling"):
            raise ModelFileError(f"{self.path} scales its rotary embeddings, which repair does not know")
        return ModelShape(**config)

    def _config(self) -> dict[str, Any]:
        if "qwin.document.config" in self.metadata:
            config = json.loads(self.metadata["qwin.document.config"])
            names = ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "rope_theta", "rms_norm_eps")
            values = [config.get(name) for name in names]
            head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
            scaling = config.get("rope_scaling")
        else:
            arch = self.metadata["general.architecture"]
            names = ("block_count", "attention.head_count", "attention.head_count_kv", "rope.freq_base",
                     "attention.layer_norm_rms_epsilon")  # fmt: skip
            values = [self.metadata.get(f"{arch}.{name}") for name in names]
            head_dim = self.metadata.get(f"{arch}.attention.key_length") or self.metadata[f"{arch}.embedding_length"] // values[1]
            scaling = self.metadata.get(f"{arch}.rope.scaling.type", "none") != "none"
        layers, heads, kv_heads, theta, eps = values
        return {"num_layers": layers, "num_heads": heads, "num_kv_heads": kv_heads, "head_dim": head_dim,
                "rope_theta": theta or 10000.0, "rms_norm_eps": eps, "rope_scaling": scaling}  # fmt: skip

    def has(self, name: str) -> bool:
        return name in self.tensors

    def is_spans(self, name: str) -> bool:
        return self.tensors[name].type in (Q3, Q4, Q5, Q6, Q8)

    def _stored(self, name: str) -> tuple[StoredTensor, NDArray[np.uint8]]:
        if name not in self.tensors:
            raise ModelFileError(f"{self.path} has no tensor {name} of a type that repair reads")
        tensor = self.tensors[name]
        return tensor, self.bytes[tensor.offset : tensor.offset + tensor.num_bytes]

    def floats(self, name: str) -> Floats:
        """A tensor of any type, with its residual."""
        tensor, data = self._stored(name)
        if self.is_spans(name):
            weights = self.spans(name).weights()
            if name in self.residual_rows:
                weights[self.residual_rows[name]] += self.spans(name.removesuffix(".weight") + RESIDUAL).weights()
            return weights
        if tensor.type == BF16:
            return (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(tensor.shape)
        return data.view(np.float32 if tensor.type == F32 else np.float16).astype(np.float32).reshape(tensor.shape)

    def spans(self, name: str) -> Spans:
        tensor, data = self._stored(name)
        rows, columns = tensor.shape
        blocks = data.reshape(rows * columns // SPAN, BLOCK_BYTES[tensor.type])
        if tensor.type == Q8:
            scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
            integers = blocks[:, 2:].view(np.int8).astype(np.int16)
        else:
            head = blocks[:, :4].copy().view(np.uint32)[:, 0]
            scales = (head >> 20 << 3).astype(np.uint16).view(np.float16).astype(np.float32) * np.float32(HEAD_UNIT)
            subs = (head[:, None] >> np.arange(0, 20, 5, dtype=np.uint32) & 31).astype(np.int16)
            subs = np.where(subs > 15, subs - 32, subs).astype(np.int16)
            integers = _codes(blocks[:, 4:], tensor.type) * np.repeat(subs, 32, axis=1)
        return Spans(scales.reshape(rows, -1), integers.astype(np.int16, copy=False).reshape(rows, columns))

    def write(self, path: str | os.PathLike[str], scales: Mapping[str, Floats], floats: Mapping[str, Floats]) -> None:
        """A copy with other scales of spans and other values of float tensors. It is there whole or not at all."""
        partial = Path(f"{os.fspath(path)}.part")
        shutil.copyfile(self.path, partial)
        data = np.memmap(partial, np.uint8, "r+")
        for name, values in scales.items():
            tensor = self.tensors[name]
            blocks = data[tensor.offset : tensor.offset + tensor.num_bytes].reshape(-1, BLOCK_BYTES[tensor.type])
            if tensor.type == Q8:
                blocks[:, :2] = values.reshape(-1, 1).astype(np.float16).view(np.uint8)
            else:
                subs = blocks[:, :4].copy().view(np.uint32)[:, 0] & 0xFFFFF
                head = (subs | scale_bits(values.reshape(-1)) << 20).astype(np.uint32)
                blocks[:, :4] = head[:, None].view(np.uint8)
        for name, values in floats.items():
            tensor = self.tensors[name]
            data[tensor.offset : tensor.offset + tensor.num_bytes] = _stored_floats(values, tensor.type)
        data.flush()
        os.replace(partial, path)


def scale_bits(scales: Floats) -> NDArray[np.uint32]:
    """The 12 bits of a scale: an f16 in units of 2^-12 without sign and last three bits, rounded to nearest."""
    half = np.minimum(scales / np.float32(HEAD_UNIT), 65504).astype(np.float16).view(np.uint16).astype(np.uint32)
    return np.minimum(half + 4 >> 3, 0xF7F).astype(np.uint32)


def rounded_scales(scales: Floats, tensor_type: int) -> Floats:
    """What the file will hold."""
    if tensor_type == Q8:
        return scales.astype(np.float16).astype(np.float32)
    return (scale_bits(scales) << 3).astype(np.uint16).view(np.float16).astype(np.float32) * np.float32(HEAD_UNIT)


def _stored_floats(values: Floats, kind: int) -> NDArray[np.uint8]:
    if kind == BF16:
        bits = values.reshape(-1).astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).view(np.uint8)
    return values.reshape(-1).astype(np.float32 if kind == F32 else np.float16).view(np.uint8)


def _codes(data: NDArray[np.uint8], kind: int) -> NDArray[np.int16]:
    """[blocks, bytes after the head] -> [blocks, 128]."""
    if kind == Q3:
        return TABLE[2 * _pairs(data[:, :32]) + 8 * _bits(data[:, 32:])]
    codes = _nibbles(data[:, :64])
    if kind == Q4:
        return TABLE[codes]
    if kind == Q5:
        return codes.astype(np.int16) + 16 * _bits(data[:, 64:]) - 16
    return codes.astype(np.int16) + 16 * _pairs(data[:, 64:]) - 32


def _nibbles(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[blocks, 64] -> [blocks, 128]: byte i of a half has elements i (low bits) and 32 + i of its 64."""
    halves = data.reshape(-1, 2, 1, 32)
    return np.concatenate([halves & 15, halves >> 4], axis=2).reshape(-1, SPAN)


def _pairs(data: NDArray[np.uint8]) -> NDArray[np.int16]:
    """[blocks, 32] -> [blocks, 128], two bits each: byte i has those of elements i, 32 + i, 64 + i, 96 + i."""
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[None, :, None]
    return (data[:, None, :] >> shifts & 3).reshape(-1, SPAN).astype(np.int16)


def _bits(data: NDArray[np.uint8]) -> NDArray[np.int16]:
    """[blocks, 16] -> [blocks, 128], one bit each: byte i has those of elements i, 16 + i, 32 + i, ...."""
    shifts = np.arange(8, dtype=np.uint8)[None, :, None]
    return (data[:, None, :] >> shifts & 1).reshape(-1, SPAN).astype(np.int16)


def _unpack(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{layout}", file.read(struct.calcsize(f"<{layout}")))


def _text(file: BinaryIO) -> str:
    return file.read(_unpack(file, "Q")[0]).decode()


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == 8:
        return _text(file)
    if kind != 9:
        return _unpack(file, SCALARS[kind])[0]
    element, count = _unpack(file, "IQ")
    if element == 8:
        return [_text(file) for _ in range(count)]
    return _unpack(file, f"{count}{SCALARS[element]}")
