# SPDX-License-Identifier: Apache-2.0
"""A header alone becomes a whole model that loads and computes finite numbers."""

import json
import math
import os
import random
import statistics
import struct
import subprocess

import pytest

TINY = "tests/testdata/tiny/qwen2_tied_gguf_q8_0/model.gguf"


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("make_random_gguf")


def fill(root, header, output, code=0):
    done = subprocess.run(["python3", root / "tools/make_random_gguf.py", header, output], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stderr


def header_of(tool, root, tmp_path, cut=0):
    header = tmp_path / "header.gguf"
    header.write_bytes((root / TINY).read_bytes()[: tool.Header(root / TINY).data_begin - cut])
    return header


def test_a_filled_header_is_a_sound_model_of_the_same_size(tool, root, tmp_path):
    output = tmp_path / "model.gguf"
    fill(root, header_of(tool, root, tmp_path), output)
    assert output.stat().st_size == (root / TINY).stat().st_size
    binary = os.environ.get("QWIN_BINARY", root / "build/release/qwin")
    assert subprocess.run([binary, "check", output], capture_output=True).returncode == 0
    done = subprocess.run([binary, "logits", output], input='{"token_ids":[1,2,3,4,5],"top":3}', capture_output=True, text=True)
    logits = json.loads(done.stdout)["top_logits"]
    assert all(math.isfinite(value) and abs(value) < 1e4 for row in logits for value in row)


def test_the_same_seed_gives_the_same_file(tool, root, tmp_path):
    header = header_of(tool, root, tmp_path)
    for name in ("a", "b"):
        fill(root, header, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_header_cut_short_is_refused(tool, root, tmp_path):
    output = tmp_path / "model.gguf"
    assert "give more of the file" in fill(root, header_of(tool, root, tmp_path, cut=100), output, code=1)
    assert not output.exists()


def test_q8_0_blocks_have_the_asked_deviation(tool):
    data = tool.random_blocks(random.Random(1), 8, 200, 0.02)
    values = []
    for i in range(0, len(data), 34):
        scale, *codes = struct.unpack("<e32b", data[i : i + 34])
        values += [scale * code for code in codes]
    assert statistics.pstdev(values) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("kind,code,width", [(0, "f", 4), (1, "e", 2)])
def test_floats_have_both_signs_and_the_asked_size(tool, kind, code, width):
    data = tool.random_floats(random.Random(1), kind, 500, 0.02)
    values = struct.unpack(f"<500{code}", data)
    assert 0.01 < min(abs(v) for v in values) <= max(abs(v) for v in values) < 0.035
    assert 150 < sum(v > 0 for v in values) < 350
    assert all(1 <= v < 2 for v in struct.unpack(f"<500{code}", tool.norm_floats(random.Random(1), kind, 500)))
