"""What lines and events come to mean where no real worker is needed to see it."""

from __future__ import annotations

import json

from bisect_celery.core.ledger import Ledger
from bisect_celery.lab.signs import Signs
from bisect_celery.model import Observation, Probe

ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
MAIN = "[2026-11-22 20:33:45,995: {}/MainProcess] "
WORDS = "Refusing to deserialize untrusted content of type pickle (application/x-python-serialize)"


class Heard:
    """Signs with a clock that goes on by one with each sign."""

    def __init__(self) -> None:
        self.at = 0.0
        self.ledger = Ledger()
        self.signs = Signs(self.ledger, self._now, "amqp://u:p@127.0.0.1:5672/x", Probe(), lambda _: None)
        self.ledger.sent(0.0, ID, 1)

    def _now(self) -> float:
        self.at += 1.0
        return self.at

    def lines(self, *lines: str) -> Observation:
        for line in lines:
            self.signs.worker_line(line)
        return self.ledger.observation(self._now())


def test_a_refusal_is_told_with_the_exception_that_its_traceback_ends_with() -> None:
    seen = Heard().lines(
        MAIN.format("ERROR") + f"Received invalid task message: {WORDS}",
        "The message has been ignored and discarded.",
        "Traceback (most recent call last):",
        '  File "serialization.py", line 255, in loads',
        "    raise self._for_untrusted_content(content_type, 'untrusted')",
        f"kombu.exceptions.ContentDisallowed: {WORDS}",
        MAIN.format("ERROR") + f"Received invalid task message: {WORDS}",
        f"kombu.exceptions.ContentDisallowed: {WORDS}",
    )
    assert (seen.refused, seen.refusal) == (2, f"ContentDisallowed: {WORDS}")


def test_a_refusal_that_is_told_as_a_repr_needs_no_traceback() -> None:
    line = "Can't decode message body: DecodeError('no json') [type:'application/json' encoding:'utf-8' headers:{}]"
    assert Heard().lines(MAIN.format("CRITICAL") + line).refusal == "DecodeError: no json"


def test_a_witness_is_known_to_work_once_the_worker_was_heard_through_it() -> None:
    heard = Heard()
    heard.signs.event({"type": "task-sent", "uuid": ID})
    assert heard.lines("what a project prints").heard == (), "the sender's own event is not the worker's"
    heard.signs.event({"type": "worker-heartbeat", "hostname": "celery@here"})
    assert heard.lines().heard == ("event",)
    assert heard.lines(MAIN.format("INFO") + "celery@here ready.").heard == ("event", "log")


def test_what_the_sender_has_published_is_known_from_its_word_on() -> None:
    heard = Heard()
    heard.signs.sender_line(json.dumps({"event": "sent", "id": ID, "wave": 1}))
    assert heard.lines().messages[0].published is not None
    assert heard.lines().messages[0].received is None
