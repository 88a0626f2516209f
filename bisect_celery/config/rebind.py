"""Variables that lead to a compose file's databases and Redis, made to lead to servers of ours instead. Pure.

That is wanted where ours have other addresses, users and names: without containers, and where `--service` asks for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from bisect_celery.config.naming import stems_and_parts
from bisect_celery.model import Companion

REDIS = "redis"
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://\S+$")
# These are not told by the stem alone: a URL says itself where it leads, and so does a host.
_SAY_THEMSELVES = ("url", "host")
# Under these names a database's own image reads what it is to be called, whatever the host's variable is.
_USUAL_STEMS = {"postgres": ("POSTGRES", "PG"), "mariadb": ("MYSQL", "MARIADB"), "mysql": ("MYSQL",)}


def rebound(pairs: Iterable[tuple[str, str]], companions: Sequence[Companion]) -> tuple[tuple[str, str], ...]:
    """The variables with placeholders for what is a companion's: its host, and user, password and name with it."""
    pairs = tuple(pairs)
    hosts = {name: _what(one) for one in companions for name in one.names}
    stems = {stem: "database" for one in companions for stem in _USUAL_STEMS.get(one.kind, ())}
    for name, value in pairs:
        if (host := value.partition(":")[0]) in hosts:
            stems |= {stem: hosts[host] for stem, part in stems_and_parts(name) if part == "host"}
    return tuple((name, _rebound(name, value, hosts, stems)) for name, value in pairs)


def _what(companion: Companion) -> str:
    return "redis" if companion.kind == REDIS else "database"


def _rebound(name: str, value: str, hosts: Mapping[str, str], stems: Mapping[str, str]) -> str:
    if _URL.match(value):
        return _url(value, hosts)
    host, colon, port = value.partition(":")
    if host in hosts and (not colon or port.isdigit()):
        return f"{{{hosts[host]}_host}}" + (f":{{{hosts[host]}_port}}" if colon else "")
    for stem, part in stems_and_parts(name):
        what = stems.get(stem)
        if what is not None and part not in _SAY_THEMSELVES and (what, part) != ("redis", "name"):
            return f"{{{what}_{part}}}"
    return value


def _url(value: str, hosts: Mapping[str, str]) -> str:
    try:
        parts = urlsplit(value)
        what = hosts.get(parts.hostname or "")
    except ValueError:
        return value
    if what is None:
        return value
    path = parts.path if what == "redis" else "/{database_name}"
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{{{what}_login}}{{{what}_host}}:{{{what}_port}}{path}{query}"
