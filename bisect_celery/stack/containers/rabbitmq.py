"""RabbitMQ in a container of its own that stays for the session."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Mapping

from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel, Owner
from bisect_celery.stack.brokers.management import Management
from bisect_celery.stack.brokers.namespace import OverAmqp
from bisect_celery.stack.brokers.node import ADMIN
from bisect_celery.stack.compose.described import Service
from bisect_celery.stack.engine.api import Engine, labels
from bisect_celery.stack.engine.door import Ways
from bisect_celery.stack.engine.files import archive_of

START_DEADLINE = 120.0
GREETING_DEADLINE = 5.0  # through a door each look is a command that the engine has to start
AMQP, MANAGEMENT = 5672, 15672
_GREETING = b"AMQP\x00\x00\x09\x01"
_MEMORY = 1 << 30  # where the engine keeps no limit
_SETTINGS = "etc/rabbitmq/conf.d/90-bisect-celery.conf"
_PLUGINS = "etc/rabbitmq/enabled_plugins"


class ContainerBroker(OverAmqp):
    """A `node.BrokerNode`: the compose file's `rabbitmq` service, seen from here and from the trials' network."""

    kind = "rabbitmq"
    emulated = False

    def __init__(
        self, engine: Engine, service: Service, owner: Owner, prefix: str, names: Mapping[str, str], cpus: float
    ) -> None:
        """`names` maps the compose file's networks to their names in this session; `cpus` are the engine's."""
        self.version = ""
        self.amqp_host = ""
        self.amqp_port = 0
        self.management_url = ""
        self.admin_user = ADMIN
        self.admin_password = secrets.token_urlsafe(24)
        self.inside_host = service.name
        self.inside_address = ""
        self._engine = engine
        self._ways = Ways(engine, service)
        self._service = self._ways.service
        self._owner = owner
        self._prefix = prefix
        self._names = names
        self._cpus = cpus
        self._container: str | None = None

    def inside(self) -> tuple[str, int]:
        return self.inside_host, AMQP

    def start(self, cancel: Cancel) -> None:
        """Raises InfraError with the broker's last log lines, and then nothing of it is left."""
        with self._engine.fresh() as engine:
            try:
                self._start(engine, cancel)
            except BaseException:
                self.stop()
                raise

    def _start(self, engine: Engine, cancel: Cancel) -> None:
        container = self._container = engine.create(
            self._service,
            name=f"{self._prefix}-{self._service.name}",
            labels=labels(self._owner, "broker"),
            names=self._names,
            cpus_at_most=self._cpus,
        )
        # In a file, because arguments and environment are there to be read for everybody who may list containers.
        plugins = _with_management(engine.get(container, f"/{_PLUGINS}"))
        files = {_SETTINGS: self._settings(collects=plugins is None).encode()}
        engine.put(container, "/", archive_of(files if plugins is None else {**files, _PLUGINS: plugins}))
        engine.start(container)
        self.inside_address = engine.address(container, self._names["trial"])
        self.amqp_host, self.amqp_port = self._ways.to(engine, container, AMQP)
        host, port = self._ways.to(engine, container, MANAGEMENT)
        self.management_url = f"http://{host}:{port}"
        self._wait(engine, container, cancel)

    def _settings(self, *, collects: bool) -> str:
        # Sizes instead of shares: RabbitMQ would take shares of the machine's memory, or of what it believes that is.
        settings = {
            "default_user": self.admin_user,
            "default_pass": self.admin_password,
            "loopback_users": "none",
            "vm_memory_high_watermark.absolute": str((self._service.mem_limit or _MEMORY) * 3 // 5),
            "disk_free_limit.absolute": "50MB",
        }
        if not collects:
            # Official images without the management plugin turn its numbers off.
            settings["management_agent.disable_metrics_collector"] = "false"
        return "".join(f"{name} = {value}\n" for name, value in settings.items())

    def _wait(self, engine: Engine, container: str, cancel: Cancel) -> None:
        def ended() -> bool:
            state = engine.state(container)
            return state is None or not state.running

        if not cancel.wait(lambda: self._answers() or ended(), START_DEADLINE, poll=0.05) or ended():
            why = "it ended" if ended() else f"it did not answer within {START_DEADLINE:g} s"
            raise InfraError(
                f"RabbitMQ ({self._service.image}) did not start, {why}:\n{engine.logs(container)}",
                "Does the image have the management plugin? `--stack process` needs no container.",
            )
        management = Management(self.management_url, self.admin_user, self.admin_password)
        try:
            self.version = management.version()
        finally:
            management.close()

    def _answers(self) -> bool:
        """Whether the broker greets back, and its management listens: the engine's proxy alone only accepts."""
        return _greets(self.amqp_host, self.amqp_port, _GREETING) and _greets(
            *_address(self.management_url), b"GET / HTTP/1.0\r\n\r\n"
        )

    def alive(self) -> bool:
        if self._container is None:
            return False
        with self._engine.fresh() as engine:
            state = engine.state(self._container)
        return state is not None and state.running

    def shut_down(self) -> None:
        """The application, not its container: published ports and addresses stay what they are."""
        self._control("stop_app")

    def bring_up(self) -> None:
        self._control("start_app")

    def _control(self, command: str) -> None:
        if self._container is None:
            raise InfraError("The broker of this session is gone.", "`bisect-celery resume` starts a new one.")
        with self._engine.fresh() as engine:
            code, said = engine.run_inside(self._container, ("rabbitmqctl", command))
        if code != 0:
            raise InfraError(
                f"`rabbitmqctl {command}` in the broker's container ended with status {code}: {said[-300:]}"
            )

    def stop(self) -> None:
        container, self._container = self._container, None
        self._ways.close()
        if container is not None:
            with self._engine.fresh() as engine:
                engine.remove(container)


def _with_management(enabled: bytes | None) -> bytes | None:
    """The file of an image's enabled plugins with the one that we ask; None where that stands there already."""
    names = re.findall(r"[a-z][a-z0-9_]*", (enabled or b"").decode("utf-8", "replace"))
    if "rabbitmq_management" in names:
        return None
    return f"[{','.join([*names, 'rabbitmq_management'])}].\n".encode()


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def _greets(host: str, port: int, greeting: bytes) -> bool:
    try:
        with socket.create_connection((host, port), timeout=GREETING_DEADLINE) as connection:
            connection.sendall(greeting)
            return bool(connection.recv(8))
    except OSError:
        return False
