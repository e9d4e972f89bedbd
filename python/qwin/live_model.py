# SPDX-License-Identifier: Apache-2.0
"""A `transformers` model in memory, taken by the engine tensor by tensor; only its documents go over a temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qwin.errors import InvalidArgumentError


def is_live_model(model: object) -> bool:
    return hasattr(model, "named_parameters") and hasattr(model, "config")


@contextmanager
def opened(model: Any, tokenizer: Any | None) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """A directory with config.json and the tokenizer's files, and the weights [(name, tensor)], shared, not copied.

    tokenizer: None takes the one of the place the model was loaded from. The directory is gone afterwards.
    """
    model = getattr(model, "_orig_mod", model)  # of torch.compile
    name = getattr(model.config, "_name_or_path", "")
    tokenizer = tokenizer or _tokenizer_of(name)
    weights = _weights(model)
    with tempfile.TemporaryDirectory(prefix="qwin-") as folder:
        directory = Path(folder) / (Path(name).name or "model")
        directory.mkdir()
        model.config.save_pretrained(directory)
        if getattr(model, "generation_config", None) is not None:
            model.generation_config.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        yield str(directory), weights


def _weights(model: Any) -> list[tuple[str, Any]]:
    """Named tensors, each once: a tied head is its embedding."""
    weights = []
    for name, tensor in model.named_parameters():
        if tensor.device.type == "meta":
            raise InvalidArgumentError(
                f"{name} is not in memory (a meta tensor: accelerate keeps it elsewhere); load the model without "
                'device_map, or give qwin its directory or name'
            )
        if tensor.device.type != "cpu":
            raise InvalidArgumentError(f'{name} is on {tensor.device}; call model.to("cpu") first')
        if ".lora_" in name:
            raise InvalidArgumentError(f"{name} belongs to an adapter; give what model.merge_and_unload() returns")
        weights.append((name, tensor.detach().contiguous()))
    return weights


def _tokenizer_of(name: str) -> Any:
    try:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(name)
    except Exception as error:
        raise InvalidArgumentError(
            f"the model's tokenizer is not found at {name!r} ({type(error).__name__}); give it: "
            "qwin.Engine(model, tokenizer=tokenizer)"
        ) from error
