"""Standard output and error as streams that outlive their reader: a closed window or pipe ends no session."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO, Any, cast


class Lasting:
    """A text stream that goes nowhere from the moment on at which nobody reads it any more.

    What is lost is words only: verdicts, trials and reports are in files. The descriptor itself is turned away, so
    that what Python has buffered does not fail again at the end and change our exit status.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._lasting():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._lasting():
            self._stream.flush()

    @contextlib.contextmanager
    def _lasting(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def lasting(stream: IO[str]) -> IO[str]:
    """`stream`, for whoever asks for a file."""
    return cast("IO[str]", Lasting(stream))
