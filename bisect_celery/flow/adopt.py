"""What the good end's first trial shows that all trials need: one change of the plan for every tree, and it is said.

A result backend of the project's own is not ours to write to; a variable that is missing stands in the example that
the project ships; a task that every Celery has got no answer in a queue that the worker does not consume. The last two
are taken at the good end only: at a bad one the same may be the failure that is looked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from bisect_celery.core import judge
from bisect_celery.lab.plan import DATABASE_RESULTS, OF_POSTGRES, OF_REDIS, REDIS_RESULTS, REPLACEMENT, Plan, provided
from bisect_celery.model import Fallback, Kind, Observation, Session
from bisect_celery.stack.services.protocol import NAMES

Serve = Callable[[str], bool]
# So many names of variables in one sentence.
SHOWN = 4


@dataclass(frozen=True)
class Adopted:
    """The plan for all trials from now on, and the sentence that says what is new in it.

    `kind` is "results", "variables" or "queue"; `backend` the kind of the project's result backend that was replaced.
    """

    plan: Plan
    note: str
    kind: str
    backend: str | None = None


def adopted(seen: Observation, plan: Plan, serve: Serve, *, good: bool = True) -> Adopted | None:
    """What a trial needs that this one had not; None where it had all. `serve` has a service from now on, if it can.

    `good`: it was of a revision that is said to work, or of the only one that is tried.
    """
    replaced = replaced_backend(seen, plan, serve)
    if replaced is not None:
        backend = seen.worker.result_backend
        return Adopted(replaced, backend_note(backend, replaced), "results", backend)
    return (_variables(seen, plan, serve) or _queue(seen, plan)) if good else None


def again(kinds: tuple[str, ...], plan: Plan, serve: Serve) -> Plan:
    """The plan with what an earlier call adopted (`Adopted.kind`); results show by themselves where they go."""
    if "variables" in kinds and plan.fallback is not None:
        plan = _with_example(plan, plan.fallback, serve)[0]
    if "queue" in kinds and plan.consumed():
        plan = _with_queue(plan)
    return plan


def as_session(session: Session, plan: Plan, serve: Serve) -> Plan:
    """The plan with all that a session adopted, told by what its good end showed."""
    for one in session.judged:
        if one.trial.purpose == "good end" and (found := adopted(one.trial.observation, plan, serve)) is not None:
            plan = found.plan
    return plan


# --- where results go ------------------------------------------------------------------------------------


def replaced_backend(seen: Observation, plan: Plan, serve: Serve) -> Plan | None:
    """The plan with results elsewhere, where a trial showed that they would go where the project's go; else None.

    A Redis stays a Redis, one of each trial's own, where `serve` can have one; anything else goes to the broker.
    """
    worker = seen.worker
    if provided(worker) or plan.result_url is not None:
        return None
    if worker.result_backend in OF_REDIS and serve("redis"):
        return dataclasses.replace(plan, result_url=REDIS_RESULTS)
    if worker.result_backend in OF_POSTGRES and "postgres" in plan.services:
        return dataclasses.replace(plan, result_url=DATABASE_RESULTS)
    return dataclasses.replace(plan, result_url=REPLACEMENT)


def backend_note(backend: str | None, plan: Plan) -> str:
    if plan.result_url == REDIS_RESULTS:
        return "Results go to a Redis of each trial's own, since the project's go to one that is not ours."
    if plan.result_url == DATABASE_RESULTS:
        return "Results go to each trial's own database, since the project's go to one that is not ours."
    hint = " (no redis-server is installed)" if backend in OF_REDIS else ""
    return f"Results go to {REPLACEMENT} in every trial: the project's `{backend}` is not provided here{hint}."


# --- what settings read ----------------------------------------------------------------------------------


def _variables(seen: Observation, plan: Plan, serve: Serve) -> Adopted | None:
    """The project's own example, where the trial ended for want of a variable that it sets.

    What was said by the user stays as it was said. Placeholders of services that cannot be had are left out.
    """
    fallback, failure = plan.fallback, seen.failure
    if fallback is None or failure is None:
        return None
    shown = dict(fallback.variables)
    wanted = next((name for kind, name in failure.missing if kind == "variable" and name in shown), None)
    if wanted is None or wanted in dict(plan.variables):
        return None
    changed, had = _with_example(plan, fallback, serve)
    taken = set(dict(changed.variables)) - set(dict(plan.variables))
    return Adopted(changed, _example_note(fallback, wanted, taken, had), "variables")


def _with_example(plan: Plan, fallback: Fallback, serve: Serve) -> tuple[Plan, set[str]]:
    """With the example's variables, and those of its services that can be had here."""
    had = {kind for kind in fallback.services if kind in plan.services or serve(kind)}
    bound, ours = dict(fallback.bound), dict(plan.variables)
    variables = {name: value for name, value in fallback.variables if not bound.get(name) or bound[name] in had}
    services = tuple(dict.fromkeys((*plan.services, *(kind for kind in fallback.services if kind in had))))
    merged = tuple({**variables, **ours}.items())
    changed = dataclasses.replace(plan, variables=merged, services=services, fallback=None, example=fallback.source)
    return changed, had


def _example_note(fallback: Fallback, wanted: str, taken: set[str], had: set[str]) -> str:
    ours = [name for name, _ in fallback.bound if name in taken]
    shown = ", ".join(ours[:SHOWN]) + (f" and {len(ours) - SHOWN} more" if len(ours) > SHOWN else "")
    own = f"; {shown} name what is the trial's own" if ours else ""
    without = [NAMES[kind] for kind in fallback.services if kind not in had]
    lacks = f" There is no {' and no '.join(without)} here (`bisect-celery doctor`)." if without else ""
    count = f"the {len(taken)} variables" if len(taken) != 1 else "the one variable"
    return (
        f"{wanted} is missing, so every trial has {count} of {fallback.source}{own}. "
        f"Others: `--env NAME=VALUE`, `--env-file FILE`.{lacks}"
    )


# --- where probes go -------------------------------------------------------------------------------------


def _queue(seen: Observation, plan: Plan) -> Adopted | None:
    """A queue of the worker's, where the task that nobody named went to one that the worker was told not to consume."""
    probe, queues = plan.probe, plan.consumed()
    if probe.task is not None or probe.queue is not None or probe.script is not None or not queues:
        return None
    if judge.symptom(seen, judge.standard_of(probe)).symptom.kind is not Kind.NEVER_RECEIVED:
        return None
    waiting = [queue.name for queue in seen.queues if queue.ready]
    if not waiting or set(waiting) & set(queues):
        return None
    changed = _with_queue(plan)
    note = (
        f"Tasks without a route of their own go to `{waiting[0]}`, which this worker does not consume; the probe, "
        f"which every Celery has, goes to `{changed.probe.queue}`. A task of yours: `--task NAME`."
    )
    return Adopted(changed, note, "queue")


def _with_queue(plan: Plan) -> Plan:
    return dataclasses.replace(plan, probe=dataclasses.replace(plan.probe, queue=plan.consumed()[0]))
