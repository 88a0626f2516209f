"""`bisect-celery run`: from GOOD and BAD to the guilty hunk."""

from __future__ import annotations

from typing import Annotated

import typer

from bisect_celery.cli import options
from bisect_celery.cli.context import Context
from bisect_celery.cli.hunting import hunt
from bisect_celery.flow.ask import Typed, request, split_range


def run(
    ctx: typer.Context,
    good: Annotated[str, typer.Argument(help="A revision that works, or GOOD..BAD.")],
    bad: Annotated[str | None, typer.Argument(help="A revision that fails. Default: HEAD.")] = None,
    app: options.App = None,
    worker: options.Worker = None,
    task: options.Task = None,
    args: options.Args = None,
    kwargs: options.Kwargs = None,
    expect: options.Expect = None,
    count: options.Count = None,
    queue: options.Queue = None,
    send: options.Send = None,
    done_log: options.DoneLog = None,
    env: options.Env = None,
    env_file: options.EnvFile = None,
    pass_: options.Pass = None,
    overlay: options.OverlayOption = None,
    prepare: options.Prepare = None,
    python: options.Python = None,
    match: Annotated[str | None, typer.Option(help="same or any: which failures count as bad.")] = None,
    first_parent: Annotated[
        bool, typer.Option("--first-parent", help="Follow only first parents, as git does.")
    ] = False,
    output: Annotated[
        str | None, typer.Option(help="Where the report goes. Default: the session's own folder.")
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Minutes (30).")] = None,
    ceiling: options.Ceiling = None,
    stack: options.StackOption = None,
    broker: options.Broker = None,
    as_json: options.Json = False,
) -> int:
    """Find the commit that broke the workers, the hunk, and a fix that was tried.

    With `-- PATHS` at the end, only among commits that touch these.

    Example: bisect-celery run v2.3 HEAD --task orders.tasks.mail --args '[17]' -- orders/
    """
    context: Context = ctx.obj
    flags = options.flags(locals())
    first, last = split_range(good, bad)
    typed = Typed(flags, context.folder, context.caller, first, last, context.paths)
    return hunt(context, request(typed, context.home), as_json=as_json)
