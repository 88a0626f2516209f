"""The judge: facts in, symptom and verdict out. Pure; every rule is a small function with its reason in words.

`symptom` says what one trial's facts look like (the rules are in `failures`, `succeeded` and `unfinished`), `verdict`
compares that with what the two ends showed. A verdict needs a positive final fact (DESIGN 9): what merely was not seen
is `unknown`, which is tried again and then skipped, never good and never bad.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bisect_celery.core import failures, solo, succeeded, unfinished
from bisect_celery.core.frames import parent_waits_in, tasks_wait_in
from bisect_celery.core.standard import ANY, Seen, Standard, measured, standard_of, told
from bisect_celery.core.succeeded import BY_THE_WEB, all_returned
from bisect_celery.model import Judgement, Kind, Match, Observation, Symptom, Verdict

__all__ = [
    "ANY",
    "BY_THE_WEB",
    "Seen",
    "Signature",
    "Standard",
    "all_returned",
    "at_end",
    "measured",
    "resembles",
    "standard_of",
    "symptom",
    "verdict",
]

_Rule = Callable[[Observation, Standard], Seen | None]


@dataclass(frozen=True)
class Signature:
    """What good and bad look like in this session, from its own ends."""

    bad: Symptom
    match: Match = Match.SAME


# --- symptom -----------------------------------------------------------------------------------------

_RULES: tuple[_Rule, ...] = (
    failures.not_redirected,
    failures.no_pool,
    failures.never_ran,
    failures.not_sent,
    failures.not_readable,
    failures.forbidden_line,
    failures.not_booted,
    failures.died,
    failures.unregistered,
    failures.failed,
    failures.refused,
    failures.redelivered,
    failures.wrong,
    failures.disapproved,
    failures.unmet,
    succeeded.all_succeeded,
    unfinished.unfinished,
)
# What hangs, hangs somewhere: in a process that holds a task, or in the main process that should have passed it on.
_HANGS = frozenset({Kind.STUCK_IN_TASK, Kind.EXECUTED_NOT_ACKED, Kind.SLOT_LOST})


def symptom(seen: Observation, standard: Standard = ANY) -> Seen:
    """What the facts look like, held to a standard."""
    for rule in _RULES:
        if (found := rule(seen, standard)) is not None:
            return _placed(found, seen)
    return told(Kind.UNKNOWN, "the facts fit no rule")


def _placed(found: Seen, seen: Observation) -> Seen:
    """With what it waits in, where dumps tell. Never more than a further name of what is already known (DESIGN 16)."""
    if found.symptom.kind in _HANGS and not (found.symptom.template or "").startswith("retry"):  # that hangs nowhere
        where = tasks_wait_in(seen.dumps) or _before_the_task(seen)
    elif found.symptom.kind is Kind.NEVER_RECEIVED or _never_ready(found, seen):
        where = parent_waits_in(seen.dumps)
    else:
        where = None
    return found if where is None else replace(found, symptom=replace(found.symptom, where=where))


def _never_ready(found: Seen, seen: Observation) -> bool:
    return found.symptom.kind is Kind.BOOT_FAILED and seen.failure is not None and seen.failure.timed_out


def _before_the_task(seen: Observation) -> str | None:
    """Where a main process that runs its tasks itself hangs outside of any: only where it stands tells that."""
    place = parent_waits_in(seen.dumps) if solo.hangs(seen) else None
    return place and f"outside of its tasks: {place}"


# --- verdict -----------------------------------------------------------------------------------------

_SKIPPED_KINDS = frozenset({Kind.BOOT_FAILED, Kind.ENVIRONMENT_FAILED})
# Neither ever tells two revisions apart, even when the bad end shows it too.
_NEVER_JUDGED = frozenset({Kind.UNKNOWN, Kind.BROKER_NOT_REDIRECTED})


def verdict(seen: Seen, signature: Signature) -> Judgement:
    """Good, bad or skip, given what the session's ends showed."""
    found = seen.symptom
    if found.kind is Kind.COMPLETED:
        return Judgement(Verdict.GOOD, found, seen.rule)
    if found.kind in _NEVER_JUDGED:
        return Judgement(Verdict.SKIP, found, seen.rule)
    if _beside(found) and not _beside(signature.bad) and signature.match is Match.SAME:
        return Judgement(Verdict.GOOD, found, f"{seen.rule}: not the failure that is looked for")
    if found.same_failure(signature.bad):
        return Judgement(Verdict.BAD, found, seen.rule)
    if found.kind in _SKIPPED_KINDS:
        return Judgement(Verdict.SKIP, found, seen.rule)
    if signature.match is Match.ANY:
        return Judgement(Verdict.BAD, found, f"{seen.rule} (any failure counts)")
    return Judgement(Verdict.SKIP, found, f"fails differently: {seen.rule}")


def _beside(symptom: Symptom) -> bool:
    """Whether all that was sent did complete, and what is wrong is beside the probe: for whoever looks for that."""
    return symptom.kind is Kind.NEVER_RECEIVED and symptom.template in BY_THE_WEB


def at_end(seen: Seen) -> Judgement:
    """The judgement of an end's own trial, before a signature exists: completed or not."""
    if seen.symptom.kind is Kind.COMPLETED:
        return Judgement(Verdict.GOOD, seen.symptom, seen.rule)
    known = seen.symptom.kind not in _NEVER_JUDGED
    return Judgement(Verdict.BAD if known else Verdict.SKIP, seen.symptom, seen.rule)


def resembles(picture: Seen, signature: Signature | None) -> bool:
    """Whether a trial that is still running already looks like the bad end, so that silence means more."""
    if signature is None or picture.symptom.kind in _NEVER_JUDGED:
        return False
    return picture.symptom.same_failure(signature.bad)
