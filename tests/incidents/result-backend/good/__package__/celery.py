import os

from celery import Celery

app = Celery("__package__", broker=os.environ.get("BROKER_URL"), include=["__package__.__module__"])
app.config_from_object("__package__.settings")
