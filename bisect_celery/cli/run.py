"""`bisect-celery run`: from GOOD and BAD to the guilty hunk."""

from __future__ import annotations

from typing import Annotated

import typer

from bisect_celery.cli import options
from bisect_celery.cli.context import Context
from bisect_celery.cli.hunting import hunt
from bisect_celery.flow.ask import Typed, request, split_range


@options.taking("run")
def run(
    ctx: typer.Context,
    good: Annotated[str, typer.Argument(help="A revision that works, or GOOD..BAD.")],
    bad: Annotated[str | None, typer.Argument(help="A revision that fails. Default: HEAD.")] = None,
    *,
    settings: options.Settings,
    as_json: options.Json = False,
) -> int:
    """Find the commit that broke the workers, the hunk, and a fix that was tried.

    With `-- PATHS` at the end, only among commits that touch these.

    Example: bisect-celery run v2.3 HEAD --task orders.tasks.mail --args '[17]' -- orders/
    """
    context: Context = ctx.obj
    first, last = split_range(good, bad)
    typed = Typed(settings, context.folder, context.caller, first, last, context.paths)
    return hunt(context, request(typed, context.home), as_json=as_json)
