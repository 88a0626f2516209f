import importlib
import os
import threading

from celery import Celery
from celery.signals import worker_init

app = Celery(
    "__package__",
    broker=os.environ.get("BROKER_URL"),
    backend="rpc://",
    include=["__package__.__module__"],
    task_cls="__package__.audit:Audited",
    task_acks_late=True,
    worker_prefetch_multiplier=1,
)


@worker_init.connect
def warm_up(**_):
    threading.Thread(target=importlib.import_module, args=("__package__.tariffs",), daemon=True).start()
