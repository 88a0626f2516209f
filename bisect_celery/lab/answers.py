"""What the workers say of themselves when asked, through the sender: what they hold, and their pools' processes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bisect_celery.core.ledger import Ledger
from bisect_celery.lab.loop import Loop
from bisect_celery.lab.sender import Sender
from bisect_celery.lab.signs import Signs
from bisect_celery.lab.worker import Worker

ASK_DEADLINE = 5.0


class Answers:
    """The last answer's `held` (pool slots it counts as busy), `held_others` (those of them that run tasks of others)
    and `scheduled` (tasks of others that it keeps for later); None: no answer. `concurrency` stays from one to the
    next."""

    def __init__(self, worker: Worker, sender: Sender, ledger: Ledger, signs: Signs, loop: Loop) -> None:
        self.held: int | None = None
        self.held_others = 0
        self.scheduled: int | None = None
        self.concurrency: int | None = None
        self._children: set[object] = set()
        self._children_now: set[object] = set()
        self._worker, self._sender, self._ledger = worker, sender, ledger
        self._signs, self._loop = signs, loop

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

    def complete(self) -> bool:
        """Whether all that was asked was answered."""
        return self.held is not None and self.concurrency is not None

    def _of_others(self, ids: list[str] | tuple[str, ...]) -> int:
        return sum(not self._ledger.is_ours(identity) for identity in ids)

    def _learn(self, asked: dict[str, Any]) -> None:
        facts = self._signs.facts
        self.concurrency = asked.get("concurrency") or self.concurrency
        self._signs.facts = replace(
            facts,
            concurrency=self.concurrency or facts.concurrency,
            prefetch=asked.get("prefetch") or facts.prefetch,
            pool=asked.get("pool") or facts.pool,
        )

    def children_gone(self) -> int:
        """How many pool processes it named once, and when it was last asked no more."""
        return len(self._children - self._children_now)
