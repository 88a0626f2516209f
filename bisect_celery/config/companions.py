"""Which services of a project's compose file stand beside the trials, and as what. Pure.

Started is everything that is no code of the project's own and stands behind it, not in front of it: databases, caches,
search, mail. Data never is: volumes begin empty, and of bind mounts only files of the repository itself are copied in.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bisect_celery.config.handed import Handed
from bisect_celery.config.listing import Cached
from bisect_celery.model import Companion

Body = Mapping[str, Any]

# What an image is, by the last words of its name; `bitnami` builds its own, with names and users of its own.
_KINDS = (
    ("postgres", re.compile(r"^(?!.*bitnami).*(?:^|/)(?:postgres|postgis|pgvector|timescaledb)(?:[-_]\w+)*$")),
    ("mariadb", re.compile(r"^(?!.*bitnami).*(?:^|/)mariadb$")),
    ("mysql", re.compile(r"^(?!.*bitnami).*(?:^|/)(?:mysql|mysql-server)$")),
    ("redis", re.compile(r"^(?!.*bitnami).*(?:^|/)(?:redis|valkey)$")),
    ("rabbitmq", re.compile(r"(?:^|/)rabbitmq$")),
)
# The same by what the service is given, for images that are built, or named as nobody else names them.
_BY_VARIABLES = (
    ("postgres", re.compile(r"^POSTGRES_(?:PASSWORD|USER|DB|HOST_AUTH_METHOD)$")),
    ("mariadb", re.compile(r"^(?:MYSQL|MARIADB)_(?:ROOT_PASSWORD|PASSWORD|USER|DATABASE)$")),
    ("rabbitmq", re.compile(r"^RABBITMQ_DEFAULT_(?:USER|PASS|VHOST)$")),
)
_BY_COMMAND = (("redis", re.compile(r"(?:^|/)(?:redis|valkey)-server$")),)
_BY_NAME = (("redis", re.compile(r"^(?:redis|valkey)$")),)
# What stands in front of a project, or is for people to look at it.
_FRONT = re.compile(
    r"(?:^|/)(?:nginx|traefik|caddy|haproxy|httpd|envoy|flower|adminer|pgadmin4?|phpmyadmin|pgweb|redis-?commander|"
    r"redisinsight|portainer|watchtower|certbot|acme-companion|nginx-proxy|node|cloudflared|grafana|prometheus|"
    r"[\w-]*-exporter|mongo-express|kibana|dozzle|locust)(?:[-_]\w+)*$"
)
# Files of configuration are small; whatever is not is data.
MOST = 1_000_000


def companions_of(
    document: Body, root: str, worker: str, files: Cached, handed: Handed, profiles: frozenset[str] = frozenset()
) -> tuple[tuple[Companion, ...], tuple[str, ...]]:
    """Those that are started, each after those that it needs, and what the user ought to know of the others. `profiles`
    are those that are on by themselves."""
    yard = _Yard(document, root, worker, files, handed, profiles)
    names = [name for name in yard.sorted() if yard.stands_beside(name)]
    notes = []
    if left := [name for name in yard.needed if name not in names and name != worker and not yard.own(name)]:
        notes.append(f"not started, though the worker needs them: {', '.join(left)} (built, and of no kind we know)")
    found = tuple(_companion(yard, name, names) for name in names)
    return found, tuple(notes)


@dataclass(frozen=True)
class _Yard:
    """The services of a file, and how they stand to one another."""

    document: Body
    root: str
    worker: str
    files: Cached
    handed: Handed
    profiles: frozenset[str]

    @property
    def services(self) -> Mapping[str, Body]:
        found: Mapping[str, Body] = self.document["services"]
        return found

    @property
    def needed(self) -> tuple[str, ...]:
        return tuple(self._behind(self.worker)) if self.worker else ()

    def _behind(self, name: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        for other in dict.fromkeys(_after(self.services[name])):
            if other in self.services and other not in seen:
                yield other
                yield from self._behind(other, seen | {other})

    def sorted(self) -> list[str]:
        """By what they need: those that need nothing first."""
        found: dict[str, None] = {}

        def put(name: str, above: frozenset[str]) -> None:
            for other in _after(self.services[name]):
                if other in self.services and other not in above:
                    put(other, above | {other})
            found.setdefault(name)

        for name in self.services:
            put(name, frozenset({name}))
        return list(found)

    def stands_beside(self, name: str) -> bool:
        if name == self.worker or self.own(name):
            return False
        if self.image(name) is None:
            return False
        if name in self.needed:
            return True
        body = self.services[name]
        front = _FRONT.search(_repository(self.image(name) or "")) or any(map(self.own, self._behind(name)))
        return not front and self._on(body)

    def _on(self, body: Body) -> bool:
        """Whether `up` alone starts it: services of a profile wait until somebody names that."""
        profiles = set(map(str, body.get("profiles") or ()))
        return not profiles or "*" in self.profiles or bool(profiles & self.profiles)

    def own(self, name: str) -> bool:
        """Whether it runs the project's code: it is built (and no server that we know), or has the worker's image, or
        starts something of Celery's."""
        body = self.services[name]
        words = " ".join(map(str, (*words_of(body.get("entrypoint")), *words_of(body.get("command")))))
        if self.kind(name):
            return False
        theirs = self.services[self.worker].get("image") if self.worker else None
        same = theirs is not None and body.get("image") == theirs
        return bool(body.get("build")) or same or re.search(r"\bcelery\b|\bcelerybeat\b|manage\.py", words) is not None

    def kind(self, name: str) -> str:
        body = self.services[name]
        image = _repository(self._named(body) or "")
        found = [kind for kind, pattern in _KINDS if pattern.search(image)]
        if "bitnami" in image or name == self.worker:
            return found[0] if "rabbitmq" in found else ""
        if not found and not any(mount for mount in is_code(body, self.root) if mount[1] == ""):
            variables = pairs_of(body.get("environment"))
            found += [
                kind for kind, pattern in _BY_VARIABLES if any(map(pattern.match, variables)) and _data(body, kind)
            ]
            found += [kind for kind, one in _BY_COMMAND if any(map(one.search, words_of(body.get("command"))))]
            found += [kind for kind, one in _BY_NAME if one.search(name) and not words_of(body.get("command"))]
        return found[0] if found else ""

    def image(self, name: str) -> str | None:
        """The image it is started from: of a server that is built, what that is built from; None where nobody says."""
        body = self.services[name]
        return self._named(body) if not body.get("build") or self.kind(name) else None

    def _named(self, body: Body) -> str | None:
        build = body.get("build")
        if not build:
            return str(body["image"]) if body.get("image") else None
        if isinstance(build, str):
            build = {"context": build}
        path = posixpath.join(str(build.get("context") or self.root), str(build.get("dockerfile") or "Dockerfile"))
        text = self.files.text(posixpath.normpath(path).removeprefix(f"{self.root}/"))
        args = build.get("args")
        return base_image(text, args if isinstance(args, Mapping) else {}, build.get("target"))


def _data(body: Body, kind: str) -> bool:
    """Whether a service that has a server's variables is the server: those who use it have the same ones."""
    place = {"postgres": "postgres", "mariadb": "mysql", "rabbitmq": "rabbitmq"}[kind]
    return not body.get("command") and any(place in str(one.get("target")) for one in _mounts(body))


def base_image(dockerfile: str, args: Mapping[str, Any], target: Any = None) -> str | None:
    """What a Dockerfile's last stage, or `target`, is built from in the end; None where it does not say."""
    known = {str(name): str(value) for name, value in args.items() if value is not None}
    stages: dict[str, str] = {}
    last = None
    for line in dockerfile.splitlines():
        if match := re.match(r"\s*ARG\s+(\w+)=(\S+)", line, re.I):
            known.setdefault(match[1], match[2].strip("\"'"))
        if match := re.match(r"\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", line, re.I):
            image = re.sub(r"\$\{?(\w+)(?::-([^}]*))?\}?", lambda one: known.get(one[1]) or one[2] or "", match[1])
            last = stages.get(image.lower(), image)
            if match[2]:
                stages[match[2].lower()] = last
    return stages.get(str(target).lower(), last) if target else last


# --- one of them -------------------------------------------------------------------------------------


def _companion(yard: _Yard, name: str, names: Sequence[str]) -> Companion:
    body = yard.services[name]
    kind = yard.kind(name)
    return Companion(
        name=name,
        image=yard.image(name) or "",
        kind=kind,
        names=tuple(dict.fromkeys(_names(yard, name))),
        environment=tuple(pairs_of(body.get("environment")).items()),
        command=tuple(words_of(body.get("command"))),
        entrypoint=tuple(words_of(body.get("entrypoint"))),
        health=_health(body.get("healthcheck")),
        after=tuple(other for other in _after(body) if other in names),
        files=(*_files(body, yard), *yard.handed.files(body)),
        ports=tuple(_ports(body)),
        user=str(body.get("user") or ""),
    )


def _names(yard: _Yard, name: str) -> Iterator[str]:
    """Every host name that leads there: the service's, its container's, aliases, and what the worker links it as."""
    body = yard.services[name]
    yield name
    for key in ("container_name", "hostname"):
        if body.get(key):
            yield str(body[key])
    networks = body.get("networks")
    for network in networks.values() if isinstance(networks, Mapping) else ():
        yield from map(str, (network or {}).get("aliases") or ())
    links = yard.services[yard.worker].get("links") if yard.worker else None
    for link in links or ():
        service, _, alias = str(link).partition(":")
        if service == name and alias:
            yield alias


def _health(value: Any) -> tuple[str, ...]:
    if not isinstance(value, Mapping) or value.get("disable"):
        return ()
    test = value.get("test")
    if isinstance(test, str):
        return ("CMD-SHELL", test)
    words = tuple(map(str, test or ()))
    return () if words[:1] == ("NONE",) else words


def _files(body: Body, yard: _Yard) -> Iterator[tuple[str, bytes]]:
    """The files of the repository that it has mounted; a folder's, too, where they are few."""
    for mount in _mounts(body):
        source = posixpath.normpath(str(mount.get("source") or ""))
        if mount.get("type") != "bind" or not source.startswith(f"{yard.root}/"):
            continue
        path, target = source[len(yard.root) + 1 :], str(mount.get("target"))
        inside = [path] if path in yard.files.known else [one for one in yard.files.paths if one.startswith(f"{path}/")]
        contents = {one: content for one in inside[:100] if (content := yard.files.content(one)) is not None}
        if len(inside) <= 100 and sum(map(len, contents.values())) <= MOST:
            yield from ((f"{target}{one[len(path) :]}", content) for one, content in contents.items())


def _ports(body: Body) -> Iterator[int]:
    said = [one.get("target") if isinstance(one, Mapping) else one for one in body.get("ports") or ()]
    for one in (*said, *(body.get("expose") or ())):
        if match := re.search(r"(\d+)(?:/tcp)?$", str(one)):
            yield int(match[1])


def is_code(body: Body, root: str) -> list[tuple[str, str]]:
    """(place in the container, folder of the repository) of each of its folders that is mounted, the deepest first."""
    found = []
    for mount in _mounts(body):
        source = posixpath.normpath(str(mount.get("source") or ""))
        if mount.get("type") == "bind" and (source == root or source.startswith(f"{root}/")):
            found.append((str(mount.get("target")).rstrip("/"), source[len(root) + 1 :]))
    return sorted(found, key=lambda one: -len(one[0]))


def _mounts(body: Body) -> Iterator[Body]:
    """The volumes in the long form; compose programs of version 1 print the short one."""
    for one in body.get("volumes") or ():
        if isinstance(one, Mapping):
            yield one
        elif len(parts := str(one).split(":")) > 1:
            yield {"type": "bind" if parts[0].startswith("/") else "volume", "source": parts[0], "target": parts[1]}


def _after(body: Body) -> list[str]:
    links = [str(link).partition(":")[0] for link in body.get("links") or ()]
    return [*map(str, body.get("depends_on") or ()), *links]


def words_of(value: Any) -> list[str]:
    """A command of either form: version 1 prints a line as it stands, whose quotes are a shell's."""
    if isinstance(value, list):
        return [str(one) for one in value]
    try:
        return shlex.split(str(value)) if value else []
    except ValueError:
        return str(value).split()


def pairs_of(value: Any) -> dict[str, str]:
    """An `environment` of either form; names without a value are the caller's, whom nobody asked."""
    if isinstance(value, list):
        value = dict(str(one).split("=", 1) for one in value if "=" in str(one))
    found = {str(name): text for name, text in (value or {}).items() if text is not None}
    return {name: str(text).lower() if isinstance(text, bool) else str(text) for name, text in found.items()}


def _repository(image: str) -> str:
    """An image's name without registry's port, tag and digest."""
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name
