"""What an incident's end is told by: headlines, who is left, what was not tested. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bisect_celery.core.masked import before_it
from bisect_celery.core.measures import MORE
from bisect_celery.core.repeat import about
from bisect_celery.flow.trials import NEVER_RUNS
from bisect_celery.flow.weigh import Weigh
from bisect_celery.model import (
    Act,
    Atom,
    Culprit,
    Judged,
    Masked,
    Request,
    Revision,
    Session,
    Skipped,
    Symptom,
    Verdict,
)

# How many candidates a headline names.
MOST_NAMED = 4


def headline(culprit: Culprit) -> str:
    """The sentence that says it all."""
    revision = culprit.revision
    if not culprit.fix:
        return f"{revision.short} “{revision.title}” broke it.{often(culprit)}"
    cause, fix = culprit.cause or culprit.fix, culprit.fix
    cure = "putting that back cures it" if set(cause) == set(fix) else f"taking back {_changes(fix)} cures it"
    return f"{revision.short} “{revision.title}” broke it, by {_changes(cause)}; {cure}.{often(culprit)}"


def _changes(atoms: Sequence[Atom]) -> str:
    pieces = "one change" if len(atoms) == 1 else f"{len(atoms)} changes"
    return f"{pieces} in {', '.join(sorted({atom.path for atom in atoms}))}"


def often(culprit: Culprit) -> str:
    """For an intermittent failure how often it shows, with the counts; empty where it comes every time."""
    rows = culprit.confirmation
    own = next((row for row in rows if row.tree.sha == culprit.revision.tree and row.rate < 1), None)
    if own is None:
        return ""
    parents = [row for row in rows if not row.should_fail and row.name.startswith("parent")]
    others = "".join(f", {row.name} in {row.failed} of {row.tried}" for row in parents)
    return f" It fails {about(own.rate)}: the culprit in {own.failed} of {own.tried} starts{others}."


def passed_over(
    skipped: tuple[Skipped, ...], failing: frozenset[str], culprit: Revision | None, left: tuple[Revision, ...]
) -> tuple[Skipped, ...]:
    """The commits that could not be judged; `failing` (shas) ran and showed another failure.

    They adjoin a culprit that was found where it could have begun with them as well, or are among those that are left.
    """
    every = tuple(one.revision for one in skipped)
    near = {one.sha for one in (before_it(culprit, every) if culprit is not None else left)}
    return tuple(
        replace(one, adjoins=one.revision.sha in near, differently=one.revision.sha in failing) for one in skipped
    )


def masked_says(masked: Masked, shown: Mapping[str, Symptom]) -> str:
    """What was seen of the first that shows the failure, and of those right before it; `shown` by sha."""
    others = named(masked.different)
    kinds = ", ".join(sorted({str(shown[one.sha]) for one in masked.different if one.sha in shown}))
    fail = "fails" if len(masked.different) == 1 else "fail"
    unjudged = f", and {named(masked.unjudged)} could not be judged" if masked.unjudged else ""
    return (
        f"{masked.first.short} “{masked.first.title}” is the first that shows the failure, but {others} right before "
        f"it {fail} differently ({kinds}){unjudged}: there it could not be seen."
    )


def any_says(masked: Masked) -> str:
    """What the same search would name if any failure counted, by the trials that were made."""
    names = " or ".join(f"{one.short} “{one.title}”" for one in masked.any_names)
    told = f"If any failure counts: the same command with `--match any` names {names}"
    unjudged = [one for one in masked.any_doubts if one in masked.unjudged]
    mended = [one for one in masked.any_doubts if one not in masked.unjudged]
    if unjudged:
        told += f", if it does not stop at {named(tuple(unjudged))}, older and not to be judged either"
    if mended:
        told += f", unless it comes upon {named(tuple(mended))} first, where something failed that was mended later"
    return f"{told}. The trials are kept, so it makes few or none for the search."


def not_apart(masked: Masked) -> str:
    """What was not proven, and how to come further."""
    every = " ".join(one.short for one in (*masked.different, *masked.unjudged, masked.first))
    return (
        "None of them was taken apart: nothing that works stands right before "
        f"{masked.first.short}, so its hunks have no base. Read them: `git show {every}`; or help those that fail "
        "differently over it (`--overlay`, `--env`, `--prepare`) and run again."
    )


def named(revisions: tuple[Revision, ...]) -> str:
    """Commits in a sentence, the first few of them."""
    told = [one.short for one in revisions[:MOST_NAMED]]
    if len(revisions) > MOST_NAMED:
        told.append(f"{len(revisions) - MOST_NAMED} more")
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def likeliest(weigh: Weigh) -> str:
    """Who is left, with probabilities: "It is one of 2 commits: 1a2b3c4d5e 62 %, …; no commit at all 1 %."."""
    known = dict(weigh.probabilities())
    left = weigh.candidates()
    told = ", ".join(f"{one.short} {100 * known.get(one.sha, 0.0):.0f} %" for one in left[:MOST_NAMED])
    more = f", {len(left) - MOST_NAMED} more" if len(left) > MOST_NAMED else ""
    count = "one commit" if len(left) == 1 else f"one of {len(left)} commits"
    return f"It is {count}: {told}{more}; no commit at all {100 * weigh.none():.0f} %."


def no_match_any(candidates: tuple[Revision, ...], judged: Mapping[str, Judged]) -> str:
    """Why `--match any` would not help, of candidates of which none is known to fail differently."""
    seen = [judged[one.sha] for one in candidates if one.sha in judged]
    skipped = [one for one in seen if one.judgement.verdict is Verdict.SKIP]
    if any(one.judgement.symptom.template == MORE for one in skipped):
        return "Its starts differ too much here: a quieter machine, or an `--effect` that stands out from that."
    if not skipped:
        return ""
    never = all(one.judgement.symptom.kind in NEVER_RUNS for one in skipped)
    why = "do not come to their probes" if never else "showed neither success nor a failure"
    return f"Those that were skipped {why}, so `--match any` would not decide it either."


def not_tested(request: Request, session: Session) -> tuple[str, ...]:
    """What nobody should read into the result."""
    said = []
    if request.upgrade_from is None:
        said.append(
            "State that an older revision leaves behind (tables, queues, unconsumed messages): every trial began clean "
            "(`--upgrade-from`)."
        )
    acts = {step.act for step in request.scenario}
    faults = {Act.RESTART_BROKER: "A broker restart", Act.CUT: "a cut connection", Act.RESTART_WORKER: "a new worker"}
    untried = [words for act, words in faults.items() if act not in acts]
    said.append(", ".join([*untried, "a full disk"]).capitalize() + (" (`--scenario`)." if untried else "."))
    probe, sources = request.probe, dict(request.sources)
    if probe.task is None and probe.script is None and probe.periodic is None:
        said.append("The project's own tasks: the probe was a task that every Celery has (`--task NAME`).")
    if probe.expect is None and probe.check is None and probe.script is None:
        said.append("The values that tasks returned (`--expect JSON`, `--check EXPRESSION`).")
    if not probe.judges:
        said.append("How long tasks take, and how much memory, as long as they end (`--judge latency,memory`).")
    if "other workers" in sources and not request.beside:
        said.append(f"The project's other workers: {sources['other workers']} (`--beside`).")
    if "message left out" in sources:
        said.append(f"What the message had besides its task and arguments: {sources['message left out']}.")
    if session.culprit is not None and session.culprit.fix:
        said.append("The fix on today's tip: it was tried on the culprit only.")
    return tuple(said)
