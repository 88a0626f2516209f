"""What a run says of the time that it will take: before the long part begins, and against the budget."""

from __future__ import annotations

from bisect_celery.flow.tell import to_go


def test_what_fits_the_budget_is_a_count_and_minutes() -> None:
    assert to_go(24, 5.0, 1800.0) == "About 24 trials to go, 2 min."


def test_what_does_not_fit_says_so_before_the_time_is_spent() -> None:
    told = to_go(24, 213.0, 3300.0)
    assert told is not None
    assert told.startswith("About 24 trials to go, 85 min. The budget has 55 min left")
    assert "--budget" in told
    assert "resume" in told


def test_a_session_that_only_tells_again_what_it_knows_promises_nothing() -> None:
    assert to_go(0, 20.0, 600.0) is None
    assert to_go(-3, 20.0, 600.0) is None
