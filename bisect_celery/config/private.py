"""What of a compose file must not be printed. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from bisect_celery.config import dotenv, secret
from bisect_celery.model import Companion

_SIMPLE = re.compile(r"[A-Za-z][A-Za-z_.-]*(?::\d+)?")


def secrets_of(
    pairs: Sequence[tuple[str, str]], files: Sequence[str], hidden: Iterable[str], known: set[str],
    shown: Sequence[str] = (),
) -> tuple[str, ...]:  # fmt: skip
    """Values of secret names, passwords in addresses, what stands in `files` of variables but for plain words, and what
    is `hidden` in any case. A word that also stands under a plain name (POSTGRES_DB) is no secret, nor is one that
    stands in an example, in `shown`: it would be taken out of every sentence that has it."""
    of_files: list[tuple[str, str]] = []
    for text in files:
        try:
            of_files += [(name, value) for name, value in dotenv.parse(text).items() if value]
        except dotenv.DotenvError:
            continue
    found = [*hidden, *(one for name, value in pairs for one in secret.of_variable(name, value))]
    for name, value in of_files:
        found += secret.of_variable(name, value, private=not _SIMPLE.fullmatch(value))
    plain = {
        value for name, value in (*pairs, *of_files) if not secret.is_secret_name(name) and _SIMPLE.fullmatch(value)
    }
    plain |= {value for text in shown for value in dotenv.variables_of(text).values() if _SIMPLE.fullmatch(value)}
    return secret.unique(one for one in found if one not in plain and one not in known)


def passwords_of(companions: Iterable[Companion]) -> Iterator[str]:
    """Those that stand in a command: `redis-server --requirepass x`."""
    for one in companions:
        for option, value in itertools.pairwise(one.command):
            if option.startswith("-") and secret.is_secret_name(option.lstrip("-").replace("-", "_")):
                yield value
