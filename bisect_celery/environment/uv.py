"""What uv's failures mean: the project's requirements, or the machine. Pure: text in, meaning out.

The difference decides between a skipped revision and a session that stops, so whatever is not clearly the
project's is checked by a second question (`build.reachable`) before it is believed.
Seen with uv 0.13: "No solution found" has exit status 1, a refused connection 2, a failed build 1.
"""

from __future__ import annotations

import enum
import re

from bisect_celery.model import Failure, Stage


class Trouble(enum.StrEnum):
    """Whose failure it is. PROJECT is a fact about the tree; all others are the machine's."""

    PROJECT = "project"
    UNREACHABLE = "unreachable"
    CREDENTIALS = "credentials"
    DISK = "disk"
    MACHINE = "machine"


_DISK = re.compile(r"No space left on device|os error (?:28|122|30)\b|Disk quota exceeded", re.I)
_MEMORY = re.compile(r"Cannot allocate memory|os error 12\b|Killed signal terminated program")
_OWN_LINE = re.compile(r"^(?:error: |warning: |  cause: |  Caused by: |hint: |         fatal: )(.*)$", re.M)
_UNREACHABLE = re.compile(
    r"client error \(Connect\)|dns error|tcp connect error|Connection refused|Connection reset|"
    r"operation timed out|connection closed|Request failed after|network was disabled|"
    r"Network (?:connectivity )?is (?:disabled|unreachable)|No route to host|"
    r"HTTP status server error|\(5\d\d [A-Z]|429 Too Many|invalid peer certificate|certificate verify failed|"
    r"Could not resolve host|Could not resolve proxy|Failed to connect to|Connection timed out|early EOF|"
    r"unexpected EOF|error decoding response body|stream closed because of a broken pipe",
    re.I,
)
_CREDENTIALS = re.compile(
    r"lack of valid authentication|40[137] (?:Unauthorized|Forbidden|Proxy)|Missing credentials|"
    r"due to a lack of valid", re.I)  # fmt: skip
_UPLOAD_DATES = re.compile(r"missing an upload date", re.I)
_BUILD = re.compile(r"Failed to (?:download and )?build [`'](?P<what>[^`']+)[`']")
_PYTHON = re.compile(
    r"current Python version \((?P<has>[\d.]+)\) does not satisfy Python(?P<needs>[<>=!~][^\s,]*)"
    r"(?: and (?P<what>\S+) depends on Python|.*?(?P<also>[\w.-]+==\S+))?"
)
_ABSENT = re.compile(r"(?:Because|and) (?P<what>[A-Za-z0-9._-]+) was not found in the (?:package registry|cache)")
_ABSENT_VERSION = re.compile(r"there (?:is|are) no versions? of (?P<what>[A-Za-z0-9._-]+)")
_COMMON_LACKS = (
    (re.compile(r"(pg_config) executable not found|(mysql_config|mariadb_config)\b.*not found", re.I), "program"),
    (re.compile(r"fatal error: ([\w/.+-]+\.h): No such file"), "header"),
    (re.compile(r"command '?([\w-]*(?:gcc|cc))'? failed: No such file|unable to execute '?(gcc|cc)'?"), "program"),
    (re.compile(r"(?:ModuleNotFoundError|ImportError): No module named '?([\w.]+)'?"), "module"),
    (re.compile(r"can't find (Rust) compiler", re.I), "program"),
    (re.compile(r"(?:Package|No package) '([\w.+-]+)',?(?: required by '[^']+',)? (?:not )?found", re.I), "library"),
)  # fmt: skip


def compiles(version: str) -> bool:
    """Whether uv can compile for a Python of this version; for 3.6 it asks for what came with 3.7 (seen with 0.13)."""
    return tuple(int(part) for part in version.split(".")[:2]) >= (3, 7)


def whose(code: int, text: str) -> Trouble:
    """Whose failure a uv command's is, from its exit status and output.

    What a package's own build prints is indented by uv and does not count as uv's words, except a full disk.
    """
    if _DISK.search(text):
        return Trouble.DISK
    if code < 0 or code >= 126 or _MEMORY.search(text):
        return Trouble.MACHINE
    own = "\n".join(_OWN_LINE.findall(text))
    if _CREDENTIALS.search(own):
        return Trouble.CREDENTIALS
    if _UNREACHABLE.search(own):
        return Trouble.UNREACHABLE
    return Trouble.PROJECT


def without_upload_dates(text: str) -> bool:
    """Whether an index tells no upload dates, so that "as of a date" has left every release out."""
    return bool(_UPLOAD_DATES.search(text))


def failure(text: str, files: tuple[str, ...], as_of: str | None) -> Failure:
    """A project's failure in one sentence, with what is missing and the last lines."""
    where = files[0] if files else "its dependencies"
    built = _BUILD.search(text)
    if built is not None:
        package = re.split(r" @ |==", built["what"])[0]
        lacking = tuple(lacks(text))
        why = f": {', '.join(f'{kind} {name}' for kind, name in lacking)} is missing" if lacking else ""
        reason = f"The package {built['what']} that {where} asks for does not build{why}."
        return Failure(Stage.ENVIRONMENT, reason, missing=(("package", package), *lacking), lines=last_lines(text))
    unfit = _PYTHON.search(text)
    if unfit is not None and (what := unfit["what"] or unfit["also"]):
        needs, has = unfit["needs"], unfit["has"]
        return Failure(
            Stage.ENVIRONMENT, f"{what}, which {where} asks for, needs Python {needs}; this is {has}.",
            missing=(("python", needs),), lines=last_lines(text),
        )  # fmt: skip
    dated = f" as of {as_of}" if as_of else ""
    absent = _ABSENT.search(text) or _ABSENT_VERSION.search(text)
    if absent is not None:
        what = _wanted(text, absent["what"])
        return Failure(
            Stage.ENVIRONMENT, f"No release of {what} fits what {where} asks for{dated}.",
            missing=(("package", absent["what"]),), lines=last_lines(text),
        )  # fmt: skip
    if "No solution found" in text:
        reason = f"The packages that {where} asks for do not fit together{dated}."
        return Failure(Stage.ENVIRONMENT, reason, lines=last_lines(text))
    said = next((line.removeprefix("error: ") for line in text.splitlines() if line.startswith("error: ")), "")
    return Failure(Stage.ENVIRONMENT, f"uv cannot use {where}: {said or 'see its output'}.", lines=last_lines(text))


def lacks(text: str) -> list[tuple[str, str]]:
    """(kind, name) of what a package's build says is missing on the machine."""
    found = []
    for pattern, kind in _COMMON_LACKS:
        if match := pattern.search(text):
            found.append((kind, next(group for group in match.groups() if group)))
    return found


def _wanted(text: str, name: str) -> str:
    """The requirement as the project wrote it, where uv's sentence repeats it."""
    match = re.search(rf"you require ({re.escape(name)}[=<>!~][^\s,]*)", text)
    return match[1] if match else name


def last_lines(text: str, count: int = 12) -> tuple[str, ...]:
    kept = [line.rstrip() for line in text.splitlines() if line.strip()]
    return tuple(kept[-count:])
