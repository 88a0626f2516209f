"""What every command gets: the caller's environment as it was, where it was typed, and the two consoles."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from bisect_celery.home import Home


@dataclass
class Context:
    """Progress and complaints go to `progress` (standard error), data to `data` (standard output).

    `verdict` is set by a command that came to one, and by nothing else. `paths` stood behind `--`.
    """

    caller: Mapping[str, str]
    words: tuple[str, ...]
    progress: Console
    data: Console
    folder: Path = field(default_factory=Path.cwd)
    verdict: int | None = None
    paths: tuple[str, ...] = ()

    @property
    def home(self) -> Home:
        return Home(self.caller)

    @property
    def command(self) -> str:
        """The exact command to repeat."""
        return shlex.join(("bisect-celery", *self.words))

    def say(self, text: str, style: str = "") -> None:
        self.progress.print(text, style=style or None, markup=False, highlight=False, soft_wrap=True)

    def give(self, text: str) -> None:
        self.data.print(text, markup=False, highlight=False, soft_wrap=True)
