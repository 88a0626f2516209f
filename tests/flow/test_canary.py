"""Canaries planted wherever a project and its user keep what is nobody's business, looked for in all that we write.

What is known to be secret (by its name, its place or who gave it) is nowhere. What is private without being secret
(what a task was given, said or logged) is in no output; it is kept where this file says, and nowhere else.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import small_incident
from bench import Bench, Ended, becomes, ended
from small_incident import Incident

pytestmark = pytest.mark.network

# Secret by name, by place, or because the user gave it in a way that is for secrets.
SECRETS = {
    "variable with a secret's name": "can4ry-variable-Wq7",
    "password in a variable's URL": "can4ry-urlpassword-Wq7",
    "line of --env-file": "can4ry-envfile-Wq7",
    "variable given by --pass": "can4ry-passed-Wq7",
    "secret-named setting": "can4ry-setting-Wq7",
    "secret-named setting inside another": "can4ry-nested-Wq7",
    "broker's password in the settings": "can4ry-broker-Wq7",
    "secret in an overlay": "can4ry-overlay-Wq7",
}
# Not secret, and nobody's business either.
PRIVATE = {
    "task argument": "canaryargument",
    # words of letters alone are the message's template, by which failures are told apart
    "exception's message": "can4ry-exception-Wq7",
    "quoted in the exception": "canary quoted",
    "line of the log": "canarylogline",
    "local variable": "canarylocal",
    "line of standard output": "canarystdout",
}

SETTINGS = f"""\
import os

task_acks_late = True
worker_prefetch_multiplier = 1
broker_url = "amqp://shop:{SECRETS["broker's password in the settings"]}@rabbit.example/shop"
payment_token = "{SECRETS["secret-named setting"]}"
payment = {{"user": "shop", "password": "{SECRETS["secret-named setting inside another"]}"}}
"""
APP = """\
import os

from celery import Celery

from shop import settings

app = Celery("shop", backend="rpc://", include=["shop.tasks"])
app.config_from_object(settings)
"""
# Says whatever it knows, wherever a program can say it.
TASKS = '''\
"""What the shop does in the background."""

import logging
import os

from shop import local, settings
from shop.app import app
from shop.money import amount

log = logging.getLogger(__name__)


@app.task(name="shop.tasks.total")
def total(prices, customer):
    """The sum of all prices; a price that is not known yet is null."""
    hidden = local.HIDDEN
    told = " ".join(os.environ[name] for name in ("SHOP_PASSWORD", "SHOP_DATABASE", "SHOP_FILED", "SHOP_PASSED"))
    told += " ".join(("", settings.payment_token, settings.payment["password"], settings.broker_url, local.API_KEY))
    print(local.PRINTED, told)
    log.info("%s %s", local.LOGGED, told)
    counted = [price or 0 for price in prices]
    try:
        return amount(sum(counted))
    except TypeError:
        raise RuntimeError("declined %s %s %r %s" % (local.RAISED, customer, local.QUOTED, told))
    finally:
        del hidden
'''
# What a program finds outside the repository, in place of a database.
LOCAL = f"""\
API_KEY = "{SECRETS["secret in an overlay"]}"
HIDDEN = "{PRIVATE["local variable"]}"
PRINTED = "{PRIVATE["line of standard output"]}"
LOGGED = "{PRIVATE["line of the log"]}"
RAISED = "{PRIVATE["exception's message"]}"
QUOTED = "{PRIVATE["quoted in the exception"]}"
"""


def chatty(folder: Path) -> Incident:
    """The small incident, whose task says all it knows."""
    extra = {"shop/settings.py": SETTINGS, "shop/app.py": APP, "shop/tasks.py": TASKS}
    tidied = TASKS.replace("[price or 0 for price in prices]", "list(prices)")
    return small_incident.failing(folder, extra, {"shop/tasks.py": tidied})


@dataclass(frozen=True)
class Told:
    """A whole run and what was asked afterwards: everything that was printed, by command."""

    bench: Bench
    session: str
    printed: Mapping[str, Ended]
    while_unfinished: Mapping[str, frozenset[str]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, caches: Path) -> Told:
    machine = tmp_path_factory.mktemp("canary")
    incident = chatty(machine / "shop")
    private = machine / "private"
    private.mkdir()
    (private / "env").write_text(f"SHOP_FILED={SECRETS['line of --env-file']}\n")
    (private / "local.py").write_text(LOCAL)
    words = (
        "--app", small_incident.APP, "--worker", "-c 1", "--task", "shop.tasks.total", "--count", "2",
        "--args", json.dumps([[1, None, 2], PRIVATE["task argument"]]),
        "--env", f"SHOP_PASSWORD={SECRETS['variable with a secret' + chr(39) + 's name']}",
        "--env", f"SHOP_DATABASE=postgres://shop:{SECRETS['password in a variable' + chr(39) + 's URL']}@db/shop",
        "--env-file", str(private / "env"), "--pass", "SHOP_PASSED",
        "--overlay", f"{private / 'local.py'}:shop/local.py", "--stack", "process", "--broker", "embedded",
    )  # fmt: skip
    bench = Bench(incident.folder, machine / "state", caches, machine / "tmp")
    bench.extra = {"SHOP_PASSED": SECRETS["variable given by --pass"]}
    bench.temporary.mkdir()
    process = bench.start("run", incident.good, incident.bad, *words)
    assert becomes(lambda: len(bench.trials()) >= 3, 200), process.communicate()
    process.terminate()
    printed = {"run, interrupted": ended(process)}
    session = bench.sessions()[0]
    while_unfinished = found_on_disk(bench)
    printed["resume"] = bench.run("resume", session)
    for form in ("md", "json"):
        printed[f"report {form}"] = bench.run("report", session, "--format", form)
    printed["try"] = bench.run("try", incident.culprit, *words)
    printed["try as data"] = bench.run("try", incident.culprit, *words, "--json")
    printed["clean, listing"] = bench.run("clean")
    return Told(bench, session, printed, while_unfinished)


@pytest.fixture(scope="module")
def hung(tmp_path_factory: pytest.TempPathFactory, caches: Path) -> tuple[Bench, Ended]:
    """A run whose bad end hangs with a canary in a local variable of the frame that hangs, stopped after both ends."""
    machine = tmp_path_factory.mktemp("hung")
    signals = small_incident.SIGNALS.replace("import threading\n", "import threading\n\nfrom shop import local\n")
    signals = signals.replace("    written.set()\n", "    hidden = local.HIDDEN\n    written.set()\n")
    waits = {"shop/signals.py": signals.replace("    written.set()\n", "")}
    incident = small_incident.hanging(machine / "shop", {"shop/signals.py": signals}, waits)
    (machine / "local.py").write_text(LOCAL)
    bench = Bench(incident.folder, machine / "state", caches, machine / "tmp")
    bench.temporary.mkdir()
    overlay = ("--overlay", f"{machine / 'local.py'}:shop/local.py", "--ceiling", "6")
    process = bench.start("run", incident.good, incident.bad, *incident.words, *overlay)
    assert becomes(lambda: len(bench.trials()) >= 2, 100), process.communicate()
    process.terminate()
    return bench, ended(process)


def test_a_dump_shows_where_a_worker_stood_and_none_of_its_variables(hung: tuple[Bench, Ended]) -> None:
    bench, said = hung
    assert said.code == 130
    report = bench.home.session_folder(bench.sessions()[0]) / "report"
    assert "account (shop/signals.py:" in (report / "report.md").read_text()
    assert canaries(said.text.encode()) == frozenset()
    found = found_on_disk(bench)
    assert {place: names for place, names in found.items() if "local variable" in names} == {}
    assert found.keys() <= {f"{KEPT}/request.json"}


# --- looking ---------------------------------------------------------------------------------------------


def canaries(content: bytes) -> frozenset[str]:
    """Which canaries are in a content, by what they are."""
    return frozenset(name for name, text in {**SECRETS, **PRIVATE}.items() if text.encode() in content)


def found_on_disk(bench: Bench) -> dict[str, frozenset[str]]:
    """Every file of ours with a canary in it, by its path with what varies taken out of it."""
    found: dict[str, frozenset[str]] = {}
    for path in files(bench):
        if names := canaries(path.read_bytes()):
            place = plain(path, bench)
            found[place] = found.get(place, frozenset()) | names
    return found


def files(bench: Bench) -> Iterator[Path]:
    for root in (bench.state, bench.temporary, bench.caches):
        yield from (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def plain(path: Path, bench: Bench) -> str:
    name = str(path).replace(str(bench.state), "state").replace(str(bench.caches), "caches")
    return re.sub(r"\d{8}-\d{6}-\w+", "SESSION", re.sub(r"/\d{4}-[0-9a-f]{10}/", "/TRIAL/", name))


KEPT = "state/bisect-celery/sessions/SESSION"
LOGS = f"{KEPT}/trials/TRIAL"


def test_the_canaries_were_really_said(told: Told) -> None:
    """Else nothing here proves anything: the log says them, with each secret taken out of it."""
    assert told.printed["run, interrupted"].code == 130
    assert told.printed["resume"].code == 0, told.printed["resume"].text
    folder = told.bench.home.session_folder(told.session) / "trials"
    for log in folder.glob("*/worker.*"):
        said = log.read_text()
        if "succeeded in" in said or "raised unexpected" in said:
            assert said.count(PRIVATE["line of the log"]) >= 3
            line = next(line for line in said.splitlines() if PRIVATE["line of the log"] in line)
            assert line.count("***") >= len(SECRETS) - 1, line


def test_no_output_has_any_canary(told: Told) -> None:
    found = {command: canaries(said.text.encode()) for command, said in told.printed.items()}
    assert found == dict.fromkeys(told.printed, frozenset())


def test_no_report_has_any_canary(told: Told) -> None:
    for folder in told.bench.home.sessions.glob("*/report"):
        assert {path.name for path in folder.iterdir()} >= {"report.md", "report.json"}
        assert {path.name: canaries(path.read_bytes()) for path in folder.iterdir()} == {
            path.name: frozenset() for path in folder.iterdir()
        }


def test_no_secret_is_on_the_disk_when_a_session_is_over(told: Told) -> None:
    found = {place: names & SECRETS.keys() for place, names in found_on_disk(told.bench).items()}
    assert {place: names for place, names in found.items() if names} == {}


def test_an_unfinished_session_keeps_what_it_needs_in_one_file_that_only_its_user_reads(told: Told) -> None:
    asked = {
        "variable with a secret's name", "password in a variable's URL", "line of --env-file",
        "variable given by --pass", "secret in an overlay",
    }  # fmt: skip
    found = {place: names & SECRETS.keys() for place, names in told.while_unfinished.items()}
    found = {place: names for place, names in found.items() if names}
    assert found.keys() == {f"{KEPT}/request.json"}
    assert found[f"{KEPT}/request.json"] >= asked
    assert not (told.bench.home.session_folder(told.session) / "request.json").exists()


def test_what_is_private_is_only_in_logs_and_what_was_asked_only_in_the_store(told: Told) -> None:
    store = "state/bisect-celery/store.sqlite3"
    found = {place: names & PRIVATE.keys() for place, names in found_on_disk(told.bench).items()}
    assert {place for place, names in found.items() if names} <= {
        f"{LOGS}/worker.out", f"{LOGS}/worker.err", store, f"{store}-wal",
    }  # fmt: skip
    assert "local variable" not in frozenset().union(*found.values())
    assert found.get(store, frozenset()) | found.get(f"{store}-wal", frozenset()) == {"task argument"}


def test_the_store_has_the_task_argument_in_what_was_asked_and_nowhere_else(told: Told) -> None:
    """`reproduce` sends it again."""
    text = PRIVATE["task argument"]
    with sqlite3.connect(told.bench.home.database) as rows:
        bodies = [json.loads(body) for (body,) in rows.execute("select body from store_sessionrow")]
        others = [
            str(row) for table in ("store_trialrow", "store_noterow") for row in rows.execute(f"select * from {table}")
        ]
    assert bodies
    for body in bodies:
        assert text in body["request"]["probe"].pop("args")
        assert text in body.pop("command")
        assert text not in json.dumps(body)
    assert not [row for row in others if text in row]


def test_only_its_user_reads_what_is_kept(told: Told) -> None:
    state = told.bench.home.state
    assert state.stat().st_mode & 0o077 == 0
    assert told.bench.home.database.stat().st_mode & 0o077 == 0
    assert told.bench.home.sessions.stat().st_mode & 0o077 == 0
