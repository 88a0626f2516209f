"""Whose failure it is, by what uv really printed (0.13)."""

from __future__ import annotations

import pytest

from bisect_celery.environment.uv import Trouble, failure, whose

NO_SOLUTION = """error: No solution found when resolving dependencies
  cause: Because there is no version of celery==5.99.0 and you require celery==5.99.0, we can conclude that your \
requirements are unsatisfiable."""
REFUSED = """error: Request failed after 3 retries in 9.9s
  cause: Failed to fetch: http://127.0.0.1:9/simple/celery/
  cause: error sending request for url (http://127.0.0.1:9/simple/celery/)
  cause: client error (Connect)
  cause: tcp connect error
  cause: Connection refused (os error 111)"""
NO_HOST = """error: Failed to fetch: http://no-such-host.invalid/simple/celery/
  cause: client error (Connect)
  cause: dns error
  cause: failed to lookup address information: Name or service not known"""
OFFLINE = """error: No solution found when resolving dependencies
  cause: Because celery was not found in the cache and you require celery==5.4.0, we can conclude that your \
requirements are unsatisfiable.

hint: Packages were unavailable because the network was disabled."""
GIT_AWAY = """error: Failed to download and build `foo @ git+https://nonexistent.invalid/x.git`
  cause: Git operation failed
  cause: process didn't exit successfully: `/usr/bin/git fetch` (exit status: 128)
         --- stderr
         fatal: unable to access 'https://nonexistent.invalid/x.git/': Could not resolve host: nonexistent.invalid"""
BUILD = """  × Failed to build `mysqlclient==2.1.0`
  ├─▶ The build backend returned an error
  ╰─▶ Call to `setuptools.build_meta.build_wheel` failed (exit status: 1)

      [stderr]
      mysql_config --version: OSError: mysql_config not found
      urllib3.exceptions: Connection refused"""
NO_LIBRARY = """  × Failed to build `pycairo==1.23.0`
      Perhaps you should add the directory containing `cairo.pc'
      Package 'cairo', required by 'virtual:world', not found"""
PYTHON = """error: No solution found when resolving dependencies
  cause: Because the current Python version (3.8.18) does not satisfy Python>=3.9 and celery==5.6.3 depends on \
Python>=3.9, we can conclude that celery==5.6.3 cannot be used."""


@pytest.mark.parametrize(
    ("code", "text", "trouble"),
    [
        (1, NO_SOLUTION, Trouble.PROJECT),
        (2, REFUSED, Trouble.UNREACHABLE),
        (2, NO_HOST, Trouble.UNREACHABLE),
        (1, OFFLINE, Trouble.UNREACHABLE),
        (1, GIT_AWAY, Trouble.UNREACHABLE),
        (1, BUILD, Trouble.PROJECT),
        (2, "error: Couldn't parse requirement in `f.in` at position 0", Trouble.PROJECT),
        (1, BUILD + "\n      OSError: [Errno 28] No space left on device", Trouble.DISK),
        (2, "error: failed to write\n  cause: Disk quota exceeded (os error 122)", Trouble.DISK),
        (-9, "", Trouble.MACHINE),
        (137, "", Trouble.MACHINE),
        (1, "  cause: Cannot allocate memory (os error 12)", Trouble.MACHINE),
        (
            2,
            "error: Failed to fetch: x\n  cause: HTTP status client error (403 Forbidden) for url",
            Trouble.CREDENTIALS,
        ),
        (
            2,
            "error: Failed to fetch: x\n  cause: HTTP status server error (503 Service Unavailable)",
            Trouble.UNREACHABLE,
        ),
        (2, "error: Failed to fetch: x\n  cause: HTTP status client error (404 Not Found) for url", Trouble.PROJECT),
    ],
)
def test_whose(code: int, text: str, trouble: Trouble) -> None:
    assert whose(code, text) is trouble


@pytest.mark.parametrize(
    ("text", "reason", "missing"),
    [
        (
            NO_SOLUTION,
            "No release of celery==5.99.0 fits what a.txt asks for as of 2024-01-01.",
            [("package", "celery")],
        ),
        (
            BUILD,
            "does not build: program mysql_config is missing",
            [("package", "mysqlclient"), ("program", "mysql_config")],
        ),
        (NO_LIBRARY, "does not build: library cairo is missing", [("package", "pycairo"), ("library", "cairo")]),
        (PYTHON, "celery==5.6.3, which a.txt asks for, needs Python >=3.9; this is 3.8.18.", [("python", ">=3.9")]),
    ],
)
def test_in_one_sentence(text: str, reason: str, missing: list[tuple[str, str]]) -> None:
    found = failure(text, ("a.txt",), "2024-01-01")
    assert reason in found.reason
    assert list(found.missing) == missing
    assert found.lines
