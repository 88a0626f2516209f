"""A door whose engine is slow, without an engine."""

from __future__ import annotations

import socket
import threading
from typing import Any, Self, cast

from bisect_celery.errors import InfraError
from bisect_celery.lab.cancel import Token
from bisect_celery.stack.engine.api import Engine
from bisect_celery.stack.engine.door import Door


class Slow:
    """An engine that starts no command until it is let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.let = threading.Event()

    def fresh(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def talk(self, container: str, argv: tuple[str, ...]) -> Any:
        self.asked.append(container)
        assert self.let.wait(20)
        raise InfraError("Not any more.")


def test_a_connection_that_was_given_up_meanwhile_costs_no_command() -> None:
    engine = Slow()
    door = Door(cast(Engine, engine), "broker", 5672)
    ends = [socket.create_connection((door.host, door.port), timeout=20) for _ in range(30)]
    try:
        assert Token().wait(lambda: len(door._open) == 30 and len(engine.asked) == 4, 20)
        for end in ends[:-1]:
            end.sendall(b"is anybody there?")
            end.close()
        engine.let.set()
        with ends[-1]:
            assert ends[-1].recv(1) == b""
        assert Token().wait(lambda: not door._open, 20)
        assert len(engine.asked) <= 5
    finally:
        engine.let.set()
        door.close()
