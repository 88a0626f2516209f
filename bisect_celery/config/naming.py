"""What the end of a variable's name says of a binding, as projects name their variables. Pure: the one table of it."""

from __future__ import annotations

from collections.abc import Iterator

_ENDS = (
    ("url", ("URL", "URI", "DSN")),
    ("password", ("PASSWORD", "PASSWD", "PASS")),
    ("port", ("PORT",)),
    ("user", ("USERNAME", "USER")),
    ("host", ("HOSTNAME", "HOST", "SERVER", "ADDRESS", "ADDR")),
    ("name", ("_DB", "NAME", "DATABASE")),
)
# They say so only behind a stem that is known to be a database's: `PGDB`, `DB_DB_NAME`. Alone a `DB` may be a URL.
_ENDS_OF_KNOWN = (("name", ("DB", "DB_NAME", "DBNAME")),)


def part_of(name: str) -> str | None:
    """The part of a binding that a variable of this name takes: "url", "host", "port", "name", "user", "password"."""
    return next((part for _, part in _parted(name, _ENDS)), None)


def stems_and_parts(name: str) -> Iterator[tuple[str, str]]:
    """Every way to read a name as what it is of and the part of it, both known or not: `DB_NAME` is DB's name."""
    return _parted(name, (*_ENDS, *_ENDS_OF_KNOWN))


def _parted(name: str, ends: tuple[tuple[str, tuple[str, ...]], ...]) -> Iterator[tuple[str, str]]:
    upper = name.upper()
    for part, endings in ends:
        for ending in endings:
            if upper.endswith(ending):
                yield upper.removesuffix(ending).removesuffix("_"), part
