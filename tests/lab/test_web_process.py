"""What a web process would send by, as a whole trial sees it: a fact beside all others, which changes none of them."""

from __future__ import annotations

from scenario import Scenario, Tried, of

from bisect_celery.model import Kind

SHARED = """\
from celery import Celery, shared_task

app = Celery("shop", broker="amqp://production.example//", backend="rpc://")

@shared_task(name="shop.work")
def work(n):
    return n * 2
"""


@of(Scenario(SHARED))
def test_a_shared_task_whose_module_makes_the_app(tried: Tried) -> None:
    assert tried.kind is Kind.COMPLETED
    assert (tried.observation.worker.web_app, tried.observation.worker.web_broker) == ("project", "production.example")


@of(Scenario(SHARED.replace("@shared_task", "@app.task")))
def test_a_task_that_is_bound_to_its_app_needs_no_look(tried: Tried) -> None:
    assert tried.kind is Kind.COMPLETED
    assert tried.observation.worker.web_app is None
