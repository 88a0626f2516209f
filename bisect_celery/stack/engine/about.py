"""What kind of engine answers: Docker or Podman, rootless or not, which limits it can keep, whether its wall holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bisect_celery.stack.compose.described import Service
from bisect_celery.stack.engine.api import Engine

PODMAN = "Podman"


@dataclass(frozen=True)
class About:
    """An engine as it describes itself. `cgroup` is "1", "2" or "" (not told); `where` says where it is, if not here.

    `memory`, `cpus`, `pids`: whether it can keep that limit of a container, which rootless engines often cannot.
    `counts`: whether it tells what CPU a container used. Without cgroups (rootless on cgroup v1) it tells the whole
    machine's, in which a worker that hangs would look busy.
    """

    product: str
    version: str
    rootless: bool
    cgroup: str
    where: str
    machine: str
    processors: float
    memory: bool
    cpus: bool
    pids: bool
    counts: bool = True

    @property
    def name(self) -> str:
        """E.g. "Docker 26.1.5, rootless, on build.example (the context build)"."""
        parts = (f"{self.product} {self.version}", "rootless" if self.rootless else "", self.where)
        return ", ".join(part for part in parts if part)

    @property
    def walls(self) -> bool:
        """Whether trials reach nothing of the machine that it runs on.

        Docker's internal networks have no address of the host's when they are asked to have none. Podman's always have
        one (measured with 4.3), on which trials reach what listens there; nobody has measured a rootless one's.
        """
        return self.product != PODMAN

    def fitted(self, service: Service) -> Service:
        """A service without the limits that it refuses, or would drop without a word."""
        return replace(
            service,
            mem_limit=service.mem_limit if self.memory else 0,
            cpus=service.cpus if self.cpus else 0.0,
            pids_limit=service.pids_limit if self.pids else 0,
        )

    @property
    def lacks(self) -> tuple[str, ...]:
        """What it cannot do that is done elsewhere, each in words."""
        *others, last = self._unlimited or ("",)
        unkept = f"{', '.join(others)} and {last}" if others else last
        return tuple(filter(None, (
            "" if self.walls else "trials have no route out, but reach what listens on its machine",
            unkept and f"it keeps no limits of {unkept}",
            "" if self.counts else "it does not tell whether a silent worker computes",
        )))  # fmt: skip

    @property
    def _unlimited(self) -> tuple[str, ...]:
        kept = {"memory": self.memory, "CPU": self.cpus, "processes": self.pids}
        return tuple(name for name, well in kept.items() if not well)


def about(engine: Engine) -> About:
    """Ask an engine what it is. Raises InfraError."""
    info = engine.info()
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    podman = any(str(part.get("Name", "")).startswith(PODMAN) for part in engine.version().get("Components") or ())
    return About(
        product=PODMAN if podman else "Docker",
        version=str(info.get("ServerVersion")),
        rootless=any(option.startswith("name=rootless") for option in options),
        cgroup=str(info.get("CgroupVersion") or "").removeprefix("v"),
        where=engine.endpoint.words,
        machine=str(info.get("Architecture")),
        processors=float(info.get("NCPU") or 0),
        memory=_can(info, "MemoryLimit"),
        cpus=_can(info, "CpuCfsQuota", "CPUCfsQuota"),
        pids=_can(info, "PidsLimit"),
        counts=info.get("CgroupDriver") != "none",
    )


def _can(info: Mapping[str, Any], *names: str) -> bool:
    """Whether it says that it can; also where it says nothing of it."""
    return all(bool(info[name]) for name in names if name in info)
