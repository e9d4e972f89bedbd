# SPDX-License-Identifier: Apache-2.0
"""The whole vocabulary of the pulled models against the Hugging Face tokenizers library (compare_with_hf.py)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HOME = Path(os.environ.get("QWIN_HOME", "~/.cache/qwin")).expanduser()
MODELS = sorted(HOME.rglob("*.gguf")) if HOME.is_dir() else []


@pytest.mark.long
def test_cut_down_vocabulary_equals_hf():
    compare(HERE.parent / "testdata/tokenizer/vocab.gguf", 100_000)


@pytest.mark.long
@pytest.mark.skipif(not MODELS, reason="no model is pulled")
@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.name)
def test_pulled_model_equals_hf(model):
    compare(model, 100_000)


def compare(model, strings):
    done = subprocess.run([sys.executable, HERE / "compare_with_hf.py", model, "--strings", str(strings)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
