"""Which stack trials run in, and why: what the user said, else the best that this machine has."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bisect_celery.config import led_to_ours
from bisect_celery.environment.local import LocalRunner
from bisect_celery.environment.user_files import files, with_pip_conf
from bisect_celery.errors import UserError
from bisect_celery.home import Home
from bisect_celery.model import Owner, Request, Stack
from bisect_celery.stack.brokers.namespace import Broker
from bisect_celery.stack.brokers.node import EmbeddedNode
from bisect_celery.stack.brokers.rabbitmq import RabbitNode, find_rabbitmq
from bisect_celery.stack.brokers.redis import SCHEMES, RedisBroker
from bisect_celery.stack.containers.available import RABBITMQ, REMOTE_HINT, available
from bisect_celery.stack.containers.companions import with_broker_of
from bisect_celery.stack.containers.stack import ContainerStack
from bisect_celery.stack.process import ProcessStack
from bisect_celery.stack.services.mariadb import MariaDBService, find_mariadb
from bisect_celery.stack.services.mysql import MySQLService, find_mysql
from bisect_celery.stack.services.postgres import PostgresService, find_postgres
from bisect_celery.stack.services.protocol import DATABASES, KINDS, MARIADB, MYSQL, NAMES, POSTGRES, REDIS, Service
from bisect_celery.stack.services.redis import RedisService, find_redis

BROKER = "rabbitmq"
HERE = "no container engine with images answers"
RABBITMQ_IMAGE = "BISECT_CELERY_RABBITMQ_IMAGE"


def choose(request: Request, home: Home, owner: Owner, scratch: Path) -> Stack:
    """The stack for a session, not started. Raises UserError when what was asked for cannot be had."""
    if request.stack == "container" and request.broker == "embedded":
        raise UserError("The embedded broker serves the process stack only.", "Leave out `--broker embedded`.")
    if image_was_asked_for(request) and (request.stack == "process" or request.broker == "embedded"):
        raise _no_image(request, "the process stack runs programs of this machine")
    kind, reason = (None, "") if request.stack == "process" else _in_containers(request)
    if request.stack == "container" and kind is None:
        hint = REMOTE_HINT if "--remote-engine" in reason else "`--stack process` needs no container engine."
        raise UserError(f"The container stack cannot be had: {reason}.", hint)
    if kind is None and image_was_asked_for(request):
        raise _no_image(request, reason or HERE)
    if kind is None or request.broker == "embedded":
        why = _said(request, "stack", "the process stack") if request.stack else reason or HERE
        return _processes(for_processes(request), home, scratch, why)
    environ = with_broker_of(with_pip_conf(_with_image(request)), request.companions)
    why = _said(request, "stack", "the container stack") if request.stack else "a container engine answers"
    return ContainerStack(
        owner=owner,
        state=scratch / "container",
        environ=environ,
        why="; ".join(filter(None, (why, _why_this_broker(request, kind)))),
        ca_bundle=ca_bundle(environ),
        user_files=files(environ),
        services=request.services,
        more=request.upgrade_from is None,
        broker=kind,
        companions=request.companions,
        remote=request.remote_engine,
        worker_files=request.worker_files,
    )


def _said(request: Request, key: str, what: str) -> str:
    """A session that goes on keeps what it began with, which nobody need have asked for."""
    return f"{what} was asked for" if key in dict(request.sources) else f"{what}, as when it began"


def _with_image(request: Request) -> dict[str, str]:
    """The caller's environment, with the broker's image where that was said otherwise."""
    return {**os.environ, **({RABBITMQ_IMAGE: request.rabbitmq_image} if request.rabbitmq_image else {})}


def _in_containers(request: Request) -> tuple[str | None, str]:
    """The kind of broker for the container stack, None where it cannot be had, and why or why not in words."""
    kinds = [REDIS] if request.broker == REDIS else [REDIS, RABBITMQ] if _wants_redis(request) else [RABBITMQ]
    reason = ""
    for kind in kinds:
        answers, reason = available(_with_image(request), request.services, kind, remote=request.remote_engine)
        if answers:
            return kind, reason
    return None, reason


def _wants_redis(request: Request) -> bool:
    """Whether Redis is to be the broker: because it was asked for, or is the project's and nothing was asked for."""
    return request.broker == REDIS or (request.broker is None and request.project_broker in SCHEMES)


def _why_this_broker(request: Request, kind: str) -> str:
    """ "" where there is nothing to say: RabbitMQ is what most have."""
    if kind == REDIS:
        return _said(request, "broker", "Redis") if request.broker == REDIS else _projects_redis(request)
    return f"{_projects_redis(request)}, which cannot be had" if _wants_redis(request) else ""


def _projects_redis(request: Request) -> str:
    place = dict(request.sources).get("project's broker")
    return f"the project's broker is Redis ({place})" if place else "the project's broker is Redis"


def for_processes(request: Request) -> Request:
    """The request with servers of this machine in place of the compose file's, which are containers."""
    theirs = [one for one in request.companions if one.kind in KINDS]
    kinds = dict.fromkeys((*request.services, *(one.kind for one in theirs)))
    database = next((kind for kind in kinds if kind in DATABASES), None)
    services = tuple(kind for kind in kinds if kind not in DATABASES or kind == database)
    return replace(led_to_ours(request, theirs), services=services, companions=(), worker_image=None,
                   worker_files=())  # fmt: skip


def left_out(request: Request) -> str | None:
    """What the compose file has that only containers can be, in a sentence or two."""
    names = [one.name for one in request.companions if one.kind not in (*KINDS, BROKER)]
    found = [f"Without containers there is no {', no '.join(names)}."] if names else []
    if paths := [path for path, _ in request.worker_files]:
        found.append(
            f"Without containers there is no {', no '.join(paths)}: `--stack container`, or a file of the checkout for "
            "the variable that leads there (`--overlay FILE:NAME --env VARIABLE={checkout}/NAME`)."
        )
    return " ".join(found) or None


def image_was_asked_for(request: Request) -> bool:
    """Whether the user said which image to run in; a compose file's is taken where it can be."""
    return request.worker_image is not None and not {"image", "dockerfile"}.isdisjoint(dict(request.sources))


def _no_image(request: Request, why: str) -> UserError:
    image = request.worker_image
    what = f"the image of {image.build.dockerfile}" if image is not None and image.build is not None else "an image"
    return UserError(
        f"Trials cannot run in {what} here: {why}.",
        "`--stack container` with a container engine, or leave the image out: dependencies are then installed from the "
        "project's own files.",
    )


def _processes(request: Request, home: Home, scratch: Path, why: str) -> Stack:
    broker, broker_why = _broker(request, scratch)
    runner = LocalRunner(home.builds, scratch=scratch / "builds")
    services = [_asked(kind, scratch) for kind in request.services]
    # State from before holds nothing of services: beside it none may come in.
    more = functools.partial(installed, scratch=scratch) if request.upgrade_from is None else lambda _: None
    return ProcessStack(broker, runner, scratch / "places", f"{why}; {broker_why}", services, more)


# What brings a service's programs, in Debian's names.
PACKAGES = {REDIS: "redis-server", POSTGRES: "postgresql", MARIADB: "mariadb-server", MYSQL: "mysql-server"}


def _asked(kind: str, scratch: Path) -> Service:
    service = installed(kind, scratch)
    if service is None:
        raise UserError(
            f"No {NAMES[kind]} server is installed on this machine, and `--service {kind}` needs one.",
            f"Install the package `{PACKAGES[kind]}` (it need not run), or use containers: `--stack container`.",
        )
    return service


def installed(kind: str, scratch: Path) -> Service | None:
    """A service of this machine's programs, not started; None where they are not there."""
    folder = scratch / "services" / kind
    if kind == REDIS and (redis := find_redis()) is not None:
        return RedisService(folder, redis)
    if kind == POSTGRES and (postgres := find_postgres()) is not None:
        return PostgresService(folder, postgres)
    if kind == MYSQL and (mysql := find_mysql()) is not None:
        return MySQLService(folder, mysql)
    # As distributions have it, MariaDB stands in for MySQL where that is not there; the report says which it was.
    if kind in (MARIADB, MYSQL) and (mariadb := find_mariadb()) is not None:
        return MariaDBService(folder, mariadb)
    return None


def _broker(request: Request, scratch: Path) -> tuple[Broker, str]:
    """The broker, and why in words. Raises UserError where the one that was asked for is not installed."""
    redis = find_redis() if _wants_redis(request) else None
    if redis is not None:
        return RedisBroker(RedisService(scratch / "redis", redis)), _why_this_broker(request, REDIS)
    if request.broker == REDIS:
        raise UserError(
            "No Redis server is installed on this machine, and `--broker redis` needs one.",
            f"Install the package `{PACKAGES[REDIS]}` (it need not run), or use containers: `--stack container`.",
        )
    node, why = _node(request, scratch)
    return node, "; ".join(filter(None, (why, _why_this_broker(request, RABBITMQ))))


def _node(request: Request, scratch: Path) -> tuple[Broker, str]:
    if request.broker == RABBITMQ:
        return RabbitNode(scratch / "rabbitmq"), _said(request, "broker", "RabbitMQ")
    if request.broker == "embedded":
        return EmbeddedNode(scratch / "broker"), _said(request, "broker", "the embedded broker")
    installed = find_rabbitmq()
    if installed is not None:
        return RabbitNode(scratch / "rabbitmq", installed), "RabbitMQ is installed"
    return EmbeddedNode(scratch / "broker"), "RabbitMQ is not installed"


def ca_bundle(environ: Mapping[str, str]) -> Path | None:
    """A company's own certificates, by the names under which tools look for them; for builds only."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"):
        path = Path(environ.get(name) or "")
        if path.is_file():
            return path
    return None
