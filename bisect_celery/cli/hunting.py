"""What `run`, `resume` and `demo` share: hunt in the session's thread, then say how it ended and exit accordingly."""

from __future__ import annotations

import json
from pathlib import Path

from bisect_celery.cli.context import Context
from bisect_celery.cli.exits import OF_OUTCOME
from bisect_celery.cli.terminal import Terminal
from bisect_celery.cli.threads import in_session_thread
from bisect_celery.core.redact import Redactor
from bisect_celery.flow.incident import Ended, investigate
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Outcome, Request


def hunt(context: Context, request: Request, *, as_json: bool, session_id: str | None = None, command: str = "") -> int:
    """Investigate and report; returns the exit status."""
    cancel = Token()
    terminal = Terminal(context.progress, Redactor(request.secrets))
    with terminal:
        ended = in_session_thread(
            lambda: investigate(
                request,
                context.home,
                command=command or context.command,
                listener=terminal,
                cancel=cancel,
                session_id=session_id,
            ),
            cancel,
            context.progress,
        )
    _tell(context, ended, as_json)
    return OF_OUTCOME[ended.session.outcome or Outcome.INTERRUPTED]


def _tell(context: Context, ended: Ended, as_json: bool) -> None:
    session = ended.session
    for line in session.advice:
        context.say(f"  {line}")
    context.say(
        f"Taken down: worker, broker and every temporary folder. Left: {shown(ended.folder)} "
        f"(report, logs of {_trials(len(session.judged))}; `bisect-celery clean` deletes it)."
    )
    if as_json:
        context.give((ended.report / "report.json").read_text("utf-8").rstrip())
        return
    if session.culprit is not None:
        for atom in session.culprit.fix or session.culprit.cause:
            context.give(f"{atom.path} {atom.header}")
            for line in atom.lines:
                context.give(f"    {line}")
        if session.culprit.patch:
            context.give(f"Fix:    {shown(ended.report / 'fix.patch')}")
    context.give(f"Report: {shown(ended.report / 'report.md')}")
    context.give(session.headline)


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"


def shown(path: Path) -> str:
    """A path as a person would type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def as_data(value: object) -> str:
    return json.dumps(value, indent=2, default=str)
