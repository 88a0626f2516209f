"""A small incident: seven commits of a plain Celery app, one of which breaks it by one of its hunks.

Small enough that a whole `run` is a few dozen trials of about a second, and real: real commits, real workers.
`failing()` breaks with an exception, `hanging()` like the founding incident: the body runs, and then nothing.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

APP = "shop.app"
CULPRIT_TITLE = "Tidy the totals"

REQUIREMENTS = "celery==5.5.2\n"

APP_MODULE = """\
import os

from celery import Celery

from shop import settings

app = Celery("shop", broker=os.environ["SHOP_BROKER"], backend="rpc://", include=["shop.tasks"])
app.config_from_object(settings)
"""
_SETTINGS = "task_acks_late = True\nworker_prefetch_multiplier = 1\n"

_TASKS = '''\
"""What the shop does in the background."""

import logging

from shop.app import app
from shop.money import amount

log = logging.getLogger(__name__)


@app.task(name="shop.tasks.total")
def total(prices):
    """The sum of all prices; a price that is not known yet is null."""
    counted = [price or 0 for price in prices]
    log.info("adding %d prices", len(counted))
    return amount(sum(counted))
'''
_TASKS_TIDIED = '''\
"""What the shop does in the background: totals."""

import logging

from shop.app import app
from shop.money import amount

log = logging.getLogger(__name__)


@app.task(name="shop.tasks.total")
def total(prices):
    """The sum of all prices; a price that is not known yet is null."""
    counted = list(prices)
    log.info("adding %d prices", len(counted))
    return amount(sum(counted))
'''
_MONEY = "def amount(number):\n    return number\n"
_MONEY_TIDIED = "def amount(number):\n    # cents are rounded where invoices are written\n    return number\n"

SIGNALS = '''\
"""What happens around each task."""

import threading

from celery.signals import task_postrun

written = threading.Event()


@task_postrun.connect
def account(**_):
    """Wait until the ledger has the task, so that none is paid for twice."""
    written.set()
    written.wait()
'''
SIGNALS_TIDIED = SIGNALS.replace("    written.set()\n", "")

Files = Mapping[str, str]


@dataclass(frozen=True)
class Incident:
    """A written repository; `shas` are its commits, the oldest first, `words` what `run` is asked beside the ends."""

    folder: Path
    shas: tuple[str, ...]
    culprit: str
    line: str
    words: tuple[str, ...]

    @property
    def good(self) -> str:
        return self.shas[0]

    @property
    def bad(self) -> str:
        return self.shas[-1]


def failing(folder: Path, extra: Files | None = None, tidied: Files | None = None) -> Incident:
    """The culprit makes the task raise TypeError when it is given a null.

    `extra` are files of the first commit, `tidied` of the culprit, in place of those that are there.
    """
    tidy = {"shop/tasks.py": _TASKS_TIDIED, "shop/money.py": _MONEY_TIDIED, **(tidied or {})}
    return _written(folder, {**_first(), **(extra or {})}, tidy, "-    counted = [price or 0 for price in prices]")


def hanging(folder: Path, extra: Files | None = None, tidied: Files | None = None) -> Incident:
    """The culprit makes each task wait for ever after its body, before the late acknowledgement. As `failing`."""
    first = {**_first(), "shop/signals.py": SIGNALS, **(extra or {})}
    first["shop/tasks.py"] = first["shop/tasks.py"].replace("import logging\n", "import logging\n\nimport shop.signals")
    tidy = {"shop/signals.py": SIGNALS_TIDIED, "shop/money.py": _MONEY_TIDIED, **(tidied or {})}
    return _written(folder, first, tidy, "-    written.set()")


def _first() -> dict[str, str]:
    return {
        "requirements.txt": REQUIREMENTS,
        "shop/__init__.py": "",
        "shop/app.py": APP_MODULE,
        "shop/settings.py": _SETTINGS,
        "shop/tasks.py": _TASKS,
        "shop/money.py": _MONEY,
    }


def _written(folder: Path, first: Files, tidy: Files, line: str) -> Incident:
    commits: list[tuple[str, Files]] = [
        ("Begin the shop", first),
        ("Say what this is", {"README.md": "A shop.\n"}),
        ("Note who to ask", {"README.md": "A shop.\n\nAsk Mara.\n"}),
        (CULPRIT_TITLE, tidy),
        ("List currencies", {"shop/currencies.py": "KNOWN = ('EUR', 'SEK')\n"}),
        ("Add a currency", {"shop/currencies.py": "KNOWN = ('EUR', 'NOK', 'SEK')\n"}),
        ("Ask somebody else", {"README.md": "A shop.\n\nAsk Tore.\n"}),
    ]
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    shas = [commit(folder, title, files, number) for number, (title, files) in enumerate(commits)]
    culprit = shas[[title for title, _ in commits].index(CULPRIT_TITLE)]
    return Incident(folder, tuple(shas), culprit, line, words())


def words() -> tuple[str, ...]:
    return (
        "--app", APP, "--worker", "-c 1", "--task", "shop.tasks.total", "--args", "[[1, null, 2]]",
        "--count", "2", "--env", "SHOP_BROKER={broker_url}", "--stack", "process", "--broker", "embedded",
    )  # fmt: skip


def commit(folder: Path, title: str, files: Files, day: int) -> str:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    date = f"2026-03-{day + 2:02d}T10:00:00+00:00"
    git(folder, "commit", "--quiet", "-m", title, env={"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date})
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """The user's git in the user's repository; returns what it printed."""
    settings = ("-c", "user.name=Mara", "-c", "user.email=mara@example.org", "-c", "gc.auto=0")
    done = subprocess.run(
        ["git", *settings, *arguments], cwd=folder, env={**os.environ, **(env or {})}, capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.strip()
