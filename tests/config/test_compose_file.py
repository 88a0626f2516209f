"""What a project's compose file says, once it is resolved: the worker, what it is given, what stands beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bisect_celery.config import Composed, ReadCompose, files_beside, order_of, understood, usual_files
from bisect_celery.config.companions import base_image
from bisect_celery.config.listing import Cached
from bisect_celery.errors import UserError
from bisect_celery.model import Build, WorkerImage

ROOT = "/tmp/laid-out"
CODE = {"type": "bind", "source": ROOT, "target": "/app"}
WORKER: dict[str, Any] = {
    "build": {"context": ROOT, "dockerfile": "docker/Dockerfile", "target": "prod", "args": {"A": "1"}},
    "command": ["celery", "-A", "shop", "worker", "-Q", "default,mail", "-l", "info"],
    "depends_on": {"db": {"condition": "service_healthy"}, "mq": {}},
    "volumes": [CODE, {"type": "volume", "source": "media", "target": "/media"}],
    "working_dir": "/app/backend",
}


class Tree(dict[str, str]):
    def paths(self) -> Sequence[str]:
        return sorted(self)

    def read(self, path: str) -> bytes | None:
        return self[path].encode() if path in self else None


def said(
    services: Mapping[str, Any], tree: Mapping[str, str] | None = None, *, private: str = "", **asked: Any
) -> Composed:  # fmt: skip
    read = ReadCompose({"services": services}, ROOT, ("compose.yaml",), "compose.yaml", private=(private,))
    return understood(read, Cached(Tree(tree or {})), **asked)


def beside(found: Composed) -> dict[str, str]:
    return {one.name: one.kind for one in found.companions}


def test_the_worker_says_how_ours_starts() -> None:
    found = said({"worker": WORKER, "web": {**WORKER, "command": ["gunicorn"]}, "db": {"image": "postgres:16"}})
    assert found.worker == "worker"
    assert found.image == WorkerImage(build=Build("", "docker/Dockerfile", "prod", (("A", "1"),)))
    (line,) = found.commands
    assert (line.app, line.words, line.workdir) == ("shop", ("-Q", "default,mail"), "backend")
    assert beside(found) == {"db": "postgres"}


def test_its_broker_is_ours_and_its_paths_are_the_checkouts() -> None:
    given = {
        "CELERY_BROKER_URL": "redis://redis:6379/0", "QUEUE": "amqp://u:p@mq:5672//", "PATH": "/opt/bin", "NONE": None,
        "PYTHONPATH": "/app/src:/opt/lib", "DATABASE_URL": "postgres://shop:s3cret@db:5432/shop", "DEBUG": True,
    }  # fmt: skip
    found = said({"worker": {**WORKER, "environment": given}, "db": {"image": "postgres"}})
    assert {one.name: one.value for one in found.variables} == {
        "QUEUE": "{broker_url}", "PYTHONPATH": "{checkout}/src:/opt/lib", "DEBUG": "true",
        "DATABASE_URL": "postgres://shop:s3cret@db:5432/shop",
    }  # fmt: skip
    assert found.broker == "redis"
    assert "s3cret" in found.secrets


def test_secrets_are_what_files_of_variables_hold_but_not_plain_words() -> None:
    given = {"POSTGRES_DB": "shop", "POSTGRES_PASSWORD": "shop", "TOKEN": "t0ken"}
    found = said(
        {"worker": {**WORKER, "environment": given}, "db": {"image": "my/db:1"}},
        private="MAILER=smtp-1x9\nREGION=north\nIMAGE=my/db:1\nSECRET_KEY=abc\n",
    )
    assert set(found.secrets) == {"t0ken", "smtp-1x9", "abc"}


@pytest.mark.parametrize(
    ("asked", "worker"),
    [({}, "bulk"), ({"queue": "mail"}, "mailer"), ({"named": ["slow"]}, "slow"), ({"queue": "none"}, "bulk")],
)
def test_of_several_workers_the_one_that_serves_the_probe(asked: dict[str, Any], worker: str) -> None:
    lines = {"bulk": "-Q bulk", "mailer": "-Q mail,more", "slow": ""}
    services = {name: {"image": "i", "command": f"celery -A shop worker {words}"} for name, words in lines.items()}
    found = said(services, **asked)
    assert found.worker == worker
    assert len(found.commands) == 3
    assert found.companions == ()
    if "named" not in asked:
        assert "others: " in found.notes[0]


def test_a_worker_by_its_name_where_a_script_starts_it_and_none_of_an_unknown_name() -> None:
    services = {"django": {"build": ROOT}, "celeryworker": {"build": ROOT, "command": "/start-celeryworker"},
                "celerybeat": {"build": ROOT, "command": "/start-celerybeat"}}  # fmt: skip
    assert said(services).worker == "celeryworker"
    assert "by its name" in said(services).notes[0]
    with pytest.raises(UserError, match="redis, postgres, mariadb, mysql, and the compose file has django"):
        said(services, named=["mailer"])


def test_beside_stand_servers_and_neither_the_projects_code_nor_what_is_before_it() -> None:
    services = {
        "worker": {**WORKER, "links": ["db:database"]},
        "migrator": {"build": ROOT, "command": ["python", "manage.py", "migrate"]},
        "nginx": {"image": "nginx:1", "depends_on": {"web": {}}},
        "web": {"build": ROOT},
        "front": {"image": "company/front", "depends_on": ["web"]},
        "flower": {"image": "mher/flower:2"},
        "debugger": {"image": "company/debugger", "profiles": ["debug"]},
        "mail": {"image": "mailhog/mailhog", "expose": ["1025"], "container_name": "smtp"},
        "search": {"image": "docker.io/elasticsearch:8", "depends_on": ["db"]},
        "db": {"image": "registry:5000/postgis/postgis:16-3.4", "networks": {"default": {"aliases": ["pg"]}}},
        "cache": {"image": "bitnami/redis:7"},
        "mq": {"image": "rabbitmq:3-management"},
        "tool": {"image": "redis-commander"},
    }
    found = said(services)
    assert beside(found) == {"mail": "", "search": "", "db": "postgres", "cache": "", "mq": "rabbitmq"}
    names = [one.name for one in found.companions]
    assert names.index("db") < names.index("search")
    by_name = {one.name: one for one in found.companions}
    assert by_name["db"].names == ("db", "pg", "database")
    assert by_name["mail"].names == ("mail", "smtp")
    assert by_name["mail"].ports == (1025,)
    assert by_name["search"].after == ("db",)


def test_a_server_that_is_built_runs_from_what_it_is_built_from() -> None:
    dockerfile = "ARG V=15\nFROM alpine AS tools\nFROM postgres:${V} AS base\nCOPY x /\nFROM base\n"
    data = [{"type": "volume", "source": "d", "target": "/var/lib/postgresql/data"}]
    services = {
        "worker": {**WORKER, "depends_on": ["postgres", "store"]},
        "postgres": {"build": {"context": ROOT, "dockerfile": "db/Dockerfile"}, "environment": {"POSTGRES_DB": "a"}},
        "other": {"image": "local/thing", "environment": ["POSTGRES_PASSWORD=x"], "volumes": data},
        "api": {"image": "local/api", "environment": ["POSTGRES_PASSWORD=x"]},
        "store": {"build": {"context": f"{ROOT}/store"}},
    }
    found = said(services, {"db/Dockerfile": dockerfile})
    assert {one.name: (one.kind, one.image) for one in found.companions} == {
        "postgres": ("postgres", "postgres:15"), "other": ("postgres", "local/thing"), "api": ("", "local/api"),
    }  # fmt: skip
    assert base_image(dockerfile, {"V": "17"}, "tools") == "alpine"


def test_data_is_never_taken_along_and_configuration_is_copied() -> None:
    tree = {"conf/redis.conf": "maxmemory 1mb\n", "init/a.sql": "SELECT 1;", "init/more/b.sql": "SELECT 2;",
            "compose.yaml": ""}  # fmt: skip
    binds = {"conf/redis.conf": "/etc/redis.conf", "init": "/docker-entrypoint-initdb.d", "untracked": "/data"}
    mounts: list[Any] = [{"type": "bind", "source": f"{ROOT}/{path}", "target": to} for path, to in binds.items()]
    mounts += [{"type": "bind", "source": "/srv/data", "target": "/more"}, "data:/var/lib/data"]
    found = said({"worker": WORKER, "cache": {"image": "redis", "volumes": mounts}}, tree)
    assert found.companions[0].files == (
        ("/etc/redis.conf", b"maxmemory 1mb\n"),
        ("/docker-entrypoint-initdb.d/a.sql", b"SELECT 1;"),
        ("/docker-entrypoint-initdb.d/more/b.sql", b"SELECT 2;"),
    )


def test_its_files_are_found_with_all_that_they_need() -> None:
    known = ("compose.override.yml", "compose.yml", "docker-compose.yml", "sub/compose.yaml")
    assert usual_files(known, "") == ("compose.yml", "compose.override.yml")
    assert usual_files(known, "sub") == ("sub/compose.yaml",)
    assert usual_files(("Procfile",), "") == ()
    text = """
include: [{path: db.yml}]
services:
  b: {env_file: [a.env, {path: ../outside.env, required: false}], extends: {file: sub/base.yml, service: x}}
  a: {env_file: .env, environment: {env_file: no}}
"""
    assert files_beside("deploy/compose.yml", text) == (
        "deploy/.env", "deploy/db.yml", "deploy/a.env", "outside.env", "deploy/sub/base.yml",
    )  # fmt: skip
    assert order_of([text]) == ("b", "a")
