"""Which of a project's variables name its services, told by how projects call them. Pure: names and values in."""

from __future__ import annotations

import re

from bisect_celery.config.naming import part_of

# A service by how projects name its variables and hosts, and the ports that it usually has.
_SERVICES = (
    ("redis", re.compile(r"redis|valkey|^cache(?:_url)?$|:6379$", re.I)),
    ("mariadb", re.compile(r"maria", re.I)),
    ("mysql", re.compile(r"mysql|:3306$", re.I)),
    ("postgres", re.compile(r"postgres|pgsql|^pg|_pg_|^db$|(?:^|_)db_|database|:5432$", re.I)),
)
# These are set without being named, once there is such a service.
SET = {"redis": "REDIS_URL", "postgres": "DATABASE_URL", "mariadb": "DATABASE_URL", "mysql": "DATABASE_URL"}
DATABASES = ("postgres", "mariadb", "mysql")
_SCHEMES = (
    ("redis", re.compile(r"^(?:redis|rediss|valkey)://", re.I)),
    ("postgres", re.compile(r"^(?:postgres|postgresql|postgis|pgsql)(?:\+\w+)?://", re.I)),
    ("mariadb", re.compile(r"^mariadb(?:\+\w+)?://", re.I)),
    ("mysql", re.compile(r"^(?:mysql|mysqlgis)(?:\+\w+)?://", re.I)),
    ("broker", re.compile(r"^(?:amqps?|pyamqp)://", re.I)),
)
_BROKER = re.compile(r"^(?!.*(?:redis|valkey)).*broker.*(?:URL|URI|DSN)$", re.I)
# The broker's address in parts; a name of its own is a virtual host's.
_BROKERS = re.compile(r"^(?!.*(?:MANAGEMENT|MGMT|_API|_UI)).*(?:rabbit|amqp)", re.I)
_OF_BROKER = {"host": "host", "port": "port", "user": "user", "password": "password", "name": "vhost"}
# What is the client's own business, though its name speaks of a service or ends like a part of one.
_NO_BINDING = re.compile(r"TEST|ENGINE|FLOWER|ADMIN|ROOT|BACKUP|(?:_DB_?)?INDEX$|EMAIL|SMTP", re.I)


def service_of(name: str) -> str | None:
    """The service that a variable or host of this name is about: "redis", "mariadb", "mysql", "postgres"."""
    return next((service for service, pattern in _SERVICES if pattern.search(name)), None)


def binding(name: str, value: str) -> tuple[str | None, str] | None:
    """(service, template) for a variable of the project's that names one of its services; None for any other.

    The service is None for the broker. A URL says by itself what it is of, with whatever scheme its client wants.
    """
    of_url = next((kind for kind, pattern in _SCHEMES if pattern.match(value.strip())), None)
    if of_url == "broker" or _BROKER.match(name):
        return None, "{broker_url}"
    if of_url is None and (broker := _of_broker(name, value)) is not None:
        return None, broker
    service, part = of_url or service_of(name), "url" if of_url else part_of(name)
    if service is None or part is None or (of_url is None and ("://" in value or _NO_BINDING.search(name))):
        return None
    if service == "redis":
        return (service, f"{{redis_{part}}}") if part in ("url", "host", "port", "password") else None
    return service, _url_of(value) if part == "url" else f"{{database_{part}}}"


def _of_broker(name: str, value: str) -> str | None:
    if not _BROKERS.search(name) or "://" in value or _NO_BINDING.search(name):
        return None
    part = "vhost" if name.upper().endswith("VHOST") else _OF_BROKER.get(part_of(name) or "")
    return f"{{broker_{part}}}" if part else None


def _url_of(value: str) -> str:
    scheme = value.strip().partition("://")[0]
    if scheme in ("postgres", "postgresql", "mysql") or not value.strip():
        return "{database_url}"
    return f"{scheme}://{{database_user}}:{{database_password}}@{{database_host}}:{{database_port}}/{{database_name}}"
