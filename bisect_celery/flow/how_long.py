"""How long it will take, told before it does: in trials and minutes, and against the budget. Pure."""

from __future__ import annotations

import math

# A commit of so many changes takes more trials than were told of when nobody knew which commit it would be; about so
# many for each halving (24 for BookWyrm's 84 changes).
MANY, EACH_HALVING = 10, 4


def to_go(trials: int, seconds_each: float, seconds_left: float) -> str | None:
    """How long it will take, and what becomes of it where the budget is shorter; None where all was tried already."""
    if trials <= 0:
        return None
    minutes = max(1, round(trials * seconds_each / 60))
    told = f"About {trials} trials to go, {minutes} min."
    if trials * seconds_each > seconds_left:
        told += (
            f" The budget has {seconds_left / 60:.0f} min left; `bisect-celery resume` then goes on where it stops, "
            "`--budget MINUTES` at once gives more."
        )
    return told


def to_take_apart(changes: int, known: int, seconds_each: float, seconds_left: float) -> str | None:
    """The same for a commit of many changes, which takes more trials than was told when nobody knew which it would be;
    None for a small one. `known` is how many of its trials were made before a stop."""
    if changes < MANY:
        return None
    told = to_go(round(EACH_HALVING * math.log2(changes)) - known, seconds_each, seconds_left)
    return told and f"{changes} changes to take apart. {told}"
