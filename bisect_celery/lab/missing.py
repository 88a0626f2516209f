"""What a failure says is missing, so that the flag that supplies it can be told. Pure."""

from __future__ import annotations

import re

_NAME = r"([A-Z][A-Z0-9_]{2,})"
# A capitalised word alone is a variable only where that is what is looked up.
_LOOKUPS = frozenset({"KeyError", "ImproperlyConfigured", "UndefinedValueError", "EnvError"})
_MISSING = (
    ("module", re.compile(r"No module named '?([\w.]+)'?")),
    ("variable", re.compile(rf"Set the {_NAME} environment variable")),
    ("variable", re.compile(rf"[Ee]nvironment variable \W?{_NAME}\b")),
    ("variable", re.compile(rf"\b{_NAME}\W? (?:env|environment) variable")),
    ("variable", re.compile(rf"The {_NAME} setting must not be empty")),
    (
        "variable",
        re.compile(rf"\b{_NAME}\W? (?:not found|not set|is not set|must be set|must not be empty|is required)"),
    ),
    ("host", re.compile(r"could not translate host name \"([^\"]+)\"")),
    ("host", re.compile(r"Unknown (?:MySQL )?server host '([^']+)'")),
    ("host", re.compile(r"Error -\d+ connecting to ([\w.-]+):\d+\. (?:Name or service|Temporary failure)")),
    # nobody answers there: named with its port, by which the kind of server is known
    ("host", re.compile(r"connection to server at \"([^\"]+)\"[^,]*, port (\d+) failed")),
    # a server of this machine, by its socket: what settings without a host mean
    ("host", re.compile(r"connection to server on socket \"([^\"]*/\.s\.PGSQL\.\d+)\" failed")),
    ("host", re.compile(r"Can't connect to local (MySQL|MariaDB) server through socket")),
    ("host", re.compile(r"Error 111 connecting to ([\w.-]+:\d+)\.")),
    ("host", re.compile(r"Can't connect to (?:MySQL|MariaDB|server).*? on '([\w.-]+)'")),
    ("file", re.compile(r"No such file or directory: '([^']+)'")),
    ("package", re.compile(r"lib([\w+-]+?)\.so[.\d]*: cannot open shared object file")),
    ("package", re.compile(r"Unable to find (\w+) library|(\w+) shared library not found")),
)
_OF_ENVIRONMENT = re.compile(r"environment|\benv variable", re.I)
_ALONE = re.compile(r"'?([A-Z][A-Z0-9_]+)'?")


def missing_in(exception: str, detail: str) -> tuple[tuple[str, str], ...]:
    """(kind, name) of what a boot failure says it lacks: a module, a variable, a host, a file, a system package."""
    detail = detail.strip()
    if exception in _LOOKUPS and (alone := _ALONE.fullmatch(detail)):
        return (("variable", alone.group(1)),)
    for kind, pattern in _MISSING:
        found = pattern.search(detail)
        if found and (kind != "variable" or exception in _LOOKUPS or _OF_ENVIRONMENT.search(detail)):
            return ((kind, ":".join(filter(None, found.groups()))),)
    return ()
