"""One trial of one revision: for a look, or as the predicate of somebody's own `git bisect run`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from bisect_celery.core import deadline, judge, measures
from bisect_celery.core.deadline import Deadlines
from bisect_celery.core.judge import Signature, Standard
from bisect_celery.errors import UserError
from bisect_celery.flow.adopt import adopted, again
from bisect_celery.flow.ask import WORKING_TREE, Typed, request
from bisect_celery.flow.earlier import provide
from bisect_celery.flow.ends import as_tree, refuse_unusable
from bisect_celery.flow.events import Doing, Listener, Note, Tried
from bisect_celery.flow.gauge import Gauge
from bisect_celery.flow.session import Room, opened, plan_of, running, upgraded_from
from bisect_celery.home import Home
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.lab import Lab, Order
from bisect_celery.lab.plan import Plan
from bisect_celery.model import Judged, Kind, Match, Request, Symptom, Tree, Trial, Verdict
from bisect_celery.repo.ongoing import Ongoing, asked_by_git, ongoing
from bisect_celery.repo.user import open_repository
from bisect_celery.store import codec
from bisect_celery.store.database import Store

# What the first call of a bisection decides for all of them.
HELD = (
    "app", "subfolder", "start", "worker", "beside", "probe", "prepare", "python", "match", "ceiling",
    "django_settings", "scenario", "upgrade_from", "services", "migrate", "workload", "fallback",
)  # fmt: skip


@dataclass(frozen=True)
class Baseline:
    """What the ends of somebody's bisection showed, kept from its first call to its last. `adopted`: `flow.adopt`."""

    signature: Signature
    deadlines: Deadlines
    standard: Standard
    good: Tree
    adopted: tuple[str, ...] = ()


def current(folder: Path) -> str:
    """The revision to try when none is named: what an ongoing bisection is at, else HEAD."""
    bisection = ongoing(open_repository(folder))
    return bisection.at if bisection is not None else "HEAD"


def refuse_for_git() -> None:
    """Raise UserError when `git bisect run` started us and would take our success for a verdict."""
    if asked_by_git():
        raise UserError(
            "`git bisect run` reads the exit status, which without `--exit-code` says nothing about the revision.",
            "git bisect run bisect-celery try --exit-code …",
        )


def attempt(
    asked: Request, home: Home, *, in_bisection: bool, listener: Listener, cancel: Token, command: str
) -> Judged:
    """Try `asked.bad`. Within a bisection the verdict is told against its ends, which the first call tries.

    Raises UserError, InfraError, Cancelled: none of them is a verdict.
    """
    with opened(asked, home, command=command, listener=listener, cancel=cancel) as room:
        bisection = ongoing(room.repository.user) if in_bisection else None
        if bisection is not None and asked.upgrade_from == "good":
            room.request = replace(room.request, upgrade_from=bisection.good)
        upgraded_from(room)  # there is none of that name: said before anything is started
        tree = _tree(room, asked.bad)
        with running(room, as_of=_date(room, asked.bad, bisection)) as lab:
            if bisection is not None and asked.python is None:
                _hold_python(room, lab, bisection)
            provide(room, lab, plan_of(room.request))
            one = _One(room, lab, plan_of(room.request), listener)
            if bisection is None:
                return one.run(tree, deadline.before(asked.ceiling), None)
            baseline = one.baseline(bisection, asked)
            return one.settled(tree, baseline)


def _tree(room: Room, name: str) -> Tree:
    if name == WORKING_TREE:
        return room.repository.working_tree()
    return as_tree(room.revision(name))


def _date(room: Room, name: str, bisection: Ongoing | None) -> str:
    """As of when what is not pinned is resolved: one date a bisection, that of its bad end (DESIGN 15)."""
    if bisection is None:
        return room.revision("HEAD" if name == WORKING_TREE else name).date
    key = f"date of bisection {bisection.identity}"
    kept = room.store.baseline_get(key)  # the bad end moves as the bisection goes on
    if not isinstance(kept, str):
        kept = room.revision(bisection.bad).date
        room.store.baseline_put(key, kept)
    return kept


def _hold_python(room: Room, lab: Lab, bisection: Ongoing) -> None:
    """One interpreter a bisection, that of its bad end when it began (DESIGN 15)."""
    key = f"python of bisection {bisection.identity} in {lab.stack.facts.name}"
    kept = room.store.baseline_get(key)
    if not isinstance(kept, str):
        kept = lab.choose_python(room.revision(bisection.bad).tree, room.request.subfolder)
        if kept is None:
            return
        room.store.baseline_put(key, kept)
    lab.python = kept


def held_terms(typed: Typed, home: Home) -> Request:
    """What to try, on the terms of the bisection's first call: the trees that git checks out have no say in them.

    Variables and overlays are today's, since their values are never kept.
    """
    bisection = ongoing(open_repository(typed.folder))
    if bisection is None:
        return request(typed, home)
    key = f"terms of bisection {bisection.identity}"
    with Store.open(home.make().database) as store:
        kept = store.baseline_get(key)
        typed = replace(typed, compose_at=_compose_at(store, bisection))
        if kept is None:
            asked = request(typed, home)
            bare = replace(
                asked, environment=(), secrets=(), overlays=(), sources=(), worker_image=None, companions=(),
                worker_files=(),
            )  # fmt: skip
            store.baseline_put(key, cast(Any, codec.encode(bare)))
            return asked
    first = codec.decode(Request, kept)
    asked = request(replace(typed, flags={**typed.flags, "app": first.app}), home)
    held = {name: getattr(first, name) for name in HELD}
    return replace(asked, **held)


def _compose_at(store: Store, bisection: Ongoing) -> str:
    """The revision whose compose file all trials have: the bad end of the first call, since that end moves."""
    key = f"compose of bisection {bisection.identity}"
    kept = store.baseline_get(key)
    if not isinstance(kept, str):
        kept = bisection.bad
        store.baseline_put(key, kept)
    return kept


class _One:
    """Trials outside a session's record, numbered for their artifacts only."""

    def __init__(self, room: Room, lab: Lab, plan: Plan, listener: Listener) -> None:
        self._room, self._lab, self._plan, self._listener = room, lab, plan, listener
        self._number = 0
        self._standard = judge.standard_of(plan.probe)
        self._made: list[Trial] = []
        self.adopted: tuple[str, ...] = ()
        self.gauge = Gauge(
            self._standard,
            run=lambda tree, purpose: self.run(tree, self._deadlines, None, purpose),
            trials=lambda: self._made,
            plain=lambda seen: judge.symptom(seen, self._standard),
            note=lambda text: listener(Note(text)),
        )

    def run(self, tree: Tree, deadlines: Deadlines, signature: Signature | None, purpose: str = "try") -> Judged:
        self._number += 1
        self._deadlines = deadlines
        standard = self._standard
        self._listener(Doing(f"{tree.label} {tree.title}".strip(), purpose))
        made = self._lab.make(
            Order(
                f"{self._number:04d}-{tree.sha[:10]}",
                tree,
                self._plan,
                deadlines,
                lambda picture: judge.resembles(judge.symptom(picture, standard), signature),
            )
        )
        self._listener(Doing(""))
        trial = Trial(
            self._number,
            tree,
            made.observation,
            purpose=purpose,
            seconds=made.seconds,
            artifacts=str(made.artifacts),
        )
        working = signature is None and purpose != "bad end"
        found = adopted(made.observation, self._plan, self._lab.serve, good=working)
        if found is not None:
            self._plan = found.plan
            self.adopted += (found.kind,)
            self._listener(Note(found.note))
            return self.run(tree, deadlines, signature, purpose)
        self._made.append(trial)
        judged = self._judged(trial, signature)
        self._listener(Tried(judged))
        return judged

    def _judged(self, trial: Trial, signature: Signature | None) -> Judged:
        seen = self.gauge.seen(trial)
        return Judged(trial, judge.verdict(seen, signature) if signature else judge.at_end(seen))

    def _compared(self, judged: Judged, signature: Signature | None = None) -> Judged:
        """Held against the good end's measures, where any were asked for."""
        tree, purpose = judged.trial.tree, judged.trial.purpose
        judged = self.gauge.settle(
            judged,
            lambda: self.run(tree, self._deadlines, signature, purpose),
            lambda trial: self._judged(trial, signature),
        )
        return self._judged(judged.trial, signature)

    def _measured(self, good: Judged) -> Judged:
        """Hold this and all later trials to what the good end shows to be usual."""
        self._standard = judge.measured(self._standard, good.trial.observation)
        return Judged(good.trial, judge.at_end(judge.symptom(good.trial.observation, self._standard)))

    def _kept(self) -> Standard:
        """What the good end is held to, its measures included."""
        measured = self.gauge.standard
        return replace(self._standard, latency=measured.latency, memory=measured.memory, apart=measured.apart)

    def settled(self, tree: Tree, baseline: Baseline) -> Judged:
        self._standard = baseline.standard
        self.gauge.held_to(baseline.good, baseline.standard)
        judged = self.run(tree, baseline.deadlines, baseline.signature)
        if judged.judgement.symptom.kind is Kind.UNKNOWN and not measures.wants_more(judged.judgement, 1):
            judged = self.run(tree, baseline.deadlines, baseline.signature)
        return self._compared(judged, baseline.signature)

    # --- somebody's bisection ---------------------------------------------------------------------------

    def baseline(self, bisection: Ongoing, request: Request) -> Baseline:
        """What this bisection's ends showed: kept from its first call, else tried now."""
        key = self._key(bisection)
        kept = self._room.store.baseline_get(key)
        if kept is not None:
            baseline = _decoded(kept)
            self._plan = again(baseline.adopted, self._plan, self._lab.serve)
            return baseline
        baseline = self._try_ends(bisection, request)
        self._room.store.baseline_put(key, _encoded(baseline))
        return baseline

    def _key(self, bisection: Ongoing) -> str:
        """One bisection under one set of terms: another probe or worker is another baseline."""
        before = upgraded_from(self._room)
        terms = [before.tree if before is not None else None]
        terms += [bisection.identity, str(self._plan), self._lab.stack.facts.name, self._lab.stack.facts.broker]
        return "baseline 2 " + hashlib.sha256(self._room.store.fingerprint(json.dumps(terms)).encode()).hexdigest()

    def _try_ends(self, bisection: Ongoing, request: Request) -> Baseline:
        self._listener(Note("The first call of this bisection tries its ends, and keeps them for the next."))
        good_tree, bad_tree = (as_tree(self._room.revision(name)) for name in (bisection.good, bisection.bad))
        good = self._measured(self.run(good_tree, deadline.before(request.ceiling), None, "good end"))
        refuse_unusable(good, "GOOD")
        if good.judgement.symptom.kind is not Kind.COMPLETED:
            raise UserError(
                f"The good end of this bisection fails here: {good.judgement.symptom}, {good.judgement.rule}.",
                f"Look at it alone: `bisect-celery try {good_tree.label}`.",
            )
        learnt = deadline.learnt((good.trial.observation,), request.ceiling)
        self._deadlines = learnt
        self.gauge.hold_to(good)
        bad = self._compared(self.run(bad_tree, learnt, None, "bad end"))
        if bad.judgement.verdict is not Verdict.BAD:
            raise UserError(
                f"The bad end of this bisection does not fail here: {bad.judgement.rule}.",
                f"Look at it alone: `bisect-celery try {bad_tree.label}`.",
            )
        signature = Signature(bad.judgement.symptom, request.match)
        if request.match is Match.SAME:
            self.gauge.look_for(bad)
        deadlines = deadline.quickened(learnt, (good.trial.observation,))
        return Baseline(signature, deadlines, self._kept(), good_tree, self.adopted)


def _encoded(baseline: Baseline) -> Any:
    return {
        "symptom": codec.encode(baseline.signature.bad),
        "match": str(baseline.signature.match),
        "deadlines": codec.encode(baseline.deadlines),
        "standard": codec.encode(baseline.standard),
        "good": codec.encode(baseline.good),
        "adopted": list(baseline.adopted),
    }


def _decoded(kept: Any) -> Baseline:
    symptom = codec.decode(Symptom, kept["symptom"])
    deadlines, standard = codec.decode(Deadlines, kept["deadlines"]), codec.decode(Standard, kept["standard"])
    good, taken = codec.decode(Tree, kept["good"]), tuple(kept.get("adopted", ()))
    return Baseline(Signature(symptom, Match(kept["match"])), deadlines, standard, good, taken)
