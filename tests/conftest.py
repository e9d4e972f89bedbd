# SPDX-License-Identifier: Apache-2.0
"""What tests of several rooms need: a model that qwin's own types fit."""

import json
import shutil
import struct
from pathlib import Path

import pytest

TINY = Path(__file__).parent / "testdata/tiny/qwen2_tied"


SPAN_SIZES = {"hidden_size": 128, "intermediate_size": 256, "max_position_embeddings": 512}


@pytest.fixture(scope="session")
def span_config():
    """config.json of a tiny model whose rows are whole spans of 128 columns, as those of every real one."""
    return json.loads((TINY / "config.json").read_text()) | SPAN_SIZES


@pytest.fixture(scope="session")
def span_shapes(span_config):
    """Tensor name -> shape."""
    hidden, inner, kv = span_config["hidden_size"], span_config["intermediate_size"], 64
    shapes = {"model.embed_tokens.weight": (span_config["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for layer in range(span_config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        shapes[prefix + "input_layernorm.weight"] = shapes[prefix + "post_attention_layernorm.weight"] = (hidden,)
        for name, rows in (("q", hidden), ("k", kv), ("v", kv)):
            shapes[f"{prefix}self_attn.{name}_proj.weight"] = (rows, hidden)
            shapes[f"{prefix}self_attn.{name}_proj.bias"] = (rows,)
        shapes[prefix + "self_attn.o_proj.weight"] = (hidden, hidden)
        shapes[prefix + "mlp.gate_proj.weight"] = shapes[prefix + "mlp.up_proj.weight"] = (inner, hidden)
        shapes[prefix + "mlp.down_proj.weight"] = (hidden, inner)
    return shapes


@pytest.fixture(scope="session")
def span_model(tmp_path_factory, span_config, span_shapes):
    """The folder of that model, with random weights."""
    import numpy as np

    folder = tmp_path_factory.mktemp("span_model")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(TINY / name, folder)
    (folder / "config.json").write_text(json.dumps(span_config))
    random, header, data = np.random.default_rng(3), {}, b""
    for name, shape in span_shapes.items():
        is_norm = name.endswith("norm.weight")
        w = (random.standard_normal(shape) * (0.1 if is_norm else 0.08) + is_norm).astype("<f4")
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + w.nbytes]}
        data += w.tobytes()
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return folder
