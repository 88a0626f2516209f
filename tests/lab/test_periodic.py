"""A periodic task as the probe: beat's own scheduler sends an entry of the project's schedule, at once."""

from __future__ import annotations

from scenario import SILENT, Scenario, Tried, of

from bisect_celery.model import Kind, Probe, Symptom

SHOP = """
from celery import Celery
from celery.schedules import crontab
app = Celery("shop", broker="amqp://production.example//", backend="rpc://")

@app.task(name="shop.close")
def close(day, till=None):
    return [day, till]

@app.on_after_configure.connect
def schedule(sender, **_):
    sender.add_periodic_task(3600.0, close.s("never asked for"), name="hourly")

app.conf.beat_schedule = {
    "nightly": {
        "task": "shop.close", "schedule": crontab(hour=3, minute=30), "args": ("today",), "kwargs": {"till": 7},
        "options": {"queue": "night"},
    },
}
"""
NIGHTLY = Probe(periodic="nightly", expect='["today", 7]', count=3)
NIGHT = ("-c", "2", "-Q", "night")


@of(Scenario(SHOP, NIGHTLY, NIGHT))
def test_an_entry_is_sent_with_its_arguments_and_options_and_no_other_is(tried: Tried) -> None:
    assert tried.kind is Kind.COMPLETED, (tried.seen, tried.observation)
    assert [message.wave for message in tried.messages] == [1] * 3 + [2] * 2
    assert {message.value for message in tried.messages} == {'["today", 7]'}
    assert {queue.name for queue in tried.observation.queues} == {"night"}
    assert not tried.observation.others


@of(Scenario(SHOP, Probe(periodic="hourly", count=2), ("-c", "2")))
def test_an_entry_that_only_a_signal_adds_is_there_too(tried: Tried) -> None:
    assert tried.kind is Kind.COMPLETED, (tried.seen, tried.observation)
    assert {message.value for message in tried.messages} == {'["never asked for", null]'}


@of(Scenario(SHOP.replace('(name="shop.close")', '(name="shop.closing")'), NIGHTLY, NIGHT))
def test_a_renamed_task_whose_entry_kept_its_old_name(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.UNREGISTERED), (tried.seen, tried.observation)


@of(Scenario(SHOP.replace('"queue": "night"', '"queue": "nihgt"'), NIGHTLY, NIGHT, SILENT))
def test_an_entry_that_goes_where_nobody_consumes(tried: Tried) -> None:
    assert tried.seen.symptom == Symptom(Kind.NEVER_RECEIVED, None, "no consumer"), (tried.seen, tried.observation)


@of(Scenario(SHOP.replace('"nightly": {', '"daily": {'), NIGHTLY, NIGHT))
def test_an_entry_that_is_gone(tried: Tried) -> None:
    assert (tried.kind, tried.seen.symptom.exception) == (Kind.TASK_FAILED, "NotScheduled"), tried.seen
    assert (tried.seen.symptom.template or "").startswith("publishing: ")


BROKEN = "app.conf.beat_scheduler = 'shop:Gone'\n"


@of(Scenario(SHOP + BROKEN, NIGHTLY, NIGHT))
def test_beat_that_does_not_start(tried: Tried) -> None:
    assert tried.kind is Kind.BOOT_FAILED, (tried.seen, tried.observation)
    assert tried.seen.symptom.exception == "AttributeError"
    assert "beat does not start" in tried.seen.rule


@of(Scenario(SHOP.replace("crontab(hour=3, minute=30)", "'03:30'"), NIGHTLY, NIGHT))
def test_an_entry_that_can_never_be_due(tried: Tried) -> None:
    """Celery 5.7's beat passes over it, older ones end: neither sends it."""
    assert tried.kind in (Kind.TASK_FAILED, Kind.BOOT_FAILED), (tried.seen, tried.observation)
    assert tried.seen.symptom.exception == "AttributeError"
