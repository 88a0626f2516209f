"""The founding incident as a session, for the report's tests: what the flow would hand over at the end."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from bisect_celery.model import (
    Atom,
    AtomKind,
    Culprit,
    Difference,
    Dump,
    Failure,
    Judged,
    Judgement,
    Kind,
    Message,
    Observation,
    Outcome,
    Probe,
    QueueCount,
    Request,
    Revision,
    Session,
    Skipped,
    StackFacts,
    Stage,
    Symptom,
    Tally,
    Tree,
    Trial,
    Verdict,
    WorkerFacts,
)

GOOD, BAD, SKIPPED = Symptom(Kind.COMPLETED), Symptom(Kind.EXECUTED_NOT_ACKED), Symptom(Kind.BOOT_FAILED, "ImportError")
VERDICTS = {GOOD: Verdict.GOOD, BAD: Verdict.BAD, SKIPPED: Verdict.SKIP}
WORKER = WorkerFacts(celery="5.6.3", python="3.11.7", concurrency=2, prefetch=2, acks_late=True, pool="prefork")


def sha(digit: str) -> str:
    return digit * 40


def revision(digit: str, title: str, date: str = "2025-11-03T10:12:00+01:00") -> Revision:
    return Revision(sha(digit), "7" + sha(digit)[1:], title, "Jo Doe <jo@example.com>", date, (sha("9"),))


def completed(sent: int = 20) -> Observation:
    messages = tuple(
        Message(f"m{n}", n // 18, 1.0, 1.1, 1.1, 1.2, 1.3, starts=1, state="SUCCESS", value="1") for n in range(sent)
    )
    return Observation(3.1, None, WORKER, 0.9, messages, (QueueCount("mail", 0, 0),), held=0, ended="complete")


CHILD = (
    "acquire (<frozen importlib._bootstrap>:170)",
    "__enter__ (<frozen importlib._bootstrap>:198)",
    "_find_and_load (<frozen importlib._bootstrap>:1175)",
    "note_done (shop/tracking.py:31)",
    "__call__ (shop/celery.py:44)",
    "trace_task (celery/app/trace.py:585)",
    "fast_trace_task (celery/app/trace.py:698)",
    "workloop (billiard/pool.py:362)",
    "__call__ (billiard/pool.py:293)",
    "run (billiard/process.py:120)",
    "<module> (manage.py:22)",
)
PARENT = (
    "poll (kombu/utils/eventio.py:83)",
    "create_loop (kombu/asynchronous/hub.py:324)",
    "asynloop (celery/worker/loops.py:97)",
    "start (celery/worker/consumer/consumer.py:746)",
    "<module> (celery/__main__.py:15)",
)


def stuck(sent: int = 20) -> Observation:
    begun = tuple(Message(f"m{n}", 0, 1.0, 1.1, 1.1, 1.2, starts=1, process=str(40 + n)) for n in range(2))
    waiting = tuple(Message(f"m{n}", 0, 1.0) for n in range(2, sent))
    dumps = (
        Dump(31, "parent", PARENT, "MainThread"),
        Dump(40, "child", CHILD, "MainThread"),
        Dump(41, "child", CHILD, "MainThread"),
        Dump(40, "child", ("wait (threading.py:320)",), "Thread-1"),
    )
    return Observation(
        13.0,
        None,
        WORKER,
        0.9,
        begun + waiting,
        (QueueCount("mail", sent - 2, 2),),
        held=2,
        dumps=dumps,
        ended="quiet",
    )


def unbootable() -> Observation:
    reason = "ImportError: cannot import name 'letter' from 'shop.mail' (private-detail)"
    failure = Failure(Stage.BOOT, reason, "ImportError", (("module", "shop.mail"),), ("a raw log line",))
    return Observation(1.2, failure)


SEEN = {GOOD: completed, BAD: stuck, SKIPPED: unbootable}


def judged(number: int, tree: str, label: str, symptom: Symptom, purpose: str = "search", title: str = "") -> Judged:
    trial = Trial(number, Tree(tree, label, title), SEEN[symptom](), "d", purpose=purpose, seconds=3.25)
    return Judged(trial, Judgement(VERDICTS[symptom], symptom, "the rule"))


CULPRIT = revision("c", "Spring cleaning: drop unused imports, sort the rest")
BROKEN = revision("b", "Split the mail module", "2025-11-01T09:00:00+01:00")
GOOD_END = revision("1", "Release 1.4", "2025-09-01T09:00:00+02:00")
BAD_END = revision("f", "Merge branch 'payments'", "2025-12-01T18:20:00+01:00")
ATOM = Atom(3, AtomKind.IMPORT, "shop/__init__.py", "@@ -2,1 +1,0 @@", ("-from shop import regions  # noqa: F401",))
PATCH = """\
diff --git a/shop/__init__.py b/shop/__init__.py
--- a/shop/__init__.py
+++ b/shop/__init__.py
@@ -1,2 +1,3 @@
 from shop.celery import app
+from shop import regions  # noqa: F401
 __all__ = ["app"]
"""
FIXED, CAUSED, PARENT_TREE = sha("5"), sha("6"), sha("8")


def trials() -> tuple[Judged, ...]:
    search = [
        judged(1, GOOD_END.tree, "1111111111", GOOD, "good end", GOOD_END.title),
        judged(2, BAD_END.tree, "ffffffffff", BAD, "bad end", BAD_END.title),
        judged(3, BROKEN.tree, "bbbbbbbbbb", SKIPPED, "search", BROKEN.title),
        judged(4, CULPRIT.tree, "cccccccccc", BAD, "search", CULPRIT.title),
        judged(5, PARENT_TREE, "9999999999", GOOD, "search", "Send receipts in the customer's language"),
    ]
    rows = ((PARENT_TREE, "9999999999", GOOD), (CULPRIT.tree, "cccccccccc", BAD))
    rows += ((FIXED, "cccccccccc minus atom 3", GOOD), (CAUSED, "9999999999 plus atom 3", BAD))
    confirm = [judged(6 + round_ * 4 + place, *row, "confirm") for round_ in range(3) for place, row in enumerate(rows)]
    return (*search, *confirm)


def culprit() -> Culprit:
    return Culprit(
        CULPRIT,
        cause=(ATOM,),
        fix=(ATOM,),
        cause_tree=CAUSED,
        fixed_tree=FIXED,
        patch=PATCH,
        confirmation=(
            Tally("parent", Tree(PARENT_TREE, "9999999999"), 0, 3, should_fail=False, trials=(6, 10, 14)),
            Tally("culprit", Tree(CULPRIT.tree, "cccccccccc"), 3, 3, should_fail=True, trials=(7, 11, 15)),
            Tally(
                "culprit without the cause",
                Tree(FIXED, "cccccccccc minus atom 3"),
                0,
                3,
                should_fail=False,
                trials=(8, 12, 16),
            ),
            Tally(
                "parent with the cause alone",
                Tree(CAUSED, "9999999999 plus atom 3"),
                3,
                3,
                should_fail=True,
                trials=(9, 13, 17),
            ),
        ),
    )


def session(**changes: Any) -> Session:
    request = Request(
        repository=Path("/home/jo/shop"),
        good="v1.4",
        bad="HEAD",
        app="shop",
        probe=Probe("shop.mail.send_receipt", args='["order-77412"]'),
        environment=(("SECRET_KEY", "value-of-the-key"), ("REGION", "eu-west-hidden")),
        secrets=("value-of-the-key",),
    )
    command = "bisect-celery run v1.4 HEAD --task shop.mail.send_receipt"
    command += " --args '[\"order-77412\"]' --env REGION=eu-west-hidden"
    whole = Session(
        id="20251203-101500-k3",
        command=command,
        request=request,
        started_at="2025-12-03T10:15:00+00:00",
        finished_at="2025-12-03T10:16:35+00:00",
        outcome=Outcome.CONFIRMED,
        headline="Since cccccccccc removed an import in shop/__init__.py, tasks are never acknowledged.",
        good=GOOD_END,
        bad=BAD_END,
        stack=StackFacts("process", "rabbitmq", "3.10.8", False, "no Docker engine answers", False),
        differences=(
            Difference("result backend", "redis://cache:6379/1", "a SQLite file", "`--env` sets another"),
            Difference("replicas", "4 workers", "1 worker", ""),
        ),
        judged=trials(),
        good_symptom=GOOD,
        bad_symptom=BAD,
        good_trial=1,
        bad_trial=2,
        culprit=culprit(),
        skipped=(Skipped(BROKEN, "boot-failed: ImportError: cannot import name 'letter' (private-detail)", False),),
        bisect_log="# bad: [ffffffffff]\n# good: [1111111111]\ngit bisect skip bbbbbbbbbb\ngit bisect bad cccccccccc\n",
        versions=(("bisect-celery", "0.1.0"), ("git", "2.39.5"), ("celery", "5.6.3"), ("python", "3.11.7")),
        not_tested=("The tip of the branch with the fix applied.", "Load: 20 tasks, one worker."),
        advice=(),
    )
    return dataclasses.replace(whole, **changes)
