"""`bisect-celery reproduce`: the same trial, and everything stays up until you leave."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from bisect_celery.cli import options
from bisect_celery.cli.context import Context
from bisect_celery.cli.terminal import Terminal
from bisect_celery.cli.threads import in_session_thread
from bisect_celery.core.redact import Redactor
from bisect_celery.flow import reproduce as flow
from bisect_celery.flow.ask import Typed, request
from bisect_celery.lab.cancel import Token
from bisect_celery.model import Request
from bisect_celery.report import words


@options.taking("reproduce")
def reproduce(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="A revision, or culprit, parent, fixed of the last session.")],
    shell: Annotated[
        bool, typer.Option("--shell", help="A shell in the checkout, with the trial's variables.")
    ] = False,
    *,
    settings: options.Settings,
) -> int:
    """Reproduce an incident here: checkout, worker, broker and logs stay until you leave."""
    context: Context = ctx.obj
    asked = _asked(context, what, settings)
    cancel, terminal = Token(), Terminal(context.progress, Redactor(asked.secrets))

    def stay(kept: flow.Kept) -> None:
        context.give(f"{kept.rule}")
        context.give(words.facts(kept.observation))
        for name, value in kept.rows:
            context.give(f"  {name + ':':<13}{value}")
        terminal.leave()
        if shell:
            context.say("Leave the shell to take everything down.")
            cancel.deaf = True
            flow.shell(kept, os.environ.get("SHELL") or "/bin/sh")
        else:
            context.say("Everything stays up. Press Enter, or Ctrl-C, to take it down.")
            _until_left(cancel)

    with terminal:
        in_session_thread(
            lambda: flow.reproduce(
                asked,
                what,
                context.home,
                listener=terminal,
                cancel=cancel,
                command=context.command,
                stay=stay,
            ),
            cancel,
            context.progress,
        )
    context.say("Taken down: worker, broker, checkout and its work folder.")
    return 0


def _asked(context: Context, what: str, settings: options.Settings) -> Request:
    """A session's tree is reproduced under that session's terms, anything else under today's."""
    if what in flow.OF_SESSION:
        return flow.under_terms_of_last(Typed(settings, context.folder, context.caller, "HEAD", "HEAD"), context.home)
    return request(Typed(settings, context.folder, context.caller, "HEAD" if what == "." else what, what), context.home)


def _until_left(cancel: Token) -> None:
    """Until a line or the end of standard input, or a signal."""
    import select
    import sys

    cancel.wait(lambda: bool(select.select([sys.stdin], [], [], 0)[0]), deadline=7 * 24 * 3600.0, poll=0.2)
