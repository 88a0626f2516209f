"""The demo incident as `run` would be asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bisect_celery.demo.incident import Incident, write_incident


@dataclass(frozen=True)
class Demo:
    """A written incident and the flags that ask for it; the app and the start line are left to detection."""

    incident: Incident

    @property
    def good(self) -> str:
        return self.incident.good

    @property
    def bad(self) -> str:
        return self.incident.bad

    def flags(self) -> dict[str, object]:
        probe = self.incident.probe
        said = {"task": probe.task, "args": probe.args, "expect": probe.expect, "done_log": probe.done_log}
        return {name: value for name, value in said.items() if value is not None}

    def words(self) -> tuple[str, ...]:
        return tuple(
            word for name, value in self.flags().items() for word in (f"--{name.replace('_', '-')}", str(value))
        )


def write(folder: Path) -> Demo:
    """Write the incident into a new folder. Raises UserError when there is something in it."""
    return Demo(write_incident(folder))
