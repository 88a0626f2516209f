"""The words of the project as frozen types, and the protocols of its edges.

Read from top to bottom this is the way of one tree: a `Request` names two ends, a `Revision` has a
`Tree`, a `Trial` turns the tree into an `Observation`, the judge turns observations into a
`Judgement`, narrowing takes a commit apart into `Atom`s, and everything ends in a `Culprit`.
Times inside observations are seconds since the trial began; nothing here reads a clock.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

# --- what is asked -----------------------------------------------------------------------------------


class Match(enum.StrEnum):
    """Which failures count as the failure we look for."""

    SAME = "same"
    ANY = "any"


@dataclass(frozen=True)
class Probe:
    """The task to send. `task` None means Celery's own `celery.accumulate`-like task every Celery has.

    `args`, `kwargs`, `expect` are JSON texts; `expect` None means any value. `count` 0 means: as many
    as prove every slot (DESIGN 10), at least 20. `queue` is set only when the user names one.
    `done_log` is a regular expression for the worker's log line that says a body has done its work.
    `check` is a Python expression about `value`, a task's result, that must hold. `log_must` and `log_must_not` are
    regular expressions for lines of the worker's log from when it is ready. `judges` ("latency", "memory") are held
    against the good end; `effect` (percent) is how much worse counts. `script` sends in place of a task, and so does
    beat where `periodic` names an entry of the project's schedule.
    """

    task: str | None = None
    args: str = "[]"
    kwargs: str = "{}"
    expect: str | None = None
    count: int = 0
    queue: str | None = None
    done_log: str | None = None
    sender: str = "guest"
    check: str | None = None
    log_must: str | None = None
    log_must_not: str | None = None
    judges: tuple[str, ...] = ()
    effect: float = 25.0
    script: Script | None = None
    periodic: str | None = None


@dataclass(frozen=True)
class Script:
    """A file of the user's that sends and judges inside the project's environment (`probe.py`): its name and text."""

    name: str
    text: str


class Act(enum.StrEnum):
    """What a step of a scenario does."""

    SEND = "send"
    WAIT = "wait"
    EXPECT = "expect"
    RESTART_BROKER = "restart-broker"
    CUT = "cut"
    RESTART_WORKER = "restart-worker"


@dataclass(frozen=True)
class Step:
    """One step of a scenario, as `core.scenario` reads it.

    `what` is waited for or expected: "received", "started", "finished", "quiet" (wait only), "completed" (expect only).
    `count`: of how many of the probes sent so far (0: all); for `send`, how many (0: as many as prove every slot).
    `seconds`: how long a fault lasts, or silence must, to be "quiet". `hard` is the nastier way of a fault: packets
    that stop without a word instead of a closed connection, a worker that is killed instead of asked to end.
    """

    act: Act
    what: str = ""
    count: int = 0
    seconds: float = 0.0
    hard: bool = False


@dataclass(frozen=True)
class Overlay:
    """A file of the user's that is copied into every tree: `source` on this machine, `target` in the tree."""

    source: Path
    target: str


@dataclass(frozen=True)
class Fallback:
    """Variables that the project itself shows as an example, for where a trial says that one of them is missing.

    `source` is the file's path in the tree. `variables` are all it sets, those of `services` as placeholders; `bound`
    names these with their service ("" is the broker). `services` are those that the placeholders need.
    """

    source: str
    variables: tuple[tuple[str, str], ...] = ()
    bound: tuple[tuple[str, str], ...] = ()
    services: tuple[str, ...] = ()


@dataclass(frozen=True)
class Build:
    """How an image is built. Paths are in the repository, POSIX style; the context "" is its root."""

    context: str = ""
    dockerfile: str = "Dockerfile"
    target: str | None = None
    args: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class WorkerImage:
    """What the project runs its worker in: an image by its name, or one that is built. One of both is set."""

    image: str | None = None
    build: Build | None = None


@dataclass(frozen=True)
class Companion:
    """A service of the project's compose file that stands beside the trials, with nothing of the project's own data.

    `name` and `names` are the hosts by which programs know it. `kind` is "redis", "postgres" or "mariadb" where it is
    reset in place, "rabbitmq" where our broker plays it, "" for all others, which begin anew in each trial. `command`
    and `entrypoint` are empty where the image's own serve. `health` are the words of its healthcheck, as Compose writes
    them (`CMD-SHELL`, `CMD`). `after` are the companions that come first. `files` are (path in the container, content)
    of configuration that the project keeps in its repository, and of secrets; `ports` what it listens on, where the
    file says so.
    """

    name: str
    image: str
    kind: str = ""
    names: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    health: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    ports: tuple[int, ...] = ()
    user: str = ""


# How a worker is started: today's program, django-celery's through `manage.py`, and the one of before Celery 3.
STARTS = ("celery worker", "manage.py celery worker", "manage.py celeryd", "celeryd")


@dataclass(frozen=True)
class Request:
    """All that a session was asked, resolved once. `sources` says where each value came from.

    `subfolder` is where in the tree the app lives ("" or "services/mail"), POSIX style. `worker` are the
    words after `celery -A APP worker`. `environment` are variables for every program of a trial, with
    the placeholders `{broker_url}`, `{result_url}`, `{database_url}`, `{work_dir}` and others still in them;
    `secrets` are those of their values that must never be printed. `budget` is in minutes,
    `ceiling` the longest a trial may be watched, in seconds. `scenario` replaces the first wave of probes (empty: send
    and wait). `upgrade_from` names the revision whose leavings every trial begins with: "good", or any revision.
    `start` is the program that those words belong to, one of `STARTS`.
    `beside` are the words of further workers that run in every trial.
    `fails` is how often a start at BAD is known to fail (1: always; None: not known), `confidence` how sure to be of a
    commit when trials contradict one another.
    `services` stand beside the broker ("redis", "postgres", "mariadb"), fresh in each trial. `migrate` is a command
    that fills a database and does only what is missing when it is run again: what it made is copied to other trials.
    `workload` is the folder of the app when what is searched is a library that it uses; then `subfolder` is in there.
    `worker_image` is what the project itself runs its worker in, and `companions` what its compose file has beside it.
    `project_broker` is the scheme of the broker's URL in the project's files (None: they name none).
    `fallback` is what the project shows as an example of its variables, used where a trial says that one is missing.
    `remote_engine` says that the container engine may be on another machine, `rabbitmq_image` is the broker's image.
    `worker_files` are the compose file's secrets and configs for the worker: (path in its container, content).
    """

    repository: Path
    good: str
    bad: str
    app: str
    subfolder: str = ""
    paths: tuple[str, ...] = ()
    first_parent: bool = False
    probe: Probe = field(default_factory=Probe)
    worker: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    prepare: str | None = None
    python: str | None = None
    match: Match = Match.SAME
    output: Path | None = None
    budget: float = 30.0
    ceiling: float = 120.0
    stack: str | None = None
    broker: str | None = None
    django_settings: str | None = None
    sources: tuple[tuple[str, str], ...] = ()
    scenario: tuple[Step, ...] = ()
    upgrade_from: str | None = None
    fails: float | None = None
    confidence: float = 0.95
    start: str = "celery worker"
    beside: tuple[tuple[str, ...], ...] = ()
    services: tuple[str, ...] = ()
    migrate: str | None = None
    workload: Path | None = None
    worker_image: WorkerImage | None = None
    companions: tuple[Companion, ...] = ()
    project_broker: str | None = None
    fallback: Fallback | None = None
    remote_engine: bool = False
    rabbitmq_image: str | None = None
    worker_files: tuple[tuple[str, bytes], ...] = ()


# --- revisions, trees, atoms -------------------------------------------------------------------------


@dataclass(frozen=True)
class Revision:
    """A commit. `date` is the committer's, ISO 8601 with offset; `title` its first line."""

    sha: str
    tree: str
    title: str
    author: str
    date: str
    parents: tuple[str, ...]

    @property
    def short(self) -> str:
        return self.sha[:10]


@dataclass(frozen=True)
class Tree:
    """The git tree a trial runs. `label` says where it comes from: `a1b2c3d`, `a1b2c3d minus atom 3`."""

    sha: str
    label: str
    title: str = ""


class AtomKind(enum.StrEnum):
    HUNK = "hunk"
    IMPORT = "import"
    FILE = "file"
    MODE = "mode"


@dataclass(frozen=True)
class Edit:
    """Replace `removed` at line index `start` (0-based, lines split on \\n only, ends kept) by `added`.

    `start` counts in the parent's blob. A pure insertion has `removed` empty and stands before line `start`.
    `rank` orders edits that share a `start`.
    """

    start: int
    removed: tuple[bytes, ...]
    added: tuple[bytes, ...]
    rank: int = 0


@dataclass(frozen=True)
class FileChange:
    """A whole-file change: mode and blob id before and after; None where the path does not exist."""

    old_mode: str | None
    old_sha: str | None
    new_mode: str | None
    new_sha: str | None


@dataclass(frozen=True)
class Atom:
    """The smallest piece of a commit that narrowing moves: a hunk, one import statement, a whole-file change.

    `number` counts from 1 in the order of the diff. `lines` is what a person is shown, each beginning with
    `-` or `+`. Exactly one of `edit` and `changes` says what is done: an edit of the file at `path`, or
    changes of whole paths that only make sense together (a file that becomes a folder).
    """

    number: int
    kind: AtomKind
    path: str
    header: str
    lines: tuple[str, ...]
    edit: Edit | None = None
    changes: tuple[tuple[str, FileChange], ...] = ()


# --- what was seen -----------------------------------------------------------------------------------


class Stage(enum.StrEnum):
    """How far a trial came."""

    LAYOUT = "layout"
    ENVIRONMENT = "environment"
    PREPARE = "prepare"
    BOOT = "boot"
    PROBE = "probe"
    RESULT = "result"


@dataclass(frozen=True)
class Failure:
    """Why a trial ended before its probes could: at which stage, in one sentence, with the last log lines.

    `missing` names what was not there, as (kind, name): ("module", "requests"), ("variable", "SECRET_KEY"),
    ("host", "db"), ("package", "mysqlclient"). `lines` are raw and private: redact before printing. `timed_out`:
    nothing went wrong, but nothing came in time either, which a slow moment of this machine makes too.
    """

    stage: Stage
    reason: str
    exception: str | None = None
    missing: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()
    timed_out: bool = False


@dataclass(frozen=True)
class Message:
    """What became of one probe message. Times are seconds since the trial began; None: not seen.

    `state` is Celery's final word as far as any source told it: SUCCESS, FAILURE, REVOKED, REJECTED, IGNORED; the
    worst, where they differ. `sources` say who told: "event" (the worker's main process, once the pool process
    had come back), "result", "log". `stored` is the state in the result backend.
    `value` is the JSON text of the result when it was SUCCESS and representable. `process` is the pool
    child that ran it, where known. `starts` counts how often a body was begun, but for the `retries` that the task
    itself asked for; while it is open, `exception` and `detail` are the last retry's. `again`: how many more starts
    the trial's own faults explain; `unread`: for a reason of ours nobody could read its result. Wave 0 was left
    unconsumed by an older revision (`Request.upgrade_from`).
    `checked` is what the user's own judge said of the value, "true", "false" or "raised" (None: it was not asked), with
    `said` its words. `canvas` counts the other tasks of its canvas (chain, group, chord) that come before it,
    `canvas_over` those of them whose success was seen. `published`: when the sender had given it to the broker.
    """

    id: str
    wave: int
    sent: float
    received: float | None = None
    started: float | None = None
    done: float | None = None
    finished: float | None = None
    starts: int = 0
    retries: int = 0
    state: str | None = None
    stored: str | None = None
    value: str | None = None
    exception: str | None = None
    detail: str | None = None
    process: str | None = None
    sources: tuple[str, ...] = ()
    again: int = 0
    unread: bool = False
    checked: str | None = None
    said: str | None = None
    canvas: int = 0
    canvas_over: int = 0
    published: float | None = None


@dataclass(frozen=True)
class Fault:
    """Something that the scenario did to a trial: `what` in words, from when until when."""

    what: str
    began: float
    until: float


@dataclass(frozen=True)
class QueueCount:
    """One queue at one moment, from the broker's live counts. `consumers` is None where nobody asked for them."""

    name: str
    ready: int
    unacked: int
    durable: bool = False
    exclusive: bool = False
    auto_delete: bool = False
    arguments: tuple[tuple[str, str], ...] = ()
    consumers: int | None = None


@dataclass(frozen=True)
class Dump:
    """Where one process of the worker stood: innermost frame first, each `function (file:line)`. No locals."""

    pid: int
    role: str
    frames: tuple[str, ...]
    thread: str = ""


@dataclass(frozen=True)
class WorkerFacts:
    """What the worker said of itself. `concurrency` and `prefetch` are None where it could not be asked.

    `web_app` is the app by which a web process would send the task, which imports the task and not what `-A` names:
    "project" (the same app), "default" (Celery's own, without the project's settings), "another"; None: not looked, or
    nothing could be seen. `web_broker` is the host that app would publish to without our override ("ours": the settings
    have it from us). `result_at`: where results go, "ours" or an address, of a backend that is no part of the broker.
    """

    celery: str | None = None
    python: str | None = None
    concurrency: int | None = None
    prefetch: int | None = None
    acks_late: bool | None = None
    ignore_result: bool | None = None
    pool: str | None = None
    registered: tuple[str, ...] = ()
    result_backend: str | None = None
    broker_kind: str | None = None
    web_app: str | None = None
    web_broker: str | None = None
    result_at: str | None = None


@dataclass(frozen=True)
class Observation:
    """What was seen in one trial: facts, no opinion, and until when they were watched (`until`, seconds).

    `ready_at`: when the worker's consumer stood on its queues. `quiet`: the longest time between two signs
    of progress; `last_progress`: the last one. `held`: pool slots that the worker still counts as busy
    after all was done (None: could not be asked), `held_others` those of them that run other tasks than ours;
    `others`: tasks that nobody of ours sent and whose end was not seen. `worker_exit`: its exit status if it ended
    by itself (negative: a signal), `exit_words` the exception its log ends with. `foreign_broker`: the address it
    went to instead of ours. `children_lost` counts pool children that died. `ended` says why watching stopped:
    "complete", "quiet", "total", "exit", "failure", "foreign", "unmet", "line" (one that must not be in the log).
    `load` is the machine's one-minute load average.
    `log_required` and `log_forbidden` count the worker's log lines, from when it was ready, that the probe's `log_must`
    and `log_must_not` match (None: nothing was asked). `memory` are the peaks of pool children's resident memory, in
    KiB (empty: not looked at, or not to be had); `children_replaced` those that a memory limit ended, as the log says.
    `faults` are what the scenario did to it; `unmet` says which step's expectation did not hold.
    `counted_at`: when the broker was asked for `queues`. `heard`: which witnesses are known to work here, because the
    worker was heard through them after it was ready ("event", "log"), or through its log at INFO before ("boot").
    `refused` counts messages that the worker's main process says it threw away unread, `refusal` why (`Type: words`).
    `scheduled`: tasks of others that the worker says it keeps for a later time (None: it was not asked, or gave no
    answer). `children_gone` counts pool processes that
    the worker named when it was asked, and when it was asked again no more.
    """

    until: float
    failure: Failure | None = None
    worker: WorkerFacts = field(default_factory=WorkerFacts)
    ready_at: float | None = None
    messages: tuple[Message, ...] = ()
    queues: tuple[QueueCount, ...] = ()
    consumers: int | None = None
    held: int | None = None
    held_others: int = 0
    others: int = 0
    last_progress: float = 0.0
    quiet: float = 0.0
    worker_exit: int | None = None
    worker_exit_at: float | None = None
    exit_words: str | None = None
    children_lost: int = 0
    foreign_broker: str | None = None
    unregistered: bool = False
    dumps: tuple[Dump, ...] = ()
    errors: tuple[str, ...] = ()
    ended: str = ""
    load: float = 0.0
    log_required: int | None = None
    log_forbidden: int = 0
    memory: tuple[int, ...] = ()
    children_replaced: int = 0
    faults: tuple[Fault, ...] = ()
    unmet: str | None = None
    counted_at: float | None = None
    heard: tuple[str, ...] = ()
    refused: int = 0
    refusal: str | None = None
    scheduled: int | None = None
    children_gone: int = 0
    answered: bool | None = None


class Kind(enum.StrEnum):
    """What the facts look like. The order of DESIGN; each has a rule in `core.judge`."""

    COMPLETED = "completed"
    WRONG_RESULT = "wrong-result"
    TASK_FAILED = "task-failed"
    UNREGISTERED = "unregistered"
    NEVER_RECEIVED = "never-received"
    STUCK_IN_TASK = "stuck-in-task"
    EXECUTED_NOT_ACKED = "executed-not-acked"
    SLOT_LOST = "slot-lost"
    RESULT_LOST = "result-lost"
    REDELIVERED = "redelivered"
    SLOW = "slow"
    MEMORY_GROWN = "memory-grown"
    LOG_LINE = "log-line"
    WORKER_DIED = "worker-died"
    BOOT_FAILED = "boot-failed"
    ENVIRONMENT_FAILED = "environment-failed"
    BROKER_NOT_REDIRECTED = "broker-not-redirected"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Symptom:
    """What the facts look like. Two symptoms are the same failure when kind, exception and template agree.

    `where` is what a hang waits in, told in names that no revision changes (a library's function; "its own code"); None
    where nobody could look. A missing dump changes no verdict (DESIGN 16), so only two known places tell hangs apart.
    """

    kind: Kind
    exception: str | None = None
    template: str | None = None
    where: str | None = field(default=None, compare=False)

    def same_failure(self, other: Symptom) -> bool:
        return self == other and (None in (self.where, other.where) or self.where == other.where)

    def __str__(self) -> str:
        return f"{self.kind}({self.exception})" if self.exception else str(self.kind)


class Verdict(enum.IntEnum):
    """The value is git's exit status for `git bisect run`."""

    GOOD = 0
    BAD = 1
    SKIP = 125


@dataclass(frozen=True)
class Judgement:
    """Verdict and symptom over one or more trials of a tree; `rule` says in words what decided."""

    verdict: Verdict
    symptom: Symptom
    rule: str
    confidence: float = 1.0


@dataclass(frozen=True)
class Trial:
    """One tree tried once. `mode` is "faithful" or "fast"; `digest` names everything that was held the same.

    `attempt` counts trials of the same tree, digest and mode in a session from 1; `purpose` says who asked:
    "good end", "bad end", "search", "narrow", "confirm", "try", "reproduce". `reused` is the session a
    stored trial came from.
    """

    number: int
    tree: Tree
    observation: Observation
    digest: str = ""
    attempt: int = 1
    mode: str = "faithful"
    purpose: str = ""
    started_at: str = ""
    seconds: float = 0.0
    artifacts: str = ""
    reused: str | None = None


@dataclass(frozen=True)
class Judged:
    """A trial and what the judge made of it, which is what reports and terminals show."""

    trial: Trial
    judgement: Judgement


# --- what was found ----------------------------------------------------------------------------------


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


# --- the edges ---------------------------------------------------------------------------------------


class Cancel(Protocol):
    """The one way to wait. Set from a signal, it ends every wait of the session."""

    def wait(self, condition: Callable[[], bool], deadline: float, poll: float = 0.02) -> bool:
        """Wait until `condition()` holds or `deadline` seconds are over; which of the two is the answer.

        Raises Cancelled when the session was told to stop.
        """
        ...

    def check(self) -> None:
        """Raise Cancelled if the session was told to stop."""
        ...


@dataclass(frozen=True)
class Owner:
    """Who owns a process, container or folder: names one run of one process of one machine, for ever."""

    machine: str
    boot: str
    pid: int
    started: int
    session: str

    def label(self) -> str:
        return "/".join((self.machine, self.boot, str(self.pid), str(self.started), self.session))

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        parts = text.split("/")
        if len(parts) != 5 or not (parts[2].isdigit() and parts[3].isdigit()):
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]), parts[4])


@dataclass(frozen=True)
class Credentials:
    """A fresh namespace on the broker: RabbitMQ's vhost with a user of its own. Never printed."""

    vhost: str
    user: str
    password: str


@dataclass(frozen=True)
class BrokerTraits:
    """What a kind of broker tells and does, for whoever watches a trial on it. `port` is where its URLs lead that name
    none.

    `tells_consumers`: it knows who stands on a queue; else only workers can say what they consume. `keeps_questions`: a
    question to workers waits until they listen; else who does not listen yet never hears it.
    """

    kind: str
    port: int = 5672
    tells_consumers: bool = True
    keeps_questions: bool = True


@dataclass(frozen=True)
class Image:
    """An image of the project's own that a tree's programs run in, with its environment inside.

    `folder` is where the app's folder is in it, `root` the folder of the code that a trial's programs share (None: each
    has its own). `files` are (path in the laid-out tree, path in the image), put in for each trial; with `bare` nothing
    of what the image itself has in `root` is seen. `user` is the number of who runs programs, `variables` its ENV.
    `left_out` are commands of its Dockerfile that were not run.
    """

    id: str
    folder: str
    root: str | None
    files: tuple[tuple[str, str], ...]
    user: int
    variables: tuple[tuple[str, str], ...] = ()
    bare: bool = False
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Environment:
    """A project's dependencies, built. `python` and `bin` are paths as programs of a trial see them.

    `key` is the digest of the resolved set, interpreter and platform; `packages` are (name, version). `image` is set
    where they are an image's.
    """

    key: str
    python: str
    bin: str
    packages: tuple[tuple[str, str], ...] = ()
    lock: str = ""
    image: Image | None = None


@dataclass(frozen=True)
class RunResult:
    """What a builder's command left: exit status (0 is success) and its output, both streams together."""

    code: int
    text: str


class Runner(Protocol):
    """Where environments are built: this machine, or a builder container with index access.

    `root` is the folder that keeps environments and uv's cache, on one mount, at the same path inside
    workers. `platform` goes into an environment's key.
    """

    root: str
    platform: str

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str], source: Path | None, deadline: float, cancel: Cancel
    ) -> RunResult:
        """Run a command with the index in reach; `source` (a laid-out tree) is its working folder, a copy.

        Raises InfraError when it cannot be run at all or passes its deadline (seconds).
        """
        ...

    def uv(self) -> tuple[str, ...]:
        """The words that start uv there."""
        ...

    def interpreter(self, version: str | None) -> tuple[str, str]:
        """(path, full version) of a Python of `version` ("3.11", None: the default). Raises UserError if none."""
        ...

    def read(self, path: str) -> bytes | None:
        """The content of a file below `root`, None if there is none."""
        ...


@dataclass(frozen=True)
class ImageFacts:
    """What an engine tells of an image. `triggers` are its ONBUILD instructions, `folder` its WORKDIR."""

    id: str
    environment: tuple[tuple[str, str], ...] = ()
    folder: str = "/"
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageOrder:
    """An image to build. `files` are (path in the context, file here; None: an empty folder), `buildkit` the line that
    only BuildKit understands ("": none). `key` names all that it is made of. The values of `arguments` are private.
    """

    key: str
    text: str
    files: tuple[tuple[str, Path | None], ...]
    arguments: tuple[tuple[str, str], ...] = ()
    target: str | None = None
    buildkit: str = ""


class Images(Protocol):
    """An engine's images, as far as the project's own are needed."""

    platform: str

    def known(self, reference: str, cancel: Cancel) -> ImageFacts | None:
        """An image by its name or id, from its registry where need be; None where there is none of that name.

        Raises InfraError when no registry can be reached.
        """
        ...

    def built(self, key: str) -> ImageFacts | None:
        """The image that was built for a key."""
        ...

    def build(self, order: ImageOrder, says: Callable[[str], None], cancel: Cancel) -> RunResult:
        """Build and keep an image; what the builder said. Raises InfraError when it cannot be built here at all."""
        ...

    def run(self, image: str, argv: Sequence[str], deadline: float, cancel: Cancel) -> RunResult:
        """Run a command in an image, as its user, without its entry point or a network; 127 where it is not there."""
        ...


@dataclass(frozen=True)
class Program:
    """One program to start in a place. `folder` is relative to the checkout; `env` is its whole environment.

    `{python}`-like placeholders are already filled in. With `stdin`, `Running.write` reaches it. What a `private` one
    writes to its standard output is never an artifact: it goes with the place.
    """

    name: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    folder: str = ""
    stdin: bool = False
    private: bool = False


class Running(Protocol):
    """A program that was started in a place. `out` and `err` are files here that grow as it writes."""

    out: Path
    err: Path

    def write(self, line: str) -> None:
        """Send a line (the newline is added) to its standard input."""
        ...

    def alive(self) -> bool: ...

    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        ...

    def ask_to_end(self) -> None:
        """SIGTERM to the program itself, not to its children: a worker's warm shutdown. Nothing when it has ended."""
        ...

    def stop(self) -> None:
        """End it and all its children at once. Idempotent; after it nothing of it runs."""
        ...


class Place(Protocol):
    """A tree laid out in a slot, with a fresh namespace, a fresh folder and its dependencies: room for one trial.

    `checkout`, `work_dir` (HOME, TMPDIR, databases) and `guest` (our guest files) are paths as programs see
    them; `broker_url` is how programs reach the broker, `harness_url` how we do, `broker` what it is like. `idle` is
    the share of one core up to which a worker that does nothing may seem to work, by `worked`. `bindings` are what
    programs reach services by, and the trial's database: placeholders (`database_url`, `redis_host` …), filled.
    """

    checkout: str
    work_dir: str
    guest: str
    broker_url: str
    harness_url: str
    broker: BrokerTraits
    vhost: str
    idle: float
    bindings: Mapping[str, str]

    def start(self, program: Program) -> Running:
        """Start a program; its stop is registered with the place."""
        ...

    def script(self, name: str, text: str) -> str:
        """Put a shell script into `work_dir`, for a person who looks around; returns how to run it from here."""
        ...

    def queues(self) -> tuple[QueueCount, ...]:
        """The broker's live counts of this place's namespace. Raises InfraError when the broker does not answer."""
        ...

    def healthy(self) -> bool:
        """Whether the broker takes messages: no alarm holds publishers back. Raises InfraError when it is gone."""
        ...

    def stop_broker(self) -> None:
        """Shut the broker down in order: connections are closed, what is durable stays. Only in a place made `alone`.

        Raises InfraError. Leaving the place starts it again, whatever happened.
        """
        ...

    def start_broker(self) -> None:
        """Bring a broker that was shut down up again, at the same address. Raises InfraError."""
        ...

    def save(self, archive: Path) -> None:
        """Pack what the work folder holds into a tar archive on this machine; programs should have ended."""
        ...

    def restore(self, archive: Path) -> None:
        """Fill the work folder from such an archive. Before the first program is started."""
        ...

    def copy_database(self, key: str) -> bool:
        """Fill the trial's database with what was kept under `key`; False when nothing was. Raises InfraError."""
        ...

    def empty_database(self) -> None:
        """Take back what was copied or put into the trial's database. Raises InfraError."""
        ...

    def keep_database(self, key: str) -> None:
        """Keep what the trial's database holds under `key`, for the session's later trials. Its programs have ended."""
        ...

    def definitions(self) -> bytes:
        """The exchanges, queues and bindings of this namespace, with arguments, as the broker's API writes them."""
        ...

    def define(self, definitions: bytes) -> None:
        """Declare in this namespace what another one's `definitions` says. Raises InfraError."""
        ...

    def memory(self, worker: Running, *, at_end: bool) -> Mapping[int, int]:
        """The peak of resident memory, in KiB, of each pool process of the worker that is alive, by its number; of the
        worker itself where it has none. Empty when nobody can look, or, while the trial runs (not `at_end`), when
        looking would take too long."""
        ...

    def worked(self, worker: Running) -> float | None:
        """The seconds of CPU that the worker's pool processes have used so far (the whole worker's, where it has none
        or they cannot be told apart): who computes is not stuck. None when nobody can look."""
        ...

    def dump(self, worker: Running) -> tuple[Dump, ...]:
        """Where the worker's processes stand, by py-spy, without locals. Empty when it cannot be had."""
        ...

    def describe(self) -> tuple[tuple[str, str], ...]:
        """What a person needs to look around in a kept place: (name, how to get there)."""
        ...


class Stack(Protocol):
    """What trees run in: broker, and worker places. One a session; many places, one after the other a slot."""

    facts: StackFacts

    @property
    def runner(self) -> Runner:
        """Where environments are built; known once the stack was started."""
        ...

    def own_images(self) -> Images | None:
        """The project's own images; None where programs run without images. Known once the stack was started."""
        ...

    def start(self, cancel: Cancel) -> None:
        """Bring up what stays for the session and wait until it is healthy. Raises InfraError."""
        ...

    def stop(self) -> None:
        """Take everything down. Idempotent."""
        ...

    def serve(self, kind: str, cancel: Cancel) -> bool:
        """From now on every place has this service as well (`Request.services`); False where it cannot be had."""
        ...

    def place(
        self,
        name: str,
        layout: Path,
        environment: Environment,
        artifacts: Path,
        cancel: Cancel,
        *,
        alone: bool = False,
    ) -> AbstractContextManager[Place]:
        """A place for one trial of the tree laid out at `layout`; leaving it kills its programs, then its namespace.

        `artifacts` is where the programs' outputs are kept. `layout` may be used in place (it is ours alone). `alone`:
        while it is open no other place uses the broker, so that it may be shut down; waits for those that are open.
        """
        ...


class Redact(Protocol):
    """Takes every secret we know of out of a text."""

    def __call__(self, text: str) -> str: ...
