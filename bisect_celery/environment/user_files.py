"""The user's own files that say where packages are and how to get them: pip.conf, netrc, uv.toml.

Like the variables in `environment.caller` they are for installations only: a trial has a home of its own, and none of
these in it (DESIGN 6).
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

# What of pip.conf says where packages are; everything else there is about pip itself.
_OF_PIP = {
    "index-url", "extra-index-url", "trusted-host", "cert", "client-cert", "find-links", "no-index", "timeout",
    "retries",
}  # fmt: skip
MACHINES = Path("/etc/pip.conf")
# Where a build finds them in a home of its own.
NETRC, UV = ".netrc", ".config/uv/uv.toml"


def with_pip_conf(caller: Mapping[str, str]) -> dict[str, str]:
    """`caller`, with what the user's pip.conf files say where its variables do not, as pip's own variables.

    Files and sections in pip's order (https://pip.pypa.io/en/stable/topics/configuration/): the whole machine's, the
    user's, the virtual environment's, `PIP_CONFIG_FILE`; and `[install]` is louder than `[global]`.
    """
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in _pip_confs(caller):
        for section, values in _sections(path).items():
            sections.get(section, {}).update(values)
    said = {**sections["global"], **sections["install"]}
    as_variables = {"PIP_" + ("DEFAULT_TIMEOUT" if key == "timeout" else _variable(key)): said[key] for key in said}
    return {**as_variables, **caller}


def _variable(key: str) -> str:
    return key.upper().replace("-", "_")


def _sections(path: Path) -> dict[str, dict[str, str]]:
    """Nothing where it is not there, or pip could not read it either."""
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, "utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError):
        return {}
    found = {name: dict(parser.items(name)) for name in parser.sections()}
    return {name: {_key(key): " ".join(value.split()) for key, value in values.items() if _key(key) in _OF_PIP}
            for name, values in found.items()}  # fmt: skip


def _key(name: str) -> str:
    return name.lower().replace("_", "-")


def _pip_confs(caller: Mapping[str, str]) -> Iterator[Path]:
    named = caller.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    home = _home(caller)
    for folder in reversed((caller.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")):
        yield Path(folder, "pip", "pip.conf")
    yield MACHINES
    yield home / ".pip" / "pip.conf"
    settings = home / "Library" / "Application Support"
    apple = sys.platform == "darwin" and (settings / "pip").is_dir()
    yield (settings if apple else _settings(caller)) / "pip" / "pip.conf"
    if environment := caller.get("VIRTUAL_ENV"):
        yield Path(environment, "pip.conf")
    if named:
        yield Path(named)


def files(caller: Mapping[str, str]) -> dict[str, Path]:
    """Those of netrc and uv.toml that are there, by where a build looks for them in its home."""
    netrc = Path(caller.get("NETRC") or _home(caller) / ".netrc")
    uv = Path(caller.get("UV_CONFIG_FILE") or _settings(caller) / "uv" / "uv.toml")
    return {name: path for name, path in ((NETRC, netrc), (UV, uv)) if path.is_file()}


def _home(caller: Mapping[str, str]) -> Path:
    return Path(caller.get("HOME") or "/nonexistent")


def _settings(caller: Mapping[str, str]) -> Path:
    return Path(caller.get("XDG_CONFIG_HOME") or _home(caller) / ".config")
