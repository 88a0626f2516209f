"""The worker of a trial, or several beside each other: started as the plan says, looked at from outside, ended, and
perhaps started again."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from bisect_celery.core.failures import ended_before_ready
from bisect_celery.lab.loop import Loop
from bisect_celery.lab.missing import missing_in
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.signs import Signs
from bisect_celery.model import Dump, Environment, Failure, Place, Program, Running, Stage
from bisect_celery.probe import logs

SHOWN_LINES = 12
KEPT_LINES = 2000


class _Process:
    """One of them: its main process, and the end of its log."""

    def __init__(self, running: Running, signs: Signs, loop: Loop) -> None:
        self.running = running
        self.log: deque[str] = deque(maxlen=KEPT_LINES)
        self._signs = signs
        for path in (running.out, running.err):
            loop.read(path, self._take)

    def _take(self, line: str) -> None:
        self.log.append(logs.plain(line))
        self._signs.worker_line(line)

    def gone(self) -> bool:
        return not self.running.alive()


class Worker:
    """What it writes goes to `Signs`; the end of any of several is its end. `broker_url` is a way to the broker of its
    own (None: the place's)."""

    def __init__(self, place: Place, plan: Plan, environment: Environment, signs: Signs, loop: Loop) -> None:
        self.broker_url: str | None = None
        self._place, self._plan, self._environment = place, plan, environment
        self._signs, self._loop = signs, loop
        self._processes: list[_Process] = []

    def start(self) -> None:
        self._signs.said_ready = 0
        programs = self._plan.worker_programs(self._place, self._environment, self.broker_url)
        self._processes = [self._started(program) for program in programs]

    def _started(self, program: Program) -> _Process:
        return _Process(self._place.start(program), self._signs, self._loop)

    def started(self) -> bool:
        """Whether it was, and was not ended by us since."""
        return bool(self._processes)

    def gone(self) -> bool:
        """Whether it ended by itself."""
        return any(process.gone() for process in self._processes)

    def _ended(self) -> _Process | None:
        return next((process for process in self._processes if process.gone()), None)

    def exit_code(self) -> int | None:
        """Of one that ended by itself."""
        ended = self._ended()
        return ended.running.exit_code() if ended is not None else None

    def last_words(self) -> str | None:
        """Why one that had been ready ended, as its log says."""
        ended = self._ended()
        return logs.last_words(list(ended.log)) if ended is not None else None

    def boot_failure(self, deadline: float) -> Failure:
        """Why it did not come up within `deadline` seconds."""
        ended = self._ended()
        code = self.exit_code()
        log = list(ended.log if ended is not None else (line for one in self._processes for line in one.log))
        lines = tuple(log[-SHOWN_LINES:])
        if code is None:
            seen = "no consumer stood on a queue" if self._place.broker.tells_consumers else "the worker was not ready"
            late = f"{seen} within {deadline:g} s"
            if refusal := logs.broker_refusal(log):
                late = f"{late}: the broker refuses it ({refusal})"
            return Failure(Stage.BOOT, late, lines=lines, timed_out=True)
        found = logs.last_exception(log)
        if found is None:
            return Failure(Stage.BOOT, ended_before_ready(code), lines=lines)
        reason = ": ".join(filter(None, found))
        return Failure(Stage.BOOT, reason, found[0], missing_in(*found), lines)

    def ask_to_end(self) -> None:
        for process in self._processes:
            process.running.ask_to_end()

    def ended(self) -> bool:
        """Whether all that was started has ended, whoever ended it."""
        return all(process.gone() for process in self._processes)

    def stop(self) -> None:
        """End it at once. What ended by our hand is no end of its own."""
        processes, self._processes = self._processes, []
        for process in processes:
            process.running.stop()

    # --- looks from outside: nothing where it was not started ------------------------------------------

    def memory(self, *, at_end: bool) -> Mapping[tuple[int, int], int]:
        """By which of several it is, and a process's number."""
        return {
            (index, pid): peak
            for index, process in enumerate(self._processes)
            for pid, peak in self._place.memory(process.running, at_end=at_end).items()
        }

    def worked(self) -> float | None:
        """Of all together; None when nobody can look at one."""
        seconds = [self._place.worked(process.running) for process in self._processes]
        known = [one for one in seconds if one is not None]
        return sum(known) if known and len(known) == len(seconds) else None

    def idle(self) -> float:
        """The share of a core up to which it may seem to work though it does nothing."""
        return self._place.idle * len(self._processes)

    def dump(self) -> tuple[Dump, ...]:
        return tuple(dump for process in self._processes for dump in self._place.dump(process.running))
