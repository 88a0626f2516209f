"""The demo breaks for real: a worker on RabbitMQ, at the revisions that matter and with only the import changed.

The project runs here with the Celery and Django of our own environment; what it pins is what the demo itself
installs.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import celery
import pytest

from bisect_celery import proc
from bisect_celery.demo import Incident, write_incident
from bisect_celery.lab.cancel import Token
from bisect_celery.stack.brokers.management import Management
from bisect_celery.stack.brokers.rabbitmq import RabbitNode

pytestmark = pytest.mark.rabbitmq

SLOTS = 2
SENT = 2 * SLOTS + 1
DEADLINE = 60.0
# How long a hang must last before we believe it; a healthy revision goes on within milliseconds.
QUIET = 3.0


@pytest.fixture(scope="module")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Incident:
    return write_incident(tmp_path_factory.mktemp("demo") / "shop")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    started = RabbitNode(tmp_path_factory.mktemp("rabbitmq"))
    started.start(Token())
    yield started
    started.stop()


@dataclass(frozen=True)
class Seen:
    """What a worker did with SENT probes: lines of its log, and what the broker still holds."""

    log: str
    ready: int = 0
    unacked: int = 0
    exit: int | None = None

    def count(self, pattern: str) -> int:
        return len(re.findall(pattern, self.log))

    def facts(self) -> tuple[int, int, int, int]:
        """(bodies done, tasks succeeded, ready, unacknowledged)"""
        return self.count(r"invoice \d+ written to"), self.count(r"\] succeeded in"), self.ready, self.unacked


COMPLETED = (SENT, SENT, 0, 0)
HUNG = (SLOTS, 0, SENT - SLOTS, SLOTS)


def lay_out(incident: Incident, sha: str, folder: Path) -> Path:
    tar = proc.run(["git", "archive", "--format=tar", sha], deadline=30, cwd=incident.folder).out
    with tarfile.open(fileobj=io.BytesIO(tar)) as files:
        files.extractall(folder, filter="data")
    return folder


def run(incident: Incident, tree: Path, node: RabbitNode, cancel: Token) -> Seen:
    management = Management(node.management_url, node.admin_user, node.admin_password)
    access = management.create_namespace(tree.parent.name)
    url = f"amqp://{access.user}:{access.password}@{node.amqp_host}:{node.amqp_port}/{access.vhost}"
    log = tree.parent / "log"
    variables = {"BROKER_URL": url, "TMPDIR": str(tree.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-m", "celery", "-A", incident.app, "worker", *incident.worker]
    with log.open("wb") as file:
        env = proc.clean_environment(variables)
        worker = proc.start(argv, cwd=tree, env=env, stdout=file, stderr=file)

        def seen() -> Seen:
            counts = [queue for queue in management.queues(access.vhost) if queue.name == "celery"]
            ready, unacked = (counts[0].ready, counts[0].unacked) if counts else (0, 0)
            return Seen(log.read_text(), ready, unacked, worker.exit_code())

        try:
            assert cancel.wait(lambda: " ready." in log.read_text() or not worker.alive(), DEADLINE), log.read_text()
            if worker.alive():
                send(incident, url)
                return settled(seen, cancel)
            return seen()
        finally:
            worker.stop()
            management.delete_namespace(access.vhost)
            management.close()


def settled(seen: Callable[[], Seen], cancel: Token) -> Seen:
    """What is seen when it is final, or a hang that lasted QUIET. A success passes through what a hang stays in."""

    def final() -> bool:
        now = seen()
        return now.facts() == COMPLETED or (now.count("raised") == SENT and now.unacked == 0)

    cancel.wait(lambda: final() or seen().facts() == HUNG, DEADLINE)
    cancel.wait(final, QUIET)
    return seen()


def send(incident: Incident, url: str) -> None:
    app = celery.Celery(broker=url, set_as_current=False)
    with app.connection_for_write(url) as connection:
        for _ in range(SENT):
            app.send_task(incident.probe.task, json.loads(incident.probe.args), connection=connection)


@pytest.fixture(autouse=True)
def _no_broker_of_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CELERY_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("end", ["good", "parent", "culprit", "bad"])
def test_ends_and_culprit(incident: Incident, node: RabbitNode, cancel: Token, tmp_path: Path, end: str) -> None:
    sha = f"{incident.culprit}~1" if end == "parent" else getattr(incident, end)
    seen = run(incident, lay_out(incident, sha, tmp_path / "tree"), node, cancel)
    assert seen.facts() == (COMPLETED if end in ("good", "parent") else HUNG), seen.log
    assert seen.exit is None  # the worker lives, that is what makes it hard to see
    assert not re.search("ERROR|CRITICAL|Traceback", seen.log)


def test_the_culprit_with_only_the_import_put_back(
    incident: Incident, node: RabbitNode, cancel: Token, tmp_path: Path
) -> None:
    tree = lay_out(incident, incident.culprit, tmp_path / "tree")
    path = tree / incident.culprit_path
    path.write_text(path.read_text().replace("\n\nlogger =", f"\n{incident.culprit_line}\n\nlogger =", 1))
    assert path.read_text().count(incident.culprit_line) == 1
    assert run(incident, tree, node, cancel).facts() == COMPLETED


def test_the_parent_with_only_the_import_removed(
    incident: Incident, node: RabbitNode, cancel: Token, tmp_path: Path
) -> None:
    tree = lay_out(incident, f"{incident.culprit}~1", tmp_path / "tree")
    path = tree / incident.culprit_path
    path.write_text(path.read_text().replace(incident.culprit_line + "\n", "", 1))
    assert incident.culprit_line not in path.read_text()
    assert run(incident, tree, node, cancel).facts() == HUNG


def titled(incident: Incident, title: str) -> str:
    words = ["git", "log", "--format=%H", f"--grep=^{title}", "main"]
    return proc.run(words, deadline=30, cwd=incident.folder).text().strip()


@pytest.mark.parametrize("mended", [False, True])
def test_one_revision_does_not_boot(
    incident: Incident, node: RabbitNode, cancel: Token, tmp_path: Path, mended: bool
) -> None:
    sha = titled(incident, "Use the name that the return notice" if mended else "Keep the texts of our mails")
    seen = run(incident, lay_out(incident, sha, tmp_path / "tree"), node, cancel)
    if mended:
        assert seen.facts() == COMPLETED
    else:
        assert seen.exit == 1
        assert "ImportError: cannot import name 'RETURN_TEXT'" in seen.log


@pytest.mark.parametrize("mended", [False, True])
def test_one_revision_fails_for_another_reason(
    incident: Incident, node: RabbitNode, cancel: Token, tmp_path: Path, mended: bool
) -> None:
    sha = titled(incident, "Add the VAT rate" if mended else "Show on invoices how much VAT")
    seen = run(incident, lay_out(incident, sha, tmp_path / "tree"), node, cancel)
    assert seen.facts() == (COMPLETED if mended else (0, 0, 0, 0))
    assert seen.count(r"raised unexpected: AttributeError\(") == (0 if mended else SENT)
