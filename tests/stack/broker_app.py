"""The Celery application of test_broker_celery. Its tasks tell by files what they did, not by the broker."""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import Celery

app = Celery("broker_app", broker=os.environ["TEST_BROKER"], backend="rpc://")
app.conf.update(task_default_queue="work", worker_prefetch_multiplier=2, broker_connection_retry_on_startup=True)
FOLDER = Path(os.environ["TEST_FOLDER"])


@app.task
def add(left: int, right: int) -> int:
    return left + right


@app.task(acks_late=True)
def hold(name: str) -> int:
    """Write down that it runs, then wait until it is let go."""
    with (FOLDER / f"{name}.started").open("a") as started:
        started.write(f"{os.getpid()}\n")
    while not (FOLDER / f"{name}.go").exists():
        time.sleep(0.02)
    return os.getpid()


@app.task
def fail() -> None:
    raise ValueError("on purpose")
