import os

from celery import Celery

app = Celery("__package__", broker=os.environ.get("BROKER_URL"), backend="rpc://", include=["__package__.__module__"])
