"""What became of it all: the culprit, who else may be, and the session."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from bisect_celery.model.asked import Request
from bisect_celery.model.revisions import Atom, Revision, Tree
from bisect_celery.model.seen import Judged, Symptom


class Outcome(enum.StrEnum):
    """How a session ended; the exit status follows from it."""

    CONFIRMED = "confirmed"
    COMMIT_ONLY = "commit-only"
    PREDATES_GOOD = "predates-good"
    NO_CULPRIT = "no-culprit"
    CANDIDATES = "candidates"
    ENDS_WRONG = "ends-wrong"
    INFRA = "infra"
    INTERRUPTED = "interrupted"

    @property
    def resumable(self) -> bool:
        """Whether more time, or a mended machine, could bring it further."""
        return self in (Outcome.COMMIT_ONLY, Outcome.CANDIDATES, Outcome.INFRA, Outcome.INTERRUPTED)


@dataclass(frozen=True)
class Tally:
    """A row of the confirmation table: of `tried` trials of one tree, `failed` showed the failure.

    `should_fail` is what is claimed of it; `other` counts those that showed neither the failure nor success.
    `trials` are their numbers. `rate` is how often a start is expected to fail where the failure is; below 1 it is
    intermittent, and `held` says whether the counts are enough for the claim (False: against it; None: neither).
    """

    name: str
    tree: Tree
    failed: int = 0
    tried: int = 0
    other: int = 0
    should_fail: bool = False
    trials: tuple[int, ...] = ()
    rate: float = 1.0
    held: bool | None = None

    @property
    def holds(self) -> bool:
        """Whether the trials showed what is claimed: every single one, unless the failure is intermittent."""
        if self.rate < 1:
            return self.held is True
        return self.tried > 0 and self.other == 0 and self.failed == (self.tried if self.should_fail else 0)


@dataclass(frozen=True)
class Culprit:
    """The first bad commit, the minimal cause (atoms whose change alone breaks the parent), the minimal fix.

    `cause` and `fix` may differ, and either may be empty when it could not be proven; `caveats` say why.
    `patch` is the fix as a patch against the culprit that `git apply` takes, tried.
    """

    revision: Revision
    cause: tuple[Atom, ...] = ()
    fix: tuple[Atom, ...] = ()
    cause_tree: str | None = None
    fixed_tree: str | None = None
    patch: str = ""
    confirmation: tuple[Tally, ...] = ()
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """Something that is not as in the user's project: what, theirs, ours, and why or what flag changes it."""

    what: str
    theirs: str
    ours: str
    why: str = ""


@dataclass(frozen=True)
class StackFacts:
    """What was taken to run trials in, and why: the first line of every run.

    `services` are those beside the broker, each with its version.
    """

    name: str
    broker: str
    broker_version: str
    emulated: bool
    why: str
    walled: bool
    detail: str = ""
    services: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Skipped:
    """A revision that could not be judged, and why.

    `adjoins`: it stands right before the culprit in history, or before it with nothing but skipped ones between them.
    `differently`: it ran, and showed another failure than the one that is looked for.
    """

    revision: Revision
    reason: str
    adjoins: bool = False
    differently: bool = False


@dataclass(frozen=True)
class Masked:
    """Right before the first commit that shows the failure, others fail differently: it could not be seen there.

    `first` is that first commit; `different` are those before it that showed another failure, `unjudged` those that
    showed nothing to go by: nothing that works stands between any of them and `first`. `any_names` is what
    `--match any` would name by the trials that were made, one of several where branches meet; it is no more than a
    guess where `any_doubts` are: commits that would have to be judged for it, or that fail and were mended later.
    """

    first: Revision
    different: tuple[Revision, ...]
    unjudged: tuple[Revision, ...] = ()
    any_names: tuple[Revision, ...] = ()
    any_doubts: tuple[Revision, ...] = ()


@dataclass(frozen=True)
class Session:
    """One `run` as far as it came: all that a report, a resume or a person needs. Nothing in it is secret.

    `id` is short and sorts by time. `command` is the exact command to repeat. `headline` is the one sentence
    that says it all. `good_symptom`/`bad_symptom` are what the ends showed. `advice` are the next things to
    do, first one first; `not_tested` what nobody should read into the result. `versions` are (name, version).
    `probabilities` are (sha, how likely it is the culprit) where trials contradicted one another, likeliest first; what
    is missing to 1 is that of the other commits, and of none. `earlier` are the seconds it took before it went on.
    `masked`: what stands right before the first commit that shows the failure, where that is another failure.
    """

    id: str
    command: str
    request: Request
    started_at: str
    finished_at: str | None = None
    outcome: Outcome | None = None
    headline: str = ""
    good: Revision | None = None
    bad: Revision | None = None
    stack: StackFacts | None = None
    differences: tuple[Difference, ...] = ()
    judged: tuple[Judged, ...] = ()
    good_symptom: Symptom | None = None
    bad_symptom: Symptom | None = None
    good_trial: int | None = None
    bad_trial: int | None = None
    culprit: Culprit | None = None
    candidates: tuple[Revision, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    bisect_log: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    not_tested: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    task_candidates: tuple[str, ...] = ()
    probabilities: tuple[tuple[str, float], ...] = ()
    earlier: float = 0.0
    masked: Masked | None = None
