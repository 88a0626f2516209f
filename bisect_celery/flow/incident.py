"""A whole incident, from GOOD and BAD to the report: the steps in order."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from pathlib import Path

from bisect_celery.core.judge import Signature
from bisect_celery.errors import Cancelled, EndsError, InfraError, UserError
from bisect_celery.flow.confirm import CONFIRMING, contradictions
from bisect_celery.flow.contradicted import Contradicted, measured_apart
from bisect_celery.flow.differences import differences
from bisect_celery.flow.earlier import difference, provide
from bisect_celery.flow.endings import Endings, left_by
from bisect_celery.flow.ends import Ends, EndsWrong, TryEnds
from bisect_celery.flow.events import Listener, Note, Range
from bisect_celery.flow.how_long import to_go
from bisect_celery.flow.hunt import Hunt
from bisect_celery.flow.narrow import narrowed
from bisect_celery.flow.particulars import project_versions, task_candidates, versions
from bisect_celery.flow.reopen import keep_request, resolved
from bisect_celery.flow.session import Room, opened, plan_of, running, trials_of, upgraded_from
from bisect_celery.flow.start_line import blamed, differing
from bisect_celery.flow.trials import BudgetSpent, Trials
from bisect_celery.flow.weigh import Weigh
from bisect_celery.home import Home
from bisect_celery.lab.cancel import Token
from bisect_celery.lab.earlier import Earlier
from bisect_celery.lab.lab import Lab
from bisect_celery.model import (
    Outcome,
    Request,
    Revision,
    Session,
)
from bisect_celery.report.build import build
from bisect_celery.report.render import write

# Where it is measured, a tree takes so many starts, controls included.
MEASURED_STARTS = 5


@dataclass(frozen=True)
class Ended:
    """A session that came to its end, where its report is, and the folder of all that it leaves."""

    session: Session
    report: Path
    folder: Path
    infra: InfraError | None = None


def investigate(
    request: Request,
    home: Home,
    *,
    command: str,
    listener: Listener,
    cancel: Token,
    session_id: str | None = None,
) -> Ended:
    """The whole way of `run`. Raises UserError for input that cannot be used; any other end is an outcome."""
    with opened(request, home, command=command, listener=listener, cancel=cancel, session_id=session_id) as room:
        good, bad = room.revision(request.good), room.revision(request.bad)
        between = room.repository.check_ends(
            good, bad, request.paths, request.first_parent, (request.good, request.bad)
        )
        room.session = replace(
            room.session, good=good, bad=bad, versions=versions(), command=resolved(command, request, good, bad)
        )
        if between.kind == "diverged":
            listener(Note("GOOD is no ancestor of BAD: git tries their merge base first."))
        if session_id is None:
            # By sha from here on: `HEAD` may be another commit when the session goes on.
            before = upgraded_from(room)
            room.request = replace(
                request, good=good.sha, bad=bad.sha, upgrade_from=before.sha if before is not None else None
            )
            keep_request(room)
            room.store.begin(room.session)
        span = Range(between.count, between.steps, good.short, bad.short)
        bases = between.merge_bases if between.kind == "diverged" else ()
        return Investigation(room, good, bad, span, bases).run()


class Investigation:
    """One incident in an open session."""

    def __init__(
        self, room: Room, good: Revision, bad: Revision, between: Range, merge_bases: tuple[Revision, ...] = ()
    ) -> None:
        """`merge_bases`: of GOOD and BAD, where GOOD is no ancestor of BAD."""
        self._room, self._good, self._bad, self._between = room, good, bad, between
        self._merge_bases = merge_bases
        # One date for everything that no lock pins: the later end's, so that neither end misses what it needs.
        self._as_of = max(good, bad, key=lambda end: datetime.datetime.fromisoformat(end.date)).date
        self._trials: Trials | None = None
        self._hunt: Hunt | None = None
        self._contradicted: Contradicted | None = None
        self._infra: InfraError | None = None
        self._signature: Signature | None = None
        self._earlier: Earlier | None = None
        self._endings = Endings(room, good, bad)

    def run(self) -> Ended:
        try:
            with running(self._room, as_of=self._as_of) as lab:
                self._pin(lab)
                self._room.save(stack=lab.stack.facts)
                self._room.listener(self._between)
                self._steps(lab)
        except EndsWrong as wrong:
            for line in wrong.lines:
                self._room.listener(Note(f"    {line}"))
            self._endings.end(Outcome.ENDS_WRONG, wrong.message, advice=wrong.advice)
        except EndsError as wrong_ends:
            self._endings.end(Outcome.ENDS_WRONG, wrong_ends.message, advice=(wrong_ends.hint,))
        except UserError:
            self._forget()
            raise
        except BudgetSpent:
            self._endings.budget_spent(self._weigh, self._suspects())
        except InfraError as infra:
            self._infra = infra
            advice = tuple(filter(None, (infra.hint, self._endings.go_on())))
            self._endings.end(Outcome.INFRA, infra.message, advice=advice)
        except Cancelled:
            self._endings.end(Outcome.INTERRUPTED, "Interrupted before the end.", advice=(self._endings.go_on(),))
        return self._report()

    def _pin(self, lab: Lab) -> None:
        """Hold to this stack and to one interpreter, the bad end's, also when the session goes on another day."""
        facts = lab.stack.facts
        python = self._room.request.python or lab.choose_python(self._bad.tree, self._room.request.subfolder)
        if lab.python_doubt is not None:
            self._room.listener(Note(lab.python_doubt))
        self._room.request = replace(self._room.request, stack=facts.name, broker=facts.broker, python=python)
        keep_request(self._room)

    def _forget(self) -> None:
        """Nothing was found out, and nothing can go on: the request, with its values, must not stay."""
        self._endings.forget_private()
        if not self._room.store.trials(self._room.session.id):
            self._room.store.delete(self._room.session.id)

    def _steps(self, lab: Lab) -> None:
        plan = plan_of(self._room.request)
        self._earlier = provide(self._room, lab, plan, keep=True)
        trials = self._trials = self._endings.trials = trials_of(self._room, lab, plan, as_of=self._as_of)
        lines = self._endings.lines = differing(self._room, self._good, self._bad)
        if lines is not None:
            self._room.listener(Note(lines.note()))
        try:
            ends = self._try_ends(trials)
        except EndsWrong as wrong:
            told = blamed(lines, self._room, trials, self._good, self._bad) if lines is not None else None
            raise told or wrong from wrong
        self._remember_ends(lab, trials, ends)
        self._signature = trials.terms.signature
        if ends.noisy:
            self._weigh_up(trials, "BAD fails only sometimes.")
            return
        self._estimate(trials)
        hunt = self._hunt = Hunt(
            self._room.repository, trials, self._room.request, self._room.cancel, self._room.listener
        )
        self._endings.answers = hunt.answers
        hunted = hunt.run(self._good, self._bad, {self._good.sha: ends.good, self._bad.sha: ends.bad})
        self._room.save(bisect_log=hunted.log)
        culprit = None if hunted.unsure_parents else hunted.culprit
        self._endings.remember_skipped(hunted.skipped, culprit, left_by(hunted))
        if hunted.doubts:
            self._weigh_up(trials, hunted.doubts[0])
            return
        if hunted.culprit is None or hunted.bad_parents or hunted.unsure_parents:
            self._endings.without_culprit(hunted)
            return
        self._narrow(hunted.culprit, trials)

    def _try_ends(self, trials: Trials) -> Ends:
        return TryEnds(
            trials,
            self._good,
            self._bad,
            match=self._room.request.match,
            ceiling=self._room.request.ceiling,
            diverged=bool(self._room.repository.suspects([self._bad], self._good)),
            fails=self._room.request.fails,
        ).run()

    def _estimate(self, trials: Trials) -> None:
        """How long it will take, from what the ends took: the search, about as many to narrow, and confirmation."""
        each = trials.seconds_each() or 0.0
        count = 2 * self._between.steps + CONFIRMING
        count *= MEASURED_STARTS if trials.terms.standard.judges else 1
        told = to_go(count - trials.to_replay(), each, trials.seconds_left())
        if told is not None:
            self._room.listener(Note(told))

    def _remember_ends(self, lab: Lab, trials: Trials, ends: Ends) -> None:
        bad = next(judged for judged in trials.judged if judged.trial.number == ends.bad.trial.number)
        self._room.save(
            good_symptom=ends.good.judgement.symptom,
            bad_symptom=bad.judgement.symptom,
            good_trial=ends.good.trial.number,
            bad_trial=bad.trial.number,
            differences=(
                *differences(trials.terms.plan, lab, ends, self._room.session.request),
                *difference(self._earlier),
            ),
            task_candidates=task_candidates(self._room, self._good, self._bad, ends.good),
            versions=(*versions(), *project_versions(ends.good)),
        )

    def _narrow(self, culprit: Revision, trials: Trials) -> None:
        found = narrowed(self._room, trials, culprit)
        wrong = contradictions(found)
        if wrong:
            told = f"{culprit.short} was found, but its confirmation contradicts the search: {'; '.join(wrong)}."
            self._weigh_up(trials, told)
        else:
            self._endings.with_culprit(found)

    def _weigh_up(self, trials: Trials, why: str) -> None:
        if trials.terms.standard.judges:
            measured_apart(self._room, self._endings, why, self._suspects)
            return
        self._contradicted = Contradicted(
            self._room, trials, self._endings, self._good, self._bad, self._merge_bases, self._signature
        )
        self._contradicted.run(why)

    @property
    def _weigh(self) -> Weigh | None:
        """The search where starts are weighed, once it came to that."""
        return self._contradicted.weigh if self._contradicted is not None else None

    def _suspects(self) -> tuple[Revision, ...]:
        """The commits that can still be the first bad one; before the search began, all of the range."""
        if self._weigh is not None:
            return self._weigh.candidates()
        if self._hunt is not None:
            return self._hunt.suspects()
        request = self._room.request
        return self._room.repository.suspects([self._good], self._bad, request.paths, request.first_parent)

    def _report(self) -> Ended:
        judged = tuple(self._trials.judged) if self._trials is not None else ()
        session = replace(self._room.session, judged=judged)
        folder = self._room.request.output or self._room.folder / "report"
        write(build(session, self._room.redactor, self._room.redactor.exact), folder)
        return Ended(session, folder, self._room.folder, self._infra)
