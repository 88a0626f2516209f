"""A service of our compose file in the SDK's words: what a container of it is created with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import docker
import docker.types

from bisect_celery.stack.compose.described import Health, Mount, Service


def attachment(api: docker.APIClient, networks: Sequence[str], alias: str) -> Any:
    if not networks:
        return None
    endpoint = api.create_endpoint_config(aliases=[alias])
    return api.create_networking_config({networks[0]: endpoint})


def host_config(
    api: docker.APIClient,
    service: Service,
    names: Mapping[str, str],
    shared: Mapping[str, str],
    cpus_at_most: float,
    hosts: Mapping[str, str],
) -> Any:
    driver, options = service.logging
    cpus = min(service.cpus, cpus_at_most) if cpus_at_most else service.cpus
    mounts = [f"{names[m.volume]}:{m.target}:{_mode(m)}" for m in service.volumes]
    return api.create_host_config(
        binds=mounts or None,
        network_mode=_network_mode(service, names, shared),
        port_bindings={f"{port.container}/tcp": (port.address,) for port in service.ports} or None,
        dns=list(service.dns) or None,
        dns_opt=list(service.dns_opt) or None,
        extra_hosts=dict(hosts) or None,
        mem_limit=service.mem_limit or None,
        memswap_limit=service.mem_limit or None,
        nano_cpus=int(cpus * 1e9) or None,
        pids_limit=service.pids_limit or None,
        ulimits=[docker.types.Ulimit(name=name, soft=soft, hard=hard) for name, soft, hard in service.ulimits],
        cap_drop=list(service.cap_drop) or None,
        cap_add=list(service.cap_add) or None,
        security_opt=list(service.security_opt) or None,
        init=service.init or None,
        read_only=service.read_only or None,
        pid_mode=f"container:{shared[service.pid]}" if service.pid else None,
        log_config=docker.types.LogConfig(type=driver, config=dict(options)) if driver else None,
    )


def healthcheck(health: Health | None) -> Any:
    if health is None:
        return None
    nanoseconds = {
        name: int(seconds * 1e9)
        for name, seconds in (
            ("interval", health.interval), ("timeout", health.timeout), ("start_period", health.start_period)
        )
    }  # fmt: skip
    return docker.types.Healthcheck(test=list(health.test), retries=health.retries, **nanoseconds)


def _mode(mount: Mount) -> str:
    mode = "ro" if mount.read_only else "rw"
    return f"{mode},nocopy" if mount.bare else mode


def _network_mode(service: Service, names: Mapping[str, str], shared: Mapping[str, str]) -> str | None:
    if service.network_of:
        return f"container:{shared[service.network_of]}"
    return names[service.networks[0]] if service.networks else service.network_mode or None
