"""A real Celery worker with Celery's defaults (prefork, mingle, gossip, events, remote control) on both brokers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broker_support import Namespace, eventually
from celery import Celery

from bisect_celery import proc

HERE = Path(__file__).parent


class Workers:
    """Workers of `broker_app`, each in a process group of its own, and an application to send from."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self.namespace = namespace
        self.folder = folder
        self.app = Celery("broker_app", broker=namespace.url, backend="rpc://")
        self.app.conf.update(task_default_queue="work")
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Until its consumer stands on the queue."""
        before = self.consumers()
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("CELERY", "DJANGO"))},
            "TEST_BROKER": self.namespace.url, "TEST_FOLDER": str(self.folder), "C_FORCE_ROOT": "1",
        }  # fmt: skip
        argv = [sys.executable, "-m", "celery", "-A", "broker_app", "worker", "-c", "2", "-l", "INFO", "-E",
                "-n", f"{name}@here", *options]  # fmt: skip
        with (self.folder / f"{name}.log").open("wb") as log:
            worker = subprocess.Popen(argv, cwd=HERE, env=environment, stdout=log, stderr=log, start_new_session=True)
        self.running.append(worker)
        eventually(lambda: self.consumers() > before or worker.poll() is not None, deadline=60)
        eventually(lambda: "ready." in self.log(name), deadline=60)
        return worker

    def consumers(self) -> int:
        connection = self.namespace.connect()
        try:
            return int(connection.channel().queue_declare("work", passive=True).consumer_count)
        except Exception:
            return 0
        finally:
            connection.collect()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def send(self, task: str, *args: object) -> Any:
        return self.app.send_task(f"broker_app.{task}", args=args, queue="work")

    def started(self, name: str) -> int:
        path = self.folder / f"{name}.started"
        return len(path.read_text().split()) if path.exists() else 0

    def let_go(self, *names: str) -> None:
        for name in names:
            (self.folder / f"{name}.go").touch()

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(10)

    def close(self) -> None:
        for worker in self.running:
            if worker.poll() is None:
                self.kill(worker)
        self.app.close()


@pytest.fixture
def workers(namespace: Namespace, tmp_path: Path) -> Iterator[Workers]:
    found = Workers(namespace, tmp_path)
    yield found
    found.close()


def test_a_worker_with_its_defaults(workers: Workers) -> None:
    """Results by rpc://, failures, events and remote control of two workers that see each other; warm shutdown."""
    first = workers.start("one")
    workers.start("two")
    assert "sync with 1 nodes" in workers.log("two")
    events = Events(workers.app)
    results = [workers.send("add", number, 1) for number in range(20)]
    assert [result.get(timeout=30) for result in results] == list(range(1, 21))
    with pytest.raises(ValueError, match="on purpose"):
        workers.send("fail").get(timeout=30)
    inspect = workers.app.control.inspect(timeout=2)
    assert inspect.ping() == {"one@here": {"ok": "pong"}, "two@here": {"ok": "pong"}}
    assert inspect.active() == {"one@here": [], "two@here": []}
    eventually(lambda: events.count("task-succeeded") == 20 and events.count("task-failed") == 1)
    workers.namespace.settles_at("work", 0, 0)
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    assert workers.send("add", 1, 1).get(timeout=30) == 2
    events.stop()


class Events:
    """Celery's events, counted in a thread of their own."""

    def __init__(self, app: Celery) -> None:
        self.seen: list[str] = []
        self._stopped = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(app,), daemon=True)
        self._thread.start()
        assert self._ready.wait(30)

    def _listen(self, app: Celery) -> None:
        with app.connection() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": lambda event: self.seen.append(event["type"])})
            with receiver.consumer_context() as (listening, _, _):
                self._ready.set()
                while not self._stopped.is_set():
                    try:
                        listening.drain_events(timeout=0.1)
                    except TimeoutError:
                        continue

    def count(self, type: str) -> int:
        return self.seen.count(type)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(10)


def test_late_acknowledgement_and_prefetch(workers: Workers) -> None:
    """2 children and a prefetch of 2 each: 4 unacknowledged, of which 2 run; a killed worker loses nothing."""
    names = [f"task{number}" for number in range(6)]
    first = workers.start("one", "-Ofair")
    for name in names:
        workers.send("hold", name)
    workers.namespace.settles_at("work", ready=2, unacked=4)
    eventually(lambda: workers.started("task0") == workers.started("task1") == 1)
    workers.let_go("task0")
    eventually(lambda: workers.started("task2") == 1)
    workers.namespace.settles_at("work", ready=1, unacked=4)
    workers.kill(first)
    workers.namespace.settles_at("work", ready=5, unacked=0)
    workers.start("two", "-Ofair")
    workers.namespace.settles_at("work", ready=1, unacked=4)
    workers.let_go(*names)
    workers.namespace.settles_at("work", 0, 0)
    assert [workers.started(name) for name in names] == [1, 2, 2, 1, 1, 1]


def test_a_waiting_worker_gets_what_a_killed_one_had(workers: Workers) -> None:
    first = workers.start("one", "-c", "1", "--prefetch-multiplier", "1")
    workers.send("hold", "task")
    eventually(lambda: workers.started("task") == 1)
    workers.start("two", "-c", "1")
    workers.kill(first)
    eventually(lambda: workers.started("task") == 2, deadline=10)
    workers.let_go("task")
    workers.namespace.settles_at("work", 0, 0)


def test_warm_shutdown_finishes_and_gives_back(workers: Workers) -> None:
    worker = workers.start("one", "-c", "1", "-Ofair")
    for name in ("running", "waiting"):
        workers.send("hold", name)
    eventually(lambda: workers.started("running") == 1)
    workers.namespace.settles_at("work", 0, 2)
    worker.send_signal(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in workers.log("one"))
    workers.let_go("running")
    assert worker.wait(60) == 0
    workers.namespace.settles_at("work", 1, 0)
    assert workers.started("waiting") == 0


def test_a_worker_that_needs_more_says_so_in_its_log(embedded_namespace: Namespace, tmp_path: Path) -> None:
    environment = {**os.environ, "TEST_BROKER": embedded_namespace.url, "TEST_FOLDER": str(tmp_path)}
    code = (
        "from broker_app import app; from kombu import Queue; import sys\n"
        "app.conf.task_queues = [Queue('work', max_priority=5)]\n"
        "app.worker_main(['worker', '-c', '1'])\n"
    )
    argv, log = [sys.executable, "-c", code], tmp_path / "log"
    with log.open("wb") as file:
        worker = proc.start(argv, cwd=HERE, env={**environment, "C_FORCE_ROOT": "1"}, stdout=file, stderr=file)
    try:
        refusal = (
            "does not emulate priority queues (x-max-priority), which queue 'work' asks for: use --broker rabbitmq"
        )
        eventually(lambda: refusal in log.read_text(), deadline=60)
        assert embedded_namespace.counts("work") is None
    finally:
        worker.stop()
