"""Take secrets out of text. Pure.

Two nets, one behind the other: the secrets we were told, in every form that programs print them in, and
what looks like a secret wherever it came from (a URL's user-info, `password=...`, an Authorization
header, a private key). The second is a guess and takes too much rather than too little; texts that must
stay usable, such as a patch, go through `Redactor.exact`.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, unquote, urlsplit

GONE = "***"
# A secret this short is in half of all words: it is taken out only where it stands as a value.
SHORTEST = 4
# Fewer characters of base64 than this are in too many other words.
SHORTEST_BASE64 = 8
SHORTEST_LINE = 12
MOST_PASSES = 20

Replacement = str | Callable[[re.Match[str]], str]


class Redactor:
    """A `model.Redact`: takes what it knows and what looks like a secret out of a text.

    The result is stable: redacting it again changes nothing, and nothing it knows is left in it.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # every slot's thread may learn, and none may forget what another one learnt meanwhile
        self._lock = threading.Lock()
        self._secrets: frozenset[str] = frozenset()
        self._forms: list[str] = []
        self._short: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Know these secrets too from now on: a project's settings are read only when its first trial runs."""
        with self._lock:
            fresh = self._secrets | frozenset(secrets)
            if fresh == self._secrets:
                return
            known = {form for secret in fresh for form in _spellings(secret) if set(form) - {"*"}}
            self._forms = sorted({form for secret in known if len(secret) >= SHORTEST for form in _forms(secret)})
            self._short = _short_rule(sorted(secret for secret in known if 0 < len(secret) < SHORTEST))
            self._secrets = fresh

    def __call__(self, text: str) -> str:
        return _until_stable(text, lambda once: _guess(self._known(once)))

    def exact(self, text: str) -> str:
        """Take out only the secrets that we were told; nothing is guessed."""
        return _until_stable(text, self._known)

    def _known(self, text: str) -> str:
        text = _cover(text, _spans(text, self._forms))
        return self._short.sub(rf"\1{GONE}\2", text) if self._short else text


def _until_stable(text: str, once: Callable[[str], str]) -> str:
    """What is put in place may make a new match with what stood beside it."""
    for _ in range(MOST_PASSES):
        text, before = once(text), text
        if text == before:
            break
    return text


# --- what we were told -------------------------------------------------------------------------------


def _spellings(secret: str) -> Iterator[str]:
    """The secret itself and what is secret inside it: a URL's password, the lines of a key."""
    for spelling in {secret, secret.strip(), unquote(secret)}:
        yield spelling
        yield from (line.strip() for line in _private_lines(spelling))
    try:
        password = urlsplit(secret).password
    except ValueError:
        password = None
    if password:
        yield from {password, unquote(password)}


def _private_lines(text: str) -> Iterator[str]:
    lines = text.splitlines()
    if len(lines) > 1:
        yield from (line for line in lines if len(line.strip()) >= SHORTEST_LINE and not line.startswith("-----"))


def _forms(secret: str) -> Iterator[str]:
    """The ways a secret is printed: as it is, escaped, quoted, encoded."""
    yield secret
    for encoded in (
        quote(secret, safe="", errors="replace"),
        quote(secret, errors="replace"),
        quote_plus(secret, errors="replace"),
    ):
        yield encoded
        yield re.sub(r"%[0-9A-F]{2}", lambda found: found.group().lower(), encoded)
    for escaped in (json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret), ascii(secret)):
        yield escaped[1:-1]
        yield json.dumps(escaped[1:-1])[1:-1]
    yield html.escape(secret)
    yield html.escape(secret, quote=False)
    yield shlex.quote(secret)
    raw = secret.encode("utf-8", "replace")
    yield repr(raw)[2:-1]
    yield from _base64_forms(raw)


def _base64_forms(raw: bytes) -> Iterator[str]:
    """Base64 of the secret alone, and of it at each of three places inside something longer."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).decode()
        for before in range(3):
            whole = encode(b"\0" * before + raw).decode().rstrip("=")
            bits = 8 * (before + len(raw))
            # the characters at both ends also hold bits of what stands beside the secret
            core = whole[-(-8 * before // 6) : bits // 6]
            if len(core) >= SHORTEST_BASE64:
                yield core


def _spans(text: str, forms: Iterable[str]) -> Iterator[tuple[int, int]]:
    for form in forms:
        start = text.find(form)
        while start >= 0:
            yield start, start + len(form)
            start = text.find(form, start + 1)


def _cover(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Replace the union of all spans: of two secrets that overlap, no end may be left to see."""
    parts: list[str] = []
    end = 0
    covered = -1
    for start, stop in sorted(spans):
        if start > covered:
            parts += [text[end:start], GONE]
        covered = end = max(end, stop)
    return "".join([*parts, text[end:]])


def _short_rule(secrets: list[str]) -> re.Pattern[str] | None:
    """Short secrets only as a whole value: after `=`, or as the quoted value of a quoted key."""
    if not secrets:
        return None
    words = "|".join(re.escape(secret) for secret in reversed(secrets))
    return re.compile(rf"""(=["']?|["']\s*:\s*["'])(?:{words})((?![\w*])|$)""")


# --- what looks like a secret ------------------------------------------------------------------------
# Repetitions have limits: what is redacted may be hostile, and must not take its square in time.

_WORD = (
    r"(?:passw(?:or)?d|passwd|pwd|passphrase|secret|tokens?(?!i[sz])|credentials?|sessionid|signature"
    r"|(?:api|access|private|secret|signing|encryption|account|shared)[_-]?key)"
)
_VALUE = r"""(?:(?:basic|bearer)\s+)?[^\s,;&"'<>)\]}]+"""
_QUOTED = r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'"""


def _quoted_gone(found: re.Match[str]) -> str:
    """Keep what introduces the value, and its quotes, so that the text around it still reads."""
    value = found["value"]
    quote_mark = value[0] if value[0] in "\"'" else ""
    return f"{found['key']}{quote_mark}{GONE}{quote_mark}"


def _basic_gone(found: re.Match[str]) -> str:
    """`Basic` is also a word: only what decodes to `user:password` is one."""
    try:
        decoded = base64.b64decode(found["value"] + "=" * (-len(found["value"].rstrip("=")) % 4))
    except ValueError:
        return found.group()
    return f"{found['key']}{GONE}" if b":" in decoded else found.group()


@dataclass(frozen=True)
class Guess:
    """A pattern, and one of the texts that must be there, in lower case, before it is worth looking."""

    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    instead: Replacement


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE | re.DOTALL)


_NAMED = ("pass", "pwd", "secret", "token", "credential", "sessionid", "signature", "key")
_NAME = rf"[\w.-]{{0,60}}{_WORD}[\w.-]{{0,60}}"
_GUESSES: tuple[Guess, ...] = (
    Guess(
        ("private key",),
        _pattern(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"),
        GONE,
    ),
    Guess(("://",), _pattern(r"""\b([a-z][a-z0-9+.-]{0,30}://)[^\s/?#"'<>]{0,500}@"""), rf"\1{GONE}@"),
    # a password with a bare slash in it breaks the URL, and the log line that complains about it shows all
    Guess(
        ("://",),
        _pattern(r"""\b([a-z][a-z0-9+.-]{0,30}://)[^\s/?#"'<>@:]{0,100}:(?!\d{0,5}/)[^\s"'<>@]{0,500}@"""),
        rf"\1{GONE}@",
    ),
    Guess(("%3a%2f%2f",), _pattern(r"""(%3A%2F%2F)(?:(?!%40|%2F)[^\s&"']){0,500}%40"""), rf"\1{GONE}%40"),
    Guess(
        ("authorization",),
        _pattern(r"""(authorization["']?\s*[:=]\s*["']?(?:[a-z]+\s+(?=\S))?)[^\s"',]+"""),
        rf"\1{GONE}",
    ),
    Guess(("cookie",), _pattern(r"\b((?:set-)?cookie:\s*)\S[^\r\n]*"), rf"\1{GONE}"),
    Guess(("bearer",), _pattern(r"\b(bearer\s+)[\w.~+/-]{16,}=*"), rf"\1{GONE}"),
    Guess(("basic",), _pattern(r"\b(?P<key>basic\s+)(?P<value>[a-z0-9+/]{6,}={0,2})"), _basic_gone),
    Guess(
        _NAMED,
        _pattern(rf"""(?P<key>["']?(?<![\w.-]){_NAME}["']?\s{{0,20}}[=:]\s{{0,20}})(?P<value>{_QUOTED}|{_VALUE})"""),
        _quoted_gone,
    ),
    Guess(
        _NAMED,
        _pattern(rf"(?P<key>(?<![\w-])--?{_NAME}\s{{1,20}})(?P<value>{_QUOTED}|(?!-){_VALUE})"),
        _quoted_gone,
    ),
    Guess(("eyj",), re.compile(r"(?<![\w.-])eyJ[\w-]{8,4000}\.[\w-]{8,4000}\.[\w-]*"), GONE),
    Guess(("akia", "asia"), re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), GONE),
    Guess(
        ("gh", "glpat-", "xox"),
        re.compile(r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,})"),
        GONE,
    ),
    Guess(("_live_", "_test_"), re.compile(r"\b[sr]k_(?:live|test)_\w{10,}"), GONE),
)


def _guess(text: str) -> str:
    for guess in _GUESSES:
        folded = text.lower()
        if any(hint in folded for hint in guess.hints):
            text = guess.pattern.sub(guess.instead, text)
    return text
