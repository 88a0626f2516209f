"""Celery commands in the files that start a project: Procfile, compose, systemd, supervisor, scripts. Pure.

A command is found in the words of a line, whatever runs it (`poetry run`, `exec`, `sh -c`), with the shell's
placeholders filled in as far as the file itself, or a default, says their value. Options whose value stays unknown
are left out.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml

from bisect_celery.model import STARTS

UNKNOWN = "\0"


@dataclass(frozen=True)
class Command:
    """One command that starts a worker: `app` is the word after -A (None: not said), `words` those of the worker.

    `source` says where it stands ("Procfile:3"), `folder` the file's folder, `left_out` what was taken out and why.
    `start` is the program, one of `model.STARTS`.
    """

    app: str | None
    words: tuple[str, ...]
    source: str
    folder: str
    left_out: tuple[str, ...] = ()
    workdir: str | None = None
    start: str = STARTS[0]

    @property
    def manage(self) -> bool:
        """Whether it is django-celery's of old, whose app is the settings' own."""
        return self.start.startswith("manage.py")


# --- which files start things, production's first -----------------------------------------------------

_PLACES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?:^|/)[\w-]*prod(?:uction)?[\w-]*\.(?:sh|bash)$"), "shell"),
    (re.compile(r"(?:^|/)Procfile(?:\.(?!dev|local|test)\w+)?$"), "procfile"),
    (re.compile(r"(?:^|/)(?:docker-)?compose[\w.-]*prod[\w.-]*\.ya?ml$|(?:^|/)(?:production|prod)\.ya?ml$"), "yaml"),
    (re.compile(r"\.service(?:\.j2|\.template)?$"), "unit"),
    (re.compile(r"(?:^|/)[\w.-]*supervisor[\w./-]*$|(?:^|/)supervisor[\w.-]*/[\w.-]+\.(?:conf|ini)$"), "unit"),
    (re.compile(r"(?:^|/)(?:k8s|kubernetes|kube|deploy\w*|manifests|charts?|helm)/.*\.ya?ml$"), "yaml"),
    (re.compile(r"(?:^|/)(?:circus|uwsgi|app|render|fly|ecosystem)[\w.-]*\.(?:ini|toml|ya?ml|json)$"), "lines"),
    (re.compile(r"(?:^|/)(?:docker-)?compose\.ya?ml$"), "yaml"),
    (re.compile(r"(?:^|/)(?:docker-)?compose(?![\w.-]*(?:dev|local|test|ci|override))[\w.-]*\.ya?ml$"), "yaml"),
    (re.compile(r"(?:^|/)(?:[\w-]+\.)?Dockerfile[\w.-]*$"), "dockerfile"),
    (re.compile(r"(?:^|/)(?![\w-]*(?:dev|local|test))[\w-]+\.(?:sh|bash)$"), "shell"),
    (re.compile(r"(?:^|/)(?:bin|scripts?|init\.d)/[\w-]+$|(?:^|/)(?:start|run)[\w-]*$"), "shell"),
    (re.compile(r"(?:^|/)(?:docker-)?entrypoint[\w-]*$"), "shell"),
    (re.compile(r"(?:^|/)(?:GNU)?[Mm]akefile$|\.mk$|(?:^|/)[Jj]ustfile$"), "make"),
    (re.compile(r"(?:^|/)(?:docker-)?compose[\w.-]*\.ya?ml$|(?:^|/)(?:local|dev)\.ya?ml$"), "yaml"),
    (re.compile(r"(?:^|/)Procfile\.\w+$"), "procfile"),
    (re.compile(r"\.(?:sh|bash)$"), "shell"),
)  # fmt: skip
_NOT_OURS = re.compile(
    r"(?:^|/)(?:\.github|\.git|node_modules|vendor|venv|\.venv|site-packages|tests?|docs?|examples?)/"
)
_START = re.compile(r"\bcelery|celeryd\b")


def rank(path: str) -> int | None:
    """How much a file is believed to be production's start (0 most); None: it starts nothing we know."""
    if _NOT_OURS.search(path):
        return None
    for index, (pattern, _) in enumerate(_PLACES):
        if pattern.search(path):
            return index
    return None


def commands_in(path: str, text: str, variables: Mapping[str, str] | None = None) -> list[Command]:
    """The commands in a file that start a Celery worker, in its order. `variables` are known from elsewhere."""
    place = rank(path)
    if place is None or not _START.search(text):
        return []
    found = []
    folder = posixpath.dirname(path)
    for line, words, workdir in _candidates(_PLACES[place][1], text, dict(variables or {})):
        command = worker_command(words)
        if command is not None:
            app, kept, left_out, start = command
            found.append(Command(app, kept, f"{path}:{line}", folder, left_out, workdir, start))
    return found


Candidate = tuple[int, list[str], str | None]


def _candidates(kind: str, text: str, variables: dict[str, str]) -> Iterator[Candidate]:
    if kind == "yaml":
        try:
            documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        except yaml.YAMLError:
            documents = []
        if documents:
            for document in documents:
                yield from _in_yaml(document, variables)
            return
    yield from _in_lines(kind, text, variables)


def _in_lines(kind: str, text: str, variables: dict[str, str]) -> Iterator[Candidate]:
    workdir: str | None = None
    for number, line in _logical(text):
        if match := re.match(r"\s*(?:WORKDIR|WorkingDirectory\s*=|directory\s*=|cd)\s*(\S+)", line):
            workdir = match[1].strip("'\"")
        if match := re.match(r"\s*(?:export\s+|ENV\s+|Environment=\"?)?([A-Za-z_]\w*)\s*[:?+]?=\s*(.*?)\"?\s*$", line):
            _remember(match[1], match[2], variables)
        if _START.search(line) or "$" in line:
            body = re.sub(r"^\s*[\w-]+:\s+", "", line) if kind == "procfile" else line
            body = re.sub(r"^\s*(?:CMD|ENTRYPOINT|RUN|ExecStart\s*=|command\s*=|@?-)\s*", "", body)
            yield number, _words(body, variables, make=kind == "make"), workdir


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) with comments dropped and continued lines joined; the number is that of the first."""
    joined, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if not joined and line.lstrip().startswith(("#", ";", "//")):
            continue
        first = first if joined else number
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        yield first, joined + line
        joined = ""
    if joined:
        yield first, joined


def _remember(name: str, value: str, variables: dict[str, str]) -> None:
    filled = _fill(value.strip().strip("'\""), variables)
    if UNKNOWN not in filled and len(filled) < 500:
        variables[name] = filled


def _in_yaml(node: yaml.Node | None, variables: dict[str, str], workdir: str | None = None) -> Iterator[Candidate]:
    if isinstance(node, yaml.SequenceNode):
        for one in node.value:
            yield from _in_yaml(one, variables, workdir)
    if not isinstance(node, yaml.MappingNode):
        return
    fields = {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}
    known = {**variables, **_yaml_environment(fields.get("environment") or fields.get("env"))}
    place = fields.get("working_dir") or fields.get("workingDir")
    workdir = place.value if isinstance(place, yaml.ScalarNode) else workdir
    parts = [fields[key] for key in ("entrypoint", "command", "args") if key in fields]
    words: list[str] = []
    for part in parts:
        words += _yaml_words(part, known)
    if words:
        yield parts[-1].start_mark.line + 1, words, workdir
    for key, value in fields.items():
        if key not in ("command", "args", "entrypoint", "environment"):
            yield from _in_yaml(value, variables, workdir)


def _yaml_words(node: yaml.Node, variables: Mapping[str, str]) -> list[str]:
    if isinstance(node, yaml.ScalarNode):
        return _words(node.value.replace("\n", " ; ") if node.style == "|" else node.value, variables)
    if isinstance(node, yaml.SequenceNode):
        plain = [_fill(one.value, variables) for one in node.value if isinstance(one, yaml.ScalarNode)]
        return [inner for word in plain for inner in _unwrapped(word, variables)]
    return []


def _yaml_environment(node: yaml.Node | None) -> dict[str, str]:
    """Values from `environment:` as a mapping, or a list of NAME=value, or Kubernetes' list of name and value."""
    found: dict[str, str] = {}
    if isinstance(node, yaml.MappingNode):
        pairs = ((key.value, value) for key, value in node.value if isinstance(key, yaml.ScalarNode))
        found = {key: value.value for key, value in pairs if isinstance(value, yaml.ScalarNode)}
    for one in node.value if isinstance(node, yaml.SequenceNode) else []:
        if isinstance(one, yaml.ScalarNode) and "=" in one.value:
            name, _, value = one.value.partition("=")
            found[name] = value
        elif isinstance(one, yaml.MappingNode):
            fields = {key.value: value.value for key, value in one.value if isinstance(value, yaml.ScalarNode)}
            if "name" in fields and "value" in fields:
                found[fields["name"]] = fields["value"]
    return {name: value for name, value in found.items() if "$" not in value}


# --- words -------------------------------------------------------------------------------------------

_PLACEHOLDER = re.compile(
    r"\$\{(?P<braced>\w+)(?:(?P<kind>:?[-?+=])(?P<default>[^{}]*))?\}|\$\((?P<make>[A-Za-z_]\w*)\)|"
    r"\$\((?P<shell>[^()]*)\)|\$(?P<bare>\w+|[@*#?])|%\((?:ENV_)?(?P<ini>\w+)\)s|\{\{[^}]*\}\}|`[^`]*`"
)


def _fill(text: str, variables: Mapping[str, str]) -> str:
    """Placeholders by their known values or defaults; what nobody knows becomes UNKNOWN."""

    def fill(match: re.Match[str]) -> str:
        name = match["braced"] or match["make"] or match["bare"] or match["ini"]
        if name and variables.get(name):
            return variables[name]
        if match["kind"] in ("-", ":-", "=", ":="):
            return match["default"] or ""
        return UNKNOWN

    return _PLACEHOLDER.sub(fill, text.replace("$$", "$"))


def _words(line: str, variables: Mapping[str, str], *, make: bool = False) -> list[str]:
    body = line.strip().lstrip("@-") if make else line.strip()
    if body.startswith("["):
        try:
            return [inner for word in json.loads(body) for inner in _unwrapped(_fill(str(word), variables), variables)]
        except ValueError:
            pass
    lexer = shlex.shlex(_fill(body, variables), posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    try:
        return [inner for word in lexer for inner in _unwrapped(word, variables)]
    except ValueError:
        return []


def _unwrapped(word: str, variables: Mapping[str, str]) -> list[str]:
    """The words of a word that is a command of its own, as in `sh -c "celery worker"`."""
    if re.search(r"\bcelery\s+\S", word):
        return _words(word, variables)
    return [word]


_ENDS = re.compile(r"^(?:[;&|<>]+|\d?>.*)$")


def worker_command(words: Sequence[str]) -> tuple[str | None, tuple[str, ...], tuple[str, ...], str] | None:
    """(app, words of the worker, what was left out, start) of a whole command; None when it starts no worker."""
    for index, word in enumerate(words):
        name = posixpath.basename(word)
        if name not in ("celery", "celeryd"):
            continue
        ended = next((at for at, one in enumerate(words[index:], index) if _ENDS.match(one)), len(words))
        manage = index > 0 and posixpath.basename(words[index - 1]) in ("manage.py", "django-admin", "django-admin.py")
        rest = list(words[index + 1 : ended])
        if name == "celeryd" or "worker" in rest:
            app, kept, left_out = worker_words(rest)
            start = "celeryd" if name == "celeryd" else STARTS[0]
            return app, kept, left_out, f"manage.py {start}" if manage else start
    return None


# --- the worker's own words --------------------------------------------------------------------------

# What becomes of an option: None keeps it, else the reason why it is left out. "-A" is looked at by itself.
_OURS = "the harness sets its own"
_BEAT = "beat's"
_EMPTIES = "it empties queues"


def _fates(words: str, fate: str | None) -> dict[str, str | None]:
    return dict.fromkeys(words.split(), fate)


_VALUED = {
    **_fates("-A --app", "app"),
    **_fates("-b --broker --result-backend --workdir -n --hostname -l --loglevel -f --logfile", _OURS),
    **_fates("--pidfile -S --statedb --uid --gid --umask --executable", _OURS),
    **_fates("-s --schedule --schedule-filename --scheduler", _BEAT),
    **_fates("-c --concurrency -P --pool -Q --queues -X --exclude-queues -O --optimization --autoscale", None),
    **_fates("--max-tasks-per-child --maxtasksperchild --max-memory-per-child --time-limit", None),
    **_fates("--soft-time-limit --prefetch-multiplier -I --include --heartbeat-interval -i", None),
    **_fates("--loader --config", None),
}
_BARE = {
    **_fates("-B --beat", _BEAT),
    **_fates("-D --detach -q --quiet -C --no-color", _OURS),
    **_fates("--purge --discard", _EMPTIES),
    **_fates("-E --task-events --events --skip-checks", None),
}


def worker_words(words: Sequence[str]) -> tuple[str | None, tuple[str, ...], tuple[str, ...]]:
    """(app, words of the worker, what was left out and why) of the words after `celery`, in any order.

    Beat, daemonising, logs, names and addresses are left out: the harness sets its own, and a schedule would
    send tasks nobody asked for. Words with an unknown placeholder go with their option.
    """
    app: str | None = None
    kept: list[str] = []
    left_out: list[str] = []
    pending = [word for word in words if word not in ("worker", "")]
    while pending:
        option, value = _take(pending)
        fate = _VALUED.get(option, _BARE.get(option))
        shown = f"{option} {value}" if value is not None else option
        if (value is not None and UNKNOWN in value) or UNKNOWN in option:
            left_out.append(f"{option.replace(UNKNOWN, '...')}: its value is not known here")
        elif fate == "app":
            app = value
        elif fate is not None:
            left_out.append(f"{option}: {fate}" if fate == _OURS else f"{shown}: {fate}")
        elif option.startswith("-"):
            kept += [option] if value is None else [option, value]
    return app, tuple(kept), tuple(left_out)


def _take(pending: list[str]) -> tuple[str, str | None]:
    """The next option with its value: `-c 4`, `-c4`, `--concurrency=4`, or one letter of a cluster like `-BE`."""
    word = pending.pop(0)
    if word.startswith("--"):
        option, equals, value = word.partition("=")
        if equals:
            return option, value
        takes = option in _VALUED or (option not in _BARE and pending and not pending[0].startswith("-"))
        return option, _next_value(pending) if takes else None
    if re.match(r"-[A-Za-z]", word):
        option, rest = word[:2], word[2:]
        if option in _VALUED:
            return option, rest.removeprefix("=") if rest else _next_value(pending)
        if rest:
            pending.insert(0, f"-{rest}")
        return option, None
    return word, None


def _next_value(pending: list[str]) -> str:
    return pending.pop(0) if pending else UNKNOWN
