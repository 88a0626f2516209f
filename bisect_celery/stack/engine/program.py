"""One program in a container of its own: its output as it comes, its input, its end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from bisect_celery.errors import InfraError
from bisect_celery.stack.engine.api import Engine
from bisect_celery.stack.engine.stream import Stream

STOP_DEADLINE = 20.0
_SIGNALS = {int(number) for number in signal.valid_signals()}


class Watch:
    """Starts a container and follows it to its end, in a thread with a connection of its own.

    `sink(is_error, chunk)` gets what it writes, in that thread and in order. After `ended` is set the rest is known:
    `code` (negative: the signal), `oom_killed`, or `trouble` when the engine lost it.
    """

    def __init__(
        self, engine: Engine, container: str, sink: Callable[[bool, bytes], None], stdin: bool = False
    ) -> None:
        """Raises InfraError when it cannot be started; the container is then still there, for the caller to remove."""
        self.container = container
        self.ended = threading.Event()
        self.code: int | None = None
        self.oom_killed = False
        self.trouble: InfraError | None = None
        self._sink = sink
        self._own = engine.fresh()
        try:
            self._stream = Stream(self._own.attach(container, stdin))
            engine.start(container)
        except BaseException:
            self._own.close()
            raise
        self._thread = threading.Thread(target=self._follow, name=f"watch-{container[:12]}", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            for is_error, chunk in self._stream.frames():
                self._sink(is_error, chunk)
            self.code = as_signal(self._own.wait(self.container))
            state = self._own.state(self.container)
            if state is None:
                raise InfraError("A program's container was removed by somebody else.", "`docker events` says by whom.")
            self.oom_killed = state.oom_killed
        except InfraError as error:
            self.trouble = error
        except (OSError, ValueError) as error:
            self.trouble = InfraError(f"A program's output was lost: {error}.", "Is the disk full?")
        finally:
            self.ended.set()
            self._stream.close()
            self._own.close()

    def write(self, data: bytes) -> None:
        """Write to its standard input. Silently nothing when it already went away: its exit tells the story."""
        with contextlib.suppress(OSError):
            self._stream.write(data)

    def join(self, deadline: float) -> None:
        self._thread.join(deadline)


def as_signal(code: int) -> int:
    """An exit status as the engine and its init tell it, 128 + signal, as Python tells it: negative."""
    return -(code - 128) if code - 128 in _SIGNALS else code


class ContainerRunning:
    """A `model.Running`: a program in a container, its two output files here."""

    def __init__(self, engine: Engine, container: str, name: str, outputs: Path, errors: Path, stdin: bool) -> None:
        """Takes over the created `container`: it is removed by `stop`, or at once when it cannot be started.

        `engine` is used here and in `stop`, which may be called from another thread only when this one is idle.
        """
        self.container = container
        self.out = outputs / f"{name}.out"
        self.err = errors / f"{name}.err"
        self._engine = engine
        self._stopping = threading.Lock()
        self._stopped = False
        self._files = {False: self.out.open("ab", buffering=0), True: self.err.open("ab", buffering=0)}
        try:
            self._watch = Watch(engine, container, self._sink, stdin)
        except BaseException:
            self._close_files()
            engine.remove(container)
            raise

    def _sink(self, is_error: bool, chunk: bytes) -> None:
        self._files[is_error].write(chunk)

    def write(self, line: str) -> None:
        self._watch.write(line.encode() + b"\n")

    def alive(self) -> bool:
        """Raises InfraError when the engine lost it: that says nothing about the program."""
        if not self._watch.ended.is_set():
            return True
        self._raise_trouble()
        return False

    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it. Raises InfraError when the engine lost it."""
        if not self._watch.ended.is_set():
            return None
        self._raise_trouble()
        return self._watch.code

    @property
    def oom_killed(self) -> bool:
        """Whether the kernel killed a process of it for its memory limit; known when it has ended."""
        return self._watch.oom_killed

    def _raise_trouble(self) -> None:
        if self._watch.trouble is not None and not self._stopped:
            raise self._watch.trouble

    def ask_to_end(self) -> None:
        """SIGTERM to the container's init, which hands it on to the program alone."""
        if not self._watch.ended.is_set():
            with self._engine.fresh() as engine:
                engine.kill(self.container, "SIGTERM")

    def stop(self) -> None:
        """Kill everything in its container and remove that. Idempotent."""
        with self._stopping:
            if self._stopped:
                return
            with self._engine.fresh() as engine:
                engine.kill(self.container)
                self._watch.join(STOP_DEADLINE)  # reads what it wrote last, and how it ended
                self._stopped = True
                engine.remove(self.container)
            self._watch.join(STOP_DEADLINE)
            self._close_files()

    def _close_files(self) -> None:
        for file in self._files.values():
            file.close()
