"""Every setting of a run, once: its key, how its value is read, its help, and where in the Request it lies.

How to add one. (1) If it is a plain value, a field with a default in `model.Request` or `model.Probe`. (2) One line in
`SETTINGS` below: the key as in bisect-celery.toml, a parser of `config.values`, the help, and the field's dotted name.
That is all for the flag of `run`, `try` and `reproduce` (`cli.options.taking`), the variable BISECT_CELERY_KEY, both
TOML files, the Request, `describe`, and the digest (a new field of Probe is in it; a new field of Request is not:
`flow.session.digest` says which are). (3) Its value in tests/config/test_load.py, in the test of every key.
A setting whose place in the Request is not simply its value has no field; `config.request` puts it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bisect_celery.config import values
from bisect_celery.config.values import Given
from bisect_celery.model import STARTS

EVERYWHERE = frozenset({"run", "try", "reproduce"})
JUDGED = frozenset({"run", "try"})
SEARCHED = frozenset({"run"})
DEMO_TOO = EVERYWHERE | {"demo"}


@dataclass(frozen=True)
class Setting:
    """One setting. `field` is where its value lies in the Request ("probe.expect"; "" when `config.request` places it).

    `parse` is None for what adds up over all layers (variables, overlays). `on` are the commands that take its flag,
    which may be given more than once where there may be `many`.
    """

    key: str
    parse: Callable[[Given], object] | None
    help: str
    field: str = ""
    on: frozenset[str] = EVERYWHERE
    many: bool = False

    @property
    def name(self) -> str:
        """As Python writes it: `done_log`."""
        return self.key.replace("-", "_")


SETTINGS = (
    Setting("app", values.app, "The Celery app, as for `celery -A`. Detected when there is one."),
    Setting("worker", values.words, "The worker's start line, e.g. '-c 2 -Q mail'. Detected, else -c 2."),
    Setting("beside", values.lines, "A further worker in the same trial, e.g. '-c 1 -Q mail'; more than once for more.",
            "beside", many=True),
    Setting("start", values.one_of(*STARTS),
            "What starts it: 'celery worker', 'manage.py celery worker', 'manage.py celeryd', 'celeryd'. Detected.",
            "start"),
    Setting("task", values.string, "The task to send. Default: one that every Celery has.", "probe.task"),
    Setting("args", values.json_list, "Its positional arguments, a JSON list.", "probe.args"),
    Setting("kwargs", values.json_object, "Its keyword arguments, a JSON object.", "probe.kwargs"),
    Setting("message", values.stuck,
            "A file with a stuck message to send, as RabbitMQ's page, rabbitmqadmin or redis-cli shows it."),
    Setting("expect", values.json_any, "The value it must return, as JSON.", "probe.expect"),
    Setting("check", values.expression, "A Python expression about what it returned: 'value[\"total\"] > 3'.",
            "probe.check"),
    Setting("script", values.script,
            "A probe.py of yours: send(app) and, if you like, judge(value, result): docs/probe.md.",
            "probe.script"),
    Setting("periodic", values.string,
            "An entry of the beat schedule to send in place of a task: as beat does, but at once.", "probe.periodic"),
    Setting("count", values.integer, "How many to send. Default: enough to prove every pool slot, at least 20.",
            "probe.count"),
    Setting("queue", values.string, "The queue to send to. Default: the project's own routing.", "probe.queue"),
    Setting("send", values.one_of("guest", "harness"),
            "Who sends: guest (the project itself), or harness with --queue.", "probe.sender"),
    Setting("done-log", values.pattern, "A regular expression for the log line that says a body has done its work.",
            "probe.done_log"),
    Setting("log-must", values.pattern, "A line (regular expression) that the ready worker's log must have.",
            "probe.log_must"),
    Setting("log-must-not", values.pattern, "A line that it must not have: where it stands, the revision is bad.",
            "probe.log_must_not"),
    Setting("judge", values.judges, "latency, memory or both: must not be worse than at the good end (several starts).",
            "probe.judges"),
    Setting("effect", values.number, "How much worse counts for --judge, in percent (25).", "probe.effect"),
    Setting("env", None,
            "NAME=VALUE for the trials; {broker_url} {result_url} {database_url} {work_dir} and more are filled in."),
    Setting("env-file", None, "A file of such lines."),
    Setting("pass", None, "A variable to take from this environment, by name."),
    Setting("overlay", None, "A file copied into every tree: FILE or FILE:PATH/IN/TREE."),
    Setting("workload", values.path,
            "The folder of an app that uses the library searched here; it is the same at every revision.", "workload"),
    Setting("compose", values.compose,
            "The project's compose file, or none. Default: compose.yaml, docker-compose.yml … where it is.",
            many=True),
    Setting("service", values.services,
            "redis, postgres, mariadb, mysql: fresh in each trial; or the compose file's service that is the worker.",
            "services", many=True),
    Setting("migrate", values.string,
            "A command that migrates the database, e.g. 'python manage.py migrate'; what it made is copied on.",
            "migrate"),
    Setting("prepare", values.string, "A command before each worker, after --migrate: 'python manage.py loaddata x'.",
            "prepare"),
    Setting("scenario", values.steps, "A TOML file of steps: send, wait, expect, restart-broker, cut, restart-worker.",
            "scenario"),
    Setting("upgrade-from", values.string,
            "Begin each trial with what this revision leaves behind: good, or any. Default: clean.", "upgrade_from"),
    Setting("dockerfile", values.path,
            "Run in the image that each revision's own Dockerfile builds, instead of installing its dependencies."),
    Setting("build-context", values.path, "The folder that Dockerfile copies from. Default: where what it copies is."),
    Setting("target", values.string, "The stage of that Dockerfile to build. Default: the last."),
    Setting("build-arg", values.arguments, "NAME=VALUE for that build, or NAME to take it from this environment.",
            many=True),
    Setting("image", values.string, "Run in a ready image that has the dependencies; none: not in the compose file's."),
    Setting("python", values.python, "The Python version. Default: what the project's files say.", "python"),
    Setting("match", values.match, "same or any: which failures count as bad.", "match", JUDGED),
    Setting("first-parent", values.boolean, "Follow only first parents, as git does.", "first_parent", SEARCHED),
    Setting("output", values.path, "Where the report goes. Default: the session's own folder.", "output", SEARCHED),
    Setting("budget", values.number, "Minutes (30).", "budget", SEARCHED),
    Setting("fails", values.rate, "How often BAD fails, if you know: 1/5, 20%, 1 for always. Default: at least 1/5.",
            "fails", SEARCHED),
    Setting("confidence", values.confidence, "How sure to be of a commit that fails only sometimes (0.95).",
            "confidence", SEARCHED),
    Setting("ceiling", values.number, "The longest a trial may be watched, in seconds (120).", "ceiling"),
    Setting("stack", values.one_of("container", "process"),
            "container or process. Default: the best there is.", "stack", DEMO_TOO),
    Setting("broker", values.one_of("rabbitmq", "redis", "embedded"),
            "rabbitmq, redis or embedded. Default: the project's kind, as its files name it.", "broker", DEMO_TOO),
    Setting("rabbitmq-image", values.string,
            "The broker's image in containers, e.g. what production has: rabbitmq:3.13.", "rabbitmq_image", DEMO_TOO),
    Setting("remote-engine", values.boolean,
            "Let code and variables go to a container engine on another machine.", "remote_engine", DEMO_TOO),
)  # fmt: skip

PARSERS = {setting.key: setting.parse for setting in SETTINGS if setting.parse is not None}
KEYS = tuple(setting.key for setting in SETTINGS)


def taken_by(command: str) -> Iterator[Setting]:
    """The settings that are flags of a command, in the order of its help."""
    return (setting for setting in SETTINGS if command in setting.on)


def is_switch(setting: Setting) -> bool:
    """Whether its flag takes no value."""
    return setting.parse is values.boolean
