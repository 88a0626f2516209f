"""One trial in a place: start, wait until ready, send, watch, prove the slots, and hand over the facts.

One thread, one loop: every step drains events, reads what the programs wrote, and asks the broker for live counts.
Nothing sleeps for a fixed time; every wait ends with a sign or with a deadline. What signs mean is `lab.signs`' part.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from bisect_celery.core.deadline import Deadlines
from bisect_celery.core.ledger import Ledger
from bisect_celery.core.scenario import takes_network
from bisect_celery.errors import HeldBack, InfraError
from bisect_celery.lab.missing import missing_in
from bisect_celery.lab.plan import PROVIDED, Plan
from bisect_celery.lab.relay import Relay
from bisect_celery.lab.scenario import Play
from bisect_celery.lab.signs import Signs, Tail
from bisect_celery.model import Cancel, Dump, Environment, Failure, Observation, Place, Running, Stage
from bisect_celery.probe import logs
from bisect_celery.probe.events import Monitor
from bisect_celery.probe.send import publish

STEP = 0.02
COUNT_EVERY = 0.08
PREPARE_DEADLINE = 300.0
ASK_DEADLINE = 5.0
LOOK_EVERY = 0.5
# So long after the last sign all that is left is there to stay, or to be asked about.
SETTLED = 0.3
SHOWN_LINES = 12
LOG_LAG = 5.0
# The sender looks how a web process would send while the worker boots; that it is not done by now is rare.
WEB_LAG = 5.0
MEMORY_EVERY = 0.3
# Who has been silent for so long is looked at whether it computes.
WORK_AFTER, WORK_EVERY = 0.5, 0.5
# What the broker takes to see that a connection is gone.
GONE_DEADLINE = 10.0
# What an older revision leaves unconsumed, for each of its pool's slots; and how its warm-up then ends.
LEFT_A_SLOT = 2
LEFT = "left"
DEFAULT_QUEUE = "celery"
# A task every Celery has, newest name first, as in the guest.
EVERYWHERE = ("celery.accumulate", "celery.ping", "celery.backend_cleanup")
# Celery's own queues: remote control, events, replies and results (a task's id, with dashes or, until 4, without).
_INTERNAL = re.compile(
    r"\.pidbox$|^celeryev\.|\.reply\.|^bisect-celery\.|^amq\.gen"
    r"|^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"
)
# Where a worker hears what it is asked; the other such queues are for answers.
_REMOTE = re.compile(r"^(?!.*\.reply\.).*\.pidbox$")

Looks = Callable[[Observation], bool]


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
        self._looks_bad = looks_bad
        self._zero = time.monotonic()
        self._ledger = Ledger()
        self._signs = Signs(self._ledger, self.now, place.broker_url, plan.probe, learn_secrets)
        self._worker: Running | None = None
        self._sender: Running | None = None
        self._monitor: Monitor | None = None
        self._tails: list[tuple[Tail, Callable[[str], None]]] = []
        self._next_count = 0.0
        self._ready_at: float | None = None
        self._answers = False
        self._asked_concurrency: int | None = None
        self._held: int | None = None
        self._held_others = 0
        self._peaks: dict[int, int] = {}
        self._next_peaks = 0.0
        self._used: tuple[float, float | None] = (0.0, None)
        self._worked_at = self._compared_at = 0.0
        self._scheduled: int | None = None
        self._dumps: tuple[Dump, ...] = ()
        self._children: set[object] = set()
        self._children_now: set[object] = set()
        self._unclaimed = 0
        self._next_look = 0.0
        self._consumers: int | None = None
        self._relay: Relay | None = None
        self._waves = 0
        self._lent = 0.0
        for identity in left:
            self._ledger.sent(0.0, identity, 0)
        self._ledger.unreadable()

    def now(self) -> float:
        return time.monotonic() - self._zero

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
            if self._monitor is not None:
                self._monitor.close()

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
            if self._monitor is not None:
                self._monitor.close()

    def _leave_wave(self) -> str | None:
        count = LEFT_A_SLOT * self._concurrency()
        if self.end_worker(hard=False):
            return self._fails(Failure(Stage.PROBE, f"its worker did not end in {self._deadlines.quiet:g} s"))
        self._worker = None
        before = self._ledger.waiting()
        ended = self.send(count) or self._watch(lambda: self._ledger.waiting() >= before + count)
        if ended is None:
            self.leave_broker()
        return ended

    def _observe(self, ended: str) -> Observation:
        dumps: tuple[Dump, ...] = ()
        if ended in ("quiet", "total") and not self._place.healthy():
            raise HeldBack()
        if ended in ("quiet", "total") and self._worker is not None:
            self._ask()
            self._count(closely=True)
            dumps = self._dumps or self._place.dump(self._worker)
        elif ended == "complete" and self._ledger.left != (0, 0):
            self._count(closely=True)
        return self._picture(ended, dumps)

    def _picture(self, ended: str, dumps: tuple[Dump, ...] = ()) -> Observation:
        exit_code = self._worker.exit_code() if self._worker is not None and self._ready_at is not None else None
        probe = self._plan.probe
        observation = self._ledger.observation(
            self.now(),
            failure=self._signs.failure,
            worker=self._signs.facts,
            ready_at=self._ready_at,
            consumers=self._consumers,
            held=self._held,
            held_others=self._held_others,
            scheduled=self._scheduled,
            children_gone=len(self._children - self._children_now),
            worker_exit=exit_code,
            worker_exit_at=self.now() if exit_code is not None else None,
            exit_words=logs.last_words(list(self._signs.log)) if exit_code is not None else None,
            foreign_broker=self._signs.foreign,
            dumps=dumps,
            ended=ended,
            load=_load(),
        )
        return replace(
            observation,
            log_required=self._signs.log_required if probe.log_must else None,
            log_forbidden=self._signs.log_forbidden,
            children_replaced=self._signs.children_replaced,
            memory=tuple(self._peaks.values()),
        )

    # --- before the worker ---------------------------------------------------------------------------

    def _prepare(self) -> str | None:
        if self._plan.prepare is None:
            return None
        running = self._place.start(self._plan.prepare_program(self._place, self._environment))
        if not self._cancel.wait(lambda: not running.alive(), PREPARE_DEADLINE):
            running.stop()
            reason = f"`{self._plan.prepare}` did not end in {PREPARE_DEADLINE:g} s"
            return self._fails(Failure(Stage.PREPARE, reason, timed_out=True))
        if running.exit_code() == 0:
            return None
        lines = _last_lines(running)
        found = logs.last_exception(lines)
        reason = f"`{self._plan.prepare}` ended with status {running.exit_code()}"
        exception, missing = (found[0], missing_in(*found)) if found else (None, ())
        return self._fails(Failure(Stage.PREPARE, reason, exception, missing, tuple(lines[-SHOWN_LINES:])))

    def _fails(self, failure: Failure) -> str:
        """The sender's own words on a failure come first: it says why, where the worker often only ends."""
        self._signs.failure = self._signs.failure or failure
        return "failure"

    def _load(self) -> str | None:
        """Start the sender, which loads the app; without a wall the worker waits until the app is known to be ours."""
        self._monitor = Monitor(self._place.harness_url)
        self._start_sender()
        assert self._sender is not None
        self._tails.append((Tail(self._sender.out), self._signs.sender_line))
        return None if self._walled else self._until_loaded()

    def _start_sender(self) -> None:
        self._sender = self._place.start(self._plan.sender_program(self._place, self._environment))
        broker = urlsplit(self._place.broker_url)
        self._order(
            do="load",
            app=self._plan.app,
            task=self._plan.probe.task,
            check=self._plan.probe.check,
            script=asdict(self._plan.probe.script) if self._plan.probe.script else None,
            broker={
                "host": broker.hostname,
                "port": broker.port,
                "vhost": unquote(broker.path.lstrip("/")),
                "user": unquote(broker.username or ""),
            },
        )

    def _until_loaded(self) -> str | None:
        """Wait for the sender's word on the app; its own failure to load it is why the worker would not boot."""
        self._wait(lambda: self._signs.loaded or self._signs.foreign is not None, self._deadlines.boot, worker=False)
        if self._signs.foreign is not None:
            return "foreign"
        if self._signs.loaded:
            return self._results_elsewhere()
        code = self._sender.exit_code() if self._sender is not None else None
        if code is None:
            late = f"the app did not load within {self._deadlines.boot:g} s"
            return self._fails(Failure(Stage.BOOT, late, timed_out=True))
        reason = f"loading the app ended the program with status {code} and without a word"
        return self._fails(Failure(Stage.BOOT, reason, lines=tuple(_last_lines(self._sender)[-SHOWN_LINES:])))

    def _results_elsewhere(self) -> str | None:
        """Results must not go where the project's go. Whoever asked for the trial replaces the backend; where that
        has no effect, the app is as little ours as with another broker."""
        backend = self._signs.facts.result_backend
        if backend in PROVIDED:
            return None
        if self._plan.result_url is not None:
            self._signs.foreign = f"its result backend `{backend}`"
            return "foreign"
        reason = f"results would go to `{backend}`, which is not provided here"
        return self._fails(Failure(Stage.BOOT, reason, missing=(("result backend", str(backend)),)))

    def _wait(self, condition: Callable[[], bool], deadline: float, *, worker: bool = True) -> bool:
        """Step until `condition` holds; False when it cannot any more: a failure, the deadline, or the end of a
        program (of the worker only if `worker`)."""
        end = self.now() + deadline
        while self.now() < end:
            gone = self._gone(self._sender) or (worker and self._gone(self._worker))
            self._step()
            if condition():
                return True
            if gone or self._signs.failure is not None:
                return False
        return False

    @staticmethod
    def _gone(running: Running | None) -> bool:
        return running is not None and not running.alive()

    # --- boot ----------------------------------------------------------------------------------------

    def _boot(self) -> str | None:
        if takes_network(self._plan.scenario):
            self._relay = Relay(self._place, self._environment, self._cancel)
            self._signs.also_ours(self._relay.url)
        assert self._monitor is not None
        self._monitor.listen()  # where there was a worker before, its exchange is there already
        worker = self._start_worker()
        for path in (worker.out, worker.err):
            self._tails.append((Tail(path), self._signs.worker_line))
        stands = self._wait(self._stands, self._deadlines.boot)
        if self._signs.foreign is not None:
            return "foreign"
        ended = self._until_loaded()
        if not stands and ended != "foreign":
            return self._fails(self._boot_failure())
        if ended is None:
            self._until_answers()
            self._ready_at = math.floor(self.now() * 1000) / 1000  # never after what is sent next
            self._answers, self._held = self._held is not None, None
            self._ledger.begin(self.now())
            self._signs.judging = True
        return ended

    def _start_worker(self) -> Running:
        url = self._relay.url if self._relay is not None else None
        self._worker = self._place.start(self._plan.worker_program(self._place, self._environment, url))
        return self._worker

    def _stands(self) -> bool:
        """Whether a consumer stands on every work queue there is, or on one of them and the worker says it is ready:
        a project may declare queues that its worker does not consume, such as one for dead letters."""
        assert self._monitor is not None
        if self._signs.foreign is not None:
            return True
        counts = self._standing()
        consumed = [count for count in counts if count]
        self._consumers = min(consumed, default=0)
        if not consumed or not (self._signs.ready or len(consumed) == len(counts)):
            return False
        return self._monitor.listen()

    def _standing(self) -> list[int]:
        """How many consumers stand on each work queue."""
        assert self._monitor is not None
        queues = [queue for queue in self._place.queues() if not queue.exclusive]
        names = [queue.name for queue in queues if not _INTERNAL.search(queue.name)]
        counts = self._monitor.consumers(names) if names else {}
        return [counts.get(name, 0) for name in names]

    def _until_answers(self) -> None:
        """A worker that can be asked is ready when it answers: its consumer stands before its main loop runs.

        One that never does (its main process hangs) is given as long again as its boot took, and then its probes: the
        standing consumer takes them, and what becomes of them is the symptom.
        """
        end = self.now() + min(max(ASK_DEADLINE, self.now()), self._deadlines.boot)
        while not self._gone(self._worker) and not self._gone(self._sender):
            self._ask()
            deaf = self._signs.ready and not any(_REMOTE.search(queue.name) for queue in self._place.queues())
            answered = self._held is not None and self._asked_concurrency is not None
            if answered or deaf or self.now() > end:
                return

    def _boot_failure(self) -> Failure:
        assert self._worker is not None
        code, log = self._worker.exit_code(), list(self._signs.log)
        lines = tuple(log[-SHOWN_LINES:])
        if code is None:
            late = f"no consumer stood on a queue within {self._deadlines.boot:g} s"
            return Failure(Stage.BOOT, late, lines=lines, timed_out=True)
        found = logs.last_exception(log)
        if found is None:
            return Failure(Stage.BOOT, f"the worker ended with status {code} before it was ready", lines=lines)
        reason = ": ".join(filter(None, found))
        return Failure(Stage.BOOT, reason, found[0], missing_in(*found), lines)

    # --- probes --------------------------------------------------------------------------------------

    def _concurrency(self) -> int:
        """The worker knows best, then its start line, then its settings."""
        return self._asked_concurrency or self._plan.concurrency(self._signs.facts.concurrency)

    def _scenario(self) -> str | None:
        return Play(self._plan.scenario, self, self._ledger, self._place, self._relay).run()

    def _last_wave(self) -> str | None:
        """After all that was sent is done: does the pool still serve, and does the worker count every slot as free?"""
        ended = self._watch(self.all_over) or self.send(self._concurrency()) or self._watch(self.all_over)
        if ended is not None:
            self._held = None  # what was free before it need not be now
            return ended
        return self._watch(self._slots_free)

    def _slots_free(self) -> bool:
        """By the worker's own count; a worker that cannot be asked has told the end of every task by itself."""
        if not self._answers and self._ledger.all_returned():
            return self._ledger.drained()
        self._ask()
        return self._held == 0 and self._ledger.drained()

    def all_over(self) -> bool:
        """Whether nothing more is to come of what was sent so far, nor is left but what others put where it stays."""
        stored = self._signs.facts.ignore_result is False
        if self._ledger.all_over(stored=stored):
            return True
        still = self._ledger.quiet_for(self.now()) > SETTLED
        if still and self._ledger.all_final(stored=stored) and self._look():
            self._ledger.set_aside(self._unclaimed, self._scheduled or 0)
        return False

    def send(self, count: int) -> str | None:
        """One more wave; 0: as many as prove every slot. For `lab.scenario` too, as are the methods further down."""
        self._waves += 1
        wave = self._waves
        count = count or self._plan.count(self._concurrency(), self._signs.facts.prefetch)
        probe = self._plan.probe
        if probe.script is not None:
            return self._script_wave(wave, count)
        ids = [str(uuid.uuid4()) for _ in range(count)]
        for identity in ids:
            self._ledger.sent(self.now(), identity, wave)
        if probe.sender == "harness":
            self._send_ourselves(ids)
        else:
            self._order(
                do="send",
                task=probe.task,
                args=json.loads(probe.args),
                kwargs=json.loads(probe.kwargs),
                queue=probe.queue,
                ids=ids,
                wave=wave,
            )
        return None

    def _script_wave(self, wave: int, count: int) -> str | None:
        """As the user's own file sends: what it sends becomes known as it is sent."""
        self._order(do="script", count=count, wave=wave)
        ended = self._watch(lambda: self._signs.whole == wave)
        if ended == "quiet":
            return self._fails(Failure(Stage.PROBE, "`send` of the probe file did not return; it must not wait"))
        return ended

    def _last_look(self) -> str | None:
        """Logs lag behind: what must appear in the worker's has a moment to do so when all else is complete."""
        if self._plan.probe.log_must and not self._signs.log_required:
            self._wait(lambda: self._signs.log_required > 0, LOG_LAG)
        self._wait(lambda: self._signs.web_told, WEB_LAG)
        self._look_at_memory(at_end=True)
        return None

    def _send_ourselves(self, ids: list[str]) -> None:
        """Results go to whoever sends by the project's own means, so here events and the log are the witnesses."""
        probe, facts = self._plan.probe, self._signs.facts
        self._signs.facts = replace(facts, ignore_result=True)
        everywhere = next((name for name in EVERYWHERE if name in facts.registered), EVERYWHERE[0])
        publish(
            self._place.harness_url,
            probe.queue or DEFAULT_QUEUE,
            probe.task or everywhere,
            ids,
            args=probe.args,
            kwargs=probe.kwargs,
            celery=facts.celery,
        )

    def _watch(self, done: Callable[[], bool]) -> str | None:
        """Step until `done`; otherwise why watching ended: "exit", "failure", "foreign", "quiet", "total"."""
        while True:
            self._step()
            if done():
                return None
            if self._gone(self._worker):
                self._step()
                return "exit"
            if self._signs.foreign is not None:
                return "foreign"
            if self._signs.log_forbidden:
                return "line"
            if self._gone(self._sender) or self._signs.failure is not None:
                self._step()
                return self._sender_died()
            if self._silent():
                return "quiet"
            if self.late():
                return "total"

    def _sender_died(self) -> str:
        if self._signs.failure is None:
            raise InfraError("The sender ended without a word.", "Its output is among the trial's artifacts.")
        return "failure"

    def _silent(self) -> bool:
        if self._compared_at < self._ledger.last_progress:
            return False  # whether anybody computes is not known yet
        quiet = min(self._ledger.quiet_for(self.now()), self.now() - self._worked_at)
        if quiet > self._deadlines.quiet:
            return True
        quick = self._deadlines.quick
        if quick is None or quiet <= quick or not self._look() or not self._looks_bad(self._picture("quiet")):
            return False
        # What looks like the bad end and waits elsewhere is not it: it may only be slow.
        self._dumps = self._place.dump(self._worker) if self._worker is not None else ()
        if self._looks_bad(self._picture("quiet", self._dumps)):
            return True
        self._dumps = ()
        return False

    def _look(self) -> bool:
        """Ask worker and broker for all that only asking tells; now and then, and the answer is whether it was now."""
        if self.now() < self._next_look:
            return False
        self._ask()
        self._count(closely=True)
        self._next_look = self.now() + LOOK_EVERY
        return True

    def _ask(self) -> None:
        """Ask the worker, through the sender, what it holds; a worker that does not answer leaves things unknown."""
        self._signs.asked = None
        self._order(do="ask")
        self._wait(lambda: self._signs.asked is not None, ASK_DEADLINE)
        asked: dict[str, Any] = self._signs.asked or {}
        held = asked.get("held")
        self._held = None if held is None else len(held)
        self._held_others = sum(not self._ledger.is_ours(identity) for identity in held or ())
        if asked.get("processes"):
            self._children_now = set(asked["processes"])
            self._children |= self._children_now
        later = asked.get("scheduled")
        self._scheduled = None if later is None else sum(not self._ledger.is_ours(identity) for identity in later)
        facts = self._signs.facts
        self._asked_concurrency = asked.get("concurrency") or self._asked_concurrency
        self._signs.facts = replace(
            facts,
            concurrency=self._asked_concurrency or facts.concurrency,
            prefetch=asked.get("prefetch") or facts.prefetch,
            pool=asked.get("pool") or facts.pool,
        )

    # --- what a scenario does (`lab.scenario.Hands`) -------------------------------------------------

    def until(self, done: Callable[[], bool]) -> str | None:
        return self._watch(done)

    def idle(self, seconds: float) -> None:
        end = self.now() + seconds
        while self.now() < end:
            self._step()

    def lend(self, seconds: float) -> None:
        self._lent += seconds

    def late(self) -> bool:
        return self.now() > (self._ready_at or 0.0) + self._deadlines.total + self._lent

    def leave_broker(self) -> None:
        """The sender is a client whose way back is not in question: afterwards it is a new one."""
        assert self._sender is not None
        assert self._monitor is not None
        self._sender.stop()
        self._monitor.close()
        self._monitor = None

    def return_to_broker(self) -> str | None:
        self._monitor = Monitor(self._place.harness_url)
        self._monitor.listen()
        self._signs.loaded = False
        self._start_sender()
        return self._until_loaded()

    def end_worker(self, hard: bool) -> bool:
        worker = self._worker
        assert worker is not None
        if not hard:
            worker.ask_to_end()
            hard = not self._wait(lambda: not worker.alive(), self._deadlines.quiet, worker=False)
        worker.stop()
        self._step()  # its last words
        self._wait(lambda: not any(self._standing()), GONE_DEADLINE, worker=False)
        return hard

    def start_worker(self) -> str | None:
        self._signs.ready = False
        self._signs.log.clear()
        self._start_worker()
        if self._wait(self._stands, self._deadlines.boot):
            return "foreign" if self._signs.foreign is not None else None
        return self._fails(self._boot_failure())

    # --- one step ------------------------------------------------------------------------------------

    def _step(self) -> None:
        self._cancel.check()
        if self._monitor is None:  # there is no broker at present
            self._cancel.wait(lambda: False, STEP)
        else:
            for event in self._monitor.drain(STEP):
                self._signs.event(event)
        for tail, take in self._tails:
            for line in tail.lines():
                take(line)
        if self._monitor is not None and self.now() >= self._next_count:
            self._count()
        if self._signs.judging and self.now() >= self._next_peaks:
            self._look_at_memory(at_end=False)
        if self._signs.judging and self._ledger.quiet_for(self.now()) > WORK_AFTER:
            self._look_at_work()

    def _count(self, *, closely: bool = False) -> None:
        """`closely`: with the consumers of queues in which something waits."""
        began = self.now()  # what happened while the broker was counting may be missing from its answer
        queues = [queue for queue in self._place.queues() if not _INTERNAL.search(queue.name)]
        if closely and self._monitor is not None:
            standing = self._monitor.consumers(queue.name for queue in queues if queue.ready)
            queues = [replace(queue, consumers=standing.get(queue.name)) for queue in queues]
            self._unclaimed = sum(queue.ready for queue in queues if queue.consumers == 0)
        self._ledger.counted(began, queues)
        if self._monitor is not None and self._ready_at is not None:
            self._monitor.listen()  # again, after the broker was away
        self._next_count = self.now() + COUNT_EVERY

    def _look_at_work(self) -> None:
        """Silence means nothing while somebody computes: a hang waits. One that computes for ever lasts to the end."""
        at, before = self._used
        if self._worker is None or self.now() < at + WORK_EVERY:
            return
        used = self._place.worked(self._worker)
        if used is not None and before is not None and used - before > self._place.idle * (self.now() - at):
            self._worked_at = self.now()
        if used is None or before is not None:
            self._compared_at = self.now()
        self._used = (self.now(), used)

    def _look_at_memory(self, *, at_end: bool) -> None:
        """Only where somebody asked. Of a pool process that was replaced stays what was last seen."""
        if "memory" in self._plan.probe.judges and self._worker is not None:
            for pid, peak in self._place.memory(self._worker, at_end=at_end).items():
                self._peaks[pid] = max(peak, self._peaks.get(pid, 0))
        self._next_peaks = self.now() + MEMORY_EVERY

    def _order(self, **order: Any) -> None:
        assert self._sender is not None
        self._sender.write(json.dumps(order))


def _last_lines(running: Running | None) -> list[str]:
    lines: list[str] = []
    for path in (running.out, running.err) if running is not None else ():
        with contextlib.suppress(OSError):
            lines += path.read_text("utf-8", "replace").splitlines()
    return lines


def _load() -> float:
    with contextlib.suppress(OSError):
        return round(os.getloadavg()[0], 2)
    return 0.0
