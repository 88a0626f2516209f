"""Redis as broker in containers, on a real engine: a server of each trial's own, seen from its programs and by us."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from container_support import place_of, started
from kombu import Connection

from bisect_celery.errors import InfraError
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Place, Program
from bisect_celery.probe.send import publish
from bisect_celery.stack.containers import redis_broker
from bisect_celery.stack.containers.stack import ContainerStack

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ASK = r"""
import socket, sys
host, port, *words = sys.argv[1:]
with socket.create_connection((host, int(port)), timeout=5) as connection:
    for word in words:
        connection.sendall(word.encode() + b"\r\n")
        print(connection.recv(99).decode().strip())
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerStack]:
    patch = pytest.MonkeyPatch()
    patch.setattr(redis_broker, "PORTS", range(6379, 6381))  # so that one container is soon not enough
    try:
        with started("test-redis", tmp_path_factory.mktemp("state"), broker="redis") as stack:
            yield stack
    finally:
        patch.undo()


def asked(place: Place, *words: str, of: Place | None = None) -> list[str]:
    """What a program of the place gets to hear from a broker, its own if no other is said."""
    url = urlsplit((of or place).broker_url)
    argv = ("/usr/bin/python3", "-c", ASK, str(url.hostname), str(url.port), *words)
    running = place.start(Program(f"ask-{os.urandom(4).hex()}", argv, (("PATH", "/usr/bin:/bin"),)))
    assert Token().wait(lambda: not running.alive(), 60)
    assert running.exit_code() == 0, running.err.read_text()
    return running.out.read_text().splitlines()


def test_each_trial_has_a_server_of_its_own_that_comes_back_with_what_it_had(
    stack: ContainerStack, tmp_path: Path
) -> None:
    assert (stack.facts.broker, stack.facts.emulated) == ("redis", False)
    assert stack.facts.broker_version[0].isdigit()
    assert stack.serve("redis", Token())
    assert stack.facts.services == (), "the broker is one"
    with ExitStack() as open_:
        one, two, three = (open_.enter_context(place_of(stack, name, tmp_path)) for name in ("one", "two", "three"))
        password = urlsplit(one.broker_url).password
        assert asked(one, f"AUTH {password}", "PING", "LLEN mail") == ["+OK", "+PONG", ":0"]
        assert asked(two, "PING", f"AUTH {password}", of=one)[0].startswith("-NOAUTH")
        publish(one.harness_url, "mail", "shop.work", ["1"], args="[]", kwargs="{}", celery="5.4.0")
        assert [(queue.name, queue.ready) for queue in one.queues()] == [("mail", 1)]
        assert (two.queues(), three.queues()) == ((), ())
        one.stop_broker()
        with pytest.raises(InfraError):
            one.queues()
        one.start_broker()
        assert [(queue.name, queue.ready) for queue in one.queues()] == [("mail", 1)]
        assert one.bindings["redis_name"] == "1"
        one.stop_broker()  # and is left so
    with place_of(stack, "four", tmp_path) as four:
        assert four.queues() == ()


def test_a_server_that_died_meanwhile_is_no_evidence(stack: ContainerStack, tmp_path: Path) -> None:
    leaving = place_of(stack, "dies", tmp_path)
    place = leaving.__enter__()
    with Connection(place.harness_url) as connection:
        connection.default_channel.client.shutdown(nosave=True)
    with pytest.raises(InfraError, match="Redis of this session is gone"):
        leaving.__exit__(None, None, None)
