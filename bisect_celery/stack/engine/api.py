"""The container engine, as far as the harness needs it: one place for its SDK's calls.

An `Engine` is one connection, for one thread; `fresh()` gives another. Whatever goes wrong at the engine is the
machine's failure and becomes an `InfraError` of one sentence. Everything made here carries our labels from its first
moment, so that a sweep finds it whenever we die.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, Any

import docker
import docker.errors

from bisect_celery.errors import InfraError
from bisect_celery.model import Cancel, Owner
from bisect_celery.stack.compose.described import Network, Service
from bisect_celery.stack.engine.client import client
from bisect_celery.stack.engine.endpoint import Endpoint, find
from bisect_celery.stack.engine.failures import BROKEN, ENGINE_HINT, IMAGE_HINT, gone_is_fine, told
from bisect_celery.stack.engine.files import only_file
from bisect_celery.stack.engine.options import attachment, healthcheck, host_config
from bisect_celery.stack.engine.ssh import brought

OWNER_LABEL = "bisect-celery.owner"
SESSION_LABEL = "bisect-celery.session"
ROLE_LABEL = "bisect-celery.role"

CALL_DEADLINE = 60.0


@dataclass(frozen=True)
class State:
    """A container's state: exit status as the engine tells it (128 + signal), None while it runs."""

    running: bool
    code: int | None
    oom_killed: bool


def labels(owner: Owner, role: str) -> dict[str, str]:
    return {OWNER_LABEL: owner.label(), SESSION_LABEL: owner.session, ROLE_LABEL: role}


class Engine:
    """One connection to the container engine. For one thread at a time."""

    def __init__(self, api: docker.APIClient, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.api = api

    @classmethod
    def connect(
        cls, timeout: float = CALL_DEADLINE, version: str | None = None, endpoint: Endpoint | None = None
    ) -> Engine:
        """Connect to the engine that the docker client would take (`endpoint.find`). Raises InfraError."""
        where = endpoint or find(os.environ)
        url = brought(where.url) if where.url.startswith("ssh:") else where.url
        with told("tell its version"):
            return cls(client(url, where.tls, timeout, version), where)

    def fresh(self, timeout: float = CALL_DEADLINE) -> Engine:
        """Another connection to the same engine, for another thread. Asks the engine nothing."""
        return Engine.connect(timeout, self.api.api_version, self.endpoint)

    def close(self) -> None:
        with contextlib.suppress(*BROKEN):
            self.api.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the machine

    def info(self) -> Mapping[str, Any]:
        """The engine's own description: ServerVersion, NCPU, MemTotal, Architecture, ..."""
        with told("describe itself"):
            found: Mapping[str, Any] = self.api.info()
            return found

    def version(self) -> Mapping[str, Any]:
        """Its parts and their versions: Components, ApiVersion, ..."""
        with told("tell its version"):
            found: Mapping[str, Any] = self.api.version()
            return found

    # --- images

    def image(self, reference: str) -> Mapping[str, Any] | None:
        """The description of an image that the engine has, None if it has not."""
        with told(f"look for the image {reference}"):
            try:
                found: Mapping[str, Any] = self.api.inspect_image(reference)
                return found
            except docker.errors.NotFound:
                return None

    def obtainable(self, reference: str) -> bool:
        """Whether a registry offers the image; False also when none can be reached."""
        try:
            self.api.inspect_distribution(reference)
        except BROKEN:
            return False
        return True

    def pull(self, reference: str, cancel: Cancel) -> None:
        """Get an image from its registry. Raises InfraError naming what else there is to do."""
        name, tag = _split(reference)
        try:
            for event in self.api.pull(name, tag, stream=True, decode=True):
                cancel.check()
                if "error" in event:
                    raise InfraError(f"The image {reference} cannot be had: {event['error']}.", IMAGE_HINT)
        except BROKEN as error:
            why = str(getattr(error, "explanation", None) or error).strip().rstrip(".")
            raise InfraError(f"The image {reference} cannot be had: {why}.", IMAGE_HINT) from error

    # --- networks and volumes

    def create_network(self, name: str, network: Network, labels: Mapping[str, str]) -> None:
        with told(f"create the network {name}"):
            self.api.create_network(
                name, driver=network.driver, options=dict(network.driver_opts), internal=network.internal,
                labels=dict(labels), check_duplicate=True,
            )  # fmt: skip

    def connect_network(self, container: str, network: str, aliases: Sequence[str]) -> None:
        with told(f"connect a container to the network {network}"):
            self.api.connect_container_to_network(container, network, aliases=list(aliases))

    def remove_network(self, name: str) -> None:
        with told(f"remove the network {name}"), gone_is_fine():
            self.api.remove_network(name)

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a volume; nothing when there is one of that name."""
        with told(f"create the volume {name}"):
            self.api.create_volume(name, labels=dict(labels))

    def remove_volume(self, name: str) -> None:
        with told(f"remove the volume {name}"), gone_is_fine():
            self.api.remove_volume(name, force=True)

    def volumes(self) -> list[tuple[str, int, int]]:
        """(name, bytes, containers that use it) of every volume; 0 bytes where the engine cannot tell."""
        with told("measure its volumes"):
            found = self.api.df().get("Volumes") or ()
        used = [(one["Name"], one.get("UsageData") or {}) for one in found]
        return [(name, max(0, use.get("Size", 0)), max(0, use.get("RefCount", 0))) for name, use in used]

    # --- containers

    def create(
        self,
        service: Service,
        *,
        name: str,
        labels: Mapping[str, str],
        names: Mapping[str, str],
        image: str | None = None,
        command: Sequence[str] | None = None,
        entrypoint: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        folder: str | None = None,
        stdin: bool = False,
        shared: Mapping[str, str] | None = None,
        cpus_at_most: float = 0.0,
        hosts: Mapping[str, str] | None = None,
    ) -> str:
        """Make a container of a service of our compose file; its id.

        `names` maps the file's networks and volumes to the names they have in this session. `environment` is added
        to the service's own; `entrypoint` replaces the image's. `shared` maps services whose processes or network it
        shares to their containers. `hosts` are names and addresses that need no resolver.
        """
        networks = [names[network] for network in service.networks]
        with told(f"create a container of {image or service.image}"):
            created = self.api.create_container(
                image or service.image,
                command=list(command if command is not None else service.command) or None,
                entrypoint=list(entrypoint) if entrypoint else None,
                name=name,
                user=service.user or None,
                hostname=service.hostname or None,
                environment={**dict(service.environment), **(environment or {})},
                labels=dict(labels),
                working_dir=folder,
                stdin_open=stdin,
                ports=[(port.container, "tcp") for port in service.ports] or None,
                healthcheck=healthcheck(service.healthcheck),
                host_config=host_config(self.api, service, names, shared or {}, cpus_at_most, hosts or {}),
                networking_config=attachment(self.api, networks, service.name),
            )
            container = str(created["Id"])
        try:
            for network in networks[1:]:
                self.connect_network(container, network, [service.name])
        except BaseException:
            self.remove(container)
            raise
        return container

    def put(self, container: str, folder: str, archive: Any) -> None:
        """Unpack a tar archive (bytes or an open file) at `folder` in a container, running or not."""
        with told("put files into a container"):
            self.api.put_archive(container, folder, archive)

    def fetch(self, container: str, path: str, file: IO[bytes]) -> None:
        """Write a tar archive of what is at `path` in a container, running or not, into an open file."""
        with told(f"read {path}"):
            stream, _ = self.api.get_archive(container, path)
            for chunk in stream:
                file.write(chunk)

    def run_inside(
        self, container: str, argv: Sequence[str], environment: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[int, str]:
        """Run a command in a running container to its end: its status, and what it wrote. A password goes by the
        `environment`: engines tell everybody who listens to their events what commands they run."""
        with told(f"run {argv[0]} in a container"):
            created = self.api.exec_create(container, list(argv), environment=dict(environment))
            out: bytes = self.api.exec_start(created["Id"])
            return int(self.api.exec_inspect(created["Id"])["ExitCode"]), out.decode("utf-8", "replace")

    def talk(self, container: str, argv: Sequence[str]) -> Any:
        """Run a command in a running container: the stream of its standard input and, in frames, of its output."""
        with told(f"run {argv[0]} in a container"):
            created = self.api.exec_create(container, list(argv), stdin=True)
            return self.api.exec_start(created["Id"], socket=True)

    def get(self, container: str, path: str) -> bytes | None:
        """The content of a file in a container, running or not; None when there is no such file."""
        for _ in range(8):  # as many symbolic links as we follow
            with told(f"read {path}"):
                try:
                    stream, stat = self.api.get_archive(container, path)
                    data = b"".join(stream)
                except docker.errors.NotFound:
                    return None
            # Docker hands out the link itself; Podman what it leads to, and calls every file a link to itself.
            if (target := stat.get("linkTarget")) in ("", None, path):
                return only_file(data)
            path = target
        return None

    def start(self, container: str) -> None:
        with told("start a container"):
            self.api.start(container)

    def attach(self, container: str, stdin: bool) -> Any:
        """The stream of a container that was not started yet: its output in frames, and its input."""
        streams = {"stdin": int(stdin), "stdout": 1, "stderr": 1, "stream": 1}
        with told("follow a container's output"):
            return self.api.attach_socket(container, params=streams)

    def wait(self, container: str) -> int:
        """Wait, without end, until a container ends; its exit status."""
        with told("wait for a container"):
            return int(self.api.wait(container)["StatusCode"])

    def cpu(self, container: str) -> float:
        """The seconds of CPU that a container has used so far. Engines before 20.10 cannot tell at once: InfraError."""
        with told("tell what a container uses"):
            used = self.api.stats(container, stream=False, one_shot=True)
        return float(used["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9

    def state(self, container: str) -> State | None:
        """How it is with a container; None when there is none, or none any more in a moment."""
        found = self.inspect(container)
        if found is None or found["State"].get("Status") in ("removing", "dead"):
            return None
        state = found["State"]
        running = bool(state.get("Running"))
        return State(running, None if running else int(state.get("ExitCode") or 0), bool(state.get("OOMKilled")))

    def inspect(self, container: str) -> Mapping[str, Any] | None:
        with told("describe a container"):
            try:
                found: Mapping[str, Any] = self.api.inspect_container(container)
                return found
            except docker.errors.NotFound:
                return None

    def published(self, container: str, port: int) -> tuple[str, int]:
        """Where we reach a published port of a running container."""
        found = self.inspect(container) or {}
        bindings = (found.get("NetworkSettings", {}).get("Ports") or {}).get(f"{port}/tcp") or []
        if not bindings:
            raise InfraError(f"The container engine did not publish port {port} of the broker.", ENGINE_HINT)
        address = str(bindings[0]["HostIp"])
        anywhere = address in ("", "0.0.0.0", "::")
        return (self.endpoint.machine or "127.0.0.1") if anywhere else address, int(bindings[0]["HostPort"])

    def address(self, container: str, network: str) -> str:
        """The address of a running container on a network."""
        networks = (self.inspect(container) or {}).get("NetworkSettings", {}).get("Networks") or {}
        found = (networks.get(network) or {}).get("IPAddress")
        if not found:
            raise InfraError("The broker's container has no address on the network of the trials.", ENGINE_HINT)
        return str(found)

    def logs(self, container: str, lines: int = 12) -> str:
        """The last lines of a container's log, "" where they cannot be had."""
        try:
            raw: bytes = self.api.logs(container, tail=lines)
        except BROKEN:
            return ""
        return raw.decode("utf-8", "replace").rstrip()

    def kill(self, container: str, signal: str = "SIGKILL") -> None:
        """A signal to its first program; nothing when it does not run or is not there."""
        with told("kill a container"), gone_is_fine():
            self.api.kill(container, signal)

    def remove(self, container: str) -> None:
        """Kill and remove a container with its anonymous volumes; nothing when it is not there."""
        with told("remove a container"), gone_is_fine():
            self.api.remove_container(container, force=True, v=True)

    # --- what is ours

    def owned(self) -> dict[str, list[tuple[str, str]]]:
        """What carries our label: kind ("container", "network", "volume") to (name, owner's label)."""
        only = {"label": OWNER_LABEL}
        with told("list what is ours"):
            volumes = self.api.volumes(filters=only)["Volumes"] or []
            return {
                "container": [
                    (one["Names"][0].lstrip("/") if one.get("Names") else one["Id"], one["Labels"][OWNER_LABEL])
                    for one in self.api.containers(all=True, filters=only)
                ],
                "network": [(one["Name"], one["Labels"][OWNER_LABEL]) for one in self.api.networks(filters=only)],
                "volume": [(one["Name"], one["Labels"][OWNER_LABEL]) for one in volumes],
            }

    def remove_owned(self, kind: str, name: str) -> None:
        {"container": self.remove, "network": self.remove_network, "volume": self.remove_volume}[kind](name)


def _split(reference: str) -> tuple[str, str | None]:
    """`name` and tag or digest; the colon of a registry's port is no tag."""
    if "@" in reference:
        name, _, digest = reference.partition("@")
        return name, digest
    name, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag:
        return reference, "latest"
    return name, tag
