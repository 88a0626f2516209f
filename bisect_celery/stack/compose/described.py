"""What our compose file describes: services, networks and volumes, each field a key of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Port:
    """A port of a container, published at `address` under a number that the engine chooses."""

    address: str
    container: int


@dataclass(frozen=True)
class Mount:
    """A named volume of the file (`volume` is its key there) at `target`; a `bare` one begins empty, whatever the image
    has there."""

    volume: str
    target: str
    read_only: bool = False
    bare: bool = False


@dataclass(frozen=True)
class Health:
    """How the engine looks whether a service is well. Times in seconds."""

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    start_period: float = 0.0
    retries: int = 3


@dataclass(frozen=True)
class Service:
    """One service: each field is a key of the file. `mem_limit` in bytes; 0 and "" mean: not given.

    `ulimits` are (name, soft, hard), `logging` is (driver, options), `pid` is the service whose process
    namespace is shared, `network_mode` is `bridge`, `none`, or `service:NAME` for that service's network.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    user: str = ""
    hostname: str = ""
    init: bool = False
    read_only: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    networks: tuple[str, ...] = ()
    network_mode: str = ""
    dns: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    volumes: tuple[Mount, ...] = ()
    mem_limit: int = 0
    cpus: float = 0.0
    pids_limit: int = 0
    ulimits: tuple[tuple[str, int, int], ...] = ()
    cap_drop: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    pid: str = ""
    logging: tuple[str, tuple[tuple[str, str], ...]] = ("", ())
    healthcheck: Health | None = None

    @property
    def network_of(self) -> str:
        """The service whose network it shares, "" for none."""
        kind, _, name = self.network_mode.partition(":")
        return name if kind == "service" else ""


@dataclass(frozen=True)
class Network:
    """A network of the session."""

    name: str
    driver: str = "bridge"
    internal: bool = False
    driver_opts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Composition:
    """The whole file. `volumes` maps each key to the fixed name it was given; "" where the harness names it."""

    services: Mapping[str, Service] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
