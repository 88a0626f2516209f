"""A private RabbitMQ node from the installed server: own name, ports, epmd, cookie and data.

The machine's own broker and epmd are not touched: the distribution's wrapper, which changes user and folder, is
passed by, every path and port is set, and the epmd is a child of ours (RabbitMQ would leave a daemon behind that
survives SIGTERM). Works as root and as an ordinary user.
"""

from __future__ import annotations

import re
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bisect_celery import proc
from bisect_celery.errors import InfraError, UserError
from bisect_celery.model import Cancel
from bisect_celery.stack.brokers.namespace import OverAmqp
from bisect_celery.stack.brokers.node import ADMIN, asked_version
from bisect_celery.stack.local_server import LOOPBACK, free_ports, last_lines, remove_folder, write_private

START_DEADLINE = 90.0
# Shutting down takes 6 s, most of it the management plugin's; coming up 2 to 4.
CONTROL_DEADLINE = 90.0
_GREETING = b"AMQP\x00\x00\x09\x01"
_ATTEMPTS = 3
# What Celery before 5.5 (global prefetch) and 5.6 (queues of events and remote control) needs, where RabbitMQ denies
# it (DESIGN 21). As an argument: 3.10 refuses to start with such a line in its configuration.
PERMITTED = "-rabbit permit_deprecated_features #{transient_nonexcl_queues=>true,global_qos=>true}"
# Ports are found free and then used: between the two somebody else may take one.
_PORT_TAKEN = re.compile(r"eaddrinuse|address already in use|port_conflict", re.IGNORECASE)


@dataclass(frozen=True)
class Installation:
    """Where RabbitMQ's and Erlang's programs are; `version` as far as the path tells it."""

    server: Path
    epmd: Path
    erlang: Path
    version: tuple[int, ...] = ()

    @property
    def control(self) -> Path:
        """`rabbitmqctl`, which stands beside the server in every distribution."""
        return self.server.with_name("rabbitmqctl")


def find_rabbitmq() -> Installation | None:
    """The installed RabbitMQ server, None if it or its Erlang is missing."""
    server = next((path for path in _candidates() if path.is_file()), None)
    erl, epmd = shutil.which("erl"), shutil.which("epmd")
    if erl is not None and epmd is None:
        beside = Path(erl).resolve().with_name("epmd")
        epmd = str(beside) if beside.exists() else None
    if server is None or erl is None or epmd is None:
        return None
    found = re.search(r"rabbitmq_server-([0-9.]+)", str(server.resolve()))
    version = tuple(int(part) for part in found[1].strip(".").split(".")) if found else ()
    return Installation(server, Path(epmd), Path(erl).parent, version)


def _candidates() -> Iterator[Path]:
    """Start scripts of RabbitMQ itself; /usr/sbin holds the distributions' wrappers, which switch the user."""
    yield Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    for folder in ("/opt/homebrew/sbin", "/usr/local/sbin", "/opt/rabbitmq/sbin"):
        yield Path(folder, "rabbitmq-server")
    on_path = shutil.which("rabbitmq-server")
    if on_path is not None and Path(on_path).resolve().with_name("rabbitmq-env").exists():
        yield Path(on_path)


@dataclass(frozen=True)
class _Ports:
    amqp: int
    management: int
    distribution: int
    epmd: int


class RabbitNode(OverAmqp):
    """A `BrokerNode`: RabbitMQ with its management plugin, listening on the loopback only.

    Raises UserError at once where RabbitMQ is not installed.
    """

    kind = "rabbitmq"
    emulated = False

    def __init__(self, folder: Path, installation: Installation | None = None) -> None:
        """`folder` is its own, made if need be."""
        found = installation or find_rabbitmq()
        if found is None:
            raise UserError(
                "No RabbitMQ server (with Erlang) is installed on this machine.",
                "Install the package `rabbitmq-server`, or take `--broker embedded`.",
            )
        self.version = ".".join(str(part) for part in found.version)
        self.amqp_host = LOOPBACK
        self.amqp_port = 0
        self.management_url = ""
        self.admin_user = ADMIN
        self.admin_password = secrets.token_urlsafe(24)
        self.log = folder / "rabbitmq.log"
        self._installation = found
        self._folder = folder.absolute()
        self._processes: list[proc.Process] = []
        self._variables: dict[str, str] = {}

    def alive(self) -> bool:
        return bool(self._processes) and all(process.alive() for process in self._processes)

    def start(self, cancel: Cancel) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._start(cancel)
                return
            except BaseException as error:
                self.stop()
                if attempt == _ATTEMPTS or not isinstance(error, InfraError) or not self._missed_a_port():
                    raise

    def _missed_a_port(self) -> bool:
        return _PORT_TAKEN.search(last_lines(self.log, count=1000)) is not None

    def stop(self) -> None:
        processes, self._processes = self._processes, []
        for process in reversed(processes):  # the server first: it would start an epmd daemon if it missed ours
            process.stop()
        for name in ("data", "home"):
            remove_folder(self._folder / name)

    # --- going away for a while

    def shut_down(self) -> None:
        """The application, not its virtual machine: clients see what they see of a server that is stopped."""
        self._control("stop_app")

    def bring_up(self) -> None:
        self._control("start_app")

    def _control(self, command: str) -> None:
        words = [str(self._installation.control), "-n", self._variables["RABBITMQ_NODENAME"], command]
        proc.run(words, deadline=CONTROL_DEADLINE, cwd=self._folder, env=self._variables)

    # --- coming up

    def _start(self, cancel: Cancel) -> None:
        ports = _Ports(*free_ports(4))
        self._write_files(ports)
        env = self._variables = self._environment(ports)
        with self.log.open("wb") as log:
            epmd = [str(self._installation.epmd), "-port", str(ports.epmd), "-address", LOOPBACK]
            self._processes.append(proc.start(epmd, cwd=self._folder, env=env, stdout=log, stderr=log))
            self._wait(cancel, lambda: _answers(ports.epmd, b""), "its epmd does not listen")
            server = [str(self._installation.server)]
            self._processes.append(proc.start(server, cwd=self._folder, env=env, stdout=log, stderr=log))
        self._wait(cancel, lambda: _answers(ports.amqp, _GREETING), "it does not answer")
        self.amqp_port = ports.amqp
        self.management_url = f"http://{LOOPBACK}:{ports.management}"
        self.version = asked_version(self)

    def _wait(self, cancel: Cancel, condition: Callable[[], bool], failure: str) -> None:
        def decided() -> bool:
            return not self.alive() or condition()

        if not cancel.wait(decided, START_DEADLINE, poll=0.05) or not self.alive():
            why = failure if self.alive() else "it ended"
            raise InfraError(
                f"RabbitMQ did not start, {why}:\n{last_lines(self.log)}",
                "`--broker embedded` needs no RabbitMQ.",
            )

    def _write_files(self, ports: _Ports) -> None:
        for folder in (self._folder, self._folder / "home", self._folder / "data"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self._folder / "home" / ".erlang.cookie", secrets.token_hex(16), 0o400)
        write_private(self._folder / "data" / "rabbitmq.conf", self._configuration(ports))
        write_private(self._folder / "data" / "advanced.config", "[].\n")
        write_private(self._folder / "data" / "enabled_plugins", "[rabbitmq_management].\n")

    def _configuration(self, ports: _Ports) -> str:
        settings = {
            "listeners.tcp.1": f"{LOOPBACK}:{ports.amqp}",
            "management.tcp.ip": LOOPBACK,
            "management.tcp.port": ports.management,
            "default_user": self.admin_user,
            "default_pass": self.admin_password,
            "log.console": "true",
            "log.file": "false",
        }
        return "".join(f"{name} = {value}\n" for name, value in settings.items())

    def _environment(self, ports: _Ports) -> dict[str, str]:
        data = self._folder / "data"
        environment = proc.clean_environment(
            {
                "HOME": str(self._folder / "home"),
                "ERL_EPMD_PORT": str(ports.epmd),
                "ERL_EPMD_ADDRESS": LOOPBACK,
                "RABBITMQ_NODENAME": f"bisect-celery-{secrets.token_hex(6)}@localhost",
                "RABBITMQ_NODE_PORT": str(ports.amqp),
                "RABBITMQ_DIST_PORT": str(ports.distribution),
                "RABBITMQ_MNESIA_BASE": str(data / "mnesia"),
                "RABBITMQ_LOG_BASE": str(data / "log"),
                "RABBITMQ_CONFIG_FILE": str(data / "rabbitmq.conf"),
                "RABBITMQ_ADVANCED_CONFIG_FILE": str(data / "advanced.config"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "enabled_plugins"),
                "RABBITMQ_CONF_ENV_FILE": "/dev/null",
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-kernel inet_dist_use_interface {{127,0,0,1}} {PERMITTED}",
            }
        )
        environment["PATH"] += f":{self._installation.erlang}"
        return environment


def _answers(port: int, greeting: bytes) -> bool:
    """Whether somebody listens on the port and, where there is a greeting, answers it."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            connection.sendall(greeting)
            return not greeting or bool(connection.recv(8))
    except OSError:
        return False
