# SPDX-License-Identifier: Apache-2.0
"""A model's weights in 8 and in 4 bits, each as one file, and what that costs: divergence from the original on a text it reads.

Best from full precision: a file that is in 4 bits already gains little by other 4 bits."""

# %%
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import qwin

SOURCE = os.environ.get("QWIN_MODEL", "qwen2.5-coder-0.5b")
TEXT = "def mean(values):\n    return sum(values) / len(values)\n\nThe capital of France is Paris, 北京是中国的首都。\n"


def quantize(profile, path):
    command = shutil.which("qwin") or qwin.binary_path()
    subprocess.run([command, "quantize", SOURCE, path, "--profile", profile], check=True)


def log_probabilities(engine):
    """[tokens, vocabulary]"""
    logits = engine.prompt_logits(engine.tokenize(TEXT)).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def tokens_per_second(engine):
    start = time.perf_counter()
    engine.generate("Count from one to a hundred in words.", max_length=48, ignore_eos=True)
    return 48 / (time.perf_counter() - start)


# %%
original = qwin.Engine.load_pretrained(SOURCE)
reference = log_probabilities(original)
print(f"original: {tokens_per_second(original):.0f} tokens/s")
original.close()

# %% [markdown]
# `quantize_bits=4` does the same while a model is loaded; a file is written once and starts at once.

# %%
with tempfile.TemporaryDirectory() as folder:
    for profile in ("q8", "q4"):
        path = Path(folder) / f"{profile}.gguf"
        quantize(profile, path)
        with qwin.Engine(str(path)) as engine:
            own = log_probabilities(engine)
            divergence = (np.exp(reference) * (reference - own)).sum(axis=1).mean()
            agreement = (own.argmax(axis=1) == reference.argmax(axis=1)).mean()
            print(
                f"{profile}: {path.stat().st_size / 1e6:.1f} MB, {tokens_per_second(engine):.0f} tokens/s, "
                f"KL {divergence:.4f}, the same best token at {agreement:.0%} of the places"
            )
