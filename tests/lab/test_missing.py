"""What boot failures of real projects say is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisect_celery.lab.missing import missing_in

SAID = {
    ("ModuleNotFoundError", "No module named 'requests'"): ("module", "requests"),
    ("ModuleNotFoundError", "No module named 'shop.settings.local'"): ("module", "shop.settings.local"),
    ("ImportError", "No module named requests"): ("module", "requests"),  # Python 2
    ("KeyError", "'SECRET_KEY'"): ("variable", "SECRET_KEY"),
    ("KeyError", "SECRET_KEY"): ("variable", "SECRET_KEY"),
    ("ImproperlyConfigured", "Set the DATABASE_URL environment variable"): ("variable", "DATABASE_URL"),  # environ
    ("ImproperlyConfigured", "The SECRET_KEY setting must not be empty."): ("variable", "SECRET_KEY"),  # Django
    ("UndefinedValueError", "SENTRY_DSN not found. Declare it as envvar or define a default value."): (
        "variable", "SENTRY_DSN",
    ),  # decouple
    ("EnvError", "Environment variable \"API_KEY\" not set"): ("variable", "API_KEY"),  # environs
    ("RuntimeError", "environment variable API_KEY is required"): ("variable", "API_KEY"),
    ("ImproperlyConfigured", "You must change the SECRET_KEY env variable"): ("variable", "SECRET_KEY"),
    ("RuntimeError", "The API_KEY environment variable is empty"): ("variable", "API_KEY"),
    ("OperationalError", 'could not translate host name "db" to address: Name or service not known'): ("host", "db"),
    ("OperationalError", "(2005, \"Unknown MySQL server host 'mysql' (-2)\")"): ("host", "mysql"),
    ("OperationalError", "(2005, \"Unknown server host 'mysql' (-2)\")"): ("host", "mysql"),
    ("ConnectionError", "Error -2 connecting to redis:6379. Name or service not known."): ("host", "redis"),
    ("ConnectionError", "Error 111 connecting to localhost:6379. Connection refused."): ("host", "localhost:6379"),
    ("OperationalError", 'connection to server at "localhost" (127.0.0.1), port 5432 failed: Connection refused'): (
        "host", "localhost:5432",
    ),
    (
        "OperationalError",
        'connection to server on socket "/var/run/postgresql/.s.PGSQL.5432" failed: No such file or directory',
    ): ("host", "/var/run/postgresql/.s.PGSQL.5432"),
    ("OperationalError", "(2002, \"Can't connect to local MySQL server through socket '/run/mysqld.sock' (2)\")"): (
        "host", "MySQL",
    ),
    ("OperationalError", "(2002, \"Can't connect to MySQL server on 'mysql' (115)\")"): ("host", "mysql"),
    ("FileNotFoundError", "[Errno 2] No such file or directory: '/etc/shop/local.ini'"): (
        "file", "/etc/shop/local.ini",
    ),
    ("ImportError", "libmysqlclient.so.21: cannot open shared object file: No such file or directory"): (
        "package", "mysqlclient",
    ),
    ("ImportError", "libxml2.so.2: cannot open shared object file"): ("package", "xml2"),
    ("ImportError", "Unable to find zbar shared library"): None,
    # not variables
    ("ValueError", "DEBUG"): None,
    ("KeyError", "'order'"): None,
    ("ValueError", "ISO is not set"): None,
    ("TypeError", "NO"): None,
    ("ImportError", "cannot import name 'x' from 'shop'"): None,
    ("KeyError", ""): None,
}  # fmt: skip


@pytest.mark.parametrize("said", SAID, ids=lambda said: f"{said[0]}: {said[1][:30]}")
def test_the_table(said: tuple[str, str]) -> None:
    expected = SAID[said]
    assert missing_in(*said) == ((expected,) if expected else ())


@given(st.text(), st.text())
def test_any_text_is_read(exception: str, detail: str) -> None:
    for kind, name in missing_in(exception, detail):
        assert kind in {"module", "variable", "host", "file", "package"}
        assert name
