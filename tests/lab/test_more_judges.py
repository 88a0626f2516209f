"""What a user declares beyond completion, in real trials: predicates, log lines, and a probe file of their own."""

from __future__ import annotations

import textwrap

from scenario import ENDLESS, SILENT, Scenario, Tried, of
from test_watch import PLAIN, shop

from bisect_celery.model import Kind, Probe, Script

SAYS = """
@app.task
def work(n):
    print("a lock was not got")
    return n * 2
"""
FILES = """
app.conf.result_backend = "file://" + os.environ["HOME"]
"""


def script(text: str) -> Script:
    return Script("probe.py", textwrap.dedent(text))


# --- values ------------------------------------------------------------------------------------------

ALL_HOLD = Probe(
    "shop.work", "[3]", check="value == 6", log_must=r"shop\.work\[.*succeeded", log_must_not="a lock was not"
)


@of(Scenario(shop(PLAIN), ALL_HOLD))
def test_what_holds_is_completed(tried: Tried) -> None:
    assert tried.kind is Kind.COMPLETED, tried.seen
    assert {message.checked for message in tried.messages} == {"true"}
    assert (tried.observation.log_required or 0) >= len(tried.messages)
    assert tried.observation.log_forbidden == 0


@of(Scenario(shop(PLAIN), Probe("shop.work", "[3]", check="value > 6")))
def test_a_predicate_that_does_not_hold(tried: Tried) -> None:
    assert tried.kind is Kind.WRONG_RESULT, tried.seen
    assert tried.seen.symptom.template == "value > 6"


@of(Scenario(shop(PLAIN), Probe("shop.work", "[3]", check="value['total'] > 6")))
def test_a_predicate_that_cannot_be_asked_is_another_failure(tried: Tried) -> None:
    assert tried.kind is Kind.WRONG_RESULT, tried.seen
    assert tried.seen.symptom.exception == "TypeError"


@of(
    Scenario(
        shop("@app.task(ignore_result=True)\ndef work(n): return n * 2"), Probe("shop.work", "[3]", check="value == 6")
    )
)
def test_a_predicate_without_results(tried: Tried) -> None:
    assert tried.kind is Kind.RESULT_LOST, tried.seen


# --- lines -------------------------------------------------------------------------------------------


@of(Scenario(shop(SAYS), Probe("shop.work", "[3]", log_must_not="lock was not got$")))
def test_a_line_that_must_not_be_ends_the_trial(tried: Tried) -> None:
    assert tried.kind is Kind.LOG_LINE, tried.seen
    assert tried.observation.ended == "line"


@of(Scenario(shop(PLAIN), Probe("shop.work", "[3]", log_must="ready|committed [0-9]+ rows")))
def test_a_line_that_must_be_counts_from_ready_on(tried: Tried) -> None:
    assert tried.kind is Kind.LOG_LINE, tried.seen
    assert tried.observation.ended == "complete"
    assert tried.observation.log_required == 0


# --- a file of the user's ----------------------------------------------------------------------------

CANVASES = script("""
    from celery import group
    from shop import work

    def send(app):
        return [work.delay(3), (work.s(2) | work.s()).apply_async(), group(work.s(1), work.s(4))(), work.delay(5).id]

    def judge(value, result):
        assert value in (6, 8, 2, 10), "off"
        return result.id is not None
""")


@of(Scenario(shop(FILES, PLAIN), Probe(script=CANVASES, count=4)))
def test_what_a_file_sends_is_watched_and_judged(tried: Tried) -> None:
    assert tried.kind is Kind.COMPLETED, (tried.seen, tried.observation)
    assert len(tried.messages) == 5 * (4 + 2)
    assert {message.checked for message in tried.messages} == {"true"}
    assert sum(message.canvas for message in tried.messages) == 4 + 2, (
        "of the chain the last is ours, the first before it"
    )
    assert [message.canvas_over for message in tried.messages] == [message.canvas for message in tried.messages]
    assert tried.observation.others == 0


OFF = script("""
    from shop import work

    def send(app):
        return work.delay(3)

    def judge(value, result):
        assert value == 7, "7 would be right, not %d" % value
""")


@of(Scenario(shop(PLAIN), Probe(script=OFF, count=4)))
def test_a_file_says_why(tried: Tried) -> None:
    assert tried.kind is Kind.WRONG_RESULT, tried.seen
    assert "would be right" in (tried.seen.symptom.template or "")


CHORD = script("""
    from celery import chord
    from shop import work, total

    def send(app):
        return chord([work.s(1), work.s(2)])(total.s())
""")
SUM = """
@app.task
def total(numbers):
    return sum(numbers)
"""
# What the header leaves is never seen, so that the body is never sent; an unlock asks for ever.
FORGETFUL = "@app.task(ignore_result=True)\ndef work(n): return n * 2"


@of(Scenario(shop(FILES, PLAIN, SUM), Probe(script=CHORD, count=3)))
def test_a_chord_completes(tried: Tried) -> None:
    assert tried.kind is Kind.COMPLETED, (tried.seen, tried.observation)
    assert {(message.canvas, message.canvas_over) for message in tried.messages} == {(2, 2)}


@of(Scenario(shop(FILES, FORGETFUL, SUM), Probe(script=CHORD, count=3), deadlines=ENDLESS))
def test_a_chord_whose_body_is_never_sent(tried: Tried) -> None:
    assert {(message.canvas, message.canvas_over) for message in tried.messages} == {(2, 2)}
    assert {message.received for message in tried.messages} == {None}
    assert tried.kind is Kind.NEVER_RECEIVED, (tried.seen, tried.observation)
    assert tried.seen.symptom.template == "never sent"


@of(
    Scenario(
        shop(PLAIN), Probe(script=script("def send(app):\n    import time\n    time.sleep(3600)")), deadlines=SILENT
    )
)
def test_a_file_must_not_wait(tried: Tried) -> None:
    assert tried.kind is Kind.TASK_FAILED, tried.seen
    assert tried.observation.failure is not None
    assert "did not return" in tried.observation.failure.reason


# --- measures ----------------------------------------------------------------------------------------

GROWS = """
app.conf.worker_max_memory_per_child = 150_000
kept = []

@app.task
def work(n):
    kept.append(bytearray(60_000_000))
    return n * 2
"""
MEMORY = Probe("shop.work", "[3]", judges=("memory",), count=8)


@of(Scenario(shop(PLAIN), MEMORY))
def test_memory_of_pool_processes(tried: Tried) -> None:
    assert tried.kind is Kind.COMPLETED, tried.seen
    assert len(tried.observation.memory) == 2
    assert all(10_000 < peak < 150_000 for peak in tried.observation.memory), tried.observation.memory
    assert tried.observation.children_replaced == 0


@of(Scenario(shop(GROWS), MEMORY))
def test_memory_that_grows_until_processes_are_replaced(tried: Tried) -> None:
    """Seen from outside: in Celery 5.7's own log the replacement is not told."""
    assert tried.kind is Kind.COMPLETED, tried.seen
    assert max(tried.observation.memory) > 100_000
    assert len(tried.observation.memory) > 2


@of(Scenario(shop(PLAIN), Probe("shop.work", "[3]", judges=("memory",), count=2), worker=("-c", "1", "-P", "solo")))
def test_memory_of_a_worker_without_a_pool_of_processes(tried: Tried) -> None:
    assert len(tried.observation.memory) == 1
