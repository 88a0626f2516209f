"""One trial in a place: start, wait until ready, send, watch, prove the slots, and hand over the facts.

Here are its steps. One thread and one loop do them (`lab.loop`); who is started, asked and looked at has a module each:
`sender`, `worker`, `counts` (the broker), `answers` (the worker, asked), `looks` (its processes from outside), and the
way to ready is `boot`. What signs mean is `lab.signs`' part.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from dataclasses import replace

from bisect_celery.core import pools
from bisect_celery.core.deadline import Deadlines
from bisect_celery.core.ledger import Ledger
from bisect_celery.core.scenario import takes_network
from bisect_celery.errors import HeldBack
from bisect_celery.lab.answers import Answers
from bisect_celery.lab.boot import Boot
from bisect_celery.lab.counts import Counts
from bisect_celery.lab.looks import Memory, Work
from bisect_celery.lab.loop import Clock, Loop
from bisect_celery.lab.plan import Plan
from bisect_celery.lab.prepare import prepare
from bisect_celery.lab.relay import Relay
from bisect_celery.lab.scenario import Play
from bisect_celery.lab.sender import Sender
from bisect_celery.lab.signs import Signs
from bisect_celery.lab.silence import Looks, Silence
from bisect_celery.lab.worker import Worker
from bisect_celery.model import Cancel, Dump, Environment, Failure, Observation, Place, Stage
from bisect_celery.stack.services.protocol import addresses

__all__ = ["LEFT", "Looks", "Watch"]

# Longer than it takes to see whether anybody computes (`lab.looks`), which asking interrupts.
LOOK_EVERY = 0.7
# So long after the last sign all that is left is there to stay, or to be asked about.
SETTLED = 0.3
LOG_LAG = 5.0
EVENTS_LAG = 5.0  # of events behind results
# The sender looks how a web process would send while the worker boots; that it is not done by now is rare.
WEB_LAG = 5.0
# What the broker takes to see that a connection is gone.
GONE_DEADLINE = 10.0
# What an older revision leaves unconsumed, for each of its pool's slots; and how its warm-up then ends.
LEFT_A_SLOT = 2
LEFT = "left"


class Watch:
    """A trial while it runs. `run()` once; the place stops the programs."""

    def __init__(
        self,
        place: Place,
        plan: Plan,
        environment: Environment,
        deadlines: Deadlines,
        cancel: Cancel,
        *,
        walled: bool,
        looks_bad: Looks = lambda _: False,
        learn_secrets: Callable[[list[str]], None] = lambda _: None,
        left: tuple[str, ...] = (),
    ) -> None:
        """`looks_bad` tells whether a picture resembles the bad end, so that silence may be believed sooner. `left` are
        probes of ours that an older revision left in the queues: wave 0, whose results nobody waits for any more."""
        self._place, self._plan, self._environment = place, plan, environment
        self._deadlines, self._cancel, self._walled = deadlines, cancel, walled
        clock, ledger = Clock(), Ledger()
        signs = Signs(ledger, clock.now, place.broker_url, plan.probe, learn_secrets)
        signs.services = addresses(place.bindings, walled)  # a broker that serves as such is among them
        signs.workers = plan.workers
        loop = Loop(clock, cancel, lambda: signs.failure is not None)
        worker = Worker(place, plan, environment, signs, loop)
        sender = Sender(place, plan, environment, ledger, signs, loop)
        self.now = clock.now
        self._ledger, self._signs, self._loop, self._worker, self._sender = ledger, signs, loop, worker, sender
        self._counts = Counts(place, clock, cancel, ledger, signs)
        self._memory = Memory(worker, clock, signs, "memory" in plan.probe.judges)
        self._work = Work(worker, clock, ledger, signs)
        counts = self._counts
        for take in (counts.take_events, loop.take_lines, counts.take_counts, self._memory.take, self._work.take):
            loop.add(take)
        self._answers = Answers(worker, sender, ledger, signs, loop, plan.said_pool, self._work.begin_anew)
        self._booting = Boot(
            plan, deadlines, signs, loop, worker, sender, self._counts, self._answers, place.broker.keeps_questions
        )
        self._silence = Silence(
            deadlines, self._work, worker, looks_bad, self._look, lambda dumps: self._picture("quiet", dumps)
        )
        self._relay: Relay | None = None
        self._ready_at: float | None = None
        self._next_look = 0.0
        self._lent = 0.0
        for identity in left:
            ledger.sent(0.0, identity, 0)
        ledger.unreadable()

    # --- the whole trial -----------------------------------------------------------------------------

    def run(self) -> Observation:
        """Every step may end the trial; the facts up to then are the observation. Raises InfraError, Cancelled."""
        try:
            for step in (self._prepare, self._load, self._boot, self._scenario, self._last_wave, self._last_look):
                ended = step()
                if ended is not None:
                    return self._observe(ended)
            return self._observe("complete")
        finally:
            self._counts.close()

    def leave(self) -> Observation:
        """For `lab.earlier`: work as a trial does, end the worker in order, and leave one more wave behind, the last
        one told of. `ended` is LEFT when all of that came about and our own clients have gone."""
        try:
            for step in (self._prepare, self._load, self._boot, self._scenario, self._leave_wave):
                ended = step()
                if ended is not None:
                    return self._observe(ended)
            return self._picture(LEFT)
        finally:
            self._counts.close()

    def _observe(self, ended: str) -> Observation:
        dumps: tuple[Dump, ...] = ()
        if ended in ("quiet", "total") and not self._place.healthy():
            raise HeldBack()
        if ended in ("quiet", "total") and self._worker.started():
            self._answers.ask()
            self._counts.count(closely=True)
            dumps = self._silence.dumps or self._worker.dump()
        elif self._signs.failure is not None and self._signs.failure.timed_out and self._worker.started():
            dumps = self._worker.dump()
        elif ended == "complete" and self._ledger.left != (0, 0):
            self._counts.count(closely=True)
        return self._picture(ended, dumps)

    def _picture(self, ended: str, dumps: tuple[Dump, ...] = ()) -> Observation:
        exit_code = self._worker.exit_code() if self._ready_at is not None else None
        signs, answers = self._signs, self._answers
        observation = self._ledger.observation(
            self.now(),
            failure=signs.failure,
            worker=signs.facts,
            ready_at=self._ready_at,
            consumers=self._counts.consumers,
            held=answers.held,
            held_others=answers.held_others,
            scheduled=answers.scheduled,
            children_gone=answers.children_gone(),
            worker_exit=exit_code,
            worker_exit_at=self.now() if exit_code is not None else None,
            exit_words=self._worker.last_words() if exit_code is not None else None,
            foreign_broker=signs.foreign,
            dumps=dumps,
            ended=ended,
            load=_load(),
        )
        return replace(
            observation,
            log_required=signs.log_required if self._plan.probe.log_must else None,
            log_forbidden=signs.log_forbidden,
            children_replaced=signs.children_replaced,
            memory=self._memory.peaks(),
            answered=self._booting.answered if self._ready_at is not None else None,
        )

    # --- up to ready ---------------------------------------------------------------------------------

    def _prepare(self) -> str | None:
        failure = prepare(self._place, self._plan, self._environment, self._cancel)
        return None if failure is None else self._signs.fails(failure)

    def _load(self) -> str | None:
        """Start the sender, which loads the app; without a wall the worker waits until the app is known to be ours."""
        self._counts.connect()
        self._sender.start()
        return None if self._walled else self._booting.until_loaded()

    def _boot(self) -> str | None:
        if takes_network(self._plan.scenario):
            self._relay = Relay(self._place, self._environment, self._cancel)
            self._worker.broker_url = self._relay.url
            self._signs.also_ours(self._relay.url)
        self._counts.listen()  # where there was a worker before, its exchange is there already
        ended = self._booting.first()
        if ended is None:
            self._ready_at = math.floor(self.now() * 1000) / 1000  # never after what is sent next
            self._ledger.begin(self.now())
            self._signs.judging = True
        return ended

    # --- probes --------------------------------------------------------------------------------------

    def _scenario(self) -> str | None:
        return Play(self._plan.scenario, self, self._ledger, self._place, self._relay).run()

    def _last_wave(self) -> str | None:
        """After all that was sent is done: does the pool still serve, and does the worker count every slot as free?"""
        ended = self.until(self.all_over) or self.send(self._slots()) or self.until(self.all_over)
        if ended is not None:
            self._answers.held = None  # what was free before it need not be now
            return ended
        return self.until(self._slots_free)

    def _slots_free(self) -> bool:
        """By the worker's own count; a worker that cannot be asked has told the end of every task by itself."""
        if not self._booting.answered and self._ledger.all_returned():
            return self._ledger.drained()
        self._answers.ask_again()
        return self._answers.held == 0 and self._ledger.drained()

    def _last_look(self) -> str | None:
        """Logs lag behind: what must appear in the worker's has a moment to do so when all else is complete."""
        if self._plan.probe.log_must and not self._signs.log_required:
            self._loop.wait(lambda: self._signs.log_required > 0, LOG_LAG, self._sender, self._worker)
        self._loop.wait(lambda: self._signs.web_told, WEB_LAG, self._sender, self._worker)
        self._memory.look(at_end=True)
        return None

    def _leave_wave(self) -> str | None:
        count = LEFT_A_SLOT * self._slots()
        if self.end_worker(hard=False):
            reason = f"its worker did not end in {self._deadlines.quiet:g} s"
            return self._signs.fails(Failure(Stage.PROBE, reason))
        before = self._ledger.waiting()
        ended = self.send(count) or self.until(lambda: self._ledger.waiting() >= before + count)
        if ended is None:
            self.leave_broker()
        return ended

    def _concurrency(self) -> int:
        """The worker knows best, then its start line, then its settings."""
        return self._answers.concurrency or self._plan.concurrency(self._signs.facts.concurrency)

    def _slots(self) -> int:
        return pools.slots(self._concurrency(), self._signs.facts.pool)

    def _look(self) -> bool:
        """Ask worker and broker for all that only asking tells; now and then, and the answer is whether it was now."""
        if self.now() < self._next_look:
            return False
        self._answers.ask()
        self._counts.count(closely=True)
        self._next_look = self.now() + LOOK_EVERY
        return True

    # --- what a scenario does (`lab.scenario.Hands`) -------------------------------------------------

    def send(self, count: int) -> str | None:
        facts = self._signs.facts
        count = count or self._plan.count(self._concurrency(), facts.prefetch, facts.pool)
        if self._plan.probe.script is None and self._plan.probe.periodic is None:
            self._sender.send(count)
            return None
        wave = self._sender.script(count)
        ended = self.until(lambda: self._signs.whole == wave)
        if ended == "quiet":
            who = "`send` of the probe file" if self._plan.probe.script else "beat"
            reason = f"{who} did not return from sending; it must not wait"
            return self._signs.fails(Failure(Stage.PROBE, reason))
        return ended

    def until(self, done: Callable[[], bool]) -> str | None:
        """Step until `done`; otherwise why watching ended: "exit", "failure", "foreign", "line", "quiet", "total"."""
        while True:
            self._loop.step()
            if done():
                return None
            if (ended := self._ended()) is not None:
                return ended

    def _ended(self) -> str | None:
        signs = self._signs
        if self._worker.gone():
            self._loop.step()
            return "exit"
        if signs.foreign is not None:
            return "foreign"
        if signs.log_forbidden:
            return "line"
        if self._sender.gone() or signs.failure is not None:
            self._loop.step()
            return self._sender.died()
        if self._silence.believed():
            return "quiet"
        return "total" if self.late() else None

    def all_over(self) -> bool:
        """Whether nothing more is to come of what was sent so far, nor is left but what others put where it stays."""
        stored = self._signs.facts.ignore_result is False
        if self._ledger.all_over(stored=stored):
            return True
        still = self._ledger.quiet_for(self.now()) > SETTLED
        if still and self._ledger.all_final(stored=stored) and self._look():
            self._ledger.set_aside(self._counts.unclaimed, self._answers.scheduled or 0)
        return False

    def idle(self, seconds: float) -> None:
        self._loop.idle(seconds)

    def lend(self, seconds: float) -> None:
        self._lent += seconds

    def late(self) -> bool:
        return self.now() > (self._ready_at or 0.0) + self._deadlines.total + self._lent

    def leave_broker(self) -> None:
        """The sender is a client whose way back is not in question: afterwards it is a new one. First the worker's
        events of what is done are heard out: they come later than results, and after a restart they never do."""
        self._loop.wait(self._ledger.heard_out, EVENTS_LAG)
        self._sender.stop()
        self._counts.close()

    def return_to_broker(self) -> str | None:
        self._counts.connect()
        self._counts.listen()
        self._sender.start()
        return self._booting.until_loaded()

    def end_worker(self, hard: bool) -> bool:
        worker = self._worker
        if not hard:
            worker.ask_to_end()
            hard = not self._loop.wait(worker.ended, self._deadlines.quiet, self._sender)
        worker.stop()
        self._loop.step()  # its last words
        self._loop.wait(lambda: not any(self._counts.standing()), GONE_DEADLINE, self._sender)
        return hard

    def start_worker(self) -> str | None:
        return self._booting.again()


def _load() -> float:
    with contextlib.suppress(OSError):
        return round(os.getloadavg()[0], 2)
    return 0.0
