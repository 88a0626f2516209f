"""`report`, `resume`, `clean`: sessions that are over or were cut short."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from bisect_celery.cli import options
from bisect_celery.cli.context import Context
from bisect_celery.cli.hunting import as_data, hunt
from bisect_celery.errors import UserError
from bisect_celery.flow import history
from bisect_celery.flow.reopen import reopen
from bisect_celery.report import render


def report(
    ctx: typer.Context,
    session: Annotated[
        str | None, typer.Argument(help="A session's id. Default: the latest of this repository.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="md or json.")] = "md",
) -> int:
    """Print a session's report, rendered anew from the store. Needs no Docker."""
    context: Context = ctx.obj
    if format_ not in ("md", "json"):
        raise UserError(f"There is no format `{format_}`.", "--format md, or --format json.")
    _, made = history.report_of(session, context.folder, context.home)
    context.give(as_data(render.as_json(made)) if format_ == "json" else render.markdown(made).rstrip())
    return 0


def resume(
    ctx: typer.Context,
    session: Annotated[str | None, typer.Argument(help="A session's id. Default: the latest that did not end.")] = None,
    budget: Annotated[float | None, typer.Option(help="Minutes in all, instead of what was asked.")] = None,
    as_json: options.Json = False,
) -> int:
    """Go on where a session was cut short: finished trials are not tried again."""
    context: Context = ctx.obj
    waiting = history.resumable(session, context.folder, context.home)
    request = reopen(context.home, waiting.id)
    if budget is not None:
        request = dataclasses.replace(request, budget=budget)
    context.say(f"Going on with session {waiting.id}: {len(waiting.judged)} trials are kept.")
    return hunt(context, request, as_json=as_json, session_id=waiting.id, command=waiting.command)


def clean(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    sessions: Annotated[bool, typer.Option("--sessions", help="Only sessions; keep environments and caches.")] = False,
    remote_engine: Annotated[
        bool, typer.Option("--remote-engine", help="Also at a container engine on another machine.")
    ] = False,
    as_json: options.Json = False,
) -> int:
    """List what bisect-celery keeps on this machine, then delete it."""
    context: Context = ctx.obj
    found = history.cleanable(context.home, sessions_only=sessions, remote=remote_engine)
    rows = [(thing.kind, thing.name, thing.size) for thing in found.things]
    if as_json:
        context.give(as_data([{"kind": kind, "name": name, "bytes": size} for kind, name, size in rows]))
    else:
        for kind, name, size in rows:
            context.give(f"{kind:<12} {size / 1e6:8.1f} MB  {name}")
    for thing in found.in_use:
        context.say(f"In use, left: {thing.kind} {thing.name}")
    if not yes and not (rows and not as_json and _agreed(found.size)):
        context.say("Nothing was deleted." + ("" if yes or not rows else " `bisect-celery clean --yes` deletes it."))
        return 0
    removed = history.clean(context.home, found, remote=remote_engine)
    context.say(f"Deleted {len(removed)} things, {found.size / 1e6:.1f} MB.")
    return 0


def _agreed(size: int) -> bool:
    import sys

    return sys.stdin.isatty() and typer.confirm(f"Delete all of it ({size / 1e6:.1f} MB)?", err=True)
