"""A report as Markdown and as JSON, and both as files."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bisect_celery.errors import InfraError
from bisect_celery.report import fit
from bisect_celery.report.model import SCHEMA, Found, Report

if TYPE_CHECKING:
    from django.template import Engine

MARKDOWN, JSON, PATCH = "report.md", "report.json", "fix.patch"


# --- Markdown ----------------------------------------------------------------------------------------


def markdown(report: Report) -> str:
    """The report as GitHub's Markdown, short enough for a comment there."""
    return fit.fitted(report, _render)


def _render(report: Report) -> str:
    from django.template import Context

    # without these two Django would look for settings, which a report does not need
    context = Context({"report": report}, autoescape=False, use_l10n=False, use_tz=False)
    return _engine().get_template(MARKDOWN).render(context)


@functools.cache
def _engine() -> Engine:
    from django.template import Engine

    return Engine(
        dirs=[str(Path(__file__).with_name("templates"))],
        autoescape=False,
        builtins=["bisect_celery.report.tags"],
    )


# --- JSON --------------------------------------------------------------------------------------------


def as_json(report: Report) -> dict[str, Any]:
    """The report as docs/report.schema.json says."""
    good, bad = report.ends
    setting = report.setting
    return {
        "schema": SCHEMA,
        "session": report.session,
        "outcome": str(report.outcome),
        "title": report.title,
        "headline": report.headline,
        "actions": list(report.actions),
        "culprit": _culprit(report.culprit) if report.culprit else None,
        "symptoms": {"good": good.symptom, "bad": bad.symptom},
        "good": _without(good, "name"),
        "bad": _without(bad, "name"),
        "confirmation": _plain(report.confirmation),
        "standing": _plain(report.standing),
        "candidates": [_flat(one) for one in report.candidates],
        "skipped": [_flat(one) for one in report.skipped],
        "match_any": _plain(report.match_any),
        "trials": _plain(report.trials),
        "stack": setting.stack if setting else None,
        "broker": setting.broker if setting else None,
        "emulated": report.emulated,
        "setting": _plain(setting),
        "differences": _plain(report.differences),
        "not_tested": list(report.not_tested),
        "task_candidates": list(report.task_candidates),
        "versions": [{"name": name, "version": version} for name, version in report.versions],
        "bisect_log": report.bisect_log,
        "command": report.command,
        "command_private": report.command_private,
        "started_at": report.started_at,
        "finished_at": report.finished_at,
        "elapsed": report.elapsed,
    }


def _culprit(found: Found) -> dict[str, Any]:
    rest = {"cause": _plain(found.cause), "fix": _plain(found.fix), "caveats": list(found.caveats)}
    return {**_plain(found.commit), **rest}


def _flat(value: Any) -> dict[str, Any]:
    """What is told of a commit, beside the commit's own."""
    return {**_plain(value.commit), **_without(value, "commit")}


def _without(value: Any, name: str) -> dict[str, Any]:
    return {key: item for key, item in _plain(value).items() if key != name}


def _plain(value: Any) -> Any:
    """Dataclasses as objects, tuples as arrays."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


# --- files -------------------------------------------------------------------------------------------


def write(report: Report, folder: Path) -> tuple[Path, ...]:
    """Write report.md, report.json and, if there is a fix, fix.patch; the files written, whole or not at all.

    Raises InfraError when the folder cannot be written.
    """
    data = json.dumps(as_json(report), indent=2, ensure_ascii=False, allow_nan=False)
    contents = {MARKDOWN: markdown(report), JSON: data + "\n"}
    if report.patch:
        contents[PATCH] = report.patch
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            # a patch keeps the bytes of a repository that is not UTF-8, as git gave them to us
            _replace(folder / name, content.encode("utf-8", "surrogateescape"))
    except OSError as error:
        hint = "The session is kept: `bisect-celery report` writes it anew, `--output DIR` elsewhere."
        raise InfraError(f"The report cannot be written to {folder} ({error.strerror})", hint) from error
    return tuple(folder / name for name in contents)


def _replace(path: Path, content: bytes) -> None:
    """Write aside, then move into place: nobody ever reads half a report. Mode 0600: sharing it is the user's step."""
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
