"""The session's one way to wait, and to be told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from bisect_celery.errors import Cancelled


class Token:
    """A `model.Cancel`: set once, from a signal handler or another thread, it ends every wait."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.deaf = False  # while somebody else has the terminal, its Ctrl-C is not for us

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        if self._event.is_set():
            raise Cancelled

    def wait(self, condition: Callable[[], bool], deadline: float, poll: float = 0.02) -> bool:
        end = time.monotonic() + deadline
        while True:
            self.check()
            if condition():
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._event.wait(min(poll, left))
