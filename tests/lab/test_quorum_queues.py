"""Projects with quorum queues on the installed RabbitMQ: a healthy trial is good, and what never ends is seen."""

from __future__ import annotations

import pytest
from small_shop import SILENT, Bench

from bisect_celery.model import Kind
from bisect_celery.probe.logs import broker_refusal

pytestmark = pytest.mark.rabbitmq

SHOP = """
    import os
    import threading
    from celery import Celery
    from celery.signals import task_postrun
    from kombu import Queue

    app = Celery("shop", broker=os.environ["CELERY_BROKER_URL"], backend="rpc://")
    app.conf.update(
        task_acks_late=True,
        task_queues=[Queue("work", routing_key="work", queue_arguments={"x-queue-type": "quorum"})],
        task_default_queue="work",
        task_default_routing_key="work",
    )


    @app.task
    def work(n):
        return n * 2
"""
HELD = """

    @task_postrun.connect
    def hold(**_):
        threading.Event().wait()
"""


def test_a_healthy_project_with_a_quorum_queue_is_good(rabbitmq: Bench) -> None:
    observed, seen = rabbitmq.tried(SHOP)
    assert seen.symptom.kind is Kind.COMPLETED, (seen, observed)
    (queue,) = [queue for queue in observed.queues if queue.name == "work"]
    assert dict(queue.arguments)["x-queue-type"] == "quorum"
    assert (queue.ready, queue.unacked) == (0, 0)


def test_what_a_quorum_queue_never_gets_back_is_seen(rabbitmq: Bench) -> None:
    observed, seen = rabbitmq.tried(SHOP + HELD, deadlines=SILENT)
    assert seen.symptom.kind is Kind.EXECUTED_NOT_ACKED, (seen, observed)
    assert sum(queue.unacked for queue in observed.queues) > 0


def test_what_the_broker_refuses_a_worker_is_read_from_its_log() -> None:
    # Celery before 5.5 on a quorum queue, with RabbitMQ 3.10: it comes back every second and never stands.
    line = (
        "amqp.exceptions.AMQPNotImplementedError: Basic.consume: (540) NOT_IMPLEMENTED - "
        "queue 'work' in vhost 'bisect-celery-trial-9' does not support global qos"
    )
    said = "NOT_IMPLEMENTED - queue 'work' does not support global qos"
    assert broker_refusal(["Traceback", line, "consumer: Connection to broker lost."]) == said
    assert broker_refusal(["[INFO] (3) nothing - at all"]) is None
