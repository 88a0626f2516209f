"""What happens to a worker in a trial, step by step: read from plain tables (TOML, JSON), and told in words. Pure.

A scenario replaces the first wave of probes. What it never replaces is the proof at the end: every probe final, the
queues empty, and every pool slot proven free by a last wave (DESIGN 10).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from bisect_celery.model import Act, Step

# What every trial does that is told nothing else.
DEFAULT = (Step(Act.SEND), Step(Act.WAIT, "finished"))
COUNTED = ("received", "started", "finished")
QUIET, COMPLETED = "quiet", "completed"
LONGEST = 600.0
EXAMPLE = 'Steps are like { send = 20 }, { wait = "finished" }, { restart-broker = 3 }, { expect = "completed" }.'

_BROKER = frozenset({Act.RESTART_BROKER})
_NETWORK = frozenset({Act.CUT, Act.RESTART_BROKER})
# What a step may say beside its own word.
_MORE = {
    Act.SEND: (),
    Act.WAIT: ("count", "seconds"),
    Act.EXPECT: ("count",),
    Act.RESTART_BROKER: (),
    Act.CUT: ("silent",),
    Act.RESTART_WORKER: ("kill",),
}


class NotAStep(ValueError):
    """A scenario that cannot be understood; the message is a sentence for whoever wrote it."""


def parse(raw: object) -> tuple[Step, ...]:
    """The steps of a scenario, from a list of tables each of which has one step's name as a key. Raises NotAStep."""
    if not isinstance(raw, list) or not raw:
        raise NotAStep("A scenario is a list of steps.")
    steps = tuple(_step(number, table) for number, table in enumerate(raw, 1))
    sent = False
    for number, step in enumerate(steps, 1):
        sent = sent or step.act is Act.SEND
        if not sent and step.act in (Act.WAIT, Act.EXPECT) and step.what != QUIET:
            raise NotAStep(f"Step {number} asks for probes before any was sent.")
    if not sent:
        raise NotAStep("A scenario without a `send` tries nothing.")
    return steps


def _step(number: int, table: object) -> Step:
    if not isinstance(table, Mapping):
        raise NotAStep(f"Step {number} is not a table.")
    said = {str(key).replace("_", "-"): value for key, value in table.items()}
    acts = [act for act in Act if act in said]
    if len(acts) != 1:
        raise NotAStep(f"Step {number} must have one of {', '.join(Act)}{_meant(said)}")
    act = acts[0]
    extra = sorted(said.keys() - {act, *_MORE[act]})
    if extra:
        raise NotAStep(f"Step {number}, `{act}`, knows no `{extra[0]}`.")
    return _MAKERS[act](number, said)


def _meant(said: Mapping[str, object]) -> str:
    near = [match for key in said for match in difflib.get_close_matches(key, list(Act), 1, 0.6)]
    return f"; did you mean `{near[0]}`?" if near else "."


def _send(number: int, said: Mapping[str, object]) -> Step:
    value = said[Act.SEND]
    return Step(Act.SEND, count=0 if value is True else _whole(number, Act.SEND, value))


def _wait(number: int, said: Mapping[str, object]) -> Step:
    what = said[Act.WAIT]
    if what == QUIET:
        if "count" in said or "seconds" not in said:
            raise NotAStep(f"Step {number} waits for quiet, and must say for how many `seconds`.")
        return Step(Act.WAIT, QUIET, seconds=_seconds(number, "seconds", said["seconds"]))
    if what not in COUNTED or "seconds" in said:
        raise NotAStep(f"Step {number} waits for one of {', '.join(COUNTED)}, or for quiet for some seconds.")
    return Step(Act.WAIT, str(what), count=_whole(number, "count", said.get("count", 0), least=0))


def _expect(number: int, said: Mapping[str, object]) -> Step:
    what = said[Act.EXPECT]
    if isinstance(what, int) and not isinstance(what, bool) and "count" not in said:
        return Step(Act.EXPECT, "finished", count=_whole(number, Act.EXPECT, what))
    if what == COMPLETED and "count" not in said:
        return Step(Act.EXPECT, COMPLETED)
    if what not in COUNTED or "count" not in said:
        raise NotAStep(f"Step {number} expects completed, or one of {', '.join(COUNTED)} with a `count`.")
    return Step(Act.EXPECT, str(what), count=_whole(number, "count", said["count"], least=0))


def _restart_broker(number: int, said: Mapping[str, object]) -> Step:
    return Step(Act.RESTART_BROKER, seconds=_seconds(number, Act.RESTART_BROKER, said[Act.RESTART_BROKER]))


def _cut(number: int, said: Mapping[str, object]) -> Step:
    return Step(Act.CUT, seconds=_seconds(number, Act.CUT, said[Act.CUT]), hard=_flag(number, "silent", said))


def _restart_worker(number: int, said: Mapping[str, object]) -> Step:
    if said[Act.RESTART_WORKER] is not True:
        raise NotAStep(f"Step {number} must be written `restart-worker = true`.")
    return Step(Act.RESTART_WORKER, hard=_flag(number, "kill", said))


_MAKERS = {
    Act.SEND: _send,
    Act.WAIT: _wait,
    Act.EXPECT: _expect,
    Act.RESTART_BROKER: _restart_broker,
    Act.CUT: _cut,
    Act.RESTART_WORKER: _restart_worker,
}


def _whole(number: int, key: str, value: object, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 100_000:
        raise NotAStep(f"Step {number}: `{key}` is a whole number from {least} on, not {value!r}.")
    return value


def _seconds(number: int, key: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= LONGEST:
        raise NotAStep(f"Step {number}: `{key}` is a number of seconds up to {LONGEST:g}, not {value!r}.")
    return float(value)


def _flag(number: int, key: str, said: Mapping[str, object]) -> bool:
    value = said.get(key, False)
    if not isinstance(value, bool):
        raise NotAStep(f"Step {number}: `{key}` is true or false, not {value!r}.")
    return value


# --- what it takes, and how it reads -----------------------------------------------------------------


def restarts_broker(steps: Sequence[Step]) -> bool:
    return any(step.act in _BROKER for step in steps)


def takes_network(steps: Sequence[Step]) -> bool:
    """Whether the worker's connection must be in our hands: it is cut, or the broker behind it goes away."""
    return any(step.act in _NETWORK for step in steps)


def faults(steps: Sequence[Step]) -> tuple[str, ...]:
    """What goes wrong on purpose, in words."""
    return tuple(words(step) for step in steps if step.act not in (Act.SEND, Act.WAIT, Act.EXPECT))


def words(step: Step) -> str:
    """One step for a person."""
    match step.act:
        case Act.SEND:
            return f"send {step.count or 'as many as prove every slot'}"
        case Act.WAIT if step.what == QUIET:
            return f"wait for {step.seconds:g} s of quiet"
        case Act.WAIT:
            return f"wait until {step.count or 'all'} are {step.what}"
        case Act.EXPECT:
            return f"expect {step.what if step.what == COMPLETED else f'{step.count} {step.what}'}"
        case Act.RESTART_BROKER:
            return f"the broker restarted, {step.seconds:g} s away"
        case Act.CUT:
            how = "packets lost without a word" if step.hard else "connections closed"
            return f"the worker cut off for {step.seconds:g} s ({how})"
        case Act.RESTART_WORKER:
            return f"the worker {'killed' if step.hard else 'ended'} and started again"
