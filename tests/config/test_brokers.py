"""Which kind of broker a project's files name, as projects write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from bisect_celery.config.brokers import named_broker
from bisect_celery.config.listing import Cached


class Files:
    """A `config.Listing` of what is given."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def paths(self) -> Sequence[str]:
        return sorted(self._texts)

    def read(self, path: str) -> bytes | None:
        return self._texts[path].encode() if path in self._texts else None


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ('BROKER_URL = "redis://localhost:6379/0"', "redis"),
        ('CELERY_BROKER_URL = os.environ.get(\n    "CELERY_BROKER_URL",\n    "redis://localhost",\n)', "redis"),
        ('CELERY_BROKER_URL = env("CELERY_BROKER_URL", default="pyamqp://guest@rabbit//")', "pyamqp"),
        ('CELERY_BROKER_URL = os.environ["REDIS_URL"]', "redis"),
        ('CELERY_BROKER_URL = f"redis://{REDIS_HOST}/0"', "redis"),
        ('app = Celery("x", broker="redis://x", backend="rpc://")', "redis"),
        ('app = Celery("x", broker=settings.BROKER, backend="redis://x")', None),
        ('app = Celery(\n    "x",\n    broker=BROKER,\n    backend="redis://x",\n)', None),
        ('app.conf.update(broker_url="amqp://x", result_backend="redis://x")', "amqp"),
        ('app.conf.broker_url = ["rediss://a", "rediss://b"]', "rediss"),
        ('class Settings(BaseSettings):\n    celery_broker_url: str = "redis://x"', "redis"),
        ('CELERY = {"broker_url": "sentinel://a:26379;sentinel://b:26379"}', "sentinel"),
        ('BROKER_TRANSPORT = "redis"\nBROKER_HOST = "cache"', "redis"),
        ('# BROKER_URL = "redis://x"\nBROKER_URL = "amqp://x"', "amqp"),
        ('BROKER_URL = env("X")\nRESULT_BACKEND = "redis://x"', None),
        ('CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}\nCACHE = "redis://x"', None),
        ('broker_connection_retry_on_startup = True\nCACHE = "redis://x"', None),
        ('CELERY_BROKER_URL = "memory://"', None),
        ('CELERY_BROKER_URL = "sqs://"', "sqs"),
    ],
)
def test_in_code(text: str, scheme: str | None) -> None:
    found = named_broker(Cached(Files({"shop/settings.py": text + "\n"})))
    assert (found[0] if found else None) == scheme


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "docker-compose.yml",
            "services:\n  worker:\n    environment:\n      CELERY_BROKER_URL: redis://redis:6379/0\n",
        ),
        ("docker-compose.yml", "services:\n  worker:\n    environment:\n      - BROKER_URL=redis://redis:6379/0\n"),
        (".env", "export CELERY_BROKER_URL='redis://redis:6379/0'\n"),
        (".env.example", "CELERY_BROKER_URL=${REDIS_URL}\n"),
        ("Dockerfile", "FROM python\nENV CELERY_BROKER_URL=redis://redis\n"),
    ],
)
def test_what_starts_production_is_louder_than_a_default(path: str, text: str) -> None:
    default = 'CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "amqp://guest@localhost//")\n'
    found = named_broker(Cached(Files({path: text, "shop/settings.py": default})))
    assert found is not None
    assert found[0] == "redis"
    assert found[1].startswith(f"{path}:")


def test_settings_for_tests_and_for_one_machine_come_last() -> None:
    found = named_broker(
        Cached(
            Files(
                {
                    "shop/settings/local.py": 'BROKER_URL = "redis://localhost"\n',
                    "shop/settings/production.py": '\nBROKER_URL = "amqp://rabbit"\n',
                    "tests/settings.py": 'BROKER_URL = "redis://localhost"\n',
                }
            )
        )
    )
    assert found == ("amqp", "shop/settings/production.py:2")
    assert named_broker(Cached(Files({"tests/settings.py": 'BROKER_URL = "redis://localhost"\n'}))) is None
