"""What the workers say of themselves when asked, through the sender: what they hold, and their pools' processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bisect_celery.core.ledger import Ledger
from bisect_celery.lab.loop import Loop
from bisect_celery.lab.sender import Sender
from bisect_celery.lab.signs import Signs
from bisect_celery.lab.worker import Worker

ASK_DEADLINE = 5.0
# Between questions that are asked until the answer is the one that is waited for. The longest leaves time enough
# between two of them to see whether anybody computes (`lab.looks`).
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.2


class Answers:
    """The last answer's `held` (pool slots it counts as busy), `held_others` (those of them that run tasks of others)
    and `scheduled` (tasks of others that it keeps for later); None: no answer. `concurrency` stays from one to the
    next."""

    def __init__(
        self, worker: Worker, sender: Sender, ledger: Ledger, signs: Signs, loop: Loop,
        said_pool: str | None = None, asked: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`said_pool` is the pool that the start line names, for workers that do not tell theirs. `asked` is called
        after each question: to answer it is work, which is none of the tasks'."""
        self.held: int | None = None
        self.held_others = 0
        self.scheduled: int | None = None
        self.concurrency: int | None = None
        self._children: set[object] = set()
        self._children_now: set[object] = set()
        self._worker, self._sender, self._ledger = worker, sender, ledger
        self._signs, self._loop = signs, loop
        self._said_pool, self._asked = said_pool, asked
        self._answered = False
        self._next, self._pause = 0.0, FIRST_PAUSE

    def ask_again(self) -> None:
        """Ask, where the last time is long enough ago: each time twice as long as before."""
        if self._loop.now() >= self._next:
            self.ask()
            self._next = self._loop.now() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def ask(self, within: float | None = None) -> None:
        """A worker that does not answer, `within` seconds if that is said, leaves things unknown."""
        self._sender.ask(within)
        self._loop.wait(lambda: self._signs.asked is not None, ASK_DEADLINE, self._sender, self._worker)
        asked: dict[str, Any] = self._signs.asked or {}
        held = asked.get("held")
        self.held = None if held is None else len(held)
        self.held_others = self._of_others(held or ())
        later = asked.get("scheduled")
        self.scheduled = None if later is None else self._of_others(later)
        if asked.get("processes"):
            self._children_now = set(asked["processes"])
            self._children |= self._children_now
        self._learn(asked)
        self._asked()

    def complete(self) -> bool:
        """Whether all that was asked was answered."""
        return self.held is not None and self._answered

    def _of_others(self, ids: list[str] | tuple[str, ...]) -> int:
        return sum(not self._ledger.is_ours(identity) for identity in ids)

    def _learn(self, asked: dict[str, Any]) -> None:
        facts = self._signs.facts
        self._answered = asked.get("pool") is not None
        self.concurrency = asked.get("concurrency") or self.concurrency
        self._signs.facts = replace(
            facts,
            concurrency=self.concurrency or facts.concurrency,
            prefetch=asked.get("prefetch") or facts.prefetch,
            pool=asked.get("pool") or facts.pool or self._said_pool,
        )

    def children_gone(self) -> int:
        """How many pool processes it named once, and when it was last asked no more."""
        return len(self._children - self._children_now)
