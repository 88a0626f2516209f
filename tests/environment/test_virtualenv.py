"""What pip says for the Pythons that uv refuses, and what it is asked. The texts are pip 20.3.4's under Python 2.7."""

from __future__ import annotations

import pytest

from bisect_celery.environment import virtualenv
from bisect_celery.environment.caller import for_pip
from bisect_celery.environment.uv import Trouble
from bisect_celery.environment.virtualenv import can, is_needed, whose

ABSENT = """\
DEPRECATION: Python 2.7 reached the end of its life on January 1st, 2020.
ERROR: Could not find a version that satisfies the requirement celery==99 (from versions: 0.1.2, 0.1.4, 4.4.7)
ERROR: No matching distribution found for celery==99
"""
RETRIES = """\
WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by \
'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f>: Failed to establish a new \
connection: [Errno 111] Connection refused',)': /simple/celery/
ERROR: Could not find a version that satisfies the requirement celery==2.5.1 (from versions: none)
ERROR: No matching distribution found for celery==2.5.1
"""
BUILD = """\
  ERROR: Command errored out with exit status 1:
    Error: pg_config executable not found.
  ERROR: Failed building wheel for psycopg2
"""


def test_whose_failure_it_is() -> None:
    assert whose(1, ABSENT) is Trouble.PROJECT
    assert whose(1, BUILD) is Trouble.PROJECT
    assert whose(1, RETRIES) is Trouble.UNREACHABLE
    assert whose(1, "ERROR: 401 Client Error: Unauthorized for url: https://x/simple") is Trouble.CREDENTIALS
    assert whose(1, "OSError: [Errno 28] No space left on device") is Trouble.DISK
    assert whose(126, "") is Trouble.MACHINE


def test_a_failure_in_a_sentence() -> None:
    absent = virtualenv.failure(ABSENT, ("requirements.txt",), None)
    assert absent.reason == "No release of celery==99 that runs here is what requirements.txt asks for."
    assert absent.missing == (("package", "celery"),)
    built = virtualenv.failure(BUILD, ("requirements.txt",), None)
    assert built.missing == (("package", "psycopg2"), ("program", "pg_config"))


def test_which_pythons() -> None:
    assert [is_needed(version) for version in ("2.7", "2.7.18", "3.5", "3.6", "3.11.7", "3")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    assert [can(version) for version in ("2.6", "2.7.18", "3.4", "3.5", "3.6", "3")] == [
        False, True, False, True, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["pip", "compile", "requirements.txt"], ["-r", "requirements.txt"]),
        (["pip", "compile", "w.txt", "--constraints", "p", "--prerelease=allow"], ["-r", "w.txt", "-c", "p", "--pre"]),
        (["pip", "compile", "setup.py"], ["."]),
        (["pip", "compile", "pyproject.toml", "--extra", "a", "--extra", "b"], [".[a,b]"]),
    ],
)  # fmt: skip
def test_uvs_words_in_pips(asked: list[str], words: list[str]) -> None:
    job = virtualenv.resolution("/tool/bin/python", "/usr/bin/python2.7", asked)
    making, installing = job["before"]  # type: ignore[misc]
    assert making[-2:] == ["/usr/bin/python2.7", "{scratch}/environment"]
    assert installing == ["{scratch}/environment/bin/pip", "install", "--no-compile", *words]
    assert job["command"] == ["{scratch}/environment/bin/pip", "freeze"]


def test_pip_is_told_where_packages_are_and_no_more() -> None:
    caller = {
        "PIP_INDEX_URL": "https://a/simple",
        "UV_DEFAULT_INDEX": "https://b",
        "AWS_SECRET": "x",
        "PIP_TARGET": "/",
    }
    told = for_pip(caller)
    assert told["PIP_INDEX_URL"] == "https://a/simple"
    assert not {"AWS", "PIP_TARGET"} & set(told)
    assert for_pip({"UV_DEFAULT_INDEX": "https://b", "SSL_CERT_FILE": "/ca"})["PIP_CERT"] == "/ca"
