"""Which values of a file are never printed: those written out, not the words of the code beside them."""

from __future__ import annotations

import pytest

from bisect_celery.config.secret import of_file

IN_CODE = {
    'SECRET_KEY = "s3cr3t-one"': ["s3cr3t-one"],
    "SECRET_KEY = b's3cr3t-one'": ["s3cr3t-one"],
    'SECRET_KEY = (\n    "s3cr3t-one"\n)': ["s3cr3t-one"],
    "PIN = 1234567": ["1234567"],
    '    "PASSWORD": "s3cr3t-one",': ["s3cr3t-one"],
    'SECRET_KEY = os.environ["SECRET_KEY"]': [],
    'SECRET_KEY = os.environ.get("KEY", "s3cr3t-one")': ["s3cr3t-one"],
    'SECRET_KEY = env.str("KEY", default="s3cr3t-one")': ["s3cr3t-one"],
    'SECRET_KEY: str = "s3cr3t-one"': ["s3cr3t-one"],
    "API_TOKEN = conf['mail']['token'] or 's3cr3t-one'": ["s3cr3t-one"],
    "API_TOKEN = config('db', default='development')": [],
    'TOKEN = None\nMAIL = "nothing private"': [],
    "DATABASE_URL = 'postgres://shop:s3cr3t-one@db/shop'": ["s3cr3t-one"],
}


@pytest.mark.parametrize("line", IN_CODE)
def test_secrets_in_settings(line: str) -> None:
    assert list(dict.fromkeys(of_file("conf/local_settings.py", line.encode()))) == IN_CODE[line]


def test_secrets_in_other_files() -> None:
    assert list(of_file("conf/mail.ini", b"password = s3cr3t-one\nhost = mail\n")) == ["s3cr3t-one"]
    assert "s3cr3t-one" in list(of_file(".env.local", b"ANYTHING=s3cr3t-one\n"))
