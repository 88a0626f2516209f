"""The command line as a whole: commands, help, and exit statuses."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console

from bisect_celery.cli.attempt import try_
from bisect_celery.cli.context import Context
from bisect_celery.cli.demo import demo
from bisect_celery.cli.doctor import doctor
from bisect_celery.cli.exits import ABOVE_GIT, USAGE, told
from bisect_celery.cli.history import clean, report, resume
from bisect_celery.cli.reproduce import reproduce
from bisect_celery.cli.run import run as run_command
from bisect_celery.cli.streams import lasting

EXIT_CODE = "--exit-code"
# A log file or a script has no width to fit into.
PIPED_WIDTH = 400

# The base of all usage errors, which lives in click or in Typer's own copy of it, by Typer's version.
_PARSER_ERRORS: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="bisect-celery",
    help="Find the change that broke a Celery system: the commit, the hunk, a fix that was tried, and a report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for name, command in (
    ("demo", demo),
    ("run", run_command),
    ("try", try_),
    ("reproduce", reproduce),
    ("report", report),
    ("resume", resume),
    ("clean", clean),
    ("doctor", doctor),
):
    app.command(name)(command)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(f"bisect-celery {metadata.version('bisect-celery')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Find the change that broke a Celery system."""


def run(words: Sequence[str], caller: Mapping[str, str]) -> int:
    """Run the command line; returns the exit status. Where git may read it nothing but a verdict is from 1 to 127."""
    progress, data = (
        Console(file=lasting(stream), width=None if stream.isatty() else PIPED_WIDTH)
        for stream in (sys.stderr, sys.stdout)
    )
    context = Context(caller, tuple(words), progress, data)
    # also when the flag that makes it git's is what was mistyped
    for_git = EXIT_CODE in words or words[:1] == ["try"]
    status = told(lambda: _typed(list(words), context), progress)
    if not for_git:
        return status
    if status == 0 and (context.verdict is not None or EXIT_CODE not in words):
        return context.verdict or 0
    # an exit status has eight bits: 130 and 128 would come out as 2, which is "bad" to git
    return status if status >= ABOVE_GIT else status + ABOVE_GIT


def _typed(words: list[str], context: Context) -> int:
    """Parse and run; usage errors are Typer's to tell, their status is ours.

    What stands behind `--` are paths, as with git: Typer would take them for revisions.
    """
    if words[:1] == ["run"] and "--" in words:
        at = words.index("--")
        words, context.paths = words[:at], tuple(words[at + 1 :])
    try:
        result: Any = app(words, obj=context, standalone_mode=False, prog_name="bisect-celery")
    except typer.Abort as abort:
        raise KeyboardInterrupt from abort
    except _PARSER_ERRORS as error:
        error.show()
        return USAGE
    return int(result or 0)
