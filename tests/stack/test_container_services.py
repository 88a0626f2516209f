"""Services of the container stack on a real engine: by their usual names, a trial's own, gone with the session."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bisect_celery import proc
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Environment, Owner, Place, Program
from bisect_celery.stack.containers.stack import ContainerStack
from bisect_celery.stack.engine.api import Engine

pytestmark = [pytest.mark.docker, pytest.mark.slow]

OWNER = Owner(proc.machine_id(), proc.boot_id(), os.getpid(), proc.start_time(os.getpid()) or 0, "test-services")
ENVIRONMENT = Environment("none", "/usr/bin/python3", "/usr/bin")

# What a trial's program sees, with nothing but what the worker's image has: libpq and libmariadb, by their C interface.
LOOK = r"""
import ctypes, json, socket, sys
order = json.loads(sys.argv[1])
def redis(host):
    with socket.create_connection((host, 6379), timeout=5) as connection:
        connection.sendall(order["redis"].encode() + b"\r\n")
        return connection.recv(99).decode().strip()
def postgres(host, statement):
    pq = ctypes.CDLL("libpq.so.5")
    pq.PQconnectdb.restype = pq.PQexec.restype = ctypes.c_void_p
    pq.PQgetvalue.restype = pq.PQerrorMessage.restype = ctypes.c_char_p
    words = "host=%s port=%s dbname=%s user=%s password=%s" % (
        host, *(order["bound"]["database_" + part] for part in ("port", "name", "user", "password")))
    connection = ctypes.c_void_p(pq.PQconnectdb(words.encode()))
    if pq.PQstatus(connection):
        return pq.PQerrorMessage(connection).decode()
    result = ctypes.c_void_p(pq.PQexec(connection, statement.encode()))
    value = pq.PQgetvalue(result, 0, 0)
    return (value or pq.PQerrorMessage(connection) or b"").decode().strip()
def mariadb(host, statement):
    my = ctypes.CDLL("libmariadb.so.3")
    for name in ("mysql_init", "mysql_real_connect", "mysql_store_result"):
        getattr(my, name).restype = ctypes.c_void_p
    my.mysql_fetch_row.restype = ctypes.POINTER(ctypes.c_char_p)
    my.mysql_error.restype = ctypes.c_char_p
    handle = ctypes.c_void_p(my.mysql_init(None))
    bound = {part: order["bound"]["database_" + part].encode() for part in ("name", "user", "password")}
    if not my.mysql_real_connect(
        handle, host.encode(), bound["user"], bound["password"], bound["name"], 3306, None, ctypes.c_ulong(0)
    ):
        return my.mysql_error(handle).decode()
    if my.mysql_query(handle, statement.encode()):
        return my.mysql_error(handle).decode()
    result = my.mysql_store_result(handle)
    return my.mysql_fetch_row(ctypes.c_void_p(result))[0].decode() if result else ""
asked = {"redis": redis, "postgres": postgres, "mariadb": mariadb}[order["what"]]
for host in order["hosts"]:
    print(asked(host, *([order["sql"]] if "sql" in order else [])))
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerStack]:
    state = tmp_path_factory.mktemp("state")
    stack = ContainerStack(owner=OWNER, state=state, environ=os.environ, why="a test", services=("postgres",))
    stack.start(Token())
    try:
        yield stack
    finally:
        stack.stop()
    with Engine.connect() as engine:
        assert not [name for found in engine.owned().values() for name, label in found if label == OWNER.label()]


def look(place: Place, what: str, *hosts: str, **order: str) -> list[str]:
    """What a program of the trial gets to hear at each host."""
    said = json.dumps({"what": what, "hosts": hosts, "bound": dict(place.bindings), **order})
    path = (("PATH", "/usr/bin:/bin"),)
    running = place.start(Program(f"look-{os.urandom(4).hex()}", ("/usr/bin/python3", "-c", LOOK, said), path))
    assert Token().wait(lambda: not running.alive(), 60)
    assert running.exit_code() == 0, running.err.read_text()
    return running.out.read_text().splitlines()


def place_of(stack: ContainerStack, name: str, tmp_path: Path) -> AbstractContextManager[Place]:
    layout = tmp_path / f"layout-{name}"
    layout.mkdir()
    return stack.place(name, layout, ENVIRONMENT, tmp_path / f"artifacts-{name}", Token())


def test_databases_and_a_redis_by_their_usual_names(stack: ContainerStack, tmp_path: Path) -> None:
    with place_of(stack, "one", tmp_path) as one:
        sql = "CREATE TABLE IF NOT EXISTS who (n int); INSERT INTO who VALUES (1); SELECT count(*) FROM who"
        host = one.bindings["database_host"]
        assert look(one, "postgres", host, "db", "postgres", sql=sql) == ["1", "2", "3"]
        assert one.bindings["database_url"].startswith("postgresql://bisect_celery:")
        one.keep_database("key")
        assert "redis_url" not in one.bindings
    assert stack.serve("redis", Token())
    assert stack.serve("redis", Token())
    kinds = [kind for kind, _ in stack.facts.services]
    assert kinds == ["postgres", "redis"]
    with place_of(stack, "two", tmp_path) as two:
        assert two.bindings["redis_url"] == "redis://127.0.0.1:6379/0"
        assert look(two, "redis", "127.0.0.1", "redis", "localhost", redis="INCR n") == [":1", ":2", ":3"]
        assert "does not exist" in look(two, "postgres", "db", sql="SELECT count(*) FROM who")[0]
        assert not two.copy_database("another key")
        assert two.copy_database("key")
        assert look(two, "postgres", "db", sql="SELECT count(*) FROM who") == ["3"]
        two.empty_database()
        assert "does not exist" in look(two, "postgres", "db", sql="SELECT count(*) FROM who")[0]
    with place_of(stack, "three", tmp_path) as three:
        assert look(three, "redis", "redis", redis="INCR n") == [":1"]


@pytest.mark.parametrize("kind", ["mariadb", "mysql"] if os.environ.get("BISECT_CELERY_MYSQL_IMAGE") else ["mariadb"])
def test_mariadb_and_mysql_serve_trials(stack: ContainerStack, tmp_path: Path, kind: str) -> None:
    """Beside a PostgreSQL, which no user can ask for: what is bound is the latest one's. MySQL's image is not one of
    those that the gate builds: its Debian has none."""
    assert stack.serve(kind, Token())
    mariadb = stack._databases[-1]
    with place_of(stack, "four", tmp_path) as one:
        assert one.bindings["database_url"].startswith("mysql://bisect_celery:")
        assert look(one, "mariadb", "mariadb", sql="CREATE TABLE who (n int)") == [""]
        assert look(one, "mariadb", "mysql", sql="INSERT INTO who VALUES (7)") == [""]
        mariadb.keep("four", "key")
    with place_of(stack, "five", tmp_path) as two:
        assert "exist" in look(two, "mariadb", "mariadb", sql="SELECT n FROM who")[0]
        assert mariadb.copy("five", "key")
        assert look(two, "mariadb", "mariadb", sql="SELECT n FROM who") == ["7"]
