"""What is not as in the user's project, said in the report: nobody should have to guess what was really tried."""

from __future__ import annotations

from bisect_celery.core.scenario import words
from bisect_celery.flow.ends import Ends
from bisect_celery.lab.plan import FAST_FLAGS, REPLACEMENT, Plan, knows_fast_flags
from bisect_celery.model import Difference, StackFacts

AMQP = frozenset({None, "amqp", "amqps", "pyamqp", "librabbitmq", "rabbitmq"})


def differences(plan: Plan, facts: StackFacts, ends: Ends | None) -> tuple[Difference, ...]:
    """Everything that differs for a reason of ours, the most telling first."""
    found = [*_broker(facts, ends), *_results(ends), *_worker(plan, ends), *_sender(plan)]
    if plan.scenario:
        done = "; ".join(words(step) for step in plan.scenario)
        found.append(Difference("what happens", "production's day", done, "`--scenario`, which each trial ran"))
    if not facts.walled:
        found.append(Difference("wall", "production's network", "none: trials ran as processes of this machine",
                                "`--stack container` shuts them in"))  # fmt: skip
    found.append(Difference("database", "the project's", "an SQLite file of the trial's own in DATABASE_URL",
                            "`--env DATABASE_URL=…`, `--prepare`"))  # fmt: skip
    return tuple(found)


def _broker(facts: StackFacts, ends: Ends | None) -> list[Difference]:
    ours = f"{facts.broker} {facts.broker_version}" + (" (emulated)" if facts.emulated else "")
    theirs = ends.good.trial.observation.worker.broker_kind if ends else None
    if theirs not in AMQP:
        return [Difference("broker", str(theirs), ours, "that kind is not provided yet")]
    if facts.emulated:
        return [Difference("broker", "RabbitMQ", ours, "`--broker rabbitmq` or `--stack container`")]
    return [Difference("broker", "the version in production", ours, "BISECT_CELERY_RABBITMQ_IMAGE")]


def _results(ends: Ends | None) -> list[Difference]:
    if ends is None or ends.replaced_backend is None:
        return []
    return [Difference("result backend", ends.replaced_backend, REPLACEMENT, "that kind is not provided yet")]


def _sender(plan: Plan) -> list[Difference]:
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
