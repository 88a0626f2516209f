"""Poetry's and Pipenv's own ways to write a dependency, as PEP 508 lines. Pure.

Poetry's: https://python-poetry.org/docs/dependency-specification/ · Pipenv's: https://pipenv.pypa.io/en/latest/pipfile.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

Table = Mapping[str, object]


def table_lines(table: Table, *, wanted: Iterable[str] = (), bare: bool = False) -> list[str]:
    """Requirement lines for a table `name = "^1.2"` or `name = {version = ..., markers = ...}`.

    Optional ones are left out unless in `wanted`. `bare` drops the versions: a lock supplies them.
    """
    chosen = {name.lower() for name in wanted}
    lines: list[str] = []
    for name, value in table.items():
        if name.lower() == "python":
            continue
        for one in value if isinstance(value, list) else [value]:
            details = one if isinstance(one, Mapping) else {"version": one}
            if details.get("optional") and name.lower() not in chosen:
                continue
            lines.append(line(name, details, bare=bare))
    return list(dict.fromkeys(lines))


def line(name: str, details: Table, *, bare: bool = False) -> str:
    """One dependency as a requirement line."""
    extras = details.get("extras")
    head = f"{name}[{','.join(map(str, extras))}]" if isinstance(extras, list) and extras else name
    target = _target(details)
    if target is not None:
        if not target.startswith(("http", "git+", "hg+", "svn+", "bzr+")):
            return ("-e " if details.get("editable") or details.get("develop") else "") + target
        head, specifier = f"{head} @ {target}", ""
    else:
        specifier = "" if bare else specifier_of(str(details.get("version", "*")))
    markers = [f"({marker})" for marker in _markers(details)]
    return f"{head}{specifier}" + (f" ; {' and '.join(markers)}" if markers else "")


def _target(details: Table) -> str | None:
    for vcs in ("git", "hg", "svn", "bzr"):
        if vcs in details:
            ref = details.get("resolved_reference") or details.get("rev") or details.get("tag")
            ref = ref or details.get("branch") or details.get("ref")
            where = details.get("subdirectory")
            address = re.sub(r"^git@([^:/]+):", r"ssh://git@\1/", str(details[vcs]))
            return f"{vcs}+{address}" + (f"@{ref}" if ref else "") + (f"#subdirectory={where}" if where else "")
    for key in ("url", "file", "path"):
        if key in details:
            target = str(details[key])
            return target if "://" in target or target.startswith(".") else f"./{target}"
    return None


_MARKER_KEYS = (
    "os_name", "sys_platform", "platform_machine", "platform_python_implementation", "platform_release",
    "platform_system", "platform_version", "python_version", "python_full_version", "implementation_name",
)  # fmt: skip


def _markers(details: Table) -> Iterator[str]:
    if details.get("markers"):
        yield str(details["markers"])
    if details.get("marker"):
        yield str(details["marker"])
    if details.get("python"):
        specifier = specifier_of(str(details["python"]))
        yield " and ".join(_python_marker(part) for part in specifier.split(",") if part) or "python_version >= '0'"
    if details.get("platform"):
        yield f"sys_platform == '{details['platform']}'"
    for key in _MARKER_KEYS:  # Pipenv's: sys_platform = "== 'win32'"
        if details.get(key):
            yield f"{key} {details[key]}"


def _python_marker(part: str) -> str:
    match = re.match(r"(===|==|!=|~=|<=|>=|<|>)(.*)", part)
    operator, version = (match[1], match[2]) if match else ("==", part)
    name = "python_full_version" if version.count(".") > 1 else "python_version"
    return f"{name} {operator} '{version}'"


def specifier_of(constraint: str) -> str:
    """A Poetry version constraint as a PEP 440 specifier set: "^1.2" is ">=1.2,<2". Raises ValueError.

    Alternatives (`||`) become what encloses them: from the first one's lower to the last one's upper end.
    """
    alternatives = [_all_of(part) for part in constraint.split("||")]
    if len(alternatives) == 1:
        return ",".join(alternatives[0])
    lower = [part for part in alternatives[0] if part.startswith((">", "=="))]
    upper = [part for part in alternatives[-1] if part.startswith("<")]
    return ",".join([*(part.replace("==", ">=").removesuffix(".*") for part in lower), *upper])


def _all_of(constraint: str) -> list[str]:
    parts = re.split(r"\s*,\s*|(?<=[\w*])\s+(?=[<>=!~^\d])", constraint.strip())
    return [piece for part in parts if part for piece in _one(part.strip())]


def _one(part: str) -> list[str]:
    if part in ("*", ""):
        return []
    match = re.match(r"^(\^|~=|~|===|==|=|!=|<=|>=|<|>)?\s*v?([\w.*+!-]+)$", part)
    if match is None:
        raise ValueError(f"not a version constraint: {part}")
    operator, version = match[1] or "==", match[2]
    if operator == "^":
        return [f">={version}", f"<{_after_caret(version)}"]
    if operator == "~":
        return [f">={version}", f"<{_after_tilde(version)}"]
    if operator in ("=", "=="):
        return [f"=={version}"]
    return [f"{operator}{version}"]


def _release(version: str) -> list[int]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    if match is None:
        raise ValueError(f"not a version: {version}")
    return [int(part) for part in match[0].split(".")]


def _after_caret(version: str) -> str:
    """The first version that a caret leaves out: the leftmost part that is not zero may not change."""
    release = _release(version)
    for index, part in enumerate(release):
        if part or index == len(release) - 1:
            return ".".join(map(str, [*release[:index], part + 1]))
    return "1"


def _after_tilde(version: str) -> str:
    """The first version that a tilde leaves out: the minor may not change if one is given, else the major."""
    release = _release(version)[:2]
    return ".".join(map(str, [*release[:-1], release[-1] + 1]))
