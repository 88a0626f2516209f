"""What a person sees while it runs: one aligned line a trial, a live line below, all on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from bisect_celery.flow.events import Doing, Event, Note, Range, Remaining, StackTaken, Tried
from bisect_celery.model import Judged, Kind, Verdict
from bisect_celery.report import words

STYLES = {Verdict.GOOD: "green", Verdict.BAD: "red", Verdict.SKIP: "yellow"}
SYMPTOM_WIDTH = 22
LABEL_WIDTH = 30  # `423db4284d with atoms 1-4 only`
PHASES = {
    "search": "git bisect",
    "weigh": "weighing commits",
    "narrow": "narrowing the commit",
    "confirm": "confirming",
}


class Terminal:
    """A flow's listener that draws. Also a context manager: the live line exists only inside."""

    def __init__(self, console: Console, redact: Callable[[str], str] = lambda text: text) -> None:
        self._console = console
        self._redact = redact
        self._doing = Doing("")
        self._since = time.monotonic()
        self._remaining: Remaining | None = None
        self._live = Live(
            get_renderable=self._line, console=console, refresh_per_second=8, transient=True, redirect_stderr=False
        )

    def __enter__(self) -> Terminal:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def leave(self) -> None:
        """Stop drawing: somebody else gets the terminal."""
        self._live.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case StackTaken(facts):
                services = [kind for kind, _ in facts.services]
                self._say(stack_line(facts.name, facts.broker, facts.emulated, facts.why, services))
            case Range(commits, steps, good, bad):
                self._say(range_line(commits, steps, good, bad))
            case Note(text):
                self._say(text)
            case Doing():
                self._doing, self._since = event, time.monotonic()
            case Remaining():
                self._remaining = event
            case Tried(judged, replayed):
                self._console.print(trial_line(judged, replayed, self._redact), overflow="ellipsis", no_wrap=True)

    def _say(self, text: str) -> None:
        self._console.print(self._redact(text), markup=False, highlight=False)

    def _line(self) -> RenderableType:
        if not self._doing.what:
            return Group()
        elapsed = time.monotonic() - self._since
        text = f"{self._doing.detail}: {self._doing.what[:60]}  {elapsed:.0f} s{self._left()}"
        return Spinner("dots", Text(self._redact(text), style="dim"))

    def _left(self) -> str:
        left = self._remaining
        if left is None:
            return ""
        steps = f", {left.steps} steps left" if left.steps else ""
        minutes = f", about {max(1, round(left.seconds / 60))} min" if left.seconds is not None else ""
        return f"  ({PHASES.get(left.phase, left.phase)}{steps}{minutes})"


def range_line(commits: int, steps: int, good: str, bad: str) -> str:
    """What lies between the ends, before anything is tried."""
    if commits == 1:
        return f"One commit between GOOD {good} and BAD {bad}: both ends, then narrowing"
    return f"{commits} commits between GOOD {good} and BAD {bad}: both ends, about {steps} steps, then narrowing"


def stack_line(name: str, broker: str, emulated: bool, why: str, services: Sequence[str] = ()) -> str:
    """`process stack, embedded broker (emulated), redis: no container engine answers; RabbitMQ is not installed`."""
    beside = "".join(f", {kind}" for kind in services)
    return f"{name} stack, {broker} broker{' (emulated)' if emulated else ''}{beside}: {why}"


def trial_line(judged: Judged, replayed: bool, redact: Callable[[str], str]) -> Text:
    """Verdict, revision, symptom, seconds, counts or reason, title; columns line up from trial to trial."""
    trial, judgement = judged.trial, judged.judgement
    line = Text()
    line.append(f"{judgement.verdict.name.lower():<5}", style=STYLES[judgement.verdict])
    line.append(f"{trial.number:>4}  ")
    line.append(f"{trial.tree.label[:LABEL_WIDTH]:<{LABEL_WIDTH}}  ")
    line.append(f"{str(judgement.symptom)[:SYMPTOM_WIDTH]:<{SYMPTOM_WIDTH}}  ")
    line.append(f"{'kept' if replayed or trial.reused else f'{trial.seconds:.1f} s':>7}  ")
    line.append(redact(f"{reason(judged)}  "))
    line.append(redact(trial.tree.title), style="dim")
    return line


def reason(judged: Judged) -> str:
    """The counts; for what is not the failure we hunt, the rule that decided."""
    if judged.judgement.verdict is Verdict.SKIP or judged.judgement.symptom.kind is Kind.UNKNOWN:
        return judged.judgement.rule.split("\n")[0][:90]
    return words.facts(judged.trial.observation)
