# SPDX-License-Identifier: Apache-2.0
"""Exceptions: every fault qwin reports is a `qwin.Error`."""

from __future__ import annotations


class Error(Exception):
    """What went wrong, in words; `code` is its class as the command prints it (`error: CODE: …`)."""

    code = "error"


class InvalidArgumentError(Error, ValueError):
    """A value qwin cannot work with; the message names it and what is possible."""


class ContextLengthError(InvalidArgumentError):
    """The prompt is longer than the context."""


class ModelFileError(Error):
    """The model's files are missing, damaged or not supported."""


class TooLargeError(Error, MemoryError):
    """The model or its KV memory does not fit; the message has the needed and the available bytes."""


class QueueFullError(Error):
    """Too many requests wait already."""


class TimedOutError(Error, TimeoutError):
    """The request was not done within its time."""


class NumericalError(Error, ArithmeticError):
    """The model's output is not finite."""


class DownloadError(Error, OSError):
    """A model could not be fetched."""


class CancelledError(Error):
    """The request was cancelled before its answer was done."""


class BrokenError(Error):
    """The engine failed in a step and does no more; load it anew."""


_CLASSES: dict[str, type[Error]] = {
    "invalid_argument": InvalidArgumentError,
    "context_length_exceeded": ContextLengthError,
    "queue_full": QueueFullError,
    "timed_out": TimedOutError,
    "too_large": TooLargeError,
    "numerical": NumericalError,
    "network": DownloadError,
    "checksum": DownloadError,
    "cancelled": CancelledError,
    "broken": BrokenError,
}


def make_error(code: str, message: str) -> Error:
    """The exception for an error of the C++ engine; called by the extension."""
    error = _CLASSES.get(code, ModelFileError)(message)
    error.code = code
    return error
