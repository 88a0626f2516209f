"""Both ends first: what good and bad look like here, how long things take, and whether the ends are what was said."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from bisect_celery.core import deadline
from bisect_celery.core.judge import Signature
from bisect_celery.errors import EndsError
from bisect_celery.flow.trials import Trials
from bisect_celery.lab.plan import PROVIDED, REPLACEMENT, Plan
from bisect_celery.model import Judged, Kind, Match, Observation, Revision, Stage, Tree
from bisect_celery.report import words


class EndsWrong(EndsError):
    """An end is not what was said. `advice` is what helps, `lines` the last of the log: for the terminal only."""

    def __init__(self, message: str, advice: tuple[str, ...] = (), lines: tuple[str, ...] = ()) -> None:
        super().__init__(message, "\n  ".join((*advice, *lines)))
        self.advice = advice
        self.lines = lines


@dataclass(frozen=True)
class Ends:
    """What the two ends showed, each tried twice where that was worth it."""

    good: Judged
    bad: Judged
    replaced_backend: str | None
    fast: bool


def as_tree(revision: Revision) -> Tree:
    return Tree(revision.tree, revision.short, revision.title)


class TryEnds:
    """Try both ends and hold all later trials to what they showed."""

    def __init__(
        self, trials: Trials, good: Revision, bad: Revision, *, match: Match, ceiling: float, diverged: bool = False
    ) -> None:
        """`diverged`: GOOD is no ancestor of BAD, so that the ends could also be meant the other way round."""
        self._trials = trials
        self._good, self._bad = good, bad
        self._match, self._ceiling, self._diverged = match, ceiling, diverged
        self._replaced: str | None = None

    def run(self) -> Ends:
        """Raises EndsWrong when GOOD fails, BAD passes, or an end cannot be tried at all."""
        good = self._good_end()
        bad = self._bad_end(good)
        fast = self._faster(good, bad)
        self._trials.rejudge()
        return Ends(good, bad, self._replaced, fast)

    # --- good -----------------------------------------------------------------------------------------

    def _good_end(self) -> Judged:
        good = self._provided(self._trials.settled(as_tree(self._good), "good end"))
        if good.judgement.symptom.kind is Kind.COMPLETED:
            observations = (good.trial.observation,)
            self._trials.terms.deadlines = deadline.learnt(observations, self._ceiling)
            return good
        refuse_unusable(good, "GOOD")
        bad = self._trials.settled(as_tree(self._bad), "bad end")
        if bad.judgement.symptom.kind is Kind.COMPLETED:
            raise EndsWrong(
                f"GOOD {self._good.short} fails here ({good.judgement.symptom}) and BAD {self._bad.short} completes.",
                self._other_way_round(),
            )
        raise EndsWrong(
            f"GOOD {self._good.short} fails here too: {good.judgement.symptom}, {good.judgement.rule}.",
            (
                f"Try it alone and look at its log: `bisect-celery try {self._good.short}`.",
                "If it fails for want of something, give it: `--env`, `--env-file`, `--overlay`, `--prepare`.",
                f"If its tasks take long, say how long: `--ceiling SECONDS` ({self._ceiling:g} now).",
                "If the bug is older, name an older GOOD.",
            ),
        )

    def _other_way_round(self) -> tuple[str, ...]:
        older = f"It was mended between them; for what broke it: `bisect-celery run OLDER-GOOD {self._good.short}`."
        swapped = f"If they were swapped: `bisect-celery run {self._bad.short} {self._good.short}`."
        return (swapped, older) if self._diverged else (older,)

    def _provided(self, good: Judged) -> Judged:
        """A result backend that we cannot provide is replaced, the same at every tree, and the end tried again."""
        replaced = replaced_backend(good.trial.observation, self._trials.terms.plan)
        if replaced is None:
            return good
        self._replaced = good.trial.observation.worker.result_backend
        self._trials.terms.plan = replaced
        self._trials.note(backend_note(self._replaced))
        return self._trials.settled(as_tree(self._good), "good end")

    # --- bad ------------------------------------------------------------------------------------------

    def _bad_end(self, good: Judged) -> Judged:
        bad = self._trials.settled(as_tree(self._bad), "bad end")
        kind = bad.judgement.symptom.kind
        if kind is Kind.COMPLETED:
            raise EndsWrong(self._passes(bad), not_in_this_run())
        if kind is Kind.BROKER_NOT_REDIRECTED:
            refuse_unusable(bad, "BAD")
        if kind is Kind.UNKNOWN:
            raise EndsWrong(
                f"BAD {self._bad.short} showed neither success nor failure: {bad.judgement.rule}.",
                ("Declare what success leaves behind: `--done-log PATTERN`, or a task that keeps its result.",),
            )
        failure = bad.trial.observation.failure
        if failure is not None and failure.missing and self._match is Match.SAME:
            refuse_unusable(bad, "BAD", "If that is the failure you look for: `--match any`.")
        signature = Signature(bad.judgement.symptom, self._match)
        self._trials.terms.signature = signature
        self._trials.terms.deadlines = deadline.quickened(self._trials.terms.deadlines, (good.trial.observation,))
        return bad

    def _passes(self, bad: Judged) -> str:
        count = len([message for message in bad.trial.observation.messages if message.wave == 1])
        return f"BAD completes {count} of {count} here; what differs in production is not in this run."

    # --- once more, faster ----------------------------------------------------------------------------

    def _faster(self, good: Judged, bad: Judged) -> bool:
        """Each end once more without what only costs time; taken for the search if both show the same (DESIGN 20)."""
        faithful = self._trials.terms.plan
        self._trials.terms.plan = faithful.faster()
        for first, revision, purpose in ((good, self._good, "good end"), (bad, self._bad, "bad end")):
            again = self._trials.settled(as_tree(revision), purpose)
            if again.judgement.symptom != first.judgement.symptom:
                self._trials.terms.plan = faithful
                self._trials.note(f"Without mingle and gossip the {purpose} differs, so every trial keeps them.")
                return False
            if revision is self._good:
                seen = (first.trial.observation, again.trial.observation)
                quick = self._trials.terms.deadlines.quick
                learnt = deadline.learnt(seen, self._ceiling)
                self._trials.terms.deadlines = deadline.quickened(learnt, seen) if quick else learnt
        return True


FLAGS = {
    "variable": "`--env {name}=VALUE`, `--env-file FILE` or `--pass {name}`",
    "module": "`--overlay FILE` if it is a file that is not committed, or its package in the requirements",
    "host": "`--env` for the variable that names this host; other services are not provided",
    "package": "a base image or machine that has this system library",
    "file": "`--overlay FILE:{name}`",
    "python": "`--python VERSION`",
    "program": "a base image or machine that has this program",
    "header": "a base image or machine that has this library's headers",
}


def replaced_backend(seen: Observation, plan: Plan) -> Plan | None:
    """The plan with results in the broker, where a trial showed that the project's backend cannot be provided."""
    if seen.worker.result_backend in PROVIDED or plan.result_url is not None:
        return None
    return dataclasses.replace(plan, result_url=REPLACEMENT)


def backend_note(backend: str | None) -> str:
    return f"Results go to {REPLACEMENT} in every trial: the project's `{backend}` is not provided here."


def refuse_unusable(end: Judged, name: str, *more: str) -> None:
    """Raise EndsWrong when an end never came to its probes: what is missing, and the flag that supplies it."""
    failure = end.trial.observation.failure
    if failure is None:
        if end.judgement.symptom.kind is Kind.BROKER_NOT_REDIRECTED:
            raise EndsError(
                f"{name} talks to another broker: {end.judgement.rule}.",
                "Name the variable its settings read: `--env NAME={broker_url}`, or copy in settings with `--overlay`.",
            )
        return
    advice = [
        f"missing {kind} `{missing}`: {FLAGS.get(kind, 'see its log').format(name=missing)}."
        for kind, missing in failure.missing
    ]
    if failure.stage is Stage.ENVIRONMENT:
        advice.append("Another interpreter: `--python VERSION`. Pins of your own: `--overlay FILE:requirements.txt`.")
    message = f"{name} {end.trial.tree.label} does not come to its probes: {words.failure(failure)}."
    raise EndsWrong(message, (*advice, *more), (failure.reason, *failure.lines[-5:]))


def not_in_this_run() -> tuple[str, ...]:
    """What may differ in production when the bad end passes here, each with the flag that tries it (issue 2)."""
    return (
        "Another broker or version: `--broker rabbitmq`, or an image by BISECT_CELERY_RABBITMQ_IMAGE.",
        "Production's start line: `--worker '-c 8 -Q mail,default -O fair'`.",
        "Its variables: `--env-file production.env`, `--env NAME=VALUE`, `--pass NAME`.",
        "The very message that hangs: `--task NAME --args JSON --kwargs JSON`.",
        "Its data: `--prepare 'python manage.py loaddata …'`, `--env DATABASE_URL=…`.",
        "More messages, if it fails only sometimes: `--count 200`.",
        "State that an older revision left behind: make it with `--prepare`, until there is a flag of its own.",
    )
