"""A whole run that begins with what GOOD left behind: killed in the middle, gone on, and nothing of it left."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench, becomes, ended
from small_incident import REQUIREMENTS, commit, git

from bisect_celery.model import Outcome

pytestmark = pytest.mark.network

SHOP = """\
import os
import sqlite3

from celery import Celery

COLUMNS, VALUES = {columns}
app = Celery("shop", broker=os.environ["SHOP_BROKER"], backend="rpc://")


def orders():
    connection = sqlite3.connect(os.path.join(os.environ["HOME"], "orders.sqlite3"), timeout=30)
    connection.execute("CREATE TABLE IF NOT EXISTS orders (%s)" % COLUMNS)
    return connection


@app.task(name="shop.order")
def order(n):
    with orders() as connection:
        connection.execute("INSERT INTO orders (%s) VALUES (%s)" % (COLUMNS, VALUES))
    return n
"""
OLD, NEW = SHOP.format(columns='"number", "7"'), SHOP.format(columns='"number, price", "7, 350"')
WORDS = (
    "--app", "shop", "--worker", "-c 1", "--task", "shop.order", "--args", "[1]", "--count", "2",
    "--env", "SHOP_BROKER={broker_url}", "--stack", "process", "--broker", "embedded",
)  # fmt: skip


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """Two commits: a table is made, then wanted with one column more. Only where it was before does that fail."""
    folder = tmp_path / "orders"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "Begin the shop", {"requirements.txt": REQUIREMENTS, "shop.py": OLD}, 0)
    commit(folder, "Orders have a price", {"shop.py": NEW}, 1)
    return folder


@pytest.mark.slow
def test_what_needs_an_older_table_is_found_and_told(orders: Path, bench_at: Callable[[Path], Bench]) -> None:
    bench = bench_at(orders)
    process = bench.start("run", "HEAD~1", "HEAD", *WORDS, "--upgrade-from", "good")
    assert becomes(lambda: any(trial.purpose for trial in trials(bench)), 200), process.communicate()
    process.send_signal(signal.SIGKILL)
    ended(process)
    (name,) = bench.sessions()
    folder = bench.home.session_folder(name)
    kept = folder / "earlier"
    made = (kept / "state.json").stat().st_mtime_ns
    assert kept.stat().st_mode & 0o077 == 0
    assert len(list((kept / "messages").glob("*.body"))) == 2

    def watched() -> bool:
        return (kept / "state.json").stat().st_mtime_ns == made

    going_on = bench.start("resume", name)
    assert becomes(lambda: going_on.poll() is not None or len(trials(bench)) > 2, 200)
    assert watched(), "made once, also for a session that goes on"
    last = ended(going_on)
    session = bench.session(name)
    assert session.outcome is Outcome.CONFIRMED, last.text
    assert session.bad_symptom is not None
    assert session.bad_symptom.exception == "OperationalError"
    assert session.culprit is not None
    assert session.culprit.revision.title == "Orders have a price"
    report = json.loads((folder / "report" / "report.json").read_text())
    told = [one for one in report["differences"] if one["what"] == "state before a trial"]
    assert "1 queue with 2 unconsumed messages" in told[0]["ours"]
    assert not any("older revision leaves behind" in one for one in report["not_tested"])
    assert not kept.exists(), "raw messages go when nothing goes on"
    assert bench.left() == []


def trials(bench: Bench) -> list[object]:
    return [judged.trial for judged in bench.trials().values()]


def test_what_cannot_be_upgraded_from_is_one_sentence(orders: Path, bench_at: Callable[[Path], Bench]) -> None:
    bench = bench_at(orders)
    commit(orders, "Broken", {"shop.py": "import nothing_of_that_name\n"}, 2)
    unknown = bench.run("run", "HEAD~2", "HEAD~1", *WORDS, "--upgrade-from", "v0")
    assert unknown.code == 2
    assert "`v0` is not a revision" in unknown.text
    broken = bench.run("run", "HEAD~2", "HEAD~1", *WORDS, "--upgrade-from", "HEAD")
    assert broken.code == 2
    assert "does not come through its warm-up: ModuleNotFoundError" in broken.text
    assert bench.sessions() == ()
    alone = bench.run("try", "HEAD~1", *WORDS, "--upgrade-from", "good")
    assert "needs a GOOD" in alone.text
