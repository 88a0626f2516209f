"""`bisect-celery demo`: the demo incident, written into a new folder and solved before your eyes."""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bisect_celery.cli import options
from bisect_celery.cli.context import Context
from bisect_celery.cli.hunting import hunt
from bisect_celery.flow.ask import Typed, request
from bisect_celery.flow.demo import write


@options.taking("demo")
def demo(
    ctx: typer.Context,
    folder: Annotated[str | None, typer.Argument(help="A new folder for it. Default: a temporary one.")] = None,
    *,
    settings: options.Settings,
    as_json: options.Json = False,
) -> int:
    """Write a Django project whose workers hang, and find out why."""
    context: Context = ctx.obj
    where = Path(folder) if folder else Path(tempfile.mkdtemp(prefix="bisect-celery-demo-")) / "shop"
    incident = write(where)
    words = incident.words()
    context.say(f"A shop's invoices stop since some commit this summer. Its repository: {where}")
    context.say(f"$ cd {where} && {shlex.join(('bisect-celery', 'run', incident.good[:10], *words))}")
    context = replace(context, folder=where)
    typed = Typed({**settings, **incident.flags()}, where, context.caller, incident.good, incident.bad)
    command = shlex.join(("bisect-celery", "run", incident.good[:10], incident.bad[:10], *words))
    return hunt(context, request(typed, context.home), as_json=as_json, command=command)
