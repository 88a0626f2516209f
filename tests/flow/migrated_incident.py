"""A Django project with PostgreSQL, a Redis as cache and for results, and migrations, one of which breaks a task.

Its settings are what settings are: the database and the cache come by URL, the results' Redis is written in them.
"""

from __future__ import annotations

from pathlib import Path

from small_incident import commit, git

REQUIREMENTS = "celery==5.5.2\ndjango==4.2.16\nredis==5.2.1\npsycopg[binary]==3.2.9\n"
MANAGE = """\
import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""
SETTINGS = """\
import os
from urllib.parse import urlsplit

SECRET_KEY = "not one"
INSTALLED_APPS = ["orders"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

_database = urlsplit(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.path.lstrip("/"),
        "USER": _database.username,
        "PASSWORD": _database.password,
        "HOST": _database.hostname,
        "PORT": _database.port,
    }
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["REDIS_URL"]}}
CELERY_BROKER_URL = "amqp://shop:shop@rabbitmq//"
CELERY_RESULT_BACKEND = "redis://results.example:6379/1"
"""
APP = """\
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
MODELS = """\
from django.db import models


class Order(models.Model):
    customer = models.CharField(max_length=80)
    total = models.IntegerField()
"""
FIRST = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("customer", models.CharField(max_length=80)),
                ("total", models.IntegerField()),
            ],
        ),
    ]
"""
SECOND = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]
    operations = [
        migrations.AlterField("order", "customer", models.CharField(max_length=80, unique=True)),
    ]
"""
TASKS = """\
from celery import shared_task
from django.core.cache import cache
from orders.models import Order


@shared_task(name="orders.tasks.place")
def place(customer, total):
    Order.objects.create(customer=customer, total=total)
    cache.set(customer, total)
    return cache.get(customer)
"""
TITLES = ("Begin the shop", "Know a customer again", "Note who to ask")
CULPRIT = TITLES[1]


def written(folder: Path) -> tuple[str, ...]:
    """The repository; its commits, the oldest first."""
    first = {
        "requirements.txt": REQUIREMENTS,
        "manage.py": MANAGE,
        "shop/__init__.py": "from shop.celery import app\n",
        "shop/celery.py": APP,
        "shop/settings.py": SETTINGS,
        "orders/__init__.py": "",
        "orders/models.py": MODELS,
        "orders/tasks.py": TASKS,
        "orders/migrations/__init__.py": "",
        "orders/migrations/0001_initial.py": FIRST,
    }
    unique = {"orders/migrations/0002_unique.py": SECOND}
    files = (first, unique, {"CONTRIBUTING.md": "Ask Mara.\n"})
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    return tuple(
        commit(folder, title, content, day) for day, (title, content) in enumerate(zip(TITLES, files, strict=True))
    )
