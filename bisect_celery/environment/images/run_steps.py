"""What a RUN of a Dockerfile wants of the code that was copied before it. Pure; whatever is not known is "anything".

The list of commands is short on purpose: who is not on it makes the image be built for each content of the whole tree,
which is slow and right.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bisect_celery.environment.images.dockerfile import Instruction, Unclear, joined, substituted


@dataclass(frozen=True)
class Wants:
    """What a RUN reads of the code. `requirements` are files that pip installs from, `files` others, `projects` folders
    in which a tool installs from a lock; all are absolute paths in the image. `instead` is what remains of the command
    without `left_out`, those parts that make nothing a worker's environment is made of ("": nothing remains).
    """

    requirements: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    projects: tuple[tuple[str, tuple[str, ...]], ...] = ()
    left_out: tuple[str, ...] = ()
    instead: str | None = None


@dataclass(frozen=True)
class Command:
    """One simple command: its words, the folder it runs in, and its own text."""

    words: tuple[str, ...]
    folder: str
    text: str


def wants(run: Instruction, folder: str, variables: Mapping[str, str]) -> Wants | None:
    """What a RUN reads of the code; None: perhaps anything. `folder` is the WORKDIR."""
    if run.heredocs or any(name not in ("mount", "network") for name, _ in run.flags):
        return None
    try:
        commands = list(_commands(run, folder, variables))
        read = [_read(one) for one in commands]
    except Unclear:
        return None
    known = [(one, command) for one, command in zip(read, commands, strict=True) if one is not None]
    if len(known) < len(read):
        return None
    left_out = tuple(text for one, _ in known for text in one.left_out)
    kept = [command.text for one, command in known if not one.left_out]
    return Wants(
        tuple(path for one, _ in known for path in one.requirements),
        tuple(path for one, _ in known for path in one.files),
        tuple(project for one, _ in known for project in one.projects),
        left_out,
        " && ".join(kept) if left_out else None,
    )


# --- a shell's line, in simple commands -------------------------------------------------------------------

_QUIET = re.compile(r"\s*(?:[12&]?>{1,2}\s*/dev/null|2>&1)\s*$")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def _commands(run: Instruction, folder: str, variables: Mapping[str, str]) -> Iterator[Command]:
    listed = run.listed()
    if listed is not None:
        yield Command(listed, folder, run.rest)
        return
    for text in _parts(run.rest):
        plain = text
        while _QUIET.search(plain):
            plain = _QUIET.sub("", plain)
        if re.search(r"[<>]", _unquoted(plain)):
            raise Unclear("a redirection")
        try:
            words = [substituted(word, variables) for word in shlex.split(plain)]
        except ValueError as error:
            raise Unclear(str(error)) from None
        while words and _ASSIGNMENT.match(words[0]):
            words.pop(0)
        if words[:1] == ["cd"]:
            if len(words) != 2:
                raise Unclear("cd")
            folder = joined(folder, words[1])
        yield Command(tuple(words), folder, text)


def _parts(text: str) -> Iterator[str]:
    """The commands between `&&` and `;`. Raises Unclear for all else that a shell does."""
    begin, index, quote = 0, 0, ""
    while index < len(text):
        char = text[index]
        if quote != "'" and (char == "`" or text.startswith("$(", index)):
            raise Unclear("a command in a command")
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "\\":
            index += 1
        elif text.startswith(("&&", ";"), index):
            yield text[begin:index].strip()
            index += 1 if char == ";" else 2
            begin = index
            continue
        elif char in "()|{}" and not text.startswith("${", index - 1) and not _in_name(text, index):
            raise Unclear("more than plain commands")
        elif char == "&" and not text.startswith(">&", index - 1) and not text.startswith("&>", index):
            raise Unclear("a command in the background")
        index += 1
    if last := text[begin:].strip():
        yield last


def _in_name(text: str, index: int) -> bool:
    """Whether a closing brace ends `${NAME}`."""
    opened = text.rfind("${", 0, index)
    return text[index] == "}" and opened >= 0 and "}" not in text[opened:index]


def _unquoted(text: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"", "", text)


# --- what is known of commands ----------------------------------------------------------------------------


def _all(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NOTHING = Wants()
# They read nothing of the code, unless a word of theirs is a path.
_SYSTEM = _all("apt-get apt apk yum dnf microdnf update-ca-certificates locale-gen ldconfig")
_HARMLESS = _all("useradd adduser groupadd addgroup usermod mkdir echo true : set export cd apt-mark")
_CACHES = ("/var/cache/", "/var/lib/apt/", "/tmp/", "/root/.cache", "/usr/share/doc", "/usr/share/man", "~/.cache")
_LEFT_OUT = frozenset({"collectstatic", "compilemessages", "compress", "check"})
_PYTHON = re.compile(r"(?:.*/)?python[\d.]*$")
_PIP = re.compile(r"(?:.*/)?pip[\d.]*$")
_ARCHIVE = re.compile(r"\.(?:whl|zip|tar\.gz|tgz|tar\.bz2)$", re.I)
# Options of pip that take a value which is no file of the code's, and those that take none.
_PIP_VALUES = _all(
    "-i --index-url --extra-index-url --trusted-host --timeout --default-timeout --retries --only-binary --no-binary "
    "--root-user-action --progress-bar --proxy --python --cache-dir --upgrade-strategy --index-strategy"
)
_PIP_PLAIN = _all(
    "-q -qq -U -v -I --quiet --upgrade --no-cache-dir --no-cache --user --no-deps --require-hashes --prefer-binary "
    "--break-system-packages --no-warn-script-location --disable-pip-version-check --no-input --pre --no-compile "
    "--no-index --compile --no-build-isolation --ignore-installed --force-reinstall --system --compile-bytecode "
    "--use-pep517"
)
_UV_PLAIN = _all(
    "--frozen --locked --no-dev --no-cache --no-editable --compile-bytecode --no-install-project "
    "--no-install-workspace --all-extras --all-groups --no-progress -q --quiet"
)
_UV_VALUES = _all("--extra --group --no-group --only-group --python -p")
_POETRY_PLAIN = _all("--no-root --no-dev --no-interaction -n --no-ansi --no-cache --sync --all-extras -q --only-main")
_POETRY_VALUES = _all("--only --without --with --extras -E")
_PIPENV_PLAIN = _all("--system --deploy --dev -d --ignore-pipfile --clear --verbose --keep-outdated")


def _read(command: Command) -> Wants | None:
    words = command.words
    if not words:
        return _NOTHING
    if words[:2] == ("uv", "pip"):
        found, own = _pip(words[2:], command), ("pyproject.toml", "uv.toml")
        places = (command.folder, *ancestors(command.folder))
        return replace(found, files=tuple(joined(place, name) for place in places for name in own)) if found else None
    if _PYTHON.match(words[0]) and words[1:2] == ("-m",) and len(words) > 2:
        return _module(words[2], words[3:], command)
    if _PIP.match(words[0]):
        return _pip(words[1:], command)
    name = posixpath.basename(words[0])
    if name in ("manage.py", "django-admin") or _PYTHON.match(words[0]):
        return _django(words, command)
    reader = _READERS.get(name)
    if reader is not None:
        return reader(words[1:], command)
    if name in _SYSTEM:
        return None if any(word.startswith(("./", "/")) for word in words[1:]) else _NOTHING
    return _NOTHING if name in _HARMLESS else None


def ancestors(folder: str) -> Iterator[str]:
    """The folders above one, to the root: tools look for their settings and workspaces there as well."""
    while folder != (above := posixpath.dirname(folder)):
        yield above
        folder = above


def _module(name: str, rest: tuple[str, ...], command: Command) -> Wants | None:
    if name == "pip":
        return _pip(rest, command)
    if name == "compileall":
        return Wants(left_out=(command.text,))
    if name == "venv":
        return _NOTHING
    return None


def _django(words: tuple[str, ...], command: Command) -> Wants | None:
    rest = [word for word in words if not _PYTHON.match(word)]
    managed = rest and posixpath.basename(rest[0]) in ("manage.py", "django-admin")
    return Wants(left_out=(command.text,)) if managed and set(rest[1:2]) & _LEFT_OUT else None


def _pip(words: tuple[str, ...], command: Command) -> Wants | None:
    if words[:1] != ("install",):
        return _NOTHING if words and words[0] in ("config", "cache", "list", "check", "freeze", "--version") else None
    found: list[str] = []
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in ("-r", "--requirement", "--requirements", "-c", "--constraint", "--constraints"):
            found.append(value if equals else rest.pop(0) if rest else "")
        elif word.startswith(("-r", "-c")) and not word.startswith("--"):
            found.append(word[2:])
        elif name in _PIP_VALUES:
            if not equals and rest:
                rest.pop(0)
        elif word in _PIP_PLAIN:
            continue
        elif word.startswith("-") or _is_path(word):
            return None
    return Wants(requirements=tuple(joined(command.folder, path) for path in found))


def _is_path(word: str) -> bool:
    if re.match(r"(?:[A-Za-z0-9._-]+(?:\[[^\]]*\])?\s*@\s*)?(?:https?|git\+\w+|ssh)(?:://)", word):
        return False
    return "/" in word or word.startswith(".") or _ARCHIVE.search(word) is not None


def _pip_sync(words: tuple[str, ...], command: Command) -> Wants | None:
    files = [word for word in words if not word.startswith("-")]
    return Wants(requirements=tuple(joined(command.folder, path) for path in files or ["requirements.txt"]))


def _uv(words: tuple[str, ...], command: Command) -> Wants | None:
    """`uv sync`; whether it installs the project as well is told by the project's own file, unless a word here does."""
    if words[:1] in (("venv",), ("python",), ("cache",)) and not any(_is_path(word) for word in words[2:]):
        return _NOTHING
    if words[:1] != ("sync",) or not _only(words[1:], _UV_PLAIN, _UV_VALUES):
        return None
    skips = tuple(word for word in words if word == "--no-install-project")
    return Wants(projects=((command.folder, ("uv", *skips)),))


def _poetry(words: tuple[str, ...], command: Command) -> Wants | None:
    if words[:1] == ("config",):
        return _NOTHING
    if words[:1] != ("install",) or not _only(words[1:], _POETRY_PLAIN, _POETRY_VALUES):
        return None
    return Wants(projects=((command.folder, ("poetry", *(word for word in words if word == "--no-root"))),))


def _pipenv(words: tuple[str, ...], command: Command) -> Wants | None:
    if words[:1] not in (("install",), ("sync",)) or not _only(words[1:], _PIPENV_PLAIN, frozenset()):
        return None
    return Wants(projects=((command.folder, ("pipenv",)),))


def _only(words: Sequence[str], plain: frozenset[str], valued: frozenset[str]) -> bool:
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in valued:
            if not rest:
                return False
            rest.pop(0)
        elif word not in plain and word.partition("=")[0] not in valued:
            return False
    return True


def _mode(words: tuple[str, ...], command: Command) -> Wants | None:
    """chmod and chown: the files they name have to be there."""
    named = [word for word in words if not word.startswith("-") or re.fullmatch(r"-[rwx]+", word)][1:]
    if any(re.search(r"[*?\[$]", word) for word in named):
        return None
    return Wants(files=tuple(joined(command.folder, word) for word in named))


def _remove(words: tuple[str, ...], command: Command) -> Wants | None:
    paths = [word for word in words if not word.startswith("-")]
    return _NOTHING if all(path.startswith(_CACHES) for path in paths) else None


_READERS = {
    "pip-sync": _pip_sync,
    "uv": _uv,
    "poetry": _poetry,
    "pipenv": _pipenv,
    "chmod": _mode,
    "chown": _mode,
    "rm": _remove,
}
