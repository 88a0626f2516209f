import os
import sqlite3

import django
from celery.signals import worker_init
from django.conf import settings

NAME = os.path.join(os.environ["HOME"], "shop.sqlite3")
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": NAME, "OPTIONS": {"timeout": 3600}}}
)
django.setup()

from celery import Celery  # noqa: E402
from django.db import connection  # noqa: E402

app = Celery("__module__", broker=os.environ.get("BROKER_URL"), backend="rpc://")
held = None


@worker_init.connect
def prepare(**_):
    global held
    held = sqlite3.connect(NAME, isolation_level=None)
    held.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER)")
    held.execute("BEGIN EXCLUSIVE")
    held.execute("DELETE FROM orders")


@app.task
def __task__(number):
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM orders")
        return cursor.fetchone()[0] + number
