"""What a run says of the time that it will take: before the long part begins, and against the budget."""

from __future__ import annotations

from bisect_celery.flow.how_long import to_go, to_take_apart


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


def test_a_large_commit_is_said_to_take_longer_and_a_small_one_is_not() -> None:
    assert to_take_apart(4, 0, 10.0, 3600.0) is None
    told = to_take_apart(84, -14, 10.0, 3600.0)
    assert told == "84 changes to take apart. About 40 trials to go, 7 min."
    assert "`--budget MINUTES`" in (to_take_apart(84, -14, 10.0, 60.0) or "")
    assert to_take_apart(84, 40, 10.0, 3600.0) is None, "all of it is known already"
