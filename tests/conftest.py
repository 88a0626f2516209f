"""What all tests share: a home of their own, and honest skipping.

A test marked `docker`, `rabbitmq`, `redis`, `postgres`, `mariadb`, `compose` or `network` is skipped where that is
missing; with `BISECT_CELERY_NO_SKIPS=1` (the gate) it runs and fails instead.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from bisect_celery.core import syntax
from bisect_celery.lab.cancel import Token
from bisect_celery.stack.compose import project
from bisect_celery.stack.services.mariadb import find_mariadb
from bisect_celery.stack.services.postgres import find_postgres
from bisect_celery.stack.services.redis import find_redis

# How long an example takes is the machine's business: performance is measured by scripts/benchmark, never by a test.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

NO_SKIPS = os.environ.get("BISECT_CELERY_NO_SKIPS") == "1"
# In the background of a script, or under nohup, signals are ignored, and all that tests start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@functools.cache
def docker_missing() -> str | None:
    from bisect_celery.stack.containers.available import available

    fit, why = available(os.environ)
    return None if fit else why


@functools.cache
def rabbitmq_missing() -> str | None:
    candidates = ("/usr/lib/rabbitmq/bin/rabbitmq-server", shutil.which("rabbitmq-server"))
    return None if any(path and Path(path).exists() for path in candidates) else "rabbitmq-server is not installed"


@functools.cache
def network_missing() -> str | None:
    return "BISECT_CELERY_OFFLINE is set" if os.environ.get("BISECT_CELERY_OFFLINE") else None


def redis_missing() -> str | None:
    return None if find_redis() else "redis-server is not installed"


def postgres_missing() -> str | None:
    return None if find_postgres() else "PostgreSQL's server is not installed"


def mariadb_missing() -> str | None:
    return None if find_mariadb() else "MariaDB's server is not installed"


@functools.cache
def compose_missing() -> str | None:
    return None if project.find() else "no compose program is installed"


NEEDS: dict[str, Callable[[], str | None]] = {
    "docker": docker_missing,
    "rabbitmq": rabbitmq_missing,
    "network": network_missing,
    "redis": redis_missing,
    "postgres": postgres_missing,
    "mariadb": mariadb_missing,
    "compose": compose_missing,
}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> pytest.TestReport:
    """As pytest's own: to show where a test failed it parses that file, beside the lab's threads, which parse too."""
    return syntax.undisturbed(lambda: pytest.TestReport.from_item_and_call(item, call))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The files that take longest begin first: several run at once, and the last one should not run alone.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    for item in items:
        for name, missing in NEEDS.items():
            # Where skipping is forbidden it runs, and fails for want of what is missing.
            if not NO_SKIPS and item.get_closest_marker(name) and (why := missing()):
                item.add_marker(pytest.mark.skip(reason=why))


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if NO_SKIPS and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("Skipping is forbidden here, and tests were skipped.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test touches the user's home; uv's and pip's caches of the machine may still be read."""
    home = tmp_path_factory.mktemp("home")
    cache = os.environ.get("UV_CACHE_DIR") or str(Path("~/.cache/uv").expanduser())
    patch = pytest.MonkeyPatch()
    patch.setenv("HOME", str(home))
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        patch.delenv(name, raising=False)
    patch.setenv("BISECT_CELERY_TEST_UV_CACHE", cache)
    for name in [name for name in os.environ if name.startswith("GIT_") and name != "GIT_SSL_CAINFO"]:
        patch.delenv(name)
    # Short, since sockets live below it where a home is too deep for them.
    with tempfile.TemporaryDirectory(prefix="bct-") as temporary:
        os.chmod(temporary, 0o755)  # some tests are another user's
        patch.setenv("TMPDIR", temporary)
        patch.setattr(tempfile, "tempdir", temporary)
        yield
    patch.undo()


@pytest.fixture
def cancel() -> Token:
    return Token()
