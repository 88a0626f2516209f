"""What a place hands on to another one, and who may shut the broker down."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import cast

import pytest
from broker_support import fresh_namespace

from bisect_celery.errors import InfraError, UserError
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Environment, Runner
from bisect_celery.stack.brokers.management import Management
from bisect_celery.stack.brokers.node import BrokerNode
from bisect_celery.stack.brokers.sharing import Sharing
from bisect_celery.stack.process import ProcessPlace, ProcessStack

NOWHERE = Environment("", "", "")


def management_of(node: BrokerNode) -> Management:
    return Management(node.management_url, node.admin_user, node.admin_password)


def test_what_lasts_of_one_namespace_is_declared_in_another(broker: BrokerNode) -> None:
    arguments = {"x-message-ttl": 60000, "x-expires": 900000}
    for first, second in zip(fresh_namespace(broker), fresh_namespace(broker), strict=True):
        with first.connect() as connection:
            channel = connection.channel()
            channel.exchange_declare("shop", "topic", durable=True, auto_delete=False)
            channel.queue_declare("mail", durable=True, auto_delete=False, arguments=arguments)
            channel.queue_declare("replies", durable=False, auto_delete=True)
            channel.queue_declare("private", exclusive=True, auto_delete=False)
            for queue in ("mail", "replies", "private"):
                channel.queue_bind(queue, "shop", "mail.#")
            with contextlib.closing(management_of(broker)) as management:
                lasting = management.definitions(first.vhost)
                management.define(second.vhost, lasting)
                assert management.definitions(second.vhost) == lasting
                assert {queue.name for queue in management.queues(second.vhost)} == {"mail"}
        told = json.loads(lasting)
        assert [(one["name"], one["arguments"]) for one in told["queues"]] == [("mail", arguments)]
        assert [(one["source"], one["destination"], one["routing_key"]) for one in told["bindings"]] == [
            ("shop", "mail", "mail.#")
        ]
        with second.connect() as connection:
            channel = connection.channel()
            # Declared once more by a worker with the same arguments: no 406.
            channel.queue_declare("mail", durable=True, auto_delete=False, arguments=arguments)


def stack_of(folder: Path, node: BrokerNode) -> ProcessStack:
    return ProcessStack(node, cast(Runner, None), folder / "places", "a test")


def place_in(
    stack: ProcessStack, folder: Path, name: str, alone: bool = False
) -> contextlib.AbstractContextManager[ProcessPlace]:
    (folder / name).mkdir()
    return stack.place(name, folder / name, NOWHERE, folder / "artifacts" / name, Token(), alone=alone)


def test_a_work_folder_comes_into_another_place(tmp_path: Path, embedded_node: BrokerNode) -> None:
    stack, archive = stack_of(tmp_path, embedded_node), tmp_path / "work.tar"
    with place_in(stack, tmp_path, "old") as old:
        (Path(old.work_dir) / "media").mkdir()
        (Path(old.work_dir) / "media" / "one.bin").write_bytes(bytes(range(256)))
        (Path(old.work_dir) / "latest").symlink_to("media/one.bin")
        (Path(old.work_dir) / "elsewhere").symlink_to("/etc/hostname")
        old.save(archive)
    with place_in(stack, tmp_path, "new") as new:
        new.restore(archive)
        assert (Path(new.work_dir) / "latest").read_bytes() == bytes(range(256))
        assert not (Path(new.work_dir) / "elsewhere").is_symlink(), "what is outside is no state of the project's"


def test_a_broker_is_shut_down_only_by_whoever_has_it_alone(tmp_path: Path, embedded_node: BrokerNode) -> None:
    stack = stack_of(tmp_path, embedded_node)
    with place_in(stack, tmp_path, "one") as place, pytest.raises(InfraError):
        place.stop_broker()
    with pytest.raises(UserError, match="embedded broker cannot be restarted"):
        embedded_node.shut_down()


def test_whoever_wants_it_alone_waits_for_the_others_and_they_for_him() -> None:
    sharing, cancel, told = Sharing(), Token(), list[str]()
    inside, leave = threading.Event(), threading.Event()

    def alone() -> None:
        with sharing.taken(True, cancel):
            told.append("alone")
            inside.set()
            assert leave.wait(20)
            told.append("left")

    with sharing.taken(False, cancel), sharing.taken(False, cancel):
        thread = threading.Thread(target=alone)
        thread.start()
        assert not inside.wait(0.2)
    assert inside.wait(20)

    def second() -> None:
        with sharing.taken(False, cancel):
            told.append("second")

    other = threading.Thread(target=second)
    other.start()
    other.join(0.2)
    assert told == ["alone"]
    leave.set()
    for one in (thread, other):
        one.join(20)
    assert told == ["alone", "left", "second"]
