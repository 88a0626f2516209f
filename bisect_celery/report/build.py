"""From a session to its report: what to say, in which words. Pure; how it looks is `render`'s."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import datetime

from bisect_celery.model import (
    Atom,
    Culprit,
    Judged,
    Masked,
    Outcome,
    Redact,
    Revision,
    Session,
    Skipped,
    Symptom,
    Tally,
    Verdict,
)
from bisect_celery.report import advice, private, stacks, words
from bisect_celery.report.model import (
    AnyFailure,
    Commit,
    Count,
    End,
    Found,
    Likely,
    Line,
    Other,
    Passed,
    Piece,
    Place,
    Report,
    Setting,
    Standing,
)
from bisect_celery.report.private import Clean

EMAIL = re.compile(r"\s*<[^<>]*>\s*$")
PATCH_CHANGED = "A secret was taken out of `fix.patch`, so it does not apply as it is."


def build(session: Session, redact: Redact, exact: Redact | None = None) -> Report:
    """The report of a session, as far as it came.

    `redact` goes over every string. `exact` goes over the patch, which must still apply: it takes out only
    secrets that are known, nothing that is guessed (`core.redact.Redactor.exact`; default: `redact`).
    """
    clean = Clean.of(session.request, redact)
    outcome = session.outcome or Outcome.INTERRUPTED
    # exact first: the patch is the one text that must keep every byte that is not a secret
    patch = (exact or redact)(session.culprit.patch) if session.culprit else ""
    culprit = _found(session.culprit, patch, clean) if session.culprit else None
    command, command_private = private.command(session.command, session.request)
    return Report(
        session=session.id,
        outcome=outcome,
        title=advice.title(session, outcome, clean.line),
        headline=clean.line(session.headline or advice.headline(session, outcome)),
        actions=tuple(clean.line(action) for action in advice.actions(session, outcome)),
        setting=_setting(session, clean),
        ends=(_end(session, "good", clean), _end(session, "bad", clean)),
        culprit=culprit,
        confirmation=tuple(_count(row, clean) for row in session.culprit.confirmation) if session.culprit else (),
        standing=_standing(session, clean),
        candidates=tuple(_likely(one, session, clean) for one in session.candidates),
        skipped=tuple(_passed(one, session.judged, clean) for one in session.skipped),
        differences=tuple(
            Other(clean.line(one.what), clean.line(one.theirs), clean.line(one.ours), clean.line(one.why))
            for one in session.differences
        ),
        not_tested=tuple(map(clean.line, session.not_tested)),
        task_candidates=tuple(map(clean.line, session.task_candidates)),
        trials=tuple(_line(one, clean) for one in session.judged),
        versions=tuple((clean.line(name), clean.line(version)) for name, version in session.versions),
        bisect_log=clean.block(session.bisect_log).strip("\n"),
        command=clean.line(command),
        command_private=command_private,
        started_at=clean.line(session.started_at),
        finished_at=clean.maybe(session.finished_at, clean.line),
        elapsed=elapsed(session),
        patch=patch,
        match_any=_match_any(session.masked, clean),
    )


def _commit(revision: Revision, clean: Clean) -> Commit:
    """The author's name without the address: reports end in public tickets."""
    author = EMAIL.sub("", revision.author)
    return Commit(revision.sha, clean.line(revision.title), clean.line(author), clean.line(revision.date))


def _likely(revision: Revision, session: Session, clean: Clean) -> Likely:
    probability = dict(session.probabilities).get(revision.sha)
    return Likely(_commit(revision, clean), probability, _shows(revision, session, clean))


def _shows(revision: Revision, session: Session, clean: Clean) -> str:
    """What was seen of a commit that is left, where they differ in that."""
    skipped = next((one for one in session.skipped if one.revision.sha == revision.sha), None)
    if skipped is not None:
        passed = _passed(skipped, session.judged, clean)
        return f"{'fails differently' if passed.differently else 'could not be judged'}: {passed.reason}"
    if session.masked is not None and session.masked.first.sha == revision.sha:
        return "the first that shows the failure"
    return ""


def _match_any(masked: Masked | None, clean: Clean) -> AnyFailure | None:
    if masked is None:
        return None
    names, hiding = (tuple(_commit(one, clean) for one in some) for some in (masked.any_names, masked.different))
    return AnyFailure(names, len(names) == 1 and not masked.any_doubts, _commit(masked.first, clean), hiding)


def _found(culprit: Culprit, patch: str, clean: Clean) -> Found:
    changed = (PATCH_CHANGED,) if patch != culprit.patch else ()
    return Found(
        commit=_commit(culprit.revision, clean),
        cause=_pieces(culprit.cause, clean),
        fix=_pieces(culprit.fix, clean),
        caveats=(*map(clean.line, culprit.caveats), *changed),
    )


def _pieces(atoms: Iterable[Atom], clean: Clean) -> tuple[Piece, ...]:
    return tuple(
        Piece(
            number=atom.number,
            kind=str(atom.kind),
            path=clean.line(atom.path),
            header=clean.line(atom.header),
            lines=tuple(clean.code(line.rstrip("\r\n")) for line in atom.lines),
        )
        for atom in atoms
    )


def _setting(session: Session, clean: Clean) -> Setting | None:
    stack = session.stack
    if stack is None:
        return None
    return Setting(
        stack=clean.line(stack.name),
        broker=clean.line(stack.broker),
        version=clean.line(stack.broker_version),
        emulated=stack.emulated,
        walled=stack.walled,
        why=clean.line(stack.why),
        detail=clean.line(stack.detail),
    )


def _end(session: Session, name: str, clean: Clean) -> End:
    """Facts come from the trial that the session names, else from the first one of that end."""
    good = name == "good"
    revision, symptom = (session.good, session.good_symptom) if good else (session.bad, session.bad_symptom)
    number = session.good_trial if good else session.bad_trial
    judged = next((one for one in session.judged if one.trial.number == number), None)
    if judged is None:
        judged = next((one for one in session.judged if one.trial.purpose == f"{name} end"), None)
    if symptom is None and judged is not None:
        symptom = judged.judgement.symptom
    return End(
        name=name,
        asked=clean.line(session.request.good if good else session.request.bad),
        commit=_commit(revision, clean) if revision else None,
        symptom=clean.line(_name(symptom)) if symptom else None,
        words=clean.line(words.symptom(symptom)) if symptom else "not tried",
        facts=clean.line(words.facts(judged.trial.observation)) if judged else "",
        exception=clean.maybe(symptom.exception, clean.line) if symptom else None,
        template=clean.maybe(symptom.template, clean.message) if symptom else None,
        trial=judged.trial.number if judged else None,
    )


def _name(symptom: Symptom) -> str:
    return str(symptom)


def _count(row: Tally, clean: Clean) -> Count:
    return Count(
        name=clean.line(row.name),
        tree=row.tree.sha,
        label=clean.line(row.tree.label),
        failed=row.failed,
        tried=row.tried,
        other=row.other,
        should_fail=row.should_fail,
        trials=row.trials,
        holds=None if row.rate < 1 and row.held is None else row.holds,
        rate=round(row.rate, 3) if math.isfinite(row.rate) else 1.0,
    )


def _passed(one: Skipped, judged: Iterable[Judged], clean: Clean) -> Passed:
    """In our words where a trial was made: the judge's rule may quote what an exception said."""
    tried = [other for other in judged if other.trial.tree.sha == one.revision.tree]
    # Of several starts one that says why it was skipped.
    tried.sort(key=lambda other: other.judgement.verdict is not Verdict.SKIP)
    reason = clean.message(_why(tried[0]) if tried else one.reason)
    return Passed(_commit(one.revision, clean), reason, one.adjoins, one.differently)


def _why(skipped: Judged) -> str:
    seen = skipped.trial.observation
    if seen.failure is not None:
        return words.failure(seen.failure)
    return f"{words.symptom(skipped.judgement.symptom)} ({words.facts(seen)})"


def _line(judged: Judged, clean: Clean) -> Line:
    trial = judged.trial
    return Line(
        number=trial.number,
        tree=trial.tree.sha,
        label=clean.line(trial.tree.label),
        title=clean.line(trial.tree.title),
        verdict=words.verdict(judged.judgement.verdict),
        symptom=clean.line(_name(judged.judgement.symptom)),
        seconds=round(trial.seconds, 3) if math.isfinite(trial.seconds) else 0.0,
        purpose=clean.line(trial.purpose),
        seen=clean.line(words.facts(trial.observation)),
        reused=clean.maybe(trial.reused, clean.line),
    )


def _standing(session: Session, clean: Clean) -> Standing | None:
    """Where the workers hung: the culprit's own trial if it was dumped, else the bad end's, else any bad one's."""
    dumped = [one for one in session.judged if one.judgement.verdict is Verdict.BAD and one.trial.observation.dumps]
    if not dumped:
        return None
    culprit = session.culprit.revision.tree if session.culprit else None
    best = max(dumped, key=lambda one: (one.trial.tree.sha == culprit, one.trial.number == session.bad_trial))
    places, others = stacks.places(best.trial.observation.dumps)
    shown = tuple(
        Place(clean.line(place.who), tuple(map(clean.line, place.frames)), place.left_out) for place in places
    )
    return Standing(best.trial.number, clean.line(best.trial.tree.label), shown, others) if shown else None


def elapsed(session: Session) -> float | None:
    """The seconds a session took in all, what came before it was resumed included; None while it is not over."""
    if session.finished_at is None:
        return None
    try:
        began, ended = (datetime.fromisoformat(said) for said in (session.started_at, session.finished_at))
        return session.earlier + max(0.0, (ended - began).total_seconds())
    except (ValueError, TypeError):
        return None
