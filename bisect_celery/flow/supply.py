"""What was missing when a trial did not come to its probes, and the flag that supplies it."""

from __future__ import annotations

import re

FLAGS = {
    "variable": "`--env {name}=VALUE`, `--env-file FILE` or `--pass {name}`",
    "module": "`--overlay FILE` if it is a file that is not committed, or its package in the requirements",
    "host": "`--env` for the variable that names this host; `--service` has redis, postgres, mariadb and mysql",
    "package": "a base image or machine that has this system library",
    "file": "`--overlay FILE:{name}`",
    "python": "`--python VERSION`",
    "program": "a base image or machine that has this program",
    "header": "a base image or machine that has this library's headers",
}
# A service by how projects name its variables and hosts, and the ports that it usually has.
_SERVICES = (
    ("redis", re.compile(r"redis|^cache(?:_url)?$|:6379$", re.I)),
    ("mariadb", re.compile(r"maria", re.I)),
    ("mysql", re.compile(r"mysql|:3306$", re.I)),
    ("postgres", re.compile(r"postgres|pgsql|^pg|_pg_|^db$|(?:^|_)db_|database|:5432$", re.I)),
)
# The part of a binding by how a variable's name ends.
_PARTS = (
    ("url", re.compile(r"(?:URL|URI|DSN)$", re.I)),
    ("password", re.compile(r"PASS(?:WORD|WD)?$", re.I)),
    ("port", re.compile(r"PORT$", re.I)),
    ("user", re.compile(r"USER(?:NAME)?$", re.I)),
    ("host", re.compile(r"(?:HOST(?:NAME)?|SERVER|ADDR(?:ESS)?)$", re.I)),
    ("name", re.compile(r"(?:NAME|DATABASE|_DB)$", re.I)),
)
# These are set without being named, once there is such a service.
_SET = {"redis": "REDIS_URL", "postgres": "DATABASE_URL", "mariadb": "DATABASE_URL", "mysql": "DATABASE_URL"}


def flag(kind: str, name: str) -> str:
    """The flag that supplies what is missing, `kind` and `name` as in `Failure.missing`."""
    service = next((one for one, pattern in _SERVICES if kind in ("variable", "host") and pattern.search(name)), None)
    if service is None:
        return FLAGS.get(kind, "see its log").format(name=name)
    what = "redis" if service == "redis" else "database"
    if kind == "host":
        found = "" if ":" in name else f"; in containers `{name}` is found as it is"
        parts = f"`{{{what}_host}}` and `{{{what}_port}}`, or `{{{what}_url}}`"
        return f"`--service {service}`, with {parts} for the variables that the settings read (`--env`){found}"
    if name == _SET[service]:
        return f"`--service {service}` sets it"
    part = next((part for part, pattern in _PARTS if pattern.search(name)), "url")
    return f"`--service {service} --env {name}={{{what}_{part}}}`, or a value of your own: `--env {name}=VALUE`"
