"""The guest on every interpreter that is to be had: it compiles, and what it says is the same everywhere."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bisect_celery.guest

GUEST = Path(bisect_celery.guest.__file__).parent
VERSIONS = ("2.7", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")


@functools.cache
def interpreter(version: str) -> str | None:
    """A Python of this version on the path, or among those that a version manager's shims on the path stand for."""
    for folder in map(Path, os.environ.get("PATH", "").split(os.pathsep)):
        managed = sorted(folder.parent.glob(f"versions/{version}.*/bin/python")) if folder.name == "shims" else []
        for candidate in (*managed, folder / f"python{version}"):
            if candidate.exists() and _version(candidate) == version:
                return str(candidate)
    return sys.executable if _version(Path(sys.executable)) == version else None


def _version(path: Path) -> str:
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([path, "-c", script], capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest) -> str:
    found = interpreter(request.param)
    if found is None:
        pytest.skip(f"no Python {request.param} here")
    return found


def test_every_file_of_the_guest_compiles(python: str, tmp_path: Path) -> None:
    for source in GUEST.glob("*.py"):
        script = "import py_compile, sys; py_compile.compile(sys.argv[1], cfile='compiled', doraise=True)"
        subprocess.run([python, "-c", script, str(source)], check=True, cwd=tmp_path)
        assert source.read_text("utf-8").isascii(), "Python 2 takes nothing else without being told"


# --- what it works out -------------------------------------------------------------------------------

CHECKS = """
# -*- coding: utf-8 -*-
from __future__ import print_function
import json, sys
sys.path.insert(0, sys.argv[1])
import sender

class Connection(object):
    def __init__(self, hostname="127.0.0.1", port=5673, virtual_host="mine", userid="me", alt=()):
        self.hostname, self.port, self.virtual_host, self.userid = hostname, port, virtual_host, userid
        self.alt = alt

class App(object):
    backend_cls = None
    tasks = {"celery.backend_cleanup": None, "shop.work": None}
    def __init__(self, write, read=None, **conf):
        self.write, self.read, self.conf = write, read, type("Conf", (object,), conf)()
    def connection_for_write(self):
        return self.write
    def connection_for_read(self):
        return self.read or self.write

class Old(object):
    def __init__(self, connection):
        self.broker_connection = lambda: connection

class Odd(object):
    def __str__(self):
        return "odd"

POOL = {"prefetch_count": 8, "pool": {"max-concurrency": 2, "processes": [7, 8], "implementation": "solo"}}
ours = {"host": "127.0.0.1", "port": 5673, "vhost": "mine", "user": "me"}
here = Connection()
found = set()
sender.collect({"API_TOKEN": "a-secret-token", "DEBUG": "not-secret", "X": [{"password": "pw-12345"}]}, found, False)
circle = []
circle.append(circle)
print(json.dumps({
    "ours": sender.foreign(App(here), ours),
    "old": sender.foreign(Old(here), ours),
    "slash": sender.foreign(App(Connection(virtual_host="/mine")), ours),
    "host": sender.foreign(App(Connection("production.example")), ours),
    "port": sender.foreign(App(Connection(port=None)), ours),
    "vhost": sender.foreign(App(Connection(virtual_host="/")), ours),
    "user": sender.foreign(App(Connection(userid="guest")), ours),
    "read": sender.foreign(App(here, Connection("production.example")), ours),
    "nobody": sender.foreign(App(Connection(userid=None)), dict(ours, user="")),
    "tls": [refused(sender.refuse_tls, App(one)) for one in (here, secured)],
    "consumers": [sender.consumers(*said) for said in (
        (1, {"a": [{"name": "mail"}]}), (2, {"a": [{"name": "mail"}], "b": [{"name": "mail"}, {"name": "rest"}]}),
        (2, {"a": []}), (1, {"a": None}), (1, None))],
    "schemes": [sender.scheme(value) for value in (
        None, "", "rpc", "redis://:pw@host/0", "db+sqlite:///x", "djcelery.backends.database:DatabaseBackend",
        ["amqp://a//", "amqp://b//"])],
    "backends": [sender.backend_kind(app) for app in (
        App(here, result_backend="rpc://"), App(here, CELERY_RESULT_BACKEND="amqp"), App(here),
        App(here, CELERY_RESULT_BACKEND="djcelery.backends.database:DatabaseBackend"))],
    "secrets": sorted(found),
    "values": [sender.canonical(value) for value in (
        {"b": 1, "a": [None, True, 1.5]}, u"caf\\xe9", Odd(), {"when": Odd()})],
    "circle": sender.canonical(circle)[:1],
    "everywhere": sender.everywhere(App(here)),
    "one": sender.merged(1, {"a": [{"id": "x", "acknowledged": True}]}, {"a": POOL}, {"a": []}),
    "two": sender.merged(
        2, {"b": [{"id": "y"}], "a": []}, {"b": POOL, "a": POOL}, {"a": [], "b": [{"request": {"id": "z"}}]}),
    "few words": sender.merged(1, {"a": []}, {"a": {"pool": {}}}, None),
    "unheard": [sender.merged(*said) for said in (
        (1, None, None, None), (1, {}, {}, {}), (2, {"a": []}, {"a": POOL, "b": POOL}, {"a": [], "b": []}))],
    "half": sender.merged(2, {"a": [], "b": []}, {"a": POOL}, {"b": []}),
    "words": [sender.words_of(ValueError("no order")), bool(sender.words_of(ValueError(u"caf\\xe9")))],
    "eager": [refused(sender.refuse_eager, app) for app in (
        App(here, task_always_eager=True), App(here, CELERY_ALWAYS_EAGER=True), App(here, task_always_eager=False))],
}))
""".replace(
    "ours = {",
    """
def refused(refuse, app):
    try:
        refuse(app)
    except (sender.NotPublished, sender.WantsTLS):
        return True
    return False

secured = Connection()
secured.ssl = {"ca_certs": "x"}

ours = {""",
    1,
)


def answer(**known: Any) -> dict[str, Any]:
    nothing = {"concurrency": None, "prefetch": None, "pool": None}
    return {"held": [], "acknowledged": [], "scheduled": [], "processes": [], **nothing, **known}


EXPECTED = {
    "ours": None,
    "old": None,
    "slash": None,
    "host": "production.example:5673/mine",
    "port": "127.0.0.1:5672/mine",
    "vhost": "127.0.0.1:5673/",
    "user": "127.0.0.1:5673/mine",
    "read": "production.example:5673/mine",
    "nobody": None,
    "tls": [False, True],
    "consumers": [{"mail": 1}, {"mail": 2, "rest": 1}, None, None, None],
    "schemes": [None, None, "rpc", "redis", "db+sqlite", "djcelery.backends.database", "amqp"],
    "backends": ["rpc", "amqp", None, "django-db"],
    "secrets": ["a-secret-token", "pw-12345"],
    "values": ['{"a": [null, true, 1.5], "b": 1}', '"caf\\u00e9"', '"odd"', '{"when": "odd"}'],
    "circle": '"',
    "everywhere": "celery.backend_cleanup",
    "one": answer(held=["x"], acknowledged=[True], processes=["a 7", "a 8"], concurrency=2, prefetch=8, pool="solo"),
    "two": answer(
        held=["y"],
        acknowledged=[None],
        scheduled=["z"],
        processes=["a 7", "a 8", "b 7", "b 8"],
        concurrency=4,
        prefetch=16,
        pool="solo",
    ),
    "few words": answer(scheduled=None, pool=""),
    "unheard": [{"held": None}] * 3,
    "half": answer(scheduled=None),
    "words": ["no order", True],
    "eager": [True, True, False],
}


def test_what_it_works_out_is_the_same_everywhere(python: str, tmp_path: Path) -> None:
    script = tmp_path / "checks.py"
    script.write_text(CHECKS.lstrip())
    ran = subprocess.run([python, script, str(GUEST)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == EXPECTED


# --- what it says ------------------------------------------------------------------------------------


def talk(python: str, folder: Path, *orders: dict[str, Any]) -> list[dict[str, Any]]:
    """Start the sender as a trial does, give it orders, and return what it said on its standard output."""
    lines = "".join(json.dumps(order) + "\n" for order in orders)
    env = {"PYTHONDONTWRITEBYTECODE": "1", "PATH": os.defpath}
    ran = subprocess.run(
        [python, str(GUEST / "sender.py")], input=lines, cwd=folder, env=env,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


LOAD = {"do": "load", "app": "shop", "task": None, "broker": {"host": "h", "port": 1, "vhost": "v", "user": "u"}}


def test_an_app_that_is_not_there(python: str, tmp_path: Path) -> None:
    (said,) = talk(python, tmp_path, LOAD)
    assert said["event"] == "failed"
    assert said["exception"] in ("ImportError", "ModuleNotFoundError")
    assert said["detail"].startswith("No module named")
    assert said["lines"]


@pytest.mark.parametrize("ends", ["sys.exit('no settings')", "raise KeyError('TOKEN')", "import no_such"])
def test_an_app_that_prints_and_then_fails(python: str, tmp_path: Path, ends: str) -> None:
    noise = "import os, sys\nprint('{}')\nos.write(1, b'{\"event\": ')\nsys.stdout.write('x')\n"
    (tmp_path / "shop.py").write_text(noise + ends)
    (said,) = talk(python, tmp_path, LOAD)
    assert said["event"] == "failed"
    assert said["exception"] in ("SystemExit", "KeyError", "ImportError", "ModuleNotFoundError")


def test_it_ends_when_it_is_told_and_when_nobody_is_there(python: str, tmp_path: Path) -> None:
    assert talk(python, tmp_path, {"do": "quit"}) == []
    assert talk(python, tmp_path) == []


# --- loading ------------------------------------------------------------------------------------------

SHARED_LATE = """
from celery import Celery
from celery.signals import import_modules

app = Celery("shop", broker="memory://")
other = Celery("tasks", broker="memory://")

@import_modules.connect(weak=False)
def models(**_):  # as Django's models, which are imported when a worker imports its modules
    @other.task(name="shop.work", queue="mail")
    def work(n):
        return n
"""


def test_a_task_that_another_app_shares_is_the_apps_own_as_in_a_worker(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHARED_LATE)
    script = (
        "import sys; sys.path[:0] = sys.argv[1:]; import sender; print(sender.load('shop').tasks['shop.work'].queue)"
    )
    words = [sys.executable, "-c", script, str(tmp_path), str(GUEST)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "mail\n"), done.stderr
