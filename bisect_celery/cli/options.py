"""The options that `run`, `try` and `reproduce` share: what a trial is. Values are checked in `config`."""

from __future__ import annotations

from typing import Annotated

import typer

App = Annotated[str | None, typer.Option(help="The Celery app, as for `celery -A`. Detected when there is one.")]
Worker = Annotated[str | None, typer.Option(help="The worker's start line, e.g. '-c 2 -Q mail'. Detected, else -c 2.")]
Task = Annotated[str | None, typer.Option(help="The task to send. Default: one that every Celery has.")]
Args = Annotated[str | None, typer.Option(help="Its positional arguments, a JSON list.")]
Kwargs = Annotated[str | None, typer.Option(help="Its keyword arguments, a JSON object.")]
Expect = Annotated[str | None, typer.Option(help="The value it must return, as JSON.")]
Count = Annotated[
    str | None, typer.Option(help="How many to send. Default: enough to prove every pool slot, at least 20.")
]
Queue = Annotated[str | None, typer.Option(help="The queue to send to. Default: the project's own routing.")]
Send = Annotated[str | None, typer.Option(help="Who sends: guest (the project itself), or harness with --queue.")]
DoneLog = Annotated[
    str | None, typer.Option(help="A regular expression for the log line that says a body has done its work.")
]
Env = Annotated[
    list[str] | None,
    typer.Option(help="NAME=VALUE for the trials; {broker_url} {result_url} {database_url} {work_dir} are filled in."),
]
EnvFile = Annotated[list[str] | None, typer.Option(help="A file of such lines.")]
Pass = Annotated[list[str] | None, typer.Option("--pass", help="A variable to take from this environment, by name.")]
OverlayOption = Annotated[
    list[str] | None, typer.Option("--overlay", help="A file copied into every tree: FILE or FILE:PATH/IN/TREE.")
]
Prepare = Annotated[str | None, typer.Option(help="A command before each worker, e.g. 'python manage.py migrate'.")]
Python = Annotated[str | None, typer.Option(help="The Python version. Default: what the project's files say.")]
Ceiling = Annotated[str | None, typer.Option(help="The longest a trial may be watched, in seconds (120).")]
StackOption = Annotated[str | None, typer.Option("--stack", help="container or process. Default: the best there is.")]
Broker = Annotated[str | None, typer.Option(help="rabbitmq or embedded. Default: the best there is.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]

NOT_SETTINGS = frozenset({"ctx", "good", "bad", "paths", "rev", "as_json", "exit_code", "what", "shell", "context"})


def flags(given: dict[str, object]) -> dict[str, object]:
    """A command's own parameters as settings by key: everything but its arguments and what concerns output."""
    return {name.rstrip("_"): value for name, value in given.items() if name not in NOT_SETTINGS}
