"""Which stack trials run in, and why: what the user said, else the best that this machine has."""

from __future__ import annotations

import os
from pathlib import Path

from bisect_celery.environment.local import LocalRunner
from bisect_celery.errors import UserError
from bisect_celery.home import Home
from bisect_celery.model import Owner, Request, Stack
from bisect_celery.stack import container
from bisect_celery.stack.node import BrokerNode, EmbeddedNode
from bisect_celery.stack.process import ProcessStack
from bisect_celery.stack.rabbitmq import RabbitNode, find_rabbitmq

HERE = "no container engine with images answers"


def choose(request: Request, home: Home, owner: Owner, scratch: Path) -> Stack:
    """The stack for a session, not started. Raises UserError when what was asked for cannot be had."""
    if request.stack == "container" and request.broker == "embedded":
        raise UserError("The embedded broker serves the process stack only.", "Leave out `--broker embedded`.")
    answers, reason = (False, "") if request.stack == "process" else container.available(os.environ)
    if request.stack == "container" and not answers:
        raise UserError(f"The container stack cannot be had: {reason}.", "`--stack process` needs no container engine.")
    if answers and request.broker != "embedded":
        why = "asked for" if request.stack else "a container engine answers"
        return container.ContainerStack(
            owner=owner, state=scratch / "container", environ=os.environ, why=why, ca_bundle=ca_bundle()
        )
    return _processes(request, home, scratch, "asked for" if request.stack else reason or HERE)


def _processes(request: Request, home: Home, scratch: Path, why: str) -> Stack:
    node, broker_why = _node(request, scratch)
    runner = LocalRunner(home.builds, scratch=scratch / "builds")
    return ProcessStack(node, runner, scratch / "places", f"{why}; {broker_why}")


def _node(request: Request, scratch: Path) -> tuple[BrokerNode, str]:
    if request.broker == "rabbitmq":
        return RabbitNode(scratch / "rabbitmq"), "RabbitMQ was asked for"
    if request.broker == "embedded":
        return EmbeddedNode(scratch / "broker"), "the embedded broker was asked for"
    installed = find_rabbitmq()
    if installed is not None:
        return RabbitNode(scratch / "rabbitmq", installed), "RabbitMQ is installed"
    return EmbeddedNode(scratch / "broker"), "RabbitMQ is not installed"


def ca_bundle() -> Path | None:
    """A company's own certificates, by the names under which tools look for them; for builds only."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        path = Path(os.environ.get(name) or "")
        if path.is_file():
            return path
    return None
