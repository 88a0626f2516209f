"""A container stack for a test, of which nothing may be left; places on it, and what a trial's program sees there."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bisect_celery import proc
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Environment, Owner, Place, Program
from bisect_celery.stack.containers.stack import ContainerStack
from bisect_celery.stack.engine.api import Engine

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


def owner_now(session: str) -> Owner:
    """An owner's label without declaring it for the whole test process, as `proc.own` would."""
    started = proc.start_time(os.getpid())
    assert started is not None
    return Owner(proc.machine_id(), proc.boot_id(), os.getpid(), started, session)


def owned_by(owner: Owner) -> list[str]:
    with Engine.connect() as engine:
        return [
            f"{kind} {name}"
            for kind, found in engine.owned().items()
            for name, label in found
            if label == owner.label()
        ]


@contextlib.contextmanager
def started(session: str, state: Path, **more: Any) -> Iterator[ContainerStack]:
    """A stack of this process, by the name `session`; `more` is what it is made with."""
    owner = owner_now(session)
    stack = ContainerStack(**{"owner": owner, "state": state, "environ": os.environ, "why": "a test", **more})
    stack.start(Token())
    try:
        yield stack
    finally:
        stack.stop()
    assert owned_by(owner) == []


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
