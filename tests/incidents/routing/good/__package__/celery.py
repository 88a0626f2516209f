import os

from celery import Celery
from kombu import Exchange, Queue

app = Celery("__package__", broker=os.environ.get("BROKER_URL"), backend="rpc://", include=["__package__.__module__"])

jobs = Exchange("jobs", "topic")
app.conf.task_queues = [Queue("mail", jobs, routing_key="mail.#"), Queue("rest", jobs, routing_key="rest.#")]
app.conf.task_routes = {"__package__.__module__.*": {"exchange": "jobs", "routing_key": "mail.send"}}
