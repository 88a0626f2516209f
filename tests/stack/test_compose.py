"""The subset of Compose that we read: our own file as it stands, variables, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from bisect_celery.errors import UserError
from bisect_celery.stack.compose import ours
from bisect_celery.stack.compose.described import Mount, Port
from bisect_celery.stack.compose.ours import load, parse
from bisect_celery.stack.compose.variables import interpolate
from bisect_celery.stack.services.protocol import KINDS

TOP = Path(__file__).resolve().parents[2] / "docker-compose.yml"
SERVICE = "services:\n  a:\n    image: x\n"


def test_our_own_file_locks_every_service_down() -> None:
    composition = load({})
    assert set(composition.services) == {
        "rabbitmq",
        "slot",
        "worker",
        "builder",
        "dump",
        "companion",
        "redis-broker",
        *KINDS,
    }
    for service in composition.services.values():
        theirs = service.name == "companion"  # a project's image, which may begin as root to become another
        assert service.cap_drop == (("NET_RAW", "MKNOD", "AUDIT_WRITE") if theirs else ("ALL",))
        assert service.security_opt == ("no-new-privileges:true",)
        assert service.mem_limit >= 64 << 20
        assert service.cpus > 0
        assert service.pids_limit > 0
        assert service.cap_add == (("SYS_PTRACE",) if service.name == "dump" else ())


def test_our_own_file_gives_workers_no_way_out() -> None:
    composition = load({})
    worker = composition.services["worker"]
    assert worker.networks == ()
    assert worker.network_of == "slot"
    assert composition.services["slot"].networks == ("trial",)
    assert composition.services["slot"].dns == ("127.0.0.1",)
    assert composition.networks["trial"].internal
    assert dict(composition.networks["trial"].driver_opts) == {"com.docker.network.bridge.inhibit_ipv4": "true"}
    assert Mount("environments", "/bisect-celery", read_only=True) in worker.volumes
    assert worker.user == "65534:65534"
    assert worker.ports == ()


def test_services_beside_the_broker_stand_where_trials_do_and_nowhere_else() -> None:
    services = load({"BISECT_CELERY_REDIS_IMAGE": "r:7", "BISECT_CELERY_POSTGRES_IMAGE": "p:9"}).services
    assert services["redis"].network_of == "slot"
    assert services["postgres"].networks == services["mariadb"].networks == ("trial",)
    for kind in KINDS:
        assert services[kind].ports == ()
        assert services[kind].user == "65534:65534"
    assert [services[kind].image for kind in KINDS] == ["r:7", "p:9", "mariadb:11.4", "mysql:8.4"]


def test_our_own_file_publishes_the_broker_to_this_machine_only() -> None:
    ports = load({}).services["rabbitmq"].ports
    assert ports == (Port("127.0.0.1", 5672), Port("127.0.0.1", 15672))
    elsewhere = load({"BISECT_CELERY_PUBLISH": "10.1.2.3"}).services["rabbitmq"].ports
    assert elsewhere == (Port("10.1.2.3", 5672), Port("10.1.2.3", 15672))


def test_images_are_chosen_by_the_environment() -> None:
    services = load({}).services
    assert services["rabbitmq"].image == "rabbitmq:4.2-management"
    assert services["builder"].image == services["worker"].image == "python:3.11-slim"
    chosen = load({"BISECT_CELERY_WORKER_IMAGE": "w:1", "BISECT_CELERY_RABBITMQ_IMAGE": "r:1"}).services
    assert (chosen["rabbitmq"].image, chosen["worker"].image, chosen["builder"].image) == ("r:1", "w:1", "w:1")
    assert load({"BISECT_CELERY_BUILDER_IMAGE": "b:1"}).services["builder"].image == "b:1"


def test_the_file_at_the_top_is_the_one_we_read() -> None:
    assert TOP.resolve() == ours.FILE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a${A}b", "a1b"),
        ("${NONE}", ""),
        ("${NONE:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${NONE-d}", "d"),
        ("${A:-d}", "1"),
        ("${NONE:-${A}}", "1"),
        ("${NONE:-x${NONE:-y}z}!", "xyz!"),
        ("$$HOME $${A}", "$HOME ${A}"),
        ("rabbitmq:4.2}", "rabbitmq:4.2}"),
    ],
)
def test_variables(text: str, expected: str) -> None:
    assert interpolate(text, {"A": "1", "EMPTY": ""}) == expected


@pytest.mark.parametrize("text", ["$HOME", "${A:?must}", "${A", "${A:-x", "${}", "100$"])
def test_other_forms_of_variables_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        interpolate(text, {"A": "1"})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("services: [a]", "services"),
        ("version: '3'\n" + SERVICE, "version"),
        ("services:\n  a: {}\n", "services.a"),
        (SERVICE + "    privileged: true\n", "services.a.privileged"),
        (SERVICE + "    entrypoint: [x]\n", "services.a.entrypoint"),
        (SERVICE + "    volumes: ['/etc:/etc']\n", "services.a.volumes"),
        (SERVICE + "    volumes: ['data:/data']\n", "data"),
        (SERVICE + "    ports: ['5672:5672']\n", "5672:5672"),
        (SERVICE + "    networks: [lan]\n", "lan"),
        (SERVICE + "    network_mode: host\n", "services.a.network_mode"),
        (SERVICE + "    network_mode: service:b\n", "services.a"),
        (SERVICE + "    pid: host\n", "services.a.pid"),
        (SERVICE + "    pid: service:b\n", "services.a"),
        (SERVICE + "    mem_limit: much\n", "services.a.mem_limit"),
        (SERVICE + "    cpus: many\n", "services.a.cpus"),
        (SERVICE + "    init: 'yes'\n", "services.a.init"),
        (SERVICE + "    environment: [A=1]\n", "services.a.environment"),
        (SERVICE + "    healthcheck: {test: [CMD], interval: 1h}\n", "services.a.healthcheck.interval"),
        (SERVICE + "networks:\n  lan: {ipam: {}}\n", "networks.lan.ipam"),
        (SERVICE + "volumes:\n  data: {driver: nfs}\n", "volumes.data.driver"),
        ("services: {", "YAML"),
    ],
)
def test_what_is_not_understood_is_named(text: str, named: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(text, {})
    assert named in refused.value.message
    assert refused.value.hint


def test_values_and_merge_keys() -> None:
    text = """
x-common: &common
  mem_limit: 64m
  ulimits: { nofile: 10, nproc: { soft: 1, hard: 2 } }
services:
  a:
    <<: *common
    image: x
    cpus: 0.5
    environment: { A: 1, B: "two" }
    healthcheck: { test: [CMD, "true"], interval: 500ms, timeout: 2m }
    logging: { driver: none }
"""
    service = parse(text, {}).services["a"]
    assert service.mem_limit == 64 << 20
    assert service.ulimits == (("nofile", 10, 10), ("nproc", 1, 2))
    assert service.cpus == 0.5
    assert service.environment == (("A", "1"), ("B", "two"))
    assert service.healthcheck is not None
    assert (service.healthcheck.interval, service.healthcheck.timeout) == (0.5, 120.0)
    assert service.logging == ("none", ())
