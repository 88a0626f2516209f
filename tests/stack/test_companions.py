"""What a compose file has beside its worker, on a real engine: by its names, as new in each trial, gone at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from container_support import look, place_of, started

from bisect_celery.errors import InfraError
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Companion, Place, Program
from bisect_celery.stack.containers.companions import broker_image
from bisect_celery.stack.containers.stack import ContainerStack
from bisect_celery.stack.engine.api import Engine
from bisect_celery.stack.services.protocol import addresses

pytestmark = [pytest.mark.docker, pytest.mark.slow]

SERVERS, PYTHON = "bisect-celery/services:local", "bisect-celery/worker:local"
SECRET = ("/run/secrets/db_password", b"pw\n")
SHOP = (("POSTGRES_USER", "shop"), ("POSTGRES_PASSWORD_FILE", SECRET[0]))
COMPANIONS = (
    Companion("db", SERVERS, "postgres", ("db", "pg"), SHOP, ("postgres", "-c", "work_mem=7MB"), files=(SECRET,)),
    Companion("store", SERVERS, "redis", ("store",), (), ("redis-server", "--requirepass", "x", "--appendonly", "yes")),
    Companion("mq", "rabbitmq:3", "rabbitmq", ("mq",)),
    Companion("absent", "bisect-celery/nobody-has-this:1", "", ("absent",)),
    Companion("search", PYTHON, "", ("search",), (), ("python3", "-m", "http.server", "--directory", "/srv", "9200"),
              files=(("/srv/index", b"empty"),), ports=(9200,)),
    Companion("once", PYTHON, "", ("once",), (), ("true",)),
)  # fmt: skip
# Asks the search engine for its index, and leaves the network's only way in as it was.
ASK = """
import socket, urllib.request
print(urllib.request.urlopen("http://search:9200/index", timeout=5).read().decode(), socket.gethostbyname("mq"))
print(repr(open("/run/secrets/db_password").read()))
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerStack]:
    made = started("test-companions", tmp_path_factory.mktemp("state"), companions=COMPANIONS, worker_files=(SECRET,))
    with made as stack:
        yield stack


def asked(place: Place) -> str:
    running = place.start(Program("ask", ("/usr/bin/python3", "-c", ASK), (("PATH", "/usr/bin"),)))
    assert Token().wait(lambda: not running.alive(), 60)
    return running.out.read_text() + running.err.read_text()[-400:]


def test_each_trial_has_them_as_new(stack: ContainerStack, tmp_path: Path) -> None:
    add = "CREATE TABLE IF NOT EXISTS who (n int); INSERT INTO who VALUES (1); SELECT count(*) FROM who"
    with place_of(stack, "one", tmp_path) as one:
        assert one.bindings["database_url"] == "postgresql://shop:pw@db:5432/shop"
        assert look(one, "postgres", "db", "pg", sql=add) == ["1", "2"]
        assert look(one, "postgres", "db", sql="SHOW work_mem") == ["7MB"]
        look(one, "postgres", "db", sql="CREATE DATABASE another")
        assert look(one, "redis", "store", redis="AUTH x\r\nINCR n")[0] == "+OK"
        said = asked(one)
        assert said.startswith("empty ")
        assert r"'pw\n'" in said
        assert {"store:6379", "db:5432", "pg:5432", "search:9200"} <= addresses(one.bindings, walled=True)
        one.keep_database("key")
    with place_of(stack, "two", tmp_path) as two:
        assert "does not exist" in look(two, "postgres", "db", sql="SELECT count(*) FROM who")[0]
        assert look(two, "postgres", "db", sql="SELECT count(*) FROM pg_database WHERE datname = 'another'") == ["0"]
        assert look(two, "redis", "store", redis="PING") == ["-NOAUTH Authentication required."]
        assert not two.copy_database("another key")
        assert two.copy_database("key")
        assert look(two, "postgres", "db", sql="SELECT count(*) FROM who") == ["2"]


@pytest.mark.parametrize(
    ("image", "taken"),
    [
        ("rabbitmq:3", "rabbitmq:3-management"),
        ("docker.io/rabbitmq:3.12.1-management-alpine", "docker.io/rabbitmq:3.12.1-management-alpine"),
        ("rabbitmq:4.1-alpine", "rabbitmq:4.1-management-alpine"),
        ("rabbitmq:4.3", None),
        ("rabbitmq:latest", None),
        ("rabbitmq", None),
        ("bitnami/other:3", None),
    ],
)
def test_a_projects_rabbitmq_is_taken_where_it_is_one_we_know(image: str, taken: str | None) -> None:
    assert broker_image([Companion("mq", image, "rabbitmq")]) == taken
    assert broker_image([Companion("mq", image)]) is None


def test_what_is_not_there_is_said_and_what_died_is_no_evidence(stack: ContainerStack, tmp_path: Path) -> None:
    assert stack._beside.absent == ("absent",)
    assert ("absent", "not there: its image cannot be had") in stack.facts.services
    place = place_of(stack, "dying", tmp_path)
    place.__enter__()
    with Engine.connect() as engine:
        companions = [name for name, _ in engine.owned()["container"] if f"{stack._prefix}-companion-" in name]
        (search,) = [name for name in companions if "9200" in str((engine.inspect(name) or {})["Config"]["Cmd"])]
        engine.kill(search)
    with pytest.raises(InfraError, match="search of the compose file of this session is gone"):
        place.__exit__(None, None, None)
