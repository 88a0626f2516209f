"""A Django project with PostgreSQL, a Redis as cache and for results, and migrations, one of which breaks a task.

Its settings are what settings are: the database and the cache come by URL, the results' Redis is written in them. What
it runs with stands in its compose file, and its passwords in a `.env` that nobody committed.
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

SECRET_KEY = os.environ["SECRET_KEY"]
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
CELERY_RESULT_BACKEND = "redis://redis:6379/2"
"""
COMPOSE = """\
x-shop: &shop
  image: ${SHOP_IMAGE:-python:3.11-slim}
  env_file: .env
  environment:
    DATABASE_URL: postgres://shop:${POSTGRES_PASSWORD}@db:5432/shop
    REDIS_URL: redis://redis:6379/1
  volumes: [".:/shop", "media:/media"]
  working_dir: /shop
  depends_on: [db, redis, rabbitmq]

services:
  web:
    <<: *shop
    command: sh -c "python manage.py migrate && gunicorn shop.wsgi"
    ports: ["8000:8000"]
  worker:
    <<: *shop
    command: celery -A shop worker -l info -c 1
  beat:
    <<: *shop
    command: celery -A shop beat
  db:
    image: ${POSTGRES_IMAGE:-postgres:16}
    environment:
      POSTGRES_USER: shop
      POSTGRES_DB: shop
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?say it in .env}
    volumes: ["database:/var/lib/postgresql/data"]
    ports: ["5432:5432"]
  redis:
    image: ${REDIS_IMAGE:-redis:7}
    command: redis-server --appendonly yes
    volumes: ["redis:/data"]
  rabbitmq:
    image: rabbitmq:3
  proxy:
    image: nginx:1.27
    depends_on: [web]

volumes: {database: {}, redis: {}, media: {}}
"""
# Nobody here reaches the registry that has the usual images.
ENV = """\
POSTGRES_PASSWORD=not-for-anybody-1
SECRET_KEY=nor-is-this-2
SHOP_IMAGE=bisect-celery/worker:local
POSTGRES_IMAGE=bisect-celery/services:local
REDIS_IMAGE=bisect-celery/services:local
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
        "compose.yaml": COMPOSE,
        ".gitignore": ".env\n",
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
    (folder / ".env").write_text(ENV)
    git(folder, "init", "--quiet", "--initial-branch=main")
    return tuple(
        commit(folder, title, content, day) for day, (title, content) in enumerate(zip(TITLES, files, strict=True))
    )
