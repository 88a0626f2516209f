"""Who uses the session's broker: many places beside each other, or one alone that may shut it down."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel

# Longer than any trial: whoever waits so long waits for somebody who will not leave.
DEADLINE = 3600.0


class Sharing:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._alone = False

    @contextmanager
    def taken(self, alone: bool, cancel: Cancel) -> Iterator[None]:
        """Be one of those who use the broker, or the only one. Raises Cancelled, InfraError after an hour."""
        if not cancel.wait(lambda: self._entered(alone), DEADLINE):
            raise InfraError("The broker of this session did not become free.", "`bisect-celery resume` goes on.")
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                self._alone = False

    def _entered(self, alone: bool) -> bool:
        with self._lock:
            if self._alone or (alone and self._inside):
                return False
            self._inside += 1
            self._alone = alone
            return True
