"""The steps of a scenario, done to a trial that runs. What they mean is `core.scenario`'s; here is how.

Every fault is undone before its step is over, and what it does to the facts is told: the time it took is lent to the
watch, quiet does not count while it lasts, and what it may have redelivered is marked (`Message.again`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from bisect_celery.core import scenario
from bisect_celery.core.ledger import Ledger
from bisect_celery.core.scenario import COMPLETED, QUIET
from bisect_celery.lab.relay import Relay
from bisect_celery.model import Act, Place, Step

# Between a client's tries to connect: kombu's, which are Celery's.
FIRST_BACK_OFF, LONGEST_BACK_OFF = 2.0, 30.0


class Hands(Protocol):
    """What a scenario may do to a trial; `lab.watch.Watch` is it. A `str` says why the trial ended; None: go on."""

    def now(self) -> float: ...

    def send(self, count: int) -> str | None:
        """One more wave of so many probes (0: as many as prove every slot)."""
        ...

    def until(self, done: Callable[[], bool]) -> str | None:
        """Watch until it holds."""
        ...

    def all_over(self) -> bool:
        """Whether nothing more is to come of what was sent so far."""
        ...

    def idle(self, seconds: float) -> None:
        """Watch for so long, whatever happens."""
        ...

    def lend(self, seconds: float) -> None:
        """So much more time for the whole watch: it was not the worker's."""
        ...

    def late(self) -> bool:
        """Whether the whole watch has had its time."""
        ...

    def leave_broker(self) -> None:
        """Let go of every connection of our own to the broker."""
        ...

    def return_to_broker(self) -> str | None:
        """Be its client again, as we were."""
        ...

    def end_worker(self, hard: bool) -> bool:
        """End the worker, at once or by asking it to; whether it had to be killed."""
        ...

    def start_worker(self) -> str | None:
        """Start it again, until it stands."""
        ...


class Play:
    """A scenario in a trial."""

    def __init__(
        self, steps: Sequence[Step], hands: Hands, ledger: Ledger, place: Place, relay: Relay | None
    ) -> None:  # fmt: skip
        """`relay` is needed by steps that take the network away (`core.scenario.takes_network`)."""
        self._steps = steps or scenario.DEFAULT
        self._hands, self._ledger, self._place, self._relay = hands, ledger, place, relay

    def run(self) -> str | None:
        """Do every step; returns why the trial ended, None when it goes on to its proof."""
        for number, step in enumerate(self._steps, 1):
            ended = self._do(number, step)
            if ended is not None:
                return ended
        return None

    def _do(self, number: int, step: Step) -> str | None:
        match step.act:
            case Act.SEND:
                return self._hands.send(step.count)
            case Act.WAIT:
                return self._quiet(step.seconds) if step.what == QUIET else self._wait(number, step)
            case Act.EXPECT:
                return self._expect(number, step)
            case Act.RESTART_BROKER:
                return self._restart_broker(step)
            case Act.CUT:
                return self._cut(step)
            case Act.RESTART_WORKER:
                return self._restart_worker(step)

    # --- looking ------------------------------------------------------------------------------------------

    def _wait(self, number: int, step: Step) -> str | None:
        """Where all that was sent has succeeded and more was waited for, that is what failed: not a silence, which the
        judge would hold against the worker, nor success, whose proof was never made."""
        ended = self._hands.until(self._reached(step))
        if ended in ("quiet", "total") and step.count and self._ledger.all_succeeded():
            seen = f"{self._ledger.reached(step.what)} were"
            self._ledger.unmet = f"waits until {step.count} are {step.what} in step {number}: {seen}"
        return ended

    def _reached(self, step: Step) -> Callable[[], bool]:
        if not step.count and step.what == "finished":
            return self._hands.all_over
        ledger = self._ledger
        return lambda: ledger.reached(step.what) >= (step.count or ledger.count())

    def _quiet(self, seconds: float) -> str | None:
        """Silence that was asked for is none of the worker's: it does not count."""
        hands = self._hands
        self._ledger.rest(hands.now())
        hands.lend(seconds)
        while self._ledger.quiet_for(hands.now()) < seconds:
            if hands.late():
                return "total"
            hands.idle(min(0.1, seconds))
        self._ledger.resume(hands.now())
        return None

    def _expect(self, number: int, step: Step) -> str | None:
        """One look, without waiting: what is to be waited for is a step of its own."""
        ledger = self._ledger
        if step.what == COMPLETED:
            holds, seen = ledger.all_succeeded(), f"{ledger.reached('finished')} of {ledger.count()} were finished"
        else:
            holds = ledger.reached(step.what) == step.count
            seen = f"{ledger.reached(step.what)} were {step.what}"
        if holds:
            return None
        wanted = step.what if step.what == COMPLETED else f"{step.count} {step.what}"
        ledger.unmet = f"expects {wanted} in step {number}: {seen}"
        return "unmet"

    # --- faults -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _fault(self, what: list[str], *, outage: bool = True) -> Iterator[None]:
        """While it lasts nothing is the worker's fault. `what` are its words, which may change until its end.

        After an `outage` silence means nothing for as long again: who backs off (kombu: 2, 4, 6 … 30 s) comes back so
        much later, and by chance sooner. Else a trial would be called stuck that only had the worse luck.
        """
        began = self._hands.now()
        self._ledger.rest(began)
        try:
            yield
        finally:
            until = self._hands.now()
            grace = min(until - began, LONGEST_BACK_OFF) + FIRST_BACK_OFF if outage else 0.0
            self._ledger.resume(until + grace)
            self._ledger.fault("; ".join(what), round(began, 3), round(until, 3))
            self._hands.lend(until - began + grace)

    def _restart_broker(self, step: Step) -> str | None:
        """Nobody is let in again before our own witnesses stand, so that nothing of what the worker does is missed."""
        hands, relay = self._hands, self._relay
        assert relay is not None
        with self._fault([scenario.words(step)]):
            self._ledger.shaken()
            hands.leave_broker()
            self._place.stop_broker()
            relay.drop()
            hands.idle(step.seconds)
            self._place.start_broker()
            self._ledger.unreadable()
            ended = hands.return_to_broker()
            relay.open()
            return ended

    def _cut(self, step: Step) -> str | None:
        relay = self._relay
        assert relay is not None
        with self._fault([scenario.words(step)]):
            self._ledger.shaken()
            relay.freeze() if step.hard else relay.drop()
            self._hands.idle(step.seconds)
            relay.open()
        return None

    def _restart_worker(self, step: Step) -> str | None:
        what = [scenario.words(step)]
        with self._fault(what, outage=False):
            killed = self._hands.end_worker(step.hard)
            if killed and not step.hard:
                what.append("killed, for it did not end when it was asked to")
            if killed:
                self._ledger.shaken()
            return self._hands.start_worker()
