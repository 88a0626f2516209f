"""The variables that a project shows as an example (`.env.example`): what a clean checkout is started with. Pure.

Only for where a trial says that a variable is missing: whoever needs none of them is not given any. Hosts, names
and passwords of services in it are somebody's: they become the trial's own.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator

from bisect_celery.config.bindings import DATABASES, binding, service_of
from bisect_celery.config.dotenv import DotenvError, parse
from bisect_celery.config.listing import Cached, Listing
from bisect_celery.config.naming import part_of
from bisect_celery.model import Fallback

# Examples for developers come first: they are made to run as they are.
_FILES = tuple(
    re.compile(pattern)
    for pattern in (
        r"\.?env[.-]?(?:dev|development|local)[.-](?:example|sample|template|dist|default)s?",
        r"(?:\.?env|environment)[.-](?:example|sample|template|dist|default)s?(?:[.-](?:dev|development|local))?",
        r"(?:example|sample|template|default|\w*dist)[.-]env",
        r"\.?env[.-](?:dev|development|local|docker)|(?:dev|development|local|docker)\.env",
        r"\.?env[.-](?:test|testing|ci)|(?:test|ci)\.env",
        r"\.env",
    )
)
_FOLDERS = ("", "docker", "config", "deploy", "compose", "envs", ".envs", "env", "etc")
_MADE_TO_BE_COPIED = re.compile(r"example|sample|dist|template|default", re.I)
_LINE = re.compile(r"^(?P<before>[ \t]*(?:export[ \t]+)?(?P<name>\w+)[ \t]*=[ \t]*)(?P<value>[^\r\n#]*)", re.M)
_SECRET_KEY = re.compile(r"(?:^|_)SECRET_?KEY(?:_BASE)?$", re.I)


def fallback(listing: Listing, subfolder: str) -> Fallback | None:
    """What the nearest example of a tree sets; None where there is no usable one."""
    files = Cached(listing)
    for path in _candidates(files, subfolder):
        try:
            said = parse(files.text(path))
        except DotenvError:
            continue
        if found := {name: value for name, value in said.items() if value is not None}:
            return _fallback(path, found)
    return None


def stand_in(path: str, files: Cached) -> str | None:
    """What a project shows in place of a file that is not there, as everybody would copy it: `conf/.env.example` for
    `conf/.env`. Another folder's only for a plain `.env`."""
    folder, name = posixpath.split(path)
    beside = sorted(one for one in files.paths if posixpath.dirname(one) == folder and one != path)
    stem = name.strip(".").split(".")[0]
    named = [one for one in beside if _MADE_TO_BE_COPIED.search(posixpath.basename(one)) and stem in one]
    exact = [one for one in named if posixpath.basename(one).startswith(name)]
    if found := [*exact, *named]:
        return found[0]
    return next((one for one in _candidates(files, folder) if one != path), None) if name == ".env" else None


def as_copied(text: str) -> str:
    """An example's text with what a person puts in: keys that projects refuse as shown, a database's empty password."""

    def put(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"].strip().strip("\"'")
        ours = _SECRET_KEY.search(name) or (not value and is_password_of_database(name))
        return f"{match['before']}{own_word(name)}" if ours else match[0]

    return _LINE.sub(put, text)


def is_password_of_database(name: str) -> bool:
    return service_of(name) in DATABASES and part_of(name) == "password"


def our_word_for(name: str) -> str | None:
    """A value of ours for a variable that nobody set and a project cannot be without; None where that is no key and no
    password."""
    return own_word(name) if _SECRET_KEY.search(name) or is_password_of_database(name) else None


def is_example(path: str) -> bool:
    """Whether a file of variables is made to be shown, so that nothing in it is private but what is called so."""
    name = posixpath.basename(path)
    return any(pattern.fullmatch(name) for pattern in _FILES[:3])


def _candidates(files: Cached, subfolder: str) -> Iterator[str]:
    """Nearest folder first, in it the best name."""
    places = [posixpath.join(place, folder).rstrip("/") for place in (subfolder, "") for folder in _FOLDERS]
    beside: dict[str, list[str]] = {}
    for path in files.paths:
        beside.setdefault(posixpath.dirname(path), []).append(posixpath.basename(path))
    for place in dict.fromkeys(places):
        names = beside.get(place, [])
        for pattern in _FILES:
            yield from (posixpath.join(place, name) for name in sorted(names) if pattern.fullmatch(name))


def _fallback(path: str, said: dict[str, str]) -> Fallback:
    variables, bound, services = [], [], []
    database = _database(said)
    for name, value in said.items():
        found = binding(name, value)
        if found is None:
            variables.append((name, own_word(name) if _SECRET_KEY.search(name) else value))
            continue
        service = database if found[0] in DATABASES else found[0]
        variables.append((name, found[1]))
        bound.append((name, service or ""))
        if service is not None:
            services.append(service)
    return Fallback(path, tuple(variables), tuple(bound), tuple(dict.fromkeys(services)))


def _database(said: dict[str, str]) -> str:
    """The one database server that an example speaks of; variables that fit any (`DB_HOST`) do not say which."""
    kinds = {found[0] for name, value in said.items() if (found := binding(name, value)) is not None}
    text = " ".join(f"{name}={value}" for name, value in said.items() if re.search(r"ENGINE|PORT|URL|IMAGE", name))
    if "mariadb" in kinds or re.search(r"mariadb", text, re.I):
        return "mariadb"
    other = "mysql" in kinds or re.search(r"mysql|\b3306\b", text, re.I)
    return "mysql" if other and not re.search(r"postg|\b5432\b", text, re.I) else "postgres"


def own_word(name: str) -> str:
    """A secret of ours: projects refuse to start with the key that their example shows. The same in every session."""
    return hashlib.sha256(f"bisect-celery {name}".encode()).hexdigest()
