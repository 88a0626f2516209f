"""The main thread owns signals and the terminal; the session has a thread of its own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from rich.console import Console

from bisect_celery.lab.cancel import Token

T = TypeVar("T")
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def in_session_thread(work: Callable[[], T], cancel: Token, console: Console) -> T:
    """Run `work` in the session's thread; Ctrl-C and SIGTERM cancel it, and it is waited for."""
    results: list[T] = []
    errors: list[BaseException] = []

    def session() -> None:
        try:
            results.append(work())
        except BaseException as error:  # handed over to the main thread, whatever it is
            errors.append(error)

    def stop(number: int, frame: FrameType | None) -> None:
        if cancel.deaf and number == signal.SIGINT:
            return
        first = not cancel.is_set()
        cancel.set()
        if first:
            console.print("Stopping: taking everything down …", style="yellow")

    heard = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]  # nohup's
    previous = {number: signal.signal(number, stop) for number in heard}
    thread = threading.Thread(target=session, name="session")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.2)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if errors:
        raise errors[0]
    return results[0]
