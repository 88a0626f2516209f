"""What an incident's end is told by: headlines, who is left, what was not tested. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bisect_celery.core.measures import MORE
from bisect_celery.core.repeat import about
from bisect_celery.flow.trials import NEVER_REUSED, NEVER_RUNS
from bisect_celery.flow.weigh import Weigh
from bisect_celery.model import Act, Culprit, Judged, Request, Revision, Session, Skipped, Verdict

# How many candidates a headline names.
MOST_NAMED = 4


def headline(culprit: Culprit) -> str:
    """The sentence that says it all."""
    revision = culprit.revision
    if not culprit.fix:
        return f"{revision.short} “{revision.title}” broke it.{often(culprit)}"
    where = sorted({atom.path for atom in culprit.fix})
    pieces = "one change" if len(culprit.fix) == 1 else f"{len(culprit.fix)} changes"
    return (
        f"{revision.short} “{revision.title}” broke it, by {pieces} in {', '.join(where)}; putting that back cures it."
        f"{often(culprit)}"
    )


def often(culprit: Culprit) -> str:
    """For an intermittent failure how often it shows, with the counts; empty where it comes every time."""
    rows = culprit.confirmation
    own = next((row for row in rows if row.tree.sha == culprit.revision.tree and row.rate < 1), None)
    if own is None:
        return ""
    parents = [row for row in rows if not row.should_fail and row.name.startswith("parent")]
    others = "".join(f", {row.name} in {row.failed} of {row.tried}" for row in parents)
    return f" It fails {about(own.rate)}: the culprit in {own.failed} of {own.tried} starts{others}."


def adjoining(skipped: tuple[Skipped, ...], culprit: Revision | None) -> tuple[Skipped, ...]:
    """Which of the commits that could not be judged stand next to the culprit."""
    if culprit is None:
        return skipped
    near = {culprit.sha, *culprit.parents}
    return tuple(
        replace(one, adjoins=one.revision.sha in near or bool(near & set(one.revision.parents))) for one in skipped
    )


def likeliest(weigh: Weigh) -> str:
    """Who is left, with probabilities: "It is one of 2 commits: 1a2b3c4d5e 62 %, …; no commit at all 1 %."."""
    known = dict(weigh.probabilities())
    left = weigh.candidates()
    told = ", ".join(f"{one.short} {100 * known.get(one.sha, 0.0):.0f} %" for one in left[:MOST_NAMED])
    more = f", {len(left) - MOST_NAMED} more" if len(left) > MOST_NAMED else ""
    count = "one commit" if len(left) == 1 else f"one of {len(left)} commits"
    return f"It is {count}: {told}{more}; no commit at all {100 * weigh.none():.0f} %."


def match_any_says(candidates: tuple[Revision, ...], judged: Mapping[str, Judged]) -> str:
    """What `--match any` would make of candidates that failed differently; `candidates` with ancestors first."""
    for position, candidate in enumerate(candidates):
        seen = judged.get(candidate.sha)
        if seen is None or seen.judgement.verdict is not Verdict.SKIP:
            continue
        symptom = seen.judgement.symptom
        if symptom.template == MORE:
            return "Its starts differ too much here: a quieter machine, or an `--effect` that stands out from that."
        if symptom.kind not in NEVER_RUNS | NEVER_REUSED:
            older = " or older" if position else ""
            return f"{candidate.short} fails differently ({symptom}): `--match any` would name it{older}."
    return "They do not come to their probes, so `--match any` would not decide it either." if judged else ""


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
    if probe.task is None and probe.script is None:
        said.append("The project's own tasks: the probe was a task that every Celery has (`--task NAME`).")
    if probe.expect is None and probe.check is None and probe.script is None:
        said.append("The values that tasks returned (`--expect JSON`, `--check EXPRESSION`).")
    if not probe.judges:
        said.append("How long tasks take, and how much memory, as long as they end (`--judge latency,memory`).")
    if "message left out" in sources:
        said.append(f"What the message had besides its task and arguments: {sources['message left out']}.")
    if session.culprit is not None and session.culprit.fix:
        said.append("The fix on today's tip: it was tried on the culprit only.")
    return tuple(said)
