"""How a compose file is refused: the first thing in it that is not understood, by its path."""

from __future__ import annotations

from bisect_celery.errors import UserError


def refusal(where: str, why: str) -> UserError:
    return UserError(
        f"docker-compose.yml: {where} {why}.",
        "Only the subset of Compose that bisect_celery/stack/compose/ours.py lists is read.",
    )
