"""An engine behind a TCP port of the loopback, as a remote one is seen: what it publishes there is not ours."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bisect_celery import proc
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Owner
from bisect_celery.stack.compose import ours
from bisect_celery.stack.compose.described import Service
from bisect_celery.stack.containers import sweep as container_sweep
from bisect_celery.stack.containers.available import STAND_INS
from bisect_celery.stack.containers.rabbitmq import ContainerBroker
from bisect_celery.stack.engine.about import About, about
from bisect_celery.stack.engine.api import OWNER_LABEL, Engine
from bisect_celery.stack.engine.door import Door
from bisect_celery.stack.engine.endpoint import Endpoint, find

pytestmark = pytest.mark.docker

ECHO = """
import socket, threading

def echo(one):
    while data := one.recv(65536):
        one.sendall(data)
        if b"goodbye" in data:
            break
    one.close()

listening = socket.create_server(("127.0.0.1", 5672))
print("ready", flush=True)
while True:
    threading.Thread(target=echo, args=(listening.accept()[0],)).start()
"""


def pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def remote() -> Iterator[Endpoint]:
    """The engine's socket as a TCP port of the loopback."""
    path = urlsplit(find(os.environ).url).path
    listening = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = listening.accept()
                there = socket.socket(socket.AF_UNIX)
                there.connect(path)
                ends.extend((here, there))
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield Endpoint(f"tcp://127.0.0.1:{listening.getsockname()[1]}", "a test")
    for end in (listening, *ends):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@pytest.fixture
def engine(remote: Endpoint) -> Iterator[Engine]:
    with Engine.connect(endpoint=remote) as connected:
        yield connected


def owner_now() -> Owner:
    return Owner(proc.machine_id(), proc.boot_id(), os.getpid(), proc.start_time(os.getpid()) or 0, "remote-test")


@pytest.fixture
def echoing(engine: Engine) -> Iterator[str]:
    """A container without any network that sends back what comes to its port 5672."""
    worker = ours.load(os.environ).services["dump"]
    image = worker.image if engine.image(worker.image) else STAND_INS["worker"]
    service = replace(worker, image=image, pid="", init=True, volumes=(), logging=("json-file", ()))
    container = engine.create(
        service, name=f"bisect-celery-echo-{os.getpid()}", labels={OWNER_LABEL: owner_now().label()}, names={},
        command=("python3", "-c", ECHO),
    )  # fmt: skip
    try:
        engine.start(container)
        assert Token().wait(lambda: "ready" in engine.logs(container), 30)
        yield container
    finally:
        engine.remove(container)


def all_of(end: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length and (data := end.recv(1 << 16)):
        received += data
    return bytes(received)


def test_a_door_leads_to_a_port_that_nobody_publishes(engine: Engine, echoing: str) -> None:
    door = Door(engine, echoing, 5672)
    try:
        sent = os.urandom(3_000_000)
        with socket.create_connection((door.host, door.port), timeout=60) as one:
            writer = threading.Thread(target=one.sendall, args=(sent,))
            writer.start()
            with socket.create_connection((door.host, door.port), timeout=60) as another:
                another.sendall(b"meanwhile")
                assert all_of(another, 9) == b"meanwhile"
            assert all_of(one, len(sent)) == sent
            writer.join()
            one.sendall(b"goodbye")  # the other side ends: so does ours
            assert all_of(one, 100) == b"goodbye"
        with socket.create_connection((door.host, door.port), timeout=60) as held:
            held.sendall(b"still")
            assert all_of(held, 5) == b"still"
            door.close()
            assert held.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((door.host, door.port), timeout=5)

        def passing() -> bool:
            return "dev/tcp" in engine.run_inside(echoing, ("sh", "-c", "cat /proc/[0-9]*/cmdline"))[1]

        assert Token().wait(lambda: not passing(), 30)  # nothing of a closed connection stays in the container
    finally:
        door.close()


def test_a_port_where_nobody_listens_ends_the_connection(engine: Engine, echoing: str) -> None:
    door = Door(engine, echoing, 15672)
    try:
        with socket.create_connection((door.host, door.port), timeout=60) as one:
            assert one.recv(1) == b""
    finally:
        door.close()


def test_the_broker_publishes_only_where_what_is_published_is_ours(engine: Engine, remote: Endpoint) -> None:
    service = ours.load({}).services["rabbitmq"]
    everywhere = ours.load({"BISECT_CELERY_PUBLISH": "10.0.0.7"}).services["rabbitmq"]

    def ports(through: Engine, described: Service) -> int:
        return len(ContainerBroker(through, described, owner_now(), "p", {}, 1.0)._service.ports)

    assert ports(engine, service) == 0
    assert ports(engine, everywhere) == 2
    with Engine.connect(endpoint=replace(remote, url=find({}, Path("/")).url)) as here:
        assert ports(here, service) == 2


def test_what_an_engine_is_and_cannot_keep(engine: Engine) -> None:
    found = about(engine)
    assert found.version == engine.info()["ServerVersion"]
    assert found.name.endswith("(a test)")
    assert found.processors >= 1
    poor = About("Docker", "26.1", True, "1", "", "x86_64", 2.0, memory=False, cpus=False, pids=True)
    assert (poor.name, poor.lacks) == ("Docker 26.1, rootless", ("it keeps no limits of memory and CPU",))
    fitted = poor.fitted(ours.load({}).services["worker"])
    assert (fitted.mem_limit, fitted.cpus) == (0, 0)
    assert fitted.pids_limit > 0
    assert found.counts
    assert replace(poor, counts=False).lacks[1:] == ("it does not tell whether a silent worker computes",)
    podman = replace(poor, product="Podman", memory=True, cpus=True)
    assert (poor.walls, podman.walls) == (True, False)
    assert "reach what listens" in podman.lacks[0]


def test_where_many_share_an_engine_only_what_is_surely_ours_is_swept(
    engine: Engine, remote: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", remote.url)
    before = replace(owner_now(), boot="another-boot", session="before")
    kept, name = owner_now(), f"bisect-celery-shared-{os.getpid()}"
    engine.create_volume(name, {OWNER_LABEL: before.label()})
    try:
        dead = {before}.__contains__
        assert container_sweep.sweep(dead) == []  # a machine copied with its machine id may run it at this moment
        assert container_sweep.sweep(dead, known=kept.__eq__) == []
        assert container_sweep.sweep(dead, known=dead) == [f"volume {name}"]
    finally:
        engine.remove_volume(name)
