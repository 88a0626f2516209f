"""What is not as in the user's project, said in the report: nobody should have to guess what was really tried."""

from __future__ import annotations

from bisect_celery.config import STOOD_IN
from bisect_celery.core.scenario import words
from bisect_celery.flow.ends import Ends
from bisect_celery.lab.lab import Lab
from bisect_celery.lab.plan import (
    DATABASE_RESULTS,
    FAST_FLAGS,
    REDIS_RESULTS,
    REPLACEMENT,
    Plan,
    knows_fast_flags,
)
from bisect_celery.model import Difference, Request, StackFacts, WorkerImage
from bisect_celery.stack.brokers.redis import SCHEMES
from bisect_celery.stack.services.protocol import DATABASES, NAMES, REDIS

OF_SERVICES = {REDIS_RESULTS: "a Redis of each trial's own", DATABASE_RESULTS: "each trial's own database"}
AMQP = frozenset({None, "amqp", "amqps", "pyamqp", "librabbitmq", "rabbitmq"})


def differences(plan: Plan, lab: Lab, ends: Ends | None, request: Request) -> tuple[Difference, ...]:
    """Everything that differs for a reason of ours, the most telling first. `request` is as it was asked."""
    facts = lab.stack.facts
    found = [*_broker(facts, ends), *_results(plan, ends), *_worker(plan, ends), *_sender(plan)]
    found += _image(request.worker_image, lab.worker_image, tuple(lab.left_out))
    if (stood_in := dict(request.sources).get(STOOD_IN)) is not None:
        why = "nobody has them here; the flags that give them stand beside each"
        found.append(Difference("files and values of the compose file", "the project's", stood_in, why))
    if plan.example is not None:
        ours = f"those of {plan.example}, services' the trial's own"
        found.append(Difference("variables", "production's", ours, "`--env-file FILE`, `--env NAME=VALUE`"))
    if plan.scenario:
        done = "; ".join(words(step) for step in plan.scenario)
        found.append(Difference("what happens", "production's day", done, "`--scenario`, which each trial ran"))
    if not facts.walled and facts.name == "container":
        ours = "no route out, but trials reach what listens on the engine's machine"
        found.append(Difference("wall", "production's network", ours, "Docker's engine shuts them in"))
    elif not facts.walled:
        found.append(Difference("wall", "production's network", "none: trials ran as processes of this machine",
                                "`--stack container` shuts them in"))  # fmt: skip
    found += _services(facts)
    return tuple(found)


def _image(asked: WorkerImage | None, taken: WorkerImage | None, left_out: tuple[str, ...]) -> list[Difference]:
    """What the project runs its worker in, and what trials ran in."""
    if asked is None:
        return []
    theirs = f"built from {asked.build.dockerfile}" if asked.build is not None else str(asked.image)
    if taken is None:
        ours = "none: dependencies were installed from the project's files"
        return [Difference("image", theirs, ours, "`--stack container`, `--image` or `--dockerfile`")]
    ours = (
        "of each revision's own Dockerfile"
        if taken.build is not None
        else "with each revision's code in place of its own"
    )
    ours += ", started without its entry point and health check"
    why = "what an entry point does is `--migrate` and `--prepare` here"
    if left_out:
        ours += f", and built without {', '.join(f'`{command}`' for command in left_out)}"
        why = f"a worker does without them; {why}"
    return [Difference("image", theirs, ours, why)]


def _services(facts: StackFacts) -> list[Difference]:
    ours = [
        (kind, f"{NAMES.get(kind, kind)} {version}".strip() + ", fresh in each trial")
        for kind, version in facts.services
    ]
    why = "`--service`, or the compose file"
    found = [Difference(kind, "the project's", words, why) for kind, words in ours]
    if not any(kind in DATABASES for kind, _ in facts.services):
        file = "an SQLite file of the trial's own in DATABASE_URL"
        found.append(Difference("database", "the project's", file, "`--service postgres`, `--env DATABASE_URL=…`"))
    return found


def _broker(facts: StackFacts, ends: Ends | None) -> list[Difference]:
    ours = f"{facts.broker} {facts.broker_version}" + (" (emulated)" if facts.emulated else "")
    theirs = ends.good.trial.observation.worker.broker_kind if ends else None
    if facts.broker == REDIS:
        return [_redis(theirs, ours)]
    if theirs in SCHEMES:
        return [Difference("broker", str(theirs), ours, "`--broker redis` takes Redis, where that is installed")]
    if theirs not in AMQP:
        return [Difference("broker", str(theirs), ours, "that kind is not provided yet")]
    if facts.emulated:
        return [Difference("broker", "RabbitMQ", ours, "`--broker rabbitmq` or `--stack container`")]
    return [Difference("broker", "the version in production", ours, "BISECT_CELERY_RABBITMQ_IMAGE")]


def _redis(theirs: str | None, ours: str) -> Difference:
    if theirs in ("rediss", "sentinel"):
        why = "a plain private server, without TLS and Sentinel"
        return Difference("broker", theirs, ours, why)
    if theirs in AMQP - {None}:
        return Difference("broker", str(theirs), ours, "`--broker redis` was asked for, or the project's files name it")
    return Difference("broker", "the version in production", ours, "a private server of each trial's own")


def _results(plan: Plan, ends: Ends | None) -> list[Difference]:
    if ends is None or ends.replaced_backend is None:
        return []
    if plan.result_url in OF_SERVICES:
        ours, why = OF_SERVICES[plan.result_url], "the project's is not ours to write to"
        return [Difference("result backend", f"the project's {ends.replaced_backend}", ours, why)]
    return [Difference("result backend", ends.replaced_backend, REPLACEMENT, "that kind is not provided here")]


def _sender(plan: Plan) -> list[Difference]:
    if plan.probe.periodic is not None:
        ours = f"its scheduler, told to send {plan.probe.periodic} at once, some times over"
        return [Difference("who sends", "the project's beat, at its time", ours, "`--periodic` was asked for")]
    if plan.probe.script is None:
        return []
    why = "it was asked for by `--script`"
    return [Difference("who sends", "the project's own programs", f"{plan.probe.script.name} of yours", why)]


def _worker(plan: Plan, ends: Ends | None) -> list[Difference]:
    found = [Difference("worker", plan.worker_line(), "with -E and the log at INFO", "so that it can be watched")]
    if ends is not None and ends.fast and knows_fast_flags(ends.good.trial.observation.worker.celery):
        why = "both ends showed the same symptoms without them"
        found.append(Difference("start-up", "mingle and gossip", " ".join(FAST_FLAGS), why))
    return found
