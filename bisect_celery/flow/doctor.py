"""What this machine has of what trials need, what is missing, and how to get it. Looks; installs nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bisect_celery import proc
from bisect_celery.environment.local import LocalRunner
from bisect_celery.environment.user_files import with_pip_conf
from bisect_celery.errors import InfraError, UserError
from bisect_celery.flow.stacks import ca_bundle
from bisect_celery.home import Home
from bisect_celery.repo.git import need_git
from bisect_celery.stack import pyspy
from bisect_celery.stack.brokers.rabbitmq import find_rabbitmq
from bisect_celery.stack.compose import project
from bisect_celery.stack.containers.available import ANSWER_DEADLINE, available
from bisect_celery.stack.engine.about import about
from bisect_celery.stack.engine.api import Engine
from bisect_celery.stack.engine.build import buildkit_client
from bisect_celery.stack.engine.endpoint import find
from bisect_celery.stack.services.mariadb import find_mariadb
from bisect_celery.stack.services.mysql import find_mysql
from bisect_celery.stack.services.postgres import find_postgres
from bisect_celery.stack.services.redis import find_redis

ASK_DEADLINE = 20.0
# A container stack with its images, the environments of a search, and its logs; a worker, a broker and a build at once.
ROOM, MEMORY = 5_000_000_000, 2_000_000_000
PYTHONS = ("3.14", "3.13", "3.12", "3.11", "3.10", "3.9", "3.8", "3.7", "3.6", "3.5", "2.7")


@dataclass(frozen=True)
class Check:
    """One thing that was looked for. `needed`: without it no trial can be made at all; `help` is how to get it."""

    name: str
    found: str | None
    help: str = ""
    needed: bool = False

    @property
    def well(self) -> bool:
        return self.found is not None


@dataclass(frozen=True)
class Asked:
    """For whom to look. `remote`: an engine on another machine is asked, too; the environment may say so as well."""

    home: Home
    remote: bool = False


def examine(home: Home, *, remote: bool = False) -> Iterator[Check]:
    """One check after another; each takes seconds at most. With `remote` also at an engine on another machine."""
    asked = Asked(home, remote or _remote_said())
    for look in _LOOKS:
        yield look(asked)


def best_stack(checks: tuple[Check, ...]) -> str:
    """What `run` would take here, in words."""
    well = {check.name for check in checks if check.well}
    if "container stack" in well:
        return "containers with RabbitMQ"
    return "processes with a private RabbitMQ" if "rabbitmq-server" in well else "processes with the embedded broker"


# --- what every trial needs --------------------------------------------------------------------------


def _git(_: Asked) -> Check:
    try:
        need_git()
        version = proc.run(["git", "--version"], deadline=ASK_DEADLINE, check=False).text()
    except (InfraError, UserError) as error:
        return Check("git", None, f"{error.message} {error.hint}".strip(), needed=True)
    return Check("git", version.removeprefix("git version").strip(), needed=True)


def _uv(asked: Asked) -> Check:
    try:
        (uv,) = _runner(asked.home).uv()
        version = proc.run([uv, "--version"], deadline=ASK_DEADLINE).text().strip()
    except InfraError as error:
        return Check("uv", None, f"{error.message} {error.hint}".strip(), needed=True)
    return Check("uv", version, needed=True)


def _disk(asked: Asked) -> Check:
    free = shutil.disk_usage(asked.home.make().cache).free
    where = f"{free / 1e9:.1f} GB free for {asked.home.cache}"
    low = f"{where}: `bisect-celery clean`, or BISECT_CELERY_HOME on another disk."
    return Check("disk", where, needed=True) if free >= ROOM else Check("disk", None, low, needed=True)


def _memory(_: Asked) -> Check:
    free = _available_memory()
    if free is None:
        return Check("memory", "cannot be told on this system")
    words = f"{free / 1e9:.1f} GB free"
    return Check("memory", words) if free >= MEMORY else Check("memory", None, f"{words}: a broker may hold back.")


def _available_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    values = dict(line.split(":", 1) for line in lines)
    return int(values["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in values else None


# --- stacks ------------------------------------------------------------------------------------------


def _engine(asked: Asked) -> Check:
    """Which engine would be taken, as it describes itself; one on another machine is not asked unless that is said."""
    try:
        endpoint = find(os.environ)
        if endpoint.machine and not asked.remote:
            help_ = f"It is {endpoint.words}, and is asked nothing without `--remote-engine`."
            return Check("container engine", None, f"{help_} DOCKER_CONTEXT=default takes this machine's own.")
        with Engine.connect(ANSWER_DEADLINE, endpoint=endpoint) as engine:
            found = about(engine)
    except InfraError as error:
        return Check("container engine", None, f"{error.message} {_other_sockets()}".strip())
    cgroup = f"cgroup v{found.cgroup}" if found.cgroup else "cgroup not told"
    return Check("container engine", "; ".join((found.name, cgroup, *found.lacks)))


def _remote_said() -> bool:
    """Whether the environment says that an engine may be elsewhere; what files and flags say is a run's own."""
    return os.environ.get("BISECT_CELERY_REMOTE_ENGINE", "").strip().lower() in ("1", "true", "yes", "on")


def _other_sockets() -> str:
    """Engines of this user that nobody named: rootless Docker, Podman."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    places = (f"{runtime}/docker.sock", f"{runtime}/podman/podman.sock", "/run/podman/podman.sock")
    found = [place for place in places if Path(place).is_socket()]
    return f"DOCKER_HOST=unix://{found[0]} takes the one that is there." if found else ""


def _containers(asked: Asked) -> Check:
    answers, why = available(os.environ, remote=asked.remote)
    if answers:
        return Check("container stack", f"{why}, with images")
    help_ = "Start Docker, or set DOCKER_HOST. Images without a registry: `sudo scripts/build-images`."
    return Check("container stack", None, f"{_sentence(why)} {help_} Without it processes serve.")


def _compose(_: Asked) -> Check:
    found = project.find()
    help_ = f"Only a project's own compose file needs it. {project.HOW_TO_GET_IT}"
    return Check("docker compose", f"`{' '.join(found.words)}` {found.version}" if found else None, help_)


def _buildkit(_: Asked) -> Check:
    client = buildkit_client(os.environ)
    help_ = "Only Dockerfiles with `RUN --mount` and its like need it: install docker-buildx."
    return Check("BuildKit", f"by {' '.join(client[:2])}" if client else None, help_)


def _rabbitmq(_: Asked) -> Check:
    found = find_rabbitmq()
    if found is None:
        help_ = "Install `rabbitmq-server` (it need not run), or use containers. Else the broker is emulated."
        return Check("rabbitmq-server", None, help_)
    return Check("rabbitmq-server", f"{found.server}; a private node is started from it")


def _redis(_: Asked) -> Check:
    found = find_redis()
    help_ = "Install `redis-server` (it need not run), or use containers: for projects with a Redis."
    return Check("redis-server", f"{found}; each trial gets its own" if found else None, help_)


def _databases(_: Asked) -> Check:
    postgres, mariadb, mysql = find_postgres(), find_mariadb(), find_mysql()
    found = [f"PostgreSQL {'.'.join(map(str, postgres.version))} in {postgres.bin}"] if postgres else []
    found += [f"{name} in {one.server}" for name, one in (("MariaDB", mariadb), ("MySQL", mysql)) if one]
    help_ = (
        "Install `postgresql`, `mariadb-server` or `mysql-server` (they need not run), or use containers. "
        "SQLite needs nothing."
    )
    return Check("databases", ", ".join(found) or None, help_)


def _route_out(asked: Asked) -> Check:
    """What the wall of trials is worth with the engine that would be taken."""
    process = "programs of the process stack reach what this machine reaches"
    try:
        endpoint = find(os.environ)
        if endpoint.machine and not asked.remote:
            return Check("route out of trials", f"walled in containers of Docker; {process}")
        with Engine.connect(ANSWER_DEADLINE, endpoint=endpoint) as engine:
            walls = about(engine).walls
    except InfraError:
        return Check("route out of trials", process)
    here = (
        "walled in containers" if walls else "none from containers, but they reach what listens on the engine's machine"
    )
    return Check("route out of trials", f"{here}; {process}")


# --- the rest ----------------------------------------------------------------------------------------


def _pythons(asked: Asked) -> Check:
    runner, found = _runner(asked.home), []
    for version in PYTHONS:
        path = runner.installed(version)
        if path is not None:
            found.append(path[1])
    help_ = "Install the one your project uses, or let uv fetch it: `uv python install VERSION`."
    return Check("interpreters", ", ".join(found) or None, help_)


def _pyspy(_: Asked) -> Check:
    binary = pyspy.binary()
    help_ = "`pip install py-spy` beside bisect-celery; without it nobody sees where a hang waits."
    return Check("py-spy", str(binary) if binary else None, help_)


def _certificates(_: Asked) -> Check:
    bundle = ca_bundle(with_pip_conf(os.environ))
    return Check("CA bundle", f"{bundle}, for builds" if bundle else "none named; SSL_CERT_FILE names a company's own")


def _runner(home: Home) -> LocalRunner:
    return LocalRunner(home.make().builds)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:].rstrip(".") + "."


_LOOKS: tuple[Callable[[Asked], Check], ...] = (
    _git,
    _uv,
    _disk,
    _memory,
    _engine,
    _containers,
    _compose,
    _buildkit,
    _rabbitmq,
    _redis,
    _databases,
    _route_out,
    _pythons,
    _pyspy,
    _certificates,
)
