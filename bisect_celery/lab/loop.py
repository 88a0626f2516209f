"""The one loop of a trial: each step takes in all that was said since the last one, and every wait is steps.

Nothing sleeps for a fixed time; every wait ends with a sign, with the end of a program, or with its deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from bisect_celery.lab.signs import Tail
from bisect_celery.model import Cancel


class Clock:
    """Seconds since the trial began."""

    def __init__(self) -> None:
        self._zero = time.monotonic()

    def now(self) -> float:
        return time.monotonic() - self._zero


class Goes(Protocol):
    """A program that may end by itself."""

    def gone(self) -> bool: ...


class Loop:
    """Takes and looks are done in every step, in the order in which they were added. For one thread."""

    def __init__(self, clock: Clock, cancel: Cancel, failed: Callable[[], bool]) -> None:
        """`failed` tells that there is nothing left to wait for."""
        self.now = clock.now
        self._cancel, self._failed = cancel, failed
        self._takes: list[Callable[[], None]] = []
        self._tails: dict[Path, tuple[Tail, Callable[[str], None]]] = {}

    def add(self, take: Callable[[], None]) -> None:
        """Do this in each step from now on. The first one should wait a moment for what comes."""
        self._takes.append(take)

    def read(self, path: Path, take: Callable[[str], None]) -> None:
        """Take every line of a file that grows; of a program that is started again it is the same file."""
        self._tails.setdefault(path, (Tail(path), take))

    def take_lines(self) -> None:
        for tail, take in self._tails.values():
            for line in tail.lines():
                take(line)

    def step(self) -> None:
        """Raises Cancelled, InfraError."""
        self._cancel.check()
        for take in self._takes:
            take()

    def wait(self, condition: Callable[[], bool], deadline: float, *programs: Goes) -> bool:
        """Step until `condition` holds; False when it cannot any more: a failure, the deadline (seconds), or the end of
        one of `programs`, after which all that it said is taken in."""
        end = self.now() + deadline
        while self.now() < end:
            gone = any(program.gone() for program in programs)
            self.step()
            if condition():
                return True
            if gone or self._failed():
                return False
        return False

    def idle(self, seconds: float) -> None:
        """Step for so long, whatever happens."""
        end = self.now() + seconds
        while self.now() < end:
            self.step()
