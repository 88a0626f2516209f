"""The ledger: three witnesses, any order, one set of facts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisect_celery.core import judge
from bisect_celery.core.ledger import FINAL, Ledger
from bisect_celery.model import Message, QueueCount

EMPTY = (QueueCount("celery", 0, 0),)
Sign = Callable[[Ledger, float], None]


def ledger_of(*waves: int) -> Ledger:
    """A ledger with one message a wave: "m0", "m1", …"""
    ledger = Ledger()
    for index, wave in enumerate(waves or (1,)):
        ledger.sent(1.0, f"m{index}", wave)
    return ledger


def only(ledger: Ledger) -> Message:
    (message,) = ledger.observation(100.0).messages
    return message


def says(source: str, state: str, **told: Any) -> Sign:
    return lambda ledger, at: ledger.finished(at, "m0", state, source, **told)


# --- witnesses ---------------------------------------------------------------------------------------


def test_three_witnesses_of_one_success() -> None:
    ledger = ledger_of()
    ledger.received(1.1, "m0")
    ledger.started(1.2, "m0")
    ledger.finished(1.3, "m0", "SUCCESS", "log", process="ForkPoolWorker-1")
    ledger.finished(1.4, "m0", "SUCCESS", "result", value="6")
    ledger.finished(1.5, "m0", "SUCCESS", "event")
    assert only(ledger) == Message(
        "m0", 1, 1.0, received=1.1, started=1.2, finished=1.3, starts=1, state="SUCCESS", stored="SUCCESS", value="6",
        process="ForkPoolWorker-1", sources=("event", "log", "result"),
    )  # fmt: skip


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_one_bad_word_is_enough_whoever_says_it_and_when(order: tuple[int, ...]) -> None:
    """A body succeeds and its result is stored, then `on_success` raises: two witnesses of three say good."""
    signs = (
        says("result", "SUCCESS", value="6"),
        says("log", "SUCCESS"),
        says("event", "FAILURE", exception="AttributeError", detail="trail"),
    )
    ledger = ledger_of()
    for at, index in enumerate(order, start=2):
        signs[index](ledger, float(at))
    message = only(ledger)
    assert (message.state, message.exception, message.detail) == ("FAILURE", "AttributeError", "trail")
    assert message.stored == "SUCCESS"


@pytest.mark.parametrize("states", [("SUCCESS", "FAILURE"), ("FAILURE", "SUCCESS")])
def test_a_witness_who_speaks_twice_is_held_to_the_worse_word(states: tuple[str, str]) -> None:
    ledger = ledger_of()
    for at, state in enumerate(states, start=2):
        says("event", state)(ledger, float(at))
    assert only(ledger).state == "FAILURE"


def test_the_results_own_words_come_first_then_the_events() -> None:
    ledger = ledger_of()
    says("log", "FAILURE", exception="L", detail="cut")(ledger, 2.0)
    assert (only(ledger).exception, only(ledger).detail) == ("L", "cut")
    says("event", "FAILURE", exception="E", detail="copied")(ledger, 3.0)
    assert (only(ledger).exception, only(ledger).detail) == ("E", "copied")
    says("result", "FAILURE", exception="R", detail="itself")(ledger, 4.0)
    assert (only(ledger).exception, only(ledger).detail) == ("R", "itself")


def test_a_success_has_no_exception_even_after_a_retry() -> None:
    ledger = ledger_of()
    ledger.started(2.0, "m0")
    ledger.retried(3.0, "m0", "OSError", "gone")
    assert (only(ledger).state, only(ledger).exception, only(ledger).detail) == (None, "OSError", "gone")
    ledger.started(4.0, "m0")
    says("event", "SUCCESS")(ledger, 5.0)
    message = only(ledger)
    assert (message.state, message.exception, message.detail) == ("SUCCESS", None, None)
    assert (message.starts, message.retries) == (1, 1)


def test_words_that_are_not_final_are_not_kept() -> None:
    ledger = ledger_of()
    for state in ("PENDING", "STARTED", "RETRY", "PROGRESS", ""):
        says("result", state)(ledger, 2.0)
    assert only(ledger).state is None
    assert only(ledger).sources == ()


@given(st.permutations(["start", "retry", "start", "end"]))
def test_a_retry_is_no_redelivery_in_whatever_order_it_is_told(order: list[str]) -> None:
    """The pool process publishes the next run before the main process tells of the retry."""
    ledger = ledger_of()
    for at, what in enumerate(order, start=2):
        if what == "start":
            ledger.started(float(at), "m0")
        elif what == "retry":
            ledger.retried(float(at), "m0")
        else:
            says("event", "SUCCESS")(ledger, float(at))
    assert only(ledger).starts == 1
    assert only(ledger).state == "SUCCESS"


@given(st.permutations(["started", "started", "event", "log"]))
def test_a_retry_that_two_witnesses_tell_is_one(order: list[str]) -> None:
    """And the reason is the event's: the log's may be the project's own words."""
    ledger = ledger_of()
    for at, what in enumerate(order, start=2):
        if what == "started":
            ledger.started(float(at), "m0")
        else:
            ledger.retried(float(at), "m0", "OSError", f"as the {what} says", source=what)
    message = only(ledger)
    assert (message.starts, message.retries, message.detail) == (1, 1, "as the event says")


def test_a_retry_whose_reason_only_the_log_tells() -> None:
    ledger = ledger_of()
    ledger.retried(2.0, "m0", None, None)
    ledger.retried(2.1, "m0", "OSError", "gone", source="log")
    assert (only(ledger).exception, only(ledger).detail) == ("OSError", "gone")


def test_a_retry_that_only_the_log_tells_is_no_redelivery() -> None:
    """A pool of threads drops events: that the task was begun again may come through, and why may not."""
    ledger = ledger_of()
    for at in (2.0, 4.0):
        ledger.started(at, "m0")
    ledger.retried(3.0, "m0", "OSError", "gone", source="log")
    message = only(ledger)
    assert (message.starts, message.retries, message.exception, message.detail) == (1, 1, "OSError", "gone")


def test_what_the_worker_says_it_runs_was_begun_and_nothing_more() -> None:
    ledger = ledger_of(1, 1)
    ledger.started(2.0, "m0")
    for identity in ("m0", "m1", "theirs"):
        ledger.runs(7.0, identity)
    first, second = ledger.observation(9.0).messages
    assert (first.started, first.starts) == (2.0, 1)
    assert (second.started, second.starts) == (7.0, 0)
    assert ledger.last_progress == 2.0, "asking moves nothing"
    assert ledger.observation(9.0).others == 0


def test_a_second_start_that_nobody_asked_for_is_a_redelivery() -> None:
    ledger = ledger_of()
    for at in (2.0, 3.0):
        ledger.started(at, "m0")
    assert only(ledger).starts == 2


WORDS = st.fixed_dictionaries(
    {},
    optional={
        source: st.tuples(
            st.sampled_from(FINAL),
            st.sampled_from((None, "ValueError", "OSError")),
            st.sampled_from((None, "no order 17", "port 80")),
        )
        for source in ("event", "log", "result")
    },
)


def signs_of(id: str, told: dict[str, tuple[str, str | None, str | None]], starts: int, retries: int) -> list[Sign]:
    def final(source: str, state: str, exception: str | None, detail: str | None) -> Sign:
        return lambda ledger, at: ledger.finished(at, id, state, source, exception=exception, detail=detail)

    return [
        lambda ledger, at: ledger.received(at, id),
        *[lambda ledger, at: ledger.started(at, id)] * starts,
        *[lambda ledger, at: ledger.retried(at, id, "OSError", "again")] * retries,
        *(final(source, *word) for source, word in told.items()),
    ]


@given(
    st.lists(st.tuples(WORDS, st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=3),
    st.sampled_from(("complete", "quiet", "total")),
    st.randoms(),
)
def test_the_order_of_witnesses_does_not_change_the_symptom(messages: Any, ended: str, chance: Any) -> None:
    signs = [sign for index, told in enumerate(messages) for sign in signs_of(f"m{index}", *told)]
    seen = []
    for _ in range(2):
        chance.shuffle(signs)
        ledger = ledger_of(*(1 for _ in messages))
        for at, sign in enumerate(signs, start=2):
            sign(ledger, float(at))
        ledger.counted(99.0, EMPTY)
        observation = ledger.observation(100.0, ended=ended, held=0)
        facts = [
            (each.id, each.starts, each.retries, each.state, each.stored, each.exception, each.detail, each.sources)
            for each in observation.messages
        ]
        seen.append((facts, judge.symptom(observation)))
    assert seen[0] == seen[1]


# --- declared effects --------------------------------------------------------------------------------


def test_an_effect_belongs_to_the_task_it_names() -> None:
    ledger = ledger_of(1, 1)
    ledger.done(2.0, "m1")
    assert [message.done for message in ledger.observation(3.0).messages] == [None, 2.0]
    ledger.done(2.5, "m1")
    assert ledger.observation(3.0).messages[1].done == 2.0


def test_an_effect_without_a_name_is_the_first_begun_tasks() -> None:
    ledger = ledger_of(1, 1, 1)
    ledger.received(1.5, "m1")
    ledger.started(1.6, "m2")
    for at in (2.0, 3.0, 4.0, 5.0):
        ledger.done(at, None)
    assert [message.done for message in ledger.observation(6.0).messages] == [4.0, 3.0, 2.0]


# --- tasks that are not ours -------------------------------------------------------------------------


def test_others_move_things_and_are_counted_until_they_end() -> None:
    ledger = ledger_of()
    ledger.received(2.0, "theirs")
    ledger.started(3.0, "theirs")
    ledger.started(4.0, "another")
    observation = ledger.observation(9.0)
    assert (observation.others, observation.last_progress, len(observation.messages)) == (2, 4.0, 1)
    ledger.finished(5.0, "theirs", "SUCCESS", "event")
    assert (ledger.observation(9.0).others, ledger.last_progress) == (1, 5.0)
    ledger.finished(6.0, "theirs", "SUCCESS", "log")
    ledger.received(7.0, "theirs")
    assert (ledger.observation(9.0).others, ledger.last_progress) == (1, 5.0)
    assert not ledger.is_ours("theirs")
    assert ledger.is_ours("m0")


# --- progress and quiet ------------------------------------------------------------------------------


@given(st.lists(st.floats(0.001, 50), min_size=1, max_size=8))
def test_quiet_is_the_longest_gap_between_signs(gaps: list[float]) -> None:
    ledger = Ledger()
    ledger.begin(5.0)
    at, times = 5.0, [5.0]
    for index, gap in enumerate(gaps):
        at += gap
        times.append(at)
        ledger.sent(at, f"m{index}", 1)
    observation = ledger.observation(at + 1)
    assert observation.quiet == max(later - earlier for earlier, later in itertools.pairwise(times))
    assert observation.last_progress == at
    assert ledger.quiet_for(at + 7) == at + 7 - at


def test_what_took_long_before_the_worker_was_ready_is_not_quiet() -> None:
    ledger = Ledger()
    ledger.counted(40.0, (QueueCount("celery", 1, 0),))
    ledger.begin(50.0)
    ledger.sent(50.5, "m0", 1)
    assert ledger.observation(51.0).quiet == 0.5


def test_every_news_is_progress_and_nothing_else_is() -> None:
    ledger = ledger_of()
    news: list[Sign] = [
        lambda ledger, at: ledger.received(at, "m0"),
        lambda ledger, at: ledger.started(at, "m0"),
        lambda ledger, at: ledger.done(at, "m0"),
        says("event", "SUCCESS"),
        says("result", "SUCCESS"),
        lambda ledger, at: ledger.counted(at, (QueueCount("celery", 1, 2),)),
        lambda ledger, at: ledger.counted(at, (QueueCount("celery", 2, 1),)),
    ]
    for at, sign in enumerate(news, start=2):
        sign(ledger, float(at))
        assert ledger.last_progress == at
    told = ledger.last_progress
    stale: list[Sign] = [
        lambda ledger, at: ledger.received(at, "m0"),
        lambda ledger, at: ledger.done(at, "m0"),
        says("event", "SUCCESS"),
        lambda ledger, at: ledger.counted(at, (QueueCount("celery", 2, 1),)),
        lambda ledger, at: ledger.counted(at, (QueueCount("other", 2, 0), QueueCount("celery", 0, 1))),
    ]
    for at, sign in enumerate(stale, start=20):
        sign(ledger, float(at))
        assert ledger.last_progress == told


# --- complete ----------------------------------------------------------------------------------------


def test_a_wave_is_complete_when_all_is_final_and_the_queues_are_empty_since() -> None:
    ledger = ledger_of(1, 2)
    ledger.counted(2.0, EMPTY)
    assert not ledger.complete(1)
    says("event", "SUCCESS")(ledger, 3.0)
    assert not ledger.complete(1), "the queue was counted before the last word"
    ledger.counted(4.0, (QueueCount("celery", 0, 1),))
    assert not ledger.complete(1)
    ledger.counted(5.0, EMPTY)
    assert ledger.complete(1)
    assert not ledger.complete(2)
    assert not ledger.complete(3), "a wave that was never sent"


def test_queues_that_were_never_counted_are_not_empty() -> None:
    ledger = ledger_of()
    says("event", "SUCCESS")(ledger, 3.0)
    assert not ledger.drained()
    assert not ledger.complete(1)


def test_where_results_are_kept_a_wave_waits_for_them() -> None:
    ledger = ledger_of()
    says("event", "FAILURE")(ledger, 3.0)
    ledger.counted(4.0, EMPTY)
    assert ledger.complete(1)
    assert not ledger.complete(1, stored=True)
    says("result", "FAILURE")(ledger, 5.0)
    ledger.counted(6.0, EMPTY)
    assert ledger.complete(1, stored=True)


@pytest.mark.parametrize("state", ["IGNORED", "REJECTED"])
def test_what_leaves_no_result_is_not_waited_for(state: str) -> None:
    ledger = ledger_of()
    says("log", state)(ledger, 3.0)
    ledger.counted(4.0, EMPTY)
    assert ledger.complete(1, stored=True)


def test_all_have_returned_when_the_main_process_told_of_each() -> None:
    assert not Ledger().all_returned()
    ledger = ledger_of(1, 2)
    says("result", "SUCCESS")(ledger, 2.0)
    says("event", "SUCCESS")(ledger, 3.0)
    assert not ledger.all_returned()
    ledger.finished(4.0, "m1", "SUCCESS", "event")
    assert ledger.all_returned()
    assert judge.all_returned(ledger.observation(5.0))


def test_waves_and_finals_can_be_asked_for() -> None:
    ledger = ledger_of(1, 1, 2)
    says("log", "SUCCESS")(ledger, 2.0)
    assert ledger.ids(1) == ("m0", "m1")
    assert (ledger.finals(1), ledger.finals(2)) == (1, 0)


def test_what_others_put_where_it_stays_is_nothing_that_is_left() -> None:
    ledger = Ledger()
    ledger.sent(1.0, "a", 1)
    ledger.finished(2.0, "a", "SUCCESS", "event")
    ledger.counted(3.0, (QueueCount("celery", 0, 2), QueueCount("audit", 3, 0)))
    assert ledger.left == (3, 2)
    assert ledger.all_final()
    assert not ledger.all_over()
    ledger.set_aside(3, 2)
    assert ledger.all_over()
    ledger.counted(4.0, (QueueCount("celery", 0, 3), QueueCount("audit", 3, 0)))
    assert not ledger.all_over(), "one more than was asked about"
    ledger.counted(5.0, (QueueCount("celery", 0, 1), QueueCount("audit", 2, 0)))
    assert ledger.all_over(), "fewer: those were taken or their time came"


def test_what_was_published_refused_and_heard_is_told_with_the_facts() -> None:
    ledger = Ledger()
    ledger.sent(1.0, "a", 1)
    assert ledger.observation(1.5).counted_at is None
    ledger.published(2.0, "a")
    ledger.published(3.0, "a")
    ledger.published(3.0, "nobody's")
    ledger.refuse(4.0, "ContentDisallowed: no")
    ledger.refuse(5.0, "another reason")
    ledger.heard |= {"log", "event"}
    ledger.counted(6.0, ())
    seen = ledger.observation(7.0, scheduled=2, children_gone=1)
    assert seen.messages[0].published == 2.0
    assert (seen.refused, seen.refusal) == (2, "ContentDisallowed: no")
    assert (seen.heard, seen.counted_at) == (("event", "log"), 6.0)
    assert (seen.scheduled, seen.children_gone) == (2, 1)
    assert seen.last_progress == 5.0
