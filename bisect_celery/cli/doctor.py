"""`bisect-celery doctor`: what is here, what is missing, how to get it."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer
from rich.text import Text

from bisect_celery.cli import options
from bisect_celery.cli.context import Context
from bisect_celery.cli.exits import INFRA
from bisect_celery.cli.hunting import as_data
from bisect_celery.flow.doctor import Check, best_stack, examine


def doctor(
    ctx: typer.Context,
    remote_engine: Annotated[
        bool, typer.Option("--remote-engine", help="Ask a container engine on another machine, too.")
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Tell what this machine has for trials, what is missing and how to get it. Installs nothing."""
    context: Context = ctx.obj
    checks = tuple(examine(context.home, remote=remote_engine))
    fit = all(check.well for check in checks if check.needed)
    if as_json:
        rows = [{**dataclasses.asdict(check), "well": check.well} for check in checks]
        context.give(as_data({"fit": fit, "stack": best_stack(checks), "checks": rows}))
    else:
        for check in checks:
            context.data.print(_line(check), soft_wrap=True)
        context.give(f"`run` would take {best_stack(checks)}." if fit else "No trial can be made here yet.")
    return 0 if fit else INFRA


def _line(check: Check) -> Text:
    mark, style = ("here", "green") if check.well else ("missing", "red") if check.needed else ("not here", "yellow")
    return Text.assemble((f"{mark:<10}", style), f"{check.name:<20}", check.found or check.help)
