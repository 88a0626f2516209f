"""What was seen of a trial, what it looks like, and what was judged."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from bisect_celery.model.revisions import Tree


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
