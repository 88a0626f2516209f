"""Both ends first: what good and bad look like here, how long things take, and whether the ends are what was said."""

from __future__ import annotations

from dataclasses import dataclass

from bisect_celery.core import deadline
from bisect_celery.core.judge import Signature
from bisect_celery.core.repeat import Noise, Starts
from bisect_celery.errors import EndsError
from bisect_celery.flow import supply
from bisect_celery.flow.adopt import adopted
from bisect_celery.flow.insist import Insist, passes
from bisect_celery.flow.trials import Trials
from bisect_celery.lab.plan import Plan
from bisect_celery.model import Judged, Kind, Match, Revision, Tree, Verdict
from bisect_celery.report import words
from bisect_celery.stack.brokers.redis import SCHEMES
from bisect_celery.stack.services.protocol import REDIS

# Starts of a good end that failed in one mode, to see whether it does in the other.
DOUBTED = 3
# Most starts that are spent on whether the quicker mode shows a failure that is rare.
MOST_FAST = 30


class EndsWrong(EndsError):
    """An end is not what was said. `advice` is what helps, `lines` the last of the log: for the terminal only."""

    def __init__(self, message: str, advice: tuple[str, ...] = (), lines: tuple[str, ...] = ()) -> None:
        super().__init__(message, "\n  ".join((*advice, *lines)))
        self.advice = advice
        self.lines = lines


@dataclass(frozen=True)
class Ends:
    """What the two ends showed, each tried twice where that was worth it.

    `noisy`: the bad end fails only sometimes; it disagreed with itself, or that is what the user knows.
    """

    good: Judged
    bad: Judged
    replaced_backend: str | None
    fast: bool
    noisy: bool = False


def as_tree(revision: Revision) -> Tree:
    return Tree(revision.tree, revision.short, revision.title)


class TryEnds:
    """Try both ends and hold all later trials to what they showed."""

    def __init__(
        self,
        trials: Trials,
        good: Revision,
        bad: Revision,
        *,
        match: Match,
        ceiling: float,
        diverged: bool = False,
        fails: float | None = None,
    ) -> None:
        """`diverged`: GOOD is no ancestor of BAD, so that the ends could also be meant the other way round.

        `fails`: how often a start at BAD is known to fail (None: not known).
        """
        self._trials = trials
        self._good, self._bad = good, bad
        self._match, self._ceiling, self._diverged = match, ceiling, diverged
        self._replaced: str | None = None
        self._fails = fails
        self._noisy = fails is not None and fails < 1
        self._tries = 1

    def run(self) -> Ends:
        """Raises EndsWrong when GOOD fails, BAD passes, or an end cannot be tried at all."""
        good = self._good_end()
        self._tell_of_broker(good)
        bad = self._bad_end(good)
        self._good_as_often(good)
        fast = self._faster(good, bad)
        self._trials.rejudge()
        return Ends(good, bad, self._replaced, fast, self._noisy)

    # --- good -----------------------------------------------------------------------------------------

    def _good_end(self) -> Judged:
        good = self._trials.measure(self._provided(self._trials.settled(as_tree(self._good), "good end")))
        if good.judgement.symptom.kind is Kind.COMPLETED:
            observations = (good.trial.observation,)
            self._trials.terms.deadlines = deadline.learnt(observations, self._ceiling)
            self._trials.gauge.hold_to(good)
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
                *supply.of_probes(good.trial.observation),
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

    def _tell_of_broker(self, good: Judged) -> None:
        """The app itself knows best which kind the project has, where the environment did not already say ours."""
        theirs = good.trial.observation.worker.broker_kind
        if theirs in SCHEMES and self._trials.broker != REDIS:
            self._trials.note(f"Trials run on {self._trials.broker} in place of the project's own broker, `{theirs}`.")

    def _provided(self, good: Judged) -> Judged:
        """What the first trial shows that all need is taken, the same at every tree, and the end tried again."""
        found = adopted(good.trial.observation, self._trials.terms.plan, self._trials.serve)
        if found is None:
            return good
        self._replaced = found.backend or self._replaced
        self._trials.terms.plan = found.plan
        self._trials.note(found.note)
        return self._provided(self._trials.settled(as_tree(self._good), "good end"))

    # --- bad ------------------------------------------------------------------------------------------

    def _bad_end(self, good: Judged) -> Judged:
        bad = self._trials.settled(as_tree(self._bad), "bad end")
        if bad.judgement.symptom.kind is Kind.COMPLETED:
            self._refuse_as_good_as_good(bad)
            bad = self._insist(bad)
        kind = bad.judgement.symptom.kind
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
        if self._match is Match.SAME:
            self._trials.gauge.look_for(bad)
        self._trials.terms.deadlines = deadline.quickened(self._trials.terms.deadlines, (good.trial.observation,))
        return bad

    def _refuse_as_good_as_good(self, bad: Judged) -> None:
        """Where measures were asked for, a bad end that is no worse has had its starts."""
        if self._trials.terms.standard.judges:
            raise EndsWrong(
                f"BAD {self._bad.short} completes and is no worse than GOOD: {bad.judgement.rule}.",
                ("If less than that counts as worse: `--effect PERCENT`.", *not_in_this_run()),
            )

    def _insist(self, passed: Judged) -> Judged:
        """A bad end that passes is tried on; it fails in the end, or what its passes exclude is said."""
        insist = Insist(self._trials, as_tree(self._bad), self._fails, passed)
        failing = insist.until_failure()
        self._tries = len(insist.passed) + 1
        if failing is None:
            spent = " The budget is spent." if insist.spent else ""
            rarer = f"If it fails more rarely than that, say how often: `--fails 1/{5 * insist.wanted}`."
            raise EndsWrong(
                f"{passes(insist.passed)} What differs in production is not in this run.{spent}",
                (*not_in_this_run(), rarer),
            )
        self._noisy = True
        return failing

    # --- noise ----------------------------------------------------------------------------------------

    def _good_as_often(self, good: Judged) -> None:
        """The good end gets as many starts as the bad one needed to fail once: what fails at both names nobody."""
        seen = [good.trial.observation]
        for _ in range(self._tries - 1):
            seen.append(self._good_once_more().trial.observation)
        if self._tries > 1:
            learnt = deadline.learnt(tuple(seen), self._ceiling)
            self._trials.terms.deadlines = deadline.quickened(learnt, tuple(seen))

    def _good_once_more(self) -> Judged:
        """One more start of GOOD. Raises EndsWrong when it shows BAD's failure."""
        again = self._trials.settled(as_tree(self._good), "good end")
        if again.judgement.verdict is Verdict.BAD:
            self._trials.rejudge()
            good, bad = self._starts("good end"), self._starts("bad end")
            raise EndsWrong(
                f"It fails at both ends, {again.judgement.symptom}: GOOD {self._good.short} in {good.failed} of "
                f"{good.tried} starts, BAD {self._bad.short} in {bad.failed} of {bad.tried}. Nobody can be named.",
                (
                    "If the bug is older, name an older GOOD.",
                    "If it is this machine or the broker that fails, not the code: another `--stack` or `--broker`.",
                ),
            )
        return again

    def _starts(self, purpose: str) -> Starts:
        return Starts.of(one.judgement.verdict for one in self._trials.judged if one.trial.purpose == purpose)

    # --- once more, faster ----------------------------------------------------------------------------

    def _faster(self, good: Judged, bad: Judged) -> bool:
        """Each end once more without what only costs time; taken for the search if both show the same (DESIGN 20).

        It is also the second look that shows an end that disagrees with itself.
        """
        faithful = self._trials.terms.plan
        if self._trials.terms.standard.judges:  # what is measured is not changed
            return False
        self._trials.terms.plan = faithful.faster()
        if self._good_is_same(good, faithful) and self._bad_is_same(bad, faithful):
            return True
        self._trials.terms.plan = faithful
        return False

    def _good_is_same(self, good: Judged, faithful: Plan) -> bool:
        again = self._trials.settled(as_tree(self._good), "good end")
        if again.judgement.symptom != good.judgement.symptom:
            self._keeps_them("good end")
            if again.judgement.verdict is Verdict.BAD:  # the flags' doing, or its own?
                self._trials.terms.plan = faithful
                for _ in range(DOUBTED):
                    self._good_once_more()
            return False
        seen = (good.trial.observation, again.trial.observation)
        quick = self._trials.terms.deadlines.quick
        learnt = deadline.learnt(seen, self._ceiling)
        self._trials.terms.deadlines = deadline.quickened(learnt, seen) if quick else learnt
        return True

    def _bad_is_same(self, bad: Judged, faithful: Plan) -> bool:
        """Where it passes without them, once more with them says whether that is their doing or its own."""
        again = self._trials.settled(as_tree(self._bad), "bad end")
        if again.judgement.symptom == bad.judgement.symptom:
            return True
        if again.judgement.verdict is Verdict.GOOD and not self._noisy:
            faster, self._trials.terms.plan = self._trials.terms.plan, faithful
            self._noisy = self._trials.settled(as_tree(self._bad), "bad end").judgement.verdict is Verdict.GOOD
            self._trials.terms.plan = faster
        if again.judgement.verdict is Verdict.GOOD and self._noisy and self._fails_once_more():
            return True
        self._keeps_them("bad end")
        return False

    def _fails_once_more(self) -> bool:
        """Whether a bad end that fails only sometimes does so without them: tried until it does, or surely does not."""
        needed = Noise(self._starts("good end"), self._starts("bad end")).passes_needed(alpha=0.05)
        for _ in range(min(needed, MOST_FAST) - 1):
            if self._trials.settled(as_tree(self._bad), "bad end").judgement.verdict is Verdict.BAD:
                return True
        return False

    def _keeps_them(self, end: str) -> None:
        self._trials.note(f"Without mingle and gossip the {end} differs, so every trial keeps them.")


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
    message = f"{name} {end.trial.tree.label} does not come to its probes: {words.failure(failure)}."
    raise EndsWrong(message, (*supply.advice(failure), *more), (failure.reason, *failure.lines[-5:]))


def not_in_this_run() -> tuple[str, ...]:
    """What may differ in production when the bad end passes here, each with the flag that tries it (issue 2)."""
    return (
        "Another broker or version: `--broker rabbitmq`, or an image by BISECT_CELERY_RABBITMQ_IMAGE.",
        "Production's start line: `--worker '-c 8 -Q mail,default -O fair'`.",
        "Its variables: `--env-file production.env`, `--env NAME=VALUE`, `--pass NAME`.",
        "The very message that hangs, as your broker shows it: `--message FILE`; else `--task NAME --args JSON`.",
        "Its kind of database, and its data: `--service postgres`, `--prepare 'python manage.py loaddata …'`.",
        "More messages, if it fails only sometimes: `--count 200`.",
        "State that an older revision left behind (tables, queues, messages): `--upgrade-from good`.",
        "A broker that restarts, or a connection that is cut, while the worker runs: `--scenario FILE`.",
    )
