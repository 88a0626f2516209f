"""Messages carried from one namespace into another: nothing of them changes."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import amqp
import pytest

from bisect_celery.errors import InfraError
from bisect_celery.lab.cancel import Token
from bisect_celery.probe import leftover
from bisect_celery.probe.send import publish
from bisect_celery.stack.brokers.management import Management
from bisect_celery.stack.brokers.namespace import url_of
from bisect_celery.stack.brokers.node import BrokerNode, EmbeddedNode
from bisect_celery.stack.brokers.rabbitmq import RabbitNode

HEADERS: dict[str, Any] = {
    "lang": "py", "retries": 0, "eta": None, "late": False, "depth": -7, "large": 2**40, "text": "Grüße",
    "price": decimal.Decimal("3.50"), "when": datetime.datetime(2026, 3, 4, 5, 6, 7), "rate": 0.25,
    "stamps": {"header": ["a", 1, True]},
}  # fmt: skip
KINDS = [EmbeddedNode, pytest.param(RabbitNode, marks=pytest.mark.rabbitmq)]


def namespaces(node: BrokerNode) -> tuple[Management, tuple[str, str]]:
    management = Management(node.management_url, node.admin_user, node.admin_password)
    made = [management.create_namespace(name) for name in ("old one", "new/one")]
    first, second = (url_of(credentials, node.amqp_host, node.amqp_port) for credentials in made)
    return management, (first, second)


def declare(url: str) -> None:
    with leftover._channel(url) as channel:
        channel.queue_declare("mail", durable=True, auto_delete=False)
        channel.queue_declare("other", durable=True, auto_delete=False)


@pytest.mark.parametrize("kind", KINDS)
def test_body_and_properties_arrive_as_they_were(kind: type[EmbeddedNode] | type[RabbitNode], tmp_path: Path) -> None:
    node = kind(tmp_path / "node")
    node.start(Token())
    try:
        management, (old, new) = namespaces(node)
        declare(old)
        declare(new)
        with leftover._channel(old) as channel:
            odd = amqp.Message(
                bytes(range(256)), content_type="application/x-python-serialize", content_encoding="binary",
                application_headers=HEADERS, delivery_mode=2, priority=3, correlation_id="c", reply_to="r",
                expiration="600000", message_id="m", timestamp=1767312000, type="t", app_id="a",
            )  # fmt: skip
            channel.basic_publish_confirm(odd, routing_key="other")
            channel.basic_publish_confirm(amqp.Message(b""), routing_key="mail")
        publish(old, "mail", "shop.work", ["1" * 8, "2" * 8], args="[3]", kwargs="{}", celery="3.1.0")
        publish(old, "mail", "shop.work", ["3" * 8], args="[3]", kwargs="{}", celery="5.4.0")

        taken = leftover.take(old, ["mail", "other"])
        assert [one.queue for one in taken] == ["mail"] * 4 + ["other"]
        assert [queue.ready for queue in management.queues("old one")] == [0, 0]
        leftover.write(taken, tmp_path / "kept")
        assert leftover.read(tmp_path / "kept") == taken
        leftover.put(new, leftover.read(tmp_path / "kept"))
        with leftover._channel(new) as channel:
            arrived = channel.basic_get("other")
            assert bytes(arrived.body) == bytes(range(256))
            assert arrived.properties == odd.properties
            channel.basic_reject(arrived.delivery_tag, requeue=True)
        assert leftover.take(new, ["mail", "other"]) == taken
        management.close()
    finally:
        node.stop()


def test_they_are_nobody_elses_to_read(tmp_path: Path) -> None:
    leftover.write((leftover.Left("mail", b"p", b"secret"),), tmp_path / "kept")
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "kept").glob("0*"))


def test_a_broker_that_is_not_there_is_the_machines_failure() -> None:
    with pytest.raises(InfraError):
        leftover.take("amqp://user:password@127.0.0.1:1/host", ["mail"])
