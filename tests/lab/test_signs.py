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
    quiet, told = Heard(), Heard()
    assert quiet.lines(".> transport:   amqp://u:**@127.0.0.1:5672/x").heard == (), "which is printed at any level"
    assert told.lines(MAIN.format("INFO") + "Connected to amqp://u:**@127.0.0.1:5672/x").heard == ("boot",)
    assert heard.lines(MAIN.format("INFO") + "celery@here ready.").heard == ("event", "log")


def test_a_failure_that_only_a_log_of_json_or_of_colours_tells_is_the_same_failure() -> None:
    said = f"Task shop.work[{ID}] raised unexpected: ValueError('no order 17')"
    written = json.dumps({"message": said, "exc_info": "Traceback …\nValueError: no order 17", "args": "(17, 'ada')"})
    for line in (MAIN.format("ERROR") + said, f"\x1b[1;31m{MAIN.format('ERROR')}{said}\x1b[0m", written, f"{said} #17"):
        (message,) = Heard().lines(line).messages
        assert (message.state, message.exception, message.detail) == ("FAILURE", "ValueError", "no order 17"), line


def test_a_retry_is_told_by_the_log_as_by_the_event() -> None:
    """A pool of threads drops events; then the next start is no redelivery all the same."""
    reasons = []
    for told in (1, 2, 3):
        heard = Heard()
        heard.signs.event({"type": "task-started", "uuid": ID})
        if told & 1:
            heard.signs.event({"type": "task-retried", "uuid": ID, "exception": "OSError('gone')"})
        if told & 2:
            heard.lines(MAIN.format("INFO") + f"Task shop.work[{ID}] retry: Retry in 180s: OSError('gone')")
        heard.signs.event({"type": "task-started", "uuid": ID})
        (message,) = heard.lines().messages
        assert (message.starts, message.retries) == (1, 1)
        reasons.append((message.exception, message.detail))
    assert set(reasons) == {("OSError", "gone")}


def test_a_retry_without_an_exception_has_none() -> None:
    event, line = Heard(), Heard()
    event.signs.event({"type": "task-retried", "uuid": ID, "exception": "None"})
    line.lines(MAIN.format("INFO") + f"Task shop.work[{ID}] retry: Retry in 180s")
    for heard in (event, line):
        (message,) = heard.lines().messages
        assert (message.retries, message.exception, message.detail) == (1, None, None)


def test_what_the_worker_runs_was_begun_and_tells_when_it_is_acknowledged() -> None:
    for acknowledged, late in (([False, True], True), ([True, False], False), ([None, None], None), ([], None)):
        heard = Heard()
        said = {"event": "asked", "number": 0, "held": [ID, "another"], "acknowledged": acknowledged}
        heard.signs.sender_line(json.dumps(said))
        assert heard.lines().messages[0].started is not None
        assert heard.signs.facts.acks_late is late


def test_what_the_sender_has_published_is_known_from_its_word_on() -> None:
    heard = Heard()
    heard.signs.sender_line(json.dumps({"event": "sent", "id": ID, "wave": 1}))
    assert heard.lines().messages[0].published is not None
    assert heard.lines().messages[0].received is None
