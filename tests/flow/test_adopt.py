"""What the good end's first trial shows that all trials need, and what at a bad end is nobody's to mend."""

from __future__ import annotations

from dataclasses import replace

from bisect_celery.flow.adopt import Adopted, adopted, again, as_session
from bisect_celery.lab.plan import Plan
from bisect_celery.model import (
    Failure,
    Fallback,
    Judged,
    Judgement,
    Kind,
    Message,
    Observation,
    Probe,
    QueueCount,
    Request,
    Script,
    Session,
    Stage,
    Symptom,
    Tree,
    Trial,
    Verdict,
    WorkerFacts,
)

EXAMPLE = Fallback(
    ".env.example",
    (("DOMAIN", "shop.example"), ("DB_HOST", "{database_host}"), ("CACHE", "{redis_url}"), ("DEBUG", "1")),
    (("DB_HOST", "postgres"), ("CACHE", "redis")),
    ("postgres", "redis"),
)
PLAN = Plan("shop", Probe(), worker=("-c", "2", "-Q", "mail,slow"), fallback=EXAMPLE)
WORKER = WorkerFacts("5.5.2", "3.11", 2, 1, True, False, "prefork", ("shop.work",), "rpc", "amqp")


def lacks(kind: str, name: str) -> Observation:
    failure = Failure(Stage.BOOT, f"{name} is not set", "KeyError", ((kind, name),))
    return Observation(1.0, worker=WORKER, failure=failure, ended="failure")


def waits_in(queue: str) -> Observation:
    """Nothing was begun, and all of it lies in one queue."""
    return Observation(
        30.0,
        worker=WORKER,
        messages=tuple(Message(str(number), 1, 1.0, published=1.0) for number in range(20)),
        queues=(QueueCount(queue, 20, 0, consumers=0),),
        consumers=1,
        counted_at=29.0,
        ready_at=0.9,
        held=0,
        heard=("event", "log"),
        answered=True,
        ended="quiet",
    )


def found(seen: Observation, plan: Plan = PLAN, *, serve: bool = True, good: bool = True) -> Adopted | None:
    return adopted(seen, plan, lambda kind: serve, good=good)


def test_a_variable_that_is_missing_brings_the_projects_example() -> None:
    mended = found(lacks("variable", "DOMAIN"), replace(PLAN, variables=(("DEBUG", "0"),)))
    assert mended is not None
    assert mended.plan.services == ("postgres", "redis")
    assert dict(mended.plan.variables) == {
        "DOMAIN": "shop.example", "DB_HOST": "{database_host}", "CACHE": "{redis_url}",
        "DEBUG": "0",  # as the user said
    }  # fmt: skip
    assert "DOMAIN is missing, so every trial has the 3 variables of .env.example" in mended.note
    assert "DB_HOST, CACHE name what is the trial's own" in mended.note
    assert found(lacks("variable", "DOMAIN"), mended.plan) is None


def test_what_it_does_not_set_and_what_was_said_is_left_to_the_user() -> None:
    assert found(lacks("variable", "API_KEY")) is None
    assert found(lacks("module", "DOMAIN")) is None
    assert found(lacks("variable", "DOMAIN"), replace(PLAN, variables=(("DOMAIN", ""),))) is None
    assert found(lacks("variable", "DOMAIN"), replace(PLAN, fallback=None)) is None


def test_services_that_cannot_be_had_are_named_and_not_bound() -> None:
    mended = found(lacks("variable", "DOMAIN"), serve=False)
    assert mended is not None
    assert mended.plan.services == ()
    assert dict(mended.plan.variables) == {"DOMAIN": "shop.example", "DEBUG": "1"}
    assert "There is no PostgreSQL and no Redis here" in mended.note


def test_a_bad_end_that_lacks_a_variable_is_not_mended() -> None:
    assert found(lacks("variable", "DOMAIN"), good=False) is None
    assert found(waits_in("celery"), good=False) is None


def test_a_task_nobody_named_goes_where_the_worker_consumes() -> None:
    mended = found(waits_in("celery"))
    assert mended is not None
    assert mended.plan.probe.queue == "mail"
    assert "go to `celery`, which this worker does not consume" in mended.note


def test_a_queue_that_was_chosen_or_is_consumed_stays() -> None:
    assert found(waits_in("mail")) is None  # it should have been consumed: that is a symptom
    assert found(waits_in("celery"), replace(PLAN, worker=("-c", "2"))) is None
    for probe in (Probe(task="shop.work"), Probe(queue="celery"), Probe(script=Script("probe.py", ""))):
        assert found(waits_in("celery"), replace(PLAN, probe=probe)) is None


def test_a_later_call_adopts_the_same() -> None:
    variables, queue = found(lacks("variable", "DOMAIN")), found(waits_in("celery"))
    assert variables is not None
    assert queue is not None
    assert again((variables.kind,), PLAN, lambda kind: True) == variables.plan
    assert again((queue.kind,), PLAN, lambda kind: True) == queue.plan
    assert again((), PLAN, lambda kind: True) == PLAN


def test_what_a_session_adopted_is_told_by_its_good_end_alone(tmp_path: object) -> None:
    request = Request(repository=tmp_path, good="a", bad="b", app="shop")  # type: ignore[arg-type]
    trial = Trial(1, Tree("0" * 40, "a", ""), lacks("variable", "DOMAIN"), purpose="good end")
    judged = Judged(trial, Judgement(Verdict.SKIP, Symptom(Kind.BOOT_FAILED), ""))
    session = Session(id="s", command="", request=request, started_at="", judged=(judged,))
    assert as_session(session, PLAN, lambda kind: True).services == ("postgres", "redis")
    other = replace(judged, trial=replace(trial, purpose="bad end"))
    assert as_session(replace(session, judged=(other,)), PLAN, lambda kind: True) == PLAN
