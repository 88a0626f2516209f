"""State from before in real trials: what fails only because an older revision was there first."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_shop import SILENT, Bench

from bisect_celery.lab import earlier
from bisect_celery.model import Kind, Symptom, Tree

HEAD = """
import os, sqlite3
from celery import Celery
from kombu import Queue
app = Celery("shop", broker="amqp://production.example//", backend="rpc://")
app.conf.worker_prefetch_multiplier = 1
app.conf.task_default_queue = "mail"
"""
WORK = """
@app.task
def work(n):
    return n * 2
"""
PLAIN_QUEUE = HEAD + WORK
PRIORITY_QUEUE = HEAD + 'app.conf.task_queues = [Queue("mail", queue_arguments={"x-max-priority": 5})]' + WORK

TABLE = """
def orders():
    connection = sqlite3.connect(os.path.join(os.environ["HOME"], "orders.sqlite3"), timeout=30)
    connection.execute("CREATE TABLE IF NOT EXISTS orders ({columns})")
    return connection

@app.task
def work(n):
    with orders() as connection:
        connection.execute("INSERT INTO orders ({columns}) VALUES ({values})")
    return n * 2
"""
WITHOUT_PRICE = HEAD + TABLE.format(columns="number", values="7")
WITH_PRICE = HEAD + TABLE.format(columns="number, price", values="7, 350")

PICKLES = HEAD + "app.conf.task_serializer = 'pickle'\napp.conf.accept_content = ['json', 'pickle']" + WORK
JSON_ONLY = HEAD + "app.conf.accept_content = ['json']" + WORK


@pytest.mark.rabbitmq
def test_a_queue_declared_with_other_arguments_fails_only_where_it_was_before(rabbitmq: Bench, tmp_path: Path) -> None:
    seen, judged = rabbitmq.tried(PRIORITY_QUEUE)
    assert judged.symptom.kind is Kind.COMPLETED, judged
    old = rabbitmq.left_by(PLAIN_QUEUE, tmp_path / "earlier")
    assert (old.queues, old.messages, len(old.ids)) == (1, 4, 4)
    assert earlier.kept(tmp_path / "earlier", Tree("old", "old")) == old
    assert earlier.kept(tmp_path / "earlier", Tree("new", "new")) is None

    seen, judged = rabbitmq.tried(PLAIN_QUEUE, before=old)
    assert judged.symptom.kind is Kind.COMPLETED, judged
    assert [message.wave for message in seen.messages] == [0] * 4 + [1] * 4 + [2] * 2, "what was left is consumed, too"
    assert {message.unread for message in seen.messages if message.wave == 0} == {True}

    seen, judged = rabbitmq.tried(PRIORITY_QUEUE, before=old, deadlines=SILENT)
    assert judged.symptom.kind is Kind.BOOT_FAILED, (judged, seen)
    assert "PRECONDITION_FAILED" in judged.rule
    assert "x-max-priority" in judged.rule


def test_a_table_without_the_new_column_fails_only_where_it_was_made_before(emulated: Bench, tmp_path: Path) -> None:
    _, judged = emulated.tried(WITH_PRICE)
    assert judged.symptom.kind is Kind.COMPLETED, judged
    old = emulated.left_by(WITHOUT_PRICE, tmp_path / "earlier")
    _, judged = emulated.tried(WITH_PRICE, before=old)
    assert judged.symptom == Symptom(
        Kind.TASK_FAILED, "OperationalError", "table orders has no column named price"
    ), judged  # fmt: skip


def test_messages_that_a_newer_worker_refuses_to_read(emulated: Bench, tmp_path: Path) -> None:
    old = emulated.left_by(PICKLES, tmp_path / "earlier")
    seen, judged = emulated.tried(JSON_ONLY, before=old, deadlines=SILENT)
    assert judged.symptom.kind is Kind.TASK_FAILED, (judged, seen)
    assert judged.symptom.exception == "ContentDisallowed"
    assert {message.state for message in seen.messages if message.wave == 1} == {"SUCCESS"}
