"""Nodes come up, go down without a trace, and fail with a reason; the management client serves both kinds."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import amqp
import as_nobody
import pytest
from broker_support import KINDS, Namespace, eventually

from bisect_celery import proc
from bisect_celery.errors import Cancelled, InfraError, UserError
from bisect_celery.lab.cancel import Token
from bisect_celery.stack.brokers import rabbitmq
from bisect_celery.stack.brokers.management import Management
from bisect_celery.stack.brokers.node import BrokerNode, EmbeddedNode
from bisect_celery.stack.brokers.rabbitmq import Installation, RabbitNode

ROOT = Path(__file__).resolve().parents[2]
Ours = Callable[[BrokerNode], BrokerNode]
CLASSES = {"embedded": EmbeddedNode, "rabbitmq": RabbitNode}


@pytest.fixture
def ours() -> Iterator[Ours]:
    """Whatever a test does to a node: a failed one must not leave it running."""
    nodes: list[BrokerNode] = []

    def remember(node: BrokerNode) -> BrokerNode:
        nodes.append(node)
        return node

    yield remember
    for node in nodes:
        node.stop()


def processes_of(folder: Path) -> set[int]:
    """Processes whose working folder or environment names `folder`: all that a node there has started."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            about = (entry / "environ").read_bytes() + os.fsencode(os.readlink(entry / "cwd"))
        except OSError:
            continue
        if os.fsencode(folder) in about and proc.start_time(int(entry.name)) is not None:
            found.add(int(entry.name))
    return found


def gone(folder: Path) -> None:
    eventually(lambda: not processes_of(folder), deadline=10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_lives_and_leaves_nothing_but_its_log(kind: str, tmp_path: Path, ours: Ours) -> None:
    folder = tmp_path / "node"
    node = ours(CLASSES[kind](folder))
    assert not node.alive()
    node.start(Token())
    assert node.alive()
    assert node.kind == kind
    assert node.emulated == (kind == "embedded")
    assert "3.10" in node.version or kind == "rabbitmq"
    assert listening_addresses(folder) - {"::1"} == {"127.0.0.1"}  # epmd adds the other loopback
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert node.admin_password not in command_lines(folder)
    node.stop()
    node.stop()
    assert not node.alive()
    gone(folder)
    assert [path.name for path in folder.iterdir()] == [node.log.name]
    assert node.admin_password not in node.log.read_text()


def listening_addresses(folder: Path) -> set[str]:
    """Local addresses on which the node's processes listen, from /proc."""
    inodes = set()
    for pid in processes_of(folder):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(link) if link.is_symlink() else ""
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(readable(bytes.fromhex(fields[1].partition(":")[0])))
    return found


def readable(raw: bytes) -> str:
    """The kernel prints addresses as 32-bit numbers in the machine's byte order."""
    words = b"".join(
        raw[at : at + 4][::-1] if sys.byteorder == "little" else raw[at : at + 4] for at in range(0, len(raw), 4)
    )
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, words)


def command_lines(folder: Path) -> str:
    return "\n".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in processes_of(folder))


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_node_is_noticed_and_stopped(kind: str, tmp_path: Path, ours: Ours) -> None:
    node = ours(CLASSES[kind](tmp_path))
    node.start(Token())
    for pid in processes_of(tmp_path):
        if proc.start_time(pid):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not node.alive())
    node.stop()
    gone(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_start_leaves_nothing(kind: str, tmp_path: Path, ours: Ours) -> None:
    token = Token()
    threading.Timer(0.1, token.set).start()
    node = ours(CLASSES[kind](tmp_path))
    with pytest.raises(Cancelled):
        start_until_cancelled(node, token)
    gone(tmp_path)
    assert not node.alive()


def start_until_cancelled(node: BrokerNode, token: Token) -> None:
    """The embedded broker may be faster than the timer."""
    while True:
        node.start(token)
        node.stop()


def test_the_embedded_broker_ends_with_whoever_started_it(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from bisect_celery.lab.cancel import Token\n"
        "from bisect_celery.stack.brokers.node import EmbeddedNode\n"
        f"EmbeddedNode(Path({str(tmp_path)!r})).start(Token())\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    gone(tmp_path)


def test_the_embedded_broker_says_why_it_did_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: Ours
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho a library is missing >&2\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    node = ours(EmbeddedNode(tmp_path / "node"))
    with pytest.raises(InfraError, match=r"(?s)did not start.*a library is missing"):
        node.start(Token())
    gone(tmp_path / "node")


@pytest.mark.parametrize("way", [signal.SIGTERM, "eof"])
def test_the_embedded_broker_says_goodbye(way: object, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    argv = [sys.executable, "-m", "bisect_celery.stack.brokers.embedded", "--announce", str(tmp_path / "announced"),
            "--user", "u", "--password-file", str(tmp_path / "password"), "--stdin-lifeline"]  # fmt: skip
    process = proc.start(argv, cwd=ROOT, stdin=True)
    try:
        eventually((tmp_path / "announced").exists)
        announced = json.loads((tmp_path / "announced").read_text())
        assert announced["pid"] == process.pid
        connection = amqp.Connection(f"127.0.0.1:{announced['amqp_port']}", "u", "secret")
        connection.connect()
        process.close_input() if way == "eof" else os.kill(process.pid, signal.SIGTERM)
        with pytest.raises(amqp.exceptions.ConnectionForced, match="shutdown"):
            connection.drain_events(timeout=10)
        eventually(lambda: process.exit_code() == 0)
    finally:
        process.stop()


# --- RabbitMQ


def test_no_rabbitmq_is_the_users_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "find_rabbitmq", lambda: None)
    with pytest.raises(UserError, match="No RabbitMQ server") as error:
        RabbitNode(tmp_path)
    assert "embedded" in error.value.hint


@pytest.mark.rabbitmq
def test_a_server_that_ends_says_why(tmp_path: Path, ours: Ours) -> None:
    found = rabbitmq.find_rabbitmq()
    assert found is not None
    broken = tmp_path / "rabbitmq-server"
    broken.write_text("#!/bin/sh\necho the disk is on fire >&2\nexit 7\n")
    broken.chmod(0o755)
    node = ours(RabbitNode(tmp_path / "node", Installation(broken, found.epmd, found.erlang)))
    with pytest.raises(InfraError, match=r"(?s)did not start, it ended.*the disk is on fire"):
        node.start(Token())
    gone(tmp_path / "node")


@pytest.mark.rabbitmq
def test_a_port_that_somebody_takes_is_changed(tmp_path: Path, ours: Ours) -> None:
    """The first start fails with RabbitMQ's own words for a port that is taken; the second is RabbitMQ's."""
    found = rabbitmq.find_rabbitmq()
    assert found is not None
    ports = tmp_path / "ports"
    unlucky = tmp_path / "rabbitmq-server"
    unlucky.write_text(
        f'#!/bin/sh\necho "$RABBITMQ_NODE_PORT" >> {ports}\n'
        f"[ $(wc -l < {ports}) -gt 1 ] && exec {found.server}\n"
        "echo 'Failed to start Ranch listener rabbit_tcp_listener for reason eaddrinuse (address already in use)'\n"
        "exit 1\n"
    )
    unlucky.chmod(0o755)
    node = ours(RabbitNode(tmp_path / "node", Installation(unlucky, found.epmd, found.erlang)))
    node.start(Token())
    first, second = ports.read_text().split()
    assert int(second) == node.amqp_port
    assert first != second
    node.stop()


@pytest.mark.rabbitmq
@pytest.mark.skipif(os.geteuid() != 0, reason="every other test here runs as an ordinary user already")
def test_an_ordinary_user_may() -> None:
    with as_nobody.readable_folder() as folder:
        script = (
            "from pathlib import Path\n"
            "from bisect_celery.lab.cancel import Token\n"
            "from bisect_celery.stack.brokers.rabbitmq import RabbitNode\n"
            "node = RabbitNode(Path('data'))\n"
            "node.start(Token()); print(node.version); node.stop()\n"
        )
        assert as_nobody.printed(folder, script).startswith("3.")


@pytest.mark.rabbitmq
def test_the_machines_own_epmd_is_not_asked(rabbit_node: BrokerNode) -> None:
    """Erlang's default port is 4369: our node must be registered elsewhere."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 4369)) != 0:
            return  # nobody there, so nobody was asked
        probe.sendall(b"\x00\x01n")  # EPMD_NAMES_REQ
        probe.settimeout(5)
        names = b""
        while chunk := probe.recv(4096):
            names += chunk
    assert b"bisect-celery" not in names


# --- management


def test_namespaces_are_kept_apart(namespace: Namespace) -> None:
    other = namespace.management.create_namespace("other one/with %2F")
    assert other.password != namespace.password
    channel = namespace.connect().channel()
    channel.queue_declare("q", auto_delete=False, durable=True)
    assert namespace.management.queues(other.vhost) == []
    with pytest.raises(amqp.exceptions.NotAllowed):
        namespace.connect(virtual_host=other.vhost)
    namespace.connect(virtual_host=other.vhost, userid=other.user, password=other.password)
    namespace.management.delete_namespace(other.vhost)
    namespace.management.delete_namespace(other.vhost)
    with pytest.raises(InfraError, match="404"):
        namespace.management.queues(other.vhost)
    with pytest.raises(amqp.exceptions.AccessRefused):
        namespace.connect(virtual_host=other.vhost, userid=other.user, password=other.password)


def test_a_namespace_made_again_is_empty(namespace: Namespace) -> None:
    credentials = namespace.management.create_namespace("again")
    old = namespace.connect(virtual_host="again", userid="again", password=credentials.password)
    old.channel().queue_declare("q", auto_delete=False)
    fresh = namespace.management.create_namespace("again")
    assert fresh.password != credentials.password
    assert namespace.management.queues("again") == []
    namespace.management.delete_namespace("again")


def test_queues_tell_what_they_are(namespace: Namespace) -> None:
    connection = namespace.connect()
    channel = connection.channel()
    channel.queue_declare("a", durable=True, auto_delete=False, arguments={"x-expires": 60000})
    channel.queue_declare("b", exclusive=True, auto_delete=True)
    channel.basic_publish(amqp.Message("x"), "", "a")
    namespace.settles_at("a", 1, 0)
    first, second = namespace.management.queues(namespace.vhost)
    assert (first.name, first.durable, first.exclusive, first.auto_delete) == ("a", True, False, False)
    assert first.arguments == (("x-expires", "60000"),)
    assert (second.name, second.durable, second.exclusive, second.auto_delete) == ("b", False, True, True)


def test_a_trials_user_may_not_administrate(namespace: Namespace) -> None:
    stranger = Management(namespace.node.management_url, namespace.user, namespace.password)
    with pytest.raises(InfraError, match="401"):
        stranger.create_namespace("mine")
    stranger.close()


def test_health(namespace: Namespace) -> None:
    assert namespace.management.healthy()


def test_a_broker_that_is_gone(tmp_path: Path, ours: Ours) -> None:
    node = ours(EmbeddedNode(tmp_path))
    node.start(Token())
    management = Management(node.management_url, node.admin_user, node.admin_password)
    assert management.version()
    node.stop()
    with pytest.raises(InfraError, match="does not answer") as error:
        management.version()
    assert node.admin_password not in error.value.message + error.value.hint


class Sleepy(BaseHTTPRequestHandler):
    """Sends a byte now and then, never the end: no single read times out, the call must."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        end = threading.Event()
        try:
            while not end.wait(0.05):
                self.wfile.write(b" ")
        except OSError:
            pass

    def log_message(self, *_: object) -> None: ...


class Closing(BaseHTTPRequestHandler):
    """Closes after each answer without having said so: a kept connection is found dead."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"rabbitmq_version": "9.9"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), request.param)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("answering", [Sleepy], indirect=True)
def test_a_call_ends_at_its_deadline(answering: str) -> None:
    with pytest.raises(InfraError, match="does not answer"):
        Management(answering, "u", "p", deadline=0.5).version()


@pytest.mark.parametrize("answering", [Closing], indirect=True)
def test_a_kept_connection_that_died_is_made_again(answering: str) -> None:
    management = Management(answering, "u", "p")
    assert [management.version() for _ in range(3)] == ["9.9"] * 3
    management.close()
