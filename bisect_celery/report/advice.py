"""What a report is called, and what to do next where the session itself has not said so. Pure.

Whoever reads this is tired and in the middle of an incident: one thing a line, the command with it, and
no promise that was not tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bisect_celery.model import Outcome, Revision, Session

TITLES = {
    Outcome.PREDATES_GOOD: "The failure is older than GOOD",
    Outcome.NO_CULPRIT: "No culprit in this range",
    Outcome.ENDS_WRONG: "GOOD and BAD are not what was said",
    Outcome.INFRA: "Stopped: the harness or the machine failed",
    Outcome.INTERRUPTED: "Not finished",
}


def title(session: Session, outcome: Outcome, clean: Callable[[str], str]) -> str:
    """The outcome in a few words."""
    if outcome is Outcome.CANDIDATES:
        left = len(session.candidates)
        return f"One of {left} commits" if left > 1 else "One commit is left, unproven" if left else "Nobody is named"
    culprit = session.culprit
    if culprit is None or outcome not in (Outcome.CONFIRMED, Outcome.COMMIT_ONLY):
        return TITLES.get(outcome, "The search has ended")
    return f"Broken by {culprit.revision.short}: {clean(culprit.revision.title)}"


def headline(session: Session, outcome: Outcome) -> str:
    """One sentence for sessions that ended without one, as after a SIGKILL."""
    kept = len(session.judged)
    trials = f"{kept} finished {'trial is' if kept == 1 else 'trials are'} kept"
    culprit = session.culprit
    return {
        Outcome.CONFIRMED: f"The failure begins with {_named(culprit.revision if culprit else None)}.",
        Outcome.COMMIT_ONLY: f"The failure begins with {_named(culprit.revision if culprit else None)}; "
        "which of its changes does it was not proven.",
        Outcome.PREDATES_GOOD: "A parent of the first bad commit fails as well: the failure is older than GOOD on a "
        "side branch.",
        Outcome.NO_CULPRIT: "No commit of the range could be shown to bring the failure in.",
        Outcome.CANDIDATES: "The failure begins with one of the commits below; none of them could be judged apart.",
        Outcome.ENDS_WRONG: "Nothing was searched: the ends did not show what they were said to show.",
        Outcome.INFRA: f"This is not an answer about the code. {trials}.",
        Outcome.INTERRUPTED: f"The search was stopped before its end. {trials}.",
    }[outcome]


def actions(session: Session, outcome: Outcome) -> tuple[str, ...]:
    """What to do, first one first: what the session advises, else what its outcome suggests."""
    advised = session.advice or tuple(_suggested(session, outcome))
    resume = f"bisect-celery resume {session.id}"
    if outcome in (Outcome.INFRA, Outcome.INTERRUPTED) and not any("bisect-celery resume" in one for one in advised):
        return (*advised, f"Go on where it stopped: `{resume}`")
    return advised


def _suggested(session: Session, outcome: Outcome) -> Iterator[str]:
    culprit = session.culprit
    if outcome is Outcome.CONFIRMED and culprit is not None:
        yield from _take_the_fix(session)
    if outcome in (Outcome.CONFIRMED, Outcome.COMMIT_ONLY) and culprit is not None:
        yield f"Read the commit: `git show {culprit.revision.short}`"
        yield "See it fail: `bisect-celery reproduce culprit`"
    elif outcome is Outcome.PREDATES_GOOD:
        yield f"Search again from an older GOOD: `bisect-celery run OLDER {session.request.good}`"
    elif outcome is Outcome.CANDIDATES:
        yield "Read the commits below, smallest first; make the ones between them start, or give `--env`, `--overlay`."
    elif outcome is Outcome.NO_CULPRIT:
        yield "Look at what differs between here and production, listed below, before looking at the code."


def _take_the_fix(session: Session) -> Iterator[str]:
    culprit = session.culprit
    if culprit is None or not culprit.patch:
        return
    tried = next((row for row in culprit.confirmation if row.tree.sha == culprit.fixed_tree), None)
    proof = f" (with it, {tried.failed} of {tried.tried} trials failed)" if tried else ""
    yield f"Take the fix: `git apply fix.patch`, made for {culprit.revision.short}{proof}"


def _named(revision: Revision | None) -> str:
    return f"{revision.short}, “{revision.title}”" if revision else "a commit of the range"
