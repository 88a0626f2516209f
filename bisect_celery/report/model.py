"""What a report says, in words, before anybody chose how it looks: the one source of Markdown and JSON. Pure.

Every string in here has been redacted and is free of control characters; none is escaped yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from bisect_celery.model import Outcome

# The number of the published JSON Schema (docs/report.schema.json) that `render.as_json` follows.
SCHEMA = 1


@dataclass(frozen=True)
class Commit:
    """A commit as people name it. `date` is ISO 8601."""

    sha: str
    title: str
    author: str
    date: str

    @property
    def short(self) -> str:
        return self.sha[:10]


@dataclass(frozen=True)
class Piece:
    """A piece of a commit: where it is, git's header for it, its lines with their `-` and `+`."""

    number: int
    kind: str
    path: str
    header: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """The culprit: minimal cause and minimal fix, either empty when it was not proven; `caveats` say why."""

    commit: Commit
    cause: tuple[Piece, ...]
    fix: tuple[Piece, ...]
    caveats: tuple[str, ...]

    @property
    def fix_is_cause(self) -> bool:
        return self.fix == self.cause


@dataclass(frozen=True)
class End:
    """What was seen at one end: `symptom` is the name, `words` its meaning, `facts` the counts."""

    name: str
    asked: str
    commit: Commit | None
    symptom: str | None
    words: str
    facts: str
    exception: str | None
    template: str | None
    trial: int | None


@dataclass(frozen=True)
class Count:
    """A row of the confirmation table: of `tried` trials, `failed` showed the failure, `other` neither.

    `should_fail` is what is claimed of the tree, `holds` whether the trials showed it (None: too few to say); `rate` is
    how often a start is expected to show the failure where it is (1: every time).
    """

    name: str
    tree: str
    label: str
    failed: int
    tried: int
    other: int
    should_fail: bool
    trials: tuple[int, ...]
    holds: bool | None = True
    rate: float = 1.0


@dataclass(frozen=True)
class Place:
    """Where some processes of the worker stood, all alike: the telling frames, innermost first.

    `left_out` is how many frames were left out that tell nothing.
    """

    who: str
    frames: tuple[str, ...]
    left_out: int


@dataclass(frozen=True)
class Standing:
    """Where the worker's processes stood in one trial; `other_threads` were waiting inside libraries."""

    trial: int
    label: str
    places: tuple[Place, ...]
    other_threads: int


@dataclass(frozen=True)
class Line:
    """A row of the table of trials. `seconds` is how long it took, `seen` the counts in words."""

    number: int
    tree: str
    label: str
    title: str
    verdict: str
    symptom: str
    seconds: float
    purpose: str
    seen: str
    reused: str | None


@dataclass(frozen=True)
class Passed:
    """A revision that could not be judged, and why. `differently`: it ran, and showed another failure."""

    commit: Commit
    reason: str
    adjoins: bool
    differently: bool = False


@dataclass(frozen=True)
class Likely:
    """A commit that is left and how likely it is to blame, of 1; None where nothing contradicted itself.

    `shows` is what was seen of it, in words; empty where it was not tried, or that is told elsewhere.
    """

    commit: Commit
    probability: float | None
    shows: str = ""


@dataclass(frozen=True)
class AnyFailure:
    """What `--match any` would name by the trials that were made (`model.Masked`): one of `commits`.

    `sure`: nothing that was seen speaks against it. `hidden_by` are the commits right before `first`, the first that
    shows the failure, at which another failure hides it.
    """

    commits: tuple[Commit, ...]
    sure: bool
    first: Commit
    hidden_by: tuple[Commit, ...]


@dataclass(frozen=True)
class Other:
    """Something that is not as in the user's project."""

    what: str
    theirs: str
    ours: str
    why: str


@dataclass(frozen=True)
class Setting:
    """What trials ran in."""

    stack: str
    broker: str
    version: str
    emulated: bool
    walled: bool
    why: str
    detail: str


@dataclass(frozen=True)
class Report:
    """All that Markdown and JSON need.

    `title` names the outcome in a few words, `headline` says it all in a sentence; `actions` are what to do,
    first one first. `standing` is where the workers hung; `command` repeats the session, with private values
    left out if `command_private`. `patch` is the fix as `git apply` takes it, empty if there is none;
    `left_out` says what a shortened rendering does not show. `elapsed` is in seconds. `match_any` is None unless
    another failure hides where it began.
    """

    session: str
    outcome: Outcome
    title: str
    headline: str
    actions: tuple[str, ...]
    setting: Setting | None
    ends: tuple[End, End]
    culprit: Found | None
    confirmation: tuple[Count, ...]
    standing: Standing | None
    candidates: tuple[Likely, ...]
    skipped: tuple[Passed, ...]
    differences: tuple[Other, ...]
    not_tested: tuple[str, ...]
    task_candidates: tuple[str, ...]
    trials: tuple[Line, ...]
    versions: tuple[tuple[str, str], ...]
    bisect_log: str
    command: str
    command_private: bool
    started_at: str
    finished_at: str | None
    elapsed: float | None
    patch: str = ""
    left_out: tuple[str, ...] = ()
    match_any: AnyFailure | None = None

    @property
    def emulated(self) -> bool:
        return self.setting is not None and self.setting.emulated

    @property
    def skipped_adjoining(self) -> tuple[Passed, ...]:
        return tuple(one for one in self.skipped if one.adjoins)
