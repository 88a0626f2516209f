"""A broker node of our own: what all kinds have in common, and the emulated kind."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Protocol

from bisect_celery import proc
from bisect_celery.errors import InfraError, UserError
from bisect_celery.model import Cancel
from bisect_celery.stack.brokers.management import Management
from bisect_celery.stack.brokers.namespace import Broker, OverAmqp
from bisect_celery.stack.local_server import LOOPBACK, last_lines, write_private

ADMIN = "bisect-celery"
EMBEDDED_START_DEADLINE = 15.0
NO_RESTART = "The embedded broker cannot be restarted: it keeps nothing on a disk."
_PACKAGE_ROOT = Path(__file__).resolve().parents[3]


class BrokerNode(Broker, Protocol):
    """A broker over AMQP that stays for the session. Ports and version are known once `start` has returned.

    `kind` is "rabbitmq" or "embedded"; `management_url` is for `stack.brokers.management.Management` with the
    administrator's credentials.
    """

    amqp_host: str
    amqp_port: int
    management_url: str
    admin_user: str
    admin_password: str
    log: Path

    def inside(self) -> tuple[str, int]:
        """Host and port by which programs of trials reach it."""
        ...

    def alive(self) -> bool: ...

    def shut_down(self) -> None:
        """End the broker in order; what is durable stays. Raises InfraError, UserError where it cannot be."""
        ...

    def bring_up(self) -> None:
        """After `shut_down`: the same broker at the same address. Returns when it serves; raises InfraError."""
        ...


class EmbeddedNode(OverAmqp):
    """A `BrokerNode`: the embedded broker in a process of its own, which also ends when this process does."""

    kind = "embedded"
    emulated = True

    def __init__(self, folder: Path, memory_limit: int | None = None) -> None:
        """`folder` is its own, made if need be. Above `memory_limit` bytes of messages, publishers wait."""
        self._options = () if memory_limit is None else ("--memory-limit", str(memory_limit))
        self.version = ""
        self.amqp_host = LOOPBACK
        self.amqp_port = 0
        self.management_url = ""
        self.admin_user = ADMIN
        self.admin_password = secrets.token_urlsafe(24)
        self.log = folder / "broker.log"
        self._folder = folder
        self._process: proc.Process | None = None

    def alive(self) -> bool:
        return self._process is not None and self._process.alive()

    def start(self, cancel: Cancel) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._start(cancel)
        except BaseException:
            self.stop()
            raise

    def _start(self, cancel: Cancel) -> None:
        announcement, password = self._folder / "announce.json", self._folder / "password"
        announcement.unlink(missing_ok=True)
        write_private(password, self.admin_password)
        # -P: the current folder is nobody's to import from. The package's own place is said outright, because
        # the tool may run from a checkout.
        argv = [
            sys.executable, "-P", "-m", "bisect_celery.stack.brokers.embedded", "--announce", str(announcement),
            "--user", self.admin_user, "--password-file", str(password), "--stdin-lifeline", *self._options,
        ]  # fmt: skip
        env = proc.clean_environment({"PYTHONPATH": str(_PACKAGE_ROOT)})
        with self.log.open("wb") as log:
            process = self._process = proc.start(
                argv, cwd=self._folder, env=env, stdin=True, stdout=log, stderr=log
            )  # fmt: skip
        cancel.wait(lambda: announcement.exists() or not process.alive(), EMBEDDED_START_DEADLINE)
        if not announcement.exists():
            raise InfraError(f"The embedded broker did not start:\n{last_lines(self.log)}")
        password.unlink()
        where = json.loads(announcement.read_text())
        self.amqp_port = int(where["amqp_port"])
        self.management_url = f"http://{LOOPBACK}:{where['management_port']}"
        self.version = asked_version(self)

    def shut_down(self) -> None:
        raise UserError(NO_RESTART, "`--broker rabbitmq`, or a scenario without `restart-broker`.")

    def bring_up(self) -> None:
        self.shut_down()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
        for name in ("announce.json", "password"):
            (self._folder / name).unlink(missing_ok=True)


def asked_version(node: BrokerNode) -> str:
    """The version a running node tells. Raises InfraError."""
    management = Management(node.management_url, node.admin_user, node.admin_password)
    try:
        return management.version()
    finally:
        management.close()
