"""Databases and Redis beside the broker: private, a trial's own, copied where that was kept, and gone afterwards.

Looked at with the programs that come with each server, as anybody would.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar, cast

import as_nobody
import pytest

from bisect_celery import proc
from bisect_celery.errors import InfraError
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Environment, Owner, Runner
from bisect_celery.stack.brokers.node import EmbeddedNode
from bisect_celery.stack.process import ProcessPlace, ProcessStack
from bisect_celery.stack.services.mariadb import MariaDBService, find_mariadb
from bisect_celery.stack.services.mysql import MySQLService, find_mysql
from bisect_celery.stack.services.postgres import PostgresService, find_postgres
from bisect_celery.stack.services.protocol import Bindings, Database, Service, Taken
from bisect_celery.stack.services.redis import RedisService, find_redis

ROOT = Path(__file__).resolve().parents[2]
DATABASES = [pytest.param("postgres", marks=pytest.mark.postgres), pytest.param("mariadb", marks=pytest.mark.mariadb)]
# Not in the Debian that the gate installs from, so nothing is skipped where it is not: it is asked for nowhere.
DATABASES += [pytest.param("mysql")] if find_mysql() else []


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresService]:
    installed = find_postgres()
    assert installed is not None
    yield from up(PostgresService(tmp_path_factory.mktemp("p") / "postgres", installed))


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDBService]:
    installed = find_mariadb()
    assert installed is not None
    yield from up(MariaDBService(tmp_path_factory.mktemp("m") / "mariadb", installed))


@pytest.fixture(scope="module")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MySQLService]:
    installed = find_mysql()
    assert installed is not None
    yield from up(MySQLService(tmp_path_factory.mktemp("m") / "mysql", installed))


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisService]:
    installed = find_redis()
    assert installed is not None
    yield from up(RedisService(tmp_path_factory.mktemp("r") / "redis", installed))


CLIENTS = {"mariadb": ["mariadb", "--no-defaults", "--skip-ssl"], "mysql": ["mysql", "--no-defaults"]}
S = TypeVar("S", bound=Service)


def up(service: S) -> Iterator[S]:
    service.start(Token())
    try:
        yield service
    finally:
        service.stop()


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


def asked(bindings: Bindings, statement: str, *, password: str | None = None) -> str:
    """What the server's own client says; its complaint where it is refused."""
    secret = bindings.password if password is None else password
    at = {"host": bindings.host, "port": str(bindings.port)}
    if bindings.kind == "postgres":
        words = ["psql", "-XAtq", "-h", at["host"], "-p", at["port"], "-U", bindings.user, "-d", bindings.name]
        words, env = [*words, "-c", statement], {"PGPASSWORD": secret}
    elif bindings.kind in CLIENTS:
        words = [*CLIENTS[bindings.kind], "-BN", "-h", at["host"], "-P", at["port"]]
        words, env = [*words, "-u", bindings.user, bindings.name, "-e", statement], {"MYSQL_PWD": secret}
    else:
        words = ["redis-cli", "-h", at["host"], "-p", at["port"], "-n", bindings.name, *statement.split()]
        env = {"REDISCLI_AUTH": secret}
    done = subprocess.run(
        words, env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, timeout=30, check=False
    )
    return (done.stdout + done.stderr).strip()


# --- Redis -------------------------------------------------------------------------------------------


@pytest.mark.redis
def test_every_trial_has_a_redis_of_its_own(redis: RedisService) -> None:
    one, other = redis.fresh("one", Token()), redis.fresh("two", Token())
    try:
        assert asked(one, "SET who me") == "OK"
        assert asked(one, "GET who") == "me"
        assert asked(other, "GET who") == ""
        assert one.url == f"redis://:{one.password}@127.0.0.1:{one.port}/0"
        assert "NOAUTH" in asked(one, "PING", password="")
        assert redis.version[0].isdigit()
    finally:
        redis.drop("one")
        redis.drop("two")
    assert "refused" in asked(one, "PING")
    again = redis.fresh("one", Token())
    assert asked(again, "DBSIZE") == "0"
    redis.drop("one")


@pytest.mark.redis
def test_a_redis_that_died_meanwhile_is_no_evidence(redis: RedisService) -> None:
    bindings = redis.fresh("dying", Token())
    pid = int(asked(bindings, "INFO server").partition("process_id:")[2].split()[0])
    os.kill(pid, signal.SIGKILL)
    assert Token().wait(lambda: not alive(pid), 10)
    with pytest.raises(InfraError, match="Redis of this session is gone"):
        redis.drop("dying")


def alive(pid: int) -> bool:
    """Whether it still runs; one that nobody has asked for its end stays as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- databases ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", DATABASES, indirect=True)
def test_every_trial_has_a_database_of_its_own(database: Database) -> None:
    one, other = database.fresh("0001-abc", Token()), database.fresh("0002-abc", Token())
    try:
        assert asked(one, "CREATE TABLE who (name varchar(9)); INSERT INTO who VALUES ('me')") == ""
        assert asked(one, "SELECT name FROM who") == "me"
        assert "who" in asked(other, "SELECT name FROM who")
        assert "me" not in asked(other, "SELECT name FROM who").split()
        refusal = asked(one, "SELECT 1", password="wrong")
        assert "authentication failed" in refusal or "Access denied" in refusal
        assert one.user in one.url
        assert one.url.endswith(f"127.0.0.1:{one.port}/{one.name}")
    finally:
        database.drop("0001-abc")
        database.drop("0002-abc")
    again = database.fresh("0001-abc", Token())
    assert "who" in asked(again, "SELECT name FROM who")
    database.drop("0001-abc")


@pytest.mark.parametrize("database", DATABASES, indirect=True)
def test_what_was_kept_is_copied_and_no_copy_knows_of_another(database: Database) -> None:
    first = database.fresh("first", Token())
    asked(first, "CREATE TABLE migrated (id integer primary key); INSERT INTO migrated VALUES (1)")
    database.keep("first", "key")
    asked(first, "INSERT INTO migrated VALUES (2)")
    database.drop("first")
    for name in ("second", "third"):
        bindings = database.fresh(name, Token())
        assert not database.copy(name, "another key")
        assert database.copy(name, "key")
        assert asked(bindings, "SELECT count(*) FROM migrated") == "1"
        assert asked(bindings, "INSERT INTO migrated VALUES (2)") == ""
        database.drop(name)


@pytest.mark.parametrize("database", DATABASES, indirect=True)
def test_whoever_is_still_connected_does_not_keep_a_database(database: Database) -> None:
    bindings = database.fresh("busy", Token())
    sleep = "SELECT pg_sleep(60)" if bindings.kind == "postgres" else "SELECT sleep(60)"
    with proc_client(bindings, sleep) as process:
        running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(60)' AND query NOT LIKE '%count%'"
        if bindings.kind in CLIENTS:
            running = "SELECT count(*) FROM information_schema.processlist WHERE info = 'SELECT sleep(60)'"
        assert Token().wait(lambda: asked(bindings, running) == "1", 20, poll=0.1)
        database.drop("busy")
        assert process.wait(20) != 0
    assert asked(database.fresh("busy", Token()), "SELECT 1") == "1"
    database.drop("busy")


def proc_client(bindings: Bindings, statement: str) -> subprocess.Popen[bytes]:
    words = ["psql", "-XAtq", bindings.url, "-c", statement]
    if bindings.kind in CLIENTS:
        words = [*CLIENTS[bindings.kind], "-h", bindings.host, "-P", str(bindings.port)]
        words += ["-u", bindings.user, f"-p{bindings.password}", bindings.name, "-e", statement]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def made(kind: str, folder: Path) -> Service:
    if kind == "postgres":
        postgres_here = find_postgres()
        assert postgres_here is not None
        return PostgresService(folder, postgres_here)
    if kind == "mysql":
        mysql_here = find_mysql()
        assert mysql_here is not None
        return MySQLService(folder, mysql_here)
    mariadb_here = find_mariadb()
    assert mariadb_here is not None
    return MariaDBService(folder, mariadb_here)


@pytest.mark.parametrize("kind", DATABASES)
def test_a_stopped_server_leaves_no_process_and_no_file(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "server"
    service = made(kind, folder)
    before = proc.descendants(os.getpid())
    service.start(Token())
    ours = set(proc.descendants(os.getpid())) - set(before)
    assert ours
    bindings = service.fresh("a", Token())
    for pid in ours:
        with contextlib.suppress(ProcessLookupError):  # children go with the first
            os.kill(pid, signal.SIGKILL)
    assert Token().wait(lambda: not any(map(alive, ours)), 10)
    with pytest.raises(InfraError, match="is gone"):
        service.drop("a")
    service.stop()
    assert not folder.exists()
    assert not any(map(alive, ours))
    assert asked(bindings, "SELECT 1") != "1"


@pytest.mark.postgres
@pytest.mark.mariadb
@pytest.mark.skipif(os.geteuid() != 0, reason="every other test here runs as an ordinary user already")
def test_an_ordinary_user_may() -> None:
    with as_nobody.readable_folder() as folder:
        script = (
            "from pathlib import Path\n"
            "from bisect_celery.lab.cancel import Token\n"
            "from bisect_celery.stack.services.mariadb import MariaDBService, find_mariadb\n"
            "from bisect_celery.stack.services.postgres import PostgresService, find_postgres\n"
            "for kind, found in ((PostgresService, find_postgres()), (MariaDBService, find_mariadb())):\n"
            "    service = kind(Path('data', kind.kind), found)\n"
            "    service.start(Token()); service.fresh('a', Token()); service.drop('a'); service.stop()\n"
            "    print(service.version)\n"
        )
        assert len(as_nobody.printed(folder, script).split()) == 2
        assert list((folder / "data").iterdir()) == []


@pytest.mark.redis
@pytest.mark.postgres
def test_a_trial_takes_all_or_nothing(redis: RedisService, postgres: PostgresService) -> None:
    taken = Taken.of((redis, postgres), "both", Token())
    assert taken.filled["redis_port"] != taken.filled["database_port"]
    assert taken.filled["database_url"].startswith("postgresql://bisect_celery:")
    assert taken.databases() == [postgres]
    taken.drop()

    class Broken(RedisService):
        def fresh(self, name: str, cancel: object) -> Bindings:
            raise InfraError("broken")

    program = find_redis()
    assert program is not None
    with pytest.raises(InfraError, match="broken"):
        Taken.of((redis, Broken(Path("/nowhere"), program)), "both", Token())
    assert redis._servers == {}


OF_A_SESSION = """
import os, signal, sys
from pathlib import Path
from bisect_celery import proc
from bisect_celery.lab.cancel import Token
from bisect_celery.stack.services.mariadb import MariaDBService, find_mariadb
from bisect_celery.stack.services.postgres import PostgresService, find_postgres
from bisect_celery.stack.services.redis import RedisService, find_redis
owner = proc.own("killed")
kinds = ((RedisService, find_redis()), (PostgresService, find_postgres()), (MariaDBService, find_mariadb()))
bound = []
for kind, found in kinds:
    service = kind(Path(sys.argv[1], kind.kind), found)
    service.start(Token())
    one = service.fresh("a", Token())
    bound.append((one.host, one.port))
print(owner.label(), *(port for _, port in bound), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.mariadb
def test_what_a_killed_session_left_is_found_by_its_label(tmp_path: Path) -> None:
    """As guardian and sweep do. Redis and PostgreSQL write over their environment, where the label is."""
    ended = subprocess.run(
        [sys.executable, "-c", OF_A_SESSION, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    label, *ports = ended.stdout.split()
    owner = Owner.parse(label)
    assert owner is not None
    assert [listens(int(port)) for port in ports] == [True] * 3
    proc.kill_labelled(owner)
    assert Token().wait(lambda: not any(listens(int(port)) for port in ports), 10, poll=0.1)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- in the places of the process stack -----------------------------------------------------------------


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[ProcessStack]:
    def more(kind: str) -> Service | None:
        program = find_redis() if kind == "redis" else None
        return RedisService(tmp_path / "redis", program) if program is not None else None

    stack = ProcessStack(
        EmbeddedNode(tmp_path / "node"), cast(Runner, None), tmp_path / "places", "a test", more=more
    )  # fmt: skip
    stack.start(Token())
    try:
        yield stack
    finally:
        stack.stop()


def place_in(stack: ProcessStack, name: str, tmp_path: Path) -> AbstractContextManager[ProcessPlace]:
    layout = tmp_path / f"layout-{name}"
    layout.mkdir()
    return stack.place(name, layout, Environment("", "", ""), tmp_path / "artifacts" / name, Token())


def test_a_database_that_is_a_file_is_copied_too(stack: ProcessStack, tmp_path: Path) -> None:
    with place_in(stack, "one", tmp_path) as place:
        file = Path(place.bindings["database_url"].removeprefix("sqlite:///"))
        assert not place.copy_database("key")
        place.keep_database("key")  # nothing is there to be kept
        assert not place.copy_database("key")
        file.write_bytes(b"migrated")
        place.keep_database("key")
    with place_in(stack, "two", tmp_path) as place:
        other = Path(place.bindings["database_url"].removeprefix("sqlite:///"))
        assert other != file
        assert not other.exists()
        assert place.copy_database("key")
        assert other.read_bytes() == b"migrated"
        place.empty_database()
        assert not other.exists()


@pytest.mark.redis
def test_a_service_that_comes_in_later_is_in_every_place_from_then_on(stack: ProcessStack, tmp_path: Path) -> None:
    assert not stack.serve("postgres", Token())
    with place_in(stack, "before", tmp_path) as place:
        assert "redis_url" not in place.bindings
    assert stack.serve("redis", Token())
    assert [kind for kind, _ in stack.facts.services] == ["redis"]
    with place_in(stack, "after", tmp_path) as place:
        bound = place.bindings
        bindings = Bindings("redis", bound["redis_host"], int(bound["redis_port"]), "0", "", bound["redis_password"])
        assert asked(bindings, "PING") == "PONG"
        assert ("redis", bound["redis_url"]) in place.describe()
    assert "refused" in asked(bindings, "PING")


@pytest.mark.redis
def test_what_a_trial_showed_while_its_redis_died_is_not_believed(stack: ProcessStack, tmp_path: Path) -> None:
    stack.serve("redis", Token())
    leaving = place_in(stack, "one", tmp_path)
    bound = leaving.__enter__().bindings
    bindings = Bindings("redis", bound["redis_host"], int(bound["redis_port"]), "0", "", bound["redis_password"])
    asked(bindings, "SHUTDOWN NOSAVE")
    assert Token().wait(lambda: "refused" in asked(bindings, "PING"), 10, poll=0.1)
    with pytest.raises(InfraError, match="Redis of this session is gone"):
        leaving.__exit__(None, None, None)
    assert not (tmp_path / "places" / "one").exists()
