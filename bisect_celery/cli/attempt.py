"""`bisect-celery try`: one trial, its facts, and the rule that decided."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bisect_celery.cli import options
from bisect_celery.cli.context import Context
from bisect_celery.cli.hunting import as_data
from bisect_celery.cli.terminal import Terminal
from bisect_celery.cli.threads import in_session_thread
from bisect_celery.core.redact import Redactor
from bisect_celery.flow import supply
from bisect_celery.flow.ask import Typed, request
from bisect_celery.flow.attempt import attempt, current, held_terms, refuse_for_git
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Judged, Symptom, Verdict
from bisect_celery.report import words


@options.taking("try")
def try_(
    ctx: typer.Context,
    rev: Annotated[
        str | None, typer.Argument(help="A revision; `.` is the working tree as it is. Default: HEAD.")
    ] = None,
    *,
    settings: options.Settings,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit as `git bisect run` wants: 0, 1, 125, and 128 or more for ours.")
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Try one revision. In your own `git bisect run bisect-celery try --exit-code` it is the predicate."""
    context: Context = ctx.obj
    if not exit_code:
        refuse_for_git()
    name = rev or current(context.folder)
    typed = Typed(settings, context.folder, context.caller, "HEAD" if name == "." else name, name)
    asked = held_terms(typed, context.home) if exit_code else request(typed, context.home)
    cancel, terminal = Token(), Terminal(context.progress, Redactor(asked.secrets))
    with terminal:
        judged = in_session_thread(
            lambda: attempt(
                asked,
                context.home,
                in_bisection=exit_code,
                listener=terminal,
                cancel=cancel,
                command=context.command,
            ),
            cancel,
            context.progress,
        )
    _tell(context, judged, supply.for_trial(judged, asked.fallback), Redactor(asked.secrets), as_json)
    if exit_code:
        context.verdict = int(judged.judgement.verdict)
    return 0


def _shown(symptom: Symptom, redact: Redactor) -> dict[str, str | None]:
    """What two trials are compared by: kind, exception and template, and where it waits as far as that is known."""
    template = None if symptom.template is None else redact(symptom.template)
    return {
        "kind": str(symptom.kind),
        "exception": symptom.exception,
        "template": template,
        "where": symptom.where,
    }


def _tell(context: Context, judged: Judged, advice: tuple[str, ...], redact: Redactor, as_json: bool) -> None:
    judgement, trial = judged.judgement, judged.trial
    facts = {
        "verdict": judgement.verdict.name.lower(),
        "symptom": str(judgement.symptom),
        **_shown(judgement.symptom, redact),
        "rule": redact(judgement.rule),
        "facts": redact(words.facts(trial.observation)),
        "tree": trial.tree.sha,
        "seconds": trial.seconds,
        "logs": trial.artifacts,
        "advice": [redact(line) for line in advice],
    }
    if as_json:
        context.give(as_data(facts))
        return
    for name in ("facts", "rule", "logs"):
        if name != "logs" or Path(trial.artifacts).is_dir():  # nothing was started: there is nothing to read
            context.give(f"{name + ':':<9}{facts[name]}")
    if judgement.verdict is not Verdict.GOOD:
        for line in trial.observation.failure.lines[-5:] if trial.observation.failure else ():
            context.give(f"         {redact(line)}")
    for line in advice:
        context.give(f"{'next:':<9}{redact(line)}")
    context.give(f"{facts['verdict']}: {facts['symptom']}")
