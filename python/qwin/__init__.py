# SPDX-License-Identifier: Apache-2.0
"""qwin: an inference engine for Qwen language models on CPUs.

    import qwin
    engine = qwin.Engine.load_pretrained("qwen2.5-coder-0.5b")
    print(engine.generate("Write a haiku about rivers.", max_length=64))
"""

from qwin._core import __version__
from qwin.command import binary_path
from qwin.document import DocumentResult, process_document, read_document, split_document
from qwin.engine import Engine
from qwin.errors import (
    BrokenError,
    CancelledError,
    ContextLengthError,
    DownloadError,
    Error,
    InvalidArgumentError,
    ModelFileError,
    NumericalError,
    QueueFullError,
    TimedOutError,
    TooLargeError,
)
from qwin.llm import LLM, CompletionOutput, RequestOutput
from qwin.outputs import Chunk, Result, Timings, TokenLogprob
from qwin.parallel import ParallelEngine
from qwin.sampling import SamplingParams
from qwin.stream import TextStream

__all__ = [
    "LLM",
    "BrokenError",
    "CancelledError",
    "Chunk",
    "CompletionOutput",
    "ContextLengthError",
    "DocumentResult",
    "DownloadError",
    "Engine",
    "Error",
    "InvalidArgumentError",
    "ModelFileError",
    "NumericalError",
    "ParallelEngine",
    "QueueFullError",
    "RequestOutput",
    "Result",
    "SamplingParams",
    "TextStream",
    "TimedOutError",
    "Timings",
    "TokenLogprob",
    "TooLargeError",
    "__version__",
    "binary_path",
    "process_document",
    "read_document",
    "split_document",
]
