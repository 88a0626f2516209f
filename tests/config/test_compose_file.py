"""What a project's compose file says, once it is resolved: the worker, what it is given, what stands beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bisect_celery.config import (
    Composed,
    ReadCompose,
    files_beside,
    filled_in,
    order_of,
    understood,
    usual_files,
)
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
    services: Mapping[str, Any], tree: Mapping[str, str] | None = None, *, private: str = "",
    more: Mapping[str, Any] | None = None, handed: Mapping[str, bytes] | None = None,
    variables: Mapping[str, str] | None = None, **asked: Any,
) -> Composed:  # fmt: skip
    read = ReadCompose(
        {"services": services, **(more or {})}, ROOT, ("compose.yaml",), "compose.yaml",
        private=(private,), handed=handed or {}, variables=variables or {},
    )  # fmt: skip
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


def test_an_image_that_another_service_builds_is_no_ready_one_and_quotes_are_a_shells() -> None:
    line = """bash -c "cd /app && exec celery -A shop worker -Q 'a,b'" """
    services = {"web": {"image": "shop", "build": {"context": ROOT}}, "work": {"image": "shop", "command": line}}
    found = said(services)
    assert found.image == WorkerImage(build=Build())
    assert found.commands[0].words == ("-Q", "a,b")


def test_services_of_a_profile_wait_until_it_is_on_or_the_worker_needs_them() -> None:
    services = {
        "worker": {**WORKER, "depends_on": ["db"], "profiles": ["work"]},
        "db": {"image": "postgres", "profiles": ["store"]},
        "search": {"image": "elasticsearch", "profiles": ["search", "all"]},
        "mail": {"image": "mailhog"},
    }
    assert set(beside(said(services))) == {"db", "mail"}
    assert set(beside(said(services, variables={"COMPOSE_PROFILES": "all,more"}))) == {"db", "mail", "search"}
    assert set(beside(said(services, variables={"COMPOSE_PROFILES": "*"}))) == {"db", "mail", "search"}


# --- secrets and configs -------------------------------------------------------------------------------

# As version 2 prints them; version 1 has them without the targets that nobody wrote, and knows files only.
GIVEN: dict[str, Any] = {
    "secrets": [
        {"source": "db", "target": "/run/secrets/db"}, {"source": "api", "target": "key", "mode": 256},
        {"source": "api", "target": "/etc/api.key"}, {"source": "token"}, "short",
    ],
    "configs": [{"source": "app"}, {"source": "app", "target": "/etc/app.conf"}, {"source": "inline"}],
}  # fmt: skip
SAID: dict[str, Any] = {
    "secrets": {
        "db": {"name": "shop_db", "file": f"{ROOT}/secrets/db.txt"}, "api": {"file": f"{ROOT}/secrets/api.txt"},
        "token": {"environment": "TOKEN"}, "short": {"file": f"{ROOT}/short"}, "unused": {"external": True},
    },
    "configs": {"app": {"file": f"{ROOT}/app.conf"}, "inline": {"content": "a=1"}},
}  # fmt: skip
HELD = {
    "secrets/db.txt": b"horse-9\n",
    "secrets/api.txt": b"stable-8",
    "short": b"x-7",
    "app.conf": b"token = mane-6\n",
}


def test_the_worker_and_what_is_beside_it_are_handed_their_files() -> None:
    database = {"image": "postgres", "environment": {"POSTGRES_PASSWORD_FILE": "/run/secrets/db"}, "secrets": ["db"]}
    services = {"worker": {**WORKER, **GIVEN}, "db": database}
    found = said(services, more=SAID, handed=HELD, variables={"TOKEN": "saddle-5"})
    assert dict(found.worker_files) == {
        "/run/secrets/db": b"horse-9\n", "/run/secrets/key": b"stable-8", "/etc/api.key": b"stable-8",
        "/run/secrets/token": b"saddle-5", "/run/secrets/short": b"x-7",
        "/app": b"token = mane-6\n", "/etc/app.conf": b"token = mane-6\n", "/inline": b"a=1",
    }  # fmt: skip
    assert found.companions[0].files == (("/run/secrets/db", b"horse-9\n"),)
    assert {"horse-9", "stable-8", "saddle-5", "x-7", "mane-6"} <= set(found.secrets)
    assert found.notes == ()


def test_a_secret_that_nobody_has_is_one_word_of_ours_everywhere_and_it_is_said() -> None:
    lost = {"secrets": {**SAID["secrets"], "api": {"external": True}, "short": {"file": "/srv/short"}},
            "configs": {"app": {"external": True}, "inline": SAID["configs"]["inline"]}}  # fmt: skip
    found = said({"worker": {**WORKER, **GIVEN}, "mail": {"image": "mailhog", "secrets": ["db"]}}, more=lost)
    given = dict(found.worker_files)
    assert given["/run/secrets/db"] == found.companions[0].files[0][1]
    assert len({given[f"/run/secrets/{name}"] for name in ("db", "key", "token", "short")}) == 4
    assert "/app" not in given
    told = "; ".join(found.stood_in)
    assert "secret db is a word of ours: secrets/db.txt is neither" in told
    assert "`--overlay FILE:secrets/db.txt`" in told
    assert "secret api is a word of ours: it is external (`--compose compose.yaml --compose MINE.yml`" in told
    assert "`secrets: {api: {external: false, file: ./FILE}}`" in told
    assert "secret token is a word of ours: TOKEN has no value (`--env TOKEN=VALUE`, `--pass TOKEN`)" in told
    assert "secret short is a word of ours: its file is not in the repository" in told
    assert "without the config app: it is external" in told
    assert "unused" not in told


def test_variables_without_a_default_fill_a_file_in() -> None:
    text = "a: $PLAIN ${NAME} ${EMPTY-} ${USUAL:-x} $$NOT $${NOT} ${MUST:?say it} ${SET?} ${MORE:+y}"
    assert filled_in([text, "b: ${NAME}"]) == (("PLAIN", "NAME", "MUST", "SET"), ("MUST", "SET"))


def test_a_line_is_taken_apart_as_a_shell_does() -> None:
    found = said(
        {
            "worker": {"build": ROOT, "command": "sh -c 'celery -A shop worker -c 3'"},
            "db": {"image": "postgres:16", "command": "postgres -c 'max_connections=1000'"},
        }
    )
    assert found.commands[0].words == ("-c", "3")
    (server,) = found.companions
    assert server.command == ("postgres", "-c", "max_connections=1000")
