"""Which values must never be printed. Pure: names and texts in, values out.

Too much is better than too little, except for values that are no secret to anybody: a redactor that takes
every "true" out of a report makes it worthless.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, urlsplit

from bisect_celery.config import dotenv

_NAME = re.compile(
    r"SECRET|PASSWORD|PASSWD|PASSPHRASE|PASSCODE|TOKEN|CREDENTIAL|PRIVATE|SIGNATURE|COOKIE|WEBHOOK|"
    r"API_?KEY|(?:^|[_.-])(?:KEYS?|PWD|PASS|PIN|DSN|AUTH|SALT|PEPPER|JWT|CERT|LICENSE)(?:$|[_.-])|KEY$|DSN$|PWD$|PASS$",
    re.I,
)
# Names that end like a secret's and are none, and those that everybody may know.
_PLAIN_NAME = re.compile(
    r"^(?:DJANGO_SETTINGS_MODULE|DJANGO_CONFIGURATION|FLASK_APP|PYTHON\w*|PATH|PWD|OLDPWD|HOME|TZ|LANG|LC_\w+|PORT|HOST|"
    r"DEBUG|ENV|ENVIRONMENT|LOG_?LEVEL|\w*_(?:PORT|HOST|HOSTNAME|DEBUG|ENABLED|TIMEOUT|LEVEL|REGION|CONCURRENCY)|"
    r"\w*(?:KEY_PREFIX|KEY_FUNCTION|TOKEN_LIFETIME|TOKEN_EXPIRY|AUTH_BACKEND|PASSWORD_HASHERS))$",
    re.I,
)
_PLAIN_VALUE = re.compile(
    r"^(?:|true|false|yes|no|on|off|none|null|debug|info|warning|warn|error|critical|local|localhost|prod|production|"
    r"staging|stage|dev|development|test|testing|default|django|redis|postgres|postgresql|mysql|sqlite|rabbitmq|amqp|"
    r"celery|guest|utf-?8|utc|\d{1,5}|\d+\.\d+|127\.0\.0\.1|0\.0\.0\.0)$",
    re.I,
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
_ASSIGNMENT = re.compile(
    r"""["']?(?P<name>[A-Za-z_][\w.-]*)["']?\s*[:=]\s*\(?\s*(?:[rbuf]{0,2})(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s"',#}{\[\]()]+)"""
)
# What Python takes where a variable is not set: `get(NAME, "this")`, `env(NAME, default="this")`, `x or "this"`;
# and what follows an annotation.
_INSTEAD = re.compile(r"""(?:[,=]\s*|\bor\s+|\belse\s+)(?P<quote>["'])(?P<value>.+?)(?P=quote)""")


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret: SECRET_KEY, DB_PASSWORD, SENTRY_DSN."""
    return bool(_NAME.search(name)) and not _PLAIN_NAME.match(name)


def of_variable(name: str, value: str, *, private: bool = False) -> Iterator[str]:
    """The secrets in one variable. `private`: it came from a place where all values are (`--pass`, `--env-file`)."""
    plain = _PLAIN_NAME.match(name) or _PLAIN_VALUE.match(value.strip())
    if value and (is_secret_name(name) or (private and not plain)):
        yield value
    yield from of_urls(value)


def of_urls(text: str) -> Iterator[str]:
    """The passwords in a text's URLs; also a user alone, as tokens are written (`https://TOKEN@host`)."""
    for match in _URL.finditer(text):
        yield from _of_url(match.group())


def _of_url(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    info = parts.netloc.rpartition("@")[0]
    user, separator, password = info.partition(":")
    told = password if separator else user
    if told and not _PLAIN_VALUE.match(told):
        yield told
        yield unquote(told)


def of_file(name: str, content: bytes) -> Iterator[str]:
    """The secrets in an overlay: all values of a file of variables, else what is assigned to a secret's name."""
    text = content.decode("utf-8", "replace")
    base = name.rpartition("/")[2]
    if re.match(r"\.?env(?:rc)?(?:\.|$)|.*\.env$", base):
        try:
            variables = dotenv.parse(text)
        except dotenv.DotenvError:
            variables = {}
        for key, value in variables.items():
            yield from of_variable(key, value or "", private=True)
    of_code = base.endswith(".py")
    for match in _ASSIGNMENT.finditer(text):
        if is_secret_name(match["name"]):
            yield from _of_expression(match, text) if of_code else _unless_plain(match["value"].strip("\"'"))
    yield from of_urls(text)


def _of_expression(assignment: re.Match[str], text: str) -> Iterator[str]:
    """Of Python's, what is written out: of `os.environ.get("SECRET_KEY", "s3cr3t")` the last, no word of the code's."""
    value = assignment["value"]
    if value[0] in "\"'" or value[0].isdigit():
        yield from _unless_plain(value.strip("\"'"))
        return
    rest = text[assignment.end() :].partition("\n")[0]
    for literal in _INSTEAD.finditer(rest):
        yield from _unless_plain(literal["value"])


def _unless_plain(value: str) -> Iterator[str]:
    if not _PLAIN_VALUE.match(value):
        yield value


def unique(values: Iterable[str]) -> tuple[str, ...]:
    """Without repetitions and blanks, the longest first: a redactor takes the whole before its parts."""
    return tuple(sorted({value for value in values if value.strip()}, key=lambda value: (-len(value), value)))
