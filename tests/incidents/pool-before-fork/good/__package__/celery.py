import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "__package__.settings")
app = Celery("__package__", backend="rpc://")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
