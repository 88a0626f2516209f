"""Incidents: tiny real projects that broke, read from their folders and written out as git repositories.

A folder beside this file is one incident:

    incident.toml   title, source; [symptom] kind, exception, template (a regular expression), where; [culprit] path,
                    lines; healthy, needs, same-as; every other key is one of bisect-celery.toml, as it is there
    good/           the project's files at the good revision
    bad/            the files that differ at the bad one; an empty `PATH.deleted` stands for a file that is gone

`__app__`, `__task__`, `__module__` and `__package__`, in names of files and in texts, become other words each time an
incident is loaded: no rule of the tool's can come to lean on a name.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bisect_celery.model import Kind, Symptom

FOLDER = Path(__file__).resolve().parent
PLACEHOLDERS = ("__app__", "__task__", "__module__", "__package__")
OURS = frozenset({"title", "source", "symptom", "culprit", "healthy", "needs", "same-as"})
# What an incident needs unless it says otherwise; the same Celery as our own, so that both ways of trying it agree,
# which is why no commit is older than its release.
REQUIREMENTS = "celery==5.7.0\n"
_GONE = ".deleted"
_SYLLABLES = ("ba", "do", "fe", "gu", "ki", "lo", "mi", "na", "pu", "ra", "so", "te", "vi", "wo", "xe", "zu")


@dataclass(frozen=True)
class Expected:
    """The symptom that the bad revision must show. `template` is a regular expression for the whole template."""

    kind: Kind
    exception: str | None = None
    template: str | None = None
    where: str | None = None

    def differs(self, shown: Symptom) -> str | None:
        """What of a shown symptom is not as expected; None when all is. A key that is not given is not compared."""
        if shown.kind is not self.kind:
            return f"{shown.kind} instead of {self.kind}"
        if self.exception is not None and shown.exception != self.exception:
            return f"exception {shown.exception} instead of {self.exception}"
        if self.template is not None and not re.fullmatch(self.template, shown.template or ""):
            return f"template {shown.template!r} instead of {self.template!r}"
        if self.where is not None and shown.where != self.where:
            return f"where {shown.where!r} instead of {self.where!r}"
        return None


@dataclass(frozen=True)
class Incident:
    """One incident under the names of this load. `good` and `bad` are whole trees: path to text.

    `settings` are those of its bisect-celery.toml. A `healthy` one must be judged good at both revisions. `same_as`
    names another incident that is by all evidence the same failure.
    """

    name: str
    title: str
    source: str
    settings: Mapping[str, Any]
    good: Mapping[str, str]
    bad: Mapping[str, str]
    symptom: Expected
    culprit: str | None = None
    lines: tuple[str, ...] = ()
    healthy: bool = False
    needs: tuple[str, ...] = ()
    same_as: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)


def names(folder: Path = FOLDER) -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in folder.glob("*/incident.toml")))


def load(name: str, chance: random.Random, folder: Path = FOLDER) -> Incident:
    """Read one incident under fresh names. Raises ValueError when it is not written as it must be."""
    home = folder / name
    chosen = dict(zip(PLACEHOLDERS, _words(chance, len(PLACEHOLDERS)), strict=True))
    told = tomllib.loads(_renamed((home / "incident.toml").read_text(), chosen))
    good = {"requirements.txt": REQUIREMENTS, **dict(_files(home / "good", chosen))}
    bad = _changed(name, good, dict(_files(home / "bad", chosen)))
    culprit = told.get("culprit", {})
    incident = Incident(
        name=name,
        title=told["title"],
        source=told["source"],
        settings={key: value for key, value in told.items() if key not in OURS},
        good=good,
        bad=bad,
        symptom=_expected(told),
        culprit=culprit.get("path"),
        lines=tuple(culprit.get("lines", ())),
        healthy=bool(told.get("healthy", False)),
        needs=tuple(told.get("needs", ())),
        same_as=told.get("same-as"),
        names=chosen,
    )
    _check(incident)
    return incident


def _expected(told: Mapping[str, Any]) -> Expected:
    if told.get("healthy"):
        return Expected(Kind.COMPLETED)
    shown = told["symptom"]
    return Expected(Kind(shown["kind"]), shown.get("exception"), shown.get("template"), shown.get("where"))


def _files(folder: Path, chosen: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and "__pycache__" not in path.parts:
            yield _renamed(path.relative_to(folder).as_posix(), chosen), _renamed(path.read_text("utf-8"), chosen)


def _changed(name: str, good: Mapping[str, str], files: Mapping[str, str]) -> dict[str, str]:
    gone = {path.removesuffix(_GONE) for path in files if path.endswith(_GONE)}
    if unknown := gone - good.keys():
        raise ValueError(f"{name}: deleted, but not there: {sorted(unknown)}")
    kept = {path: text for path, text in good.items() if path not in gone}
    return {**kept, **{path: text for path, text in files.items() if not path.endswith(_GONE)}}


def _check(incident: Incident) -> None:
    """Whether the two revisions differ, and where the incident says they do."""
    if incident.good == incident.bad:
        raise ValueError(f"{incident.name}: both revisions are the same")
    if incident.healthy:
        return
    if incident.culprit is None or not incident.lines:
        raise ValueError(f"{incident.name}: no culprit is told")
    before = incident.good.get(incident.culprit, "").splitlines()
    after = incident.bad.get(incident.culprit, "").splitlines()
    for line in incident.lines:
        there, not_there = (before, after) if line[0] == "-" else (after, before)
        if line[0] not in "+-" or there.count(line[1:]) <= not_there.count(line[1:]):
            raise ValueError(f"{incident.name}: {line!r} is no line of the change of {incident.culprit}")


# --- names -------------------------------------------------------------------------------------------


def _words(chance: random.Random, count: int) -> list[str]:
    """So many different words that no library and no keyword is called by."""
    made: list[str] = []
    while len(made) < count:
        word = "".join(chance.choices(_SYLLABLES, k=4))
        if word not in made:
            made.append(word)
    return made


def _renamed(text: str, chosen: Mapping[str, str]) -> str:
    for placeholder, word in chosen.items():
        text = text.replace(placeholder, word)
    return text


# --- as a repository ---------------------------------------------------------------------------------


def write(incident: Incident, folder: Path) -> tuple[str, str]:
    """Write the incident as a git repository of three commits, with its settings beside it; (good, bad) by sha."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    write_tree(incident.good, folder)
    good = _commit(folder, "Begin", 1)
    (folder / "NOTES").write_text("Nothing that matters.\n")
    _commit(folder, "Take notes", 2)
    for path in incident.good.keys() - incident.bad.keys():
        (folder / path).unlink()
    write_tree(incident.bad, folder)
    bad = _commit(folder, "Change something", 3)
    # Not committed: what a revision says of how it is judged is not evidence.
    (folder / "bisect-celery.toml").write_text(as_toml(incident.settings))
    return good, bad


def write_tree(files: Mapping[str, str], folder: Path) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        if text.startswith("#!"):
            (folder / path).chmod(0o755)


def as_toml(settings: Mapping[str, Any]) -> str:
    """Plain values first, tables last, as TOML wants it."""
    plain = [f"{key} = {_value(value)}\n" for key, value in settings.items() if not isinstance(value, dict)]
    tables = [
        f"[{key}]\n" + "".join(f"{json.dumps(name)} = {_value(each)}\n" for name, each in value.items())
        for key, value in settings.items()
        if isinstance(value, dict)
    ]
    return "".join([*plain, *tables])


def _value(value: object) -> str:
    """One TOML value. JSON's texts, numbers and booleans are TOML's; a table in an array is written inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_value(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def git(folder: Path, *arguments: str, date: str = "2026-11-15T10:00:00+00:00") -> str:
    settings = ("-c", "user.name=Mara", "-c", "user.email=mara@example.org", "-c", "gc.auto=0")
    dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date, "GIT_CONFIG_GLOBAL": "/dev/null"}
    done = subprocess.run(
        ["git", *settings, *arguments], cwd=folder, env={"PATH": "/usr/local/bin:/usr/bin:/bin", **dates},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.strip()


def _commit(folder: Path, title: str, day: int) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", title, date=f"2026-11-{day + 15:02d}T10:00:00+00:00")
    return git(folder, "rev-parse", "HEAD")
