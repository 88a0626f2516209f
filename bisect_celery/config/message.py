"""A stuck message as people can copy it, read as the probe to send. Pure: text in, what to send out.

Read are: RabbitMQ's management page ("Get messages", as text), its API's JSON, `rabbitmqadmin get` (tables, `long`,
raw_json, pretty_json; 3.10's were looked at), and what redis-cli prints for LRANGE, LINDEX or HVALS unacked (also with
--raw or --json). Celery's message protocols: 2 has the task in the headers and `[args, kwargs, embed]` in the body, 1
has all of it in the body (docs.celeryq.dev, "Message Protocol"); kombu's virtual transports wrap either in JSON.

A pickled body is never unpickled: that would run what is in it.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import itertools
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from bisect_celery.errors import UserError

MOST_UNPACKED = 64 * 1024 * 1024
# How the management page, rabbitmqadmin and the API show what is not there.
NOTHING: tuple[object, ...] = (
    None,
    0,
    "0",
    "",
    "undefined",
    "null",
    [],
    {},
    "undefined undefined",
    ["undefined"] * 2,
    [None, None],
)
# Headers of Celery's own that say nothing about what the task does, or are told elsewhere.
_OWN = frozenset(
    {"argsrepr", "kwargsrepr", "id", "root_id", "parent_id", "task", "lang", "origin", "shadow", "group_index",
     "ignore_result", "stamped_headers", "stamps", "replaced_task_nesting", "compression", "redelivered"}
)  # fmt: skip
_EMBEDDED = ("callbacks", "errbacks", "chain", "chord")
_V1_OPTIONS = ("eta", "expires", "retries", "timelimit", *_EMBEDDED)
HINT = "Copy it as JSON: the API's answer, `rabbitmqadmin -f raw_json get queue=…`, or `redis-cli --raw LRANGE …`."


@dataclass(frozen=True)
class Stuck:
    """What a message says. `args` and `kwargs` are JSON texts, None where they cannot be read; `unread` says why.

    `queue` is known where the message went by the default exchange, whose routing keys are queues' names. `left_out`
    names what a probe does not take over. `count` is how many messages there were; this is the first.
    """

    name: str
    task: str | None
    args: str | None
    kwargs: str | None
    queue: str | None
    routing_key: str | None
    left_out: tuple[str, ...] = ()
    unread: str | None = None
    count: int = 1


def parse(text: str, name: str) -> Stuck:
    """The first message in the text of a file called `name`. Raises UserError in words when there is none."""
    try:
        raw = list(_found(text))
        if raw:
            return _stuck(raw[0], name, len(raw))
    except RecursionError:
        pass
    raise UserError(f"{name} shows no message that could be read.", HINT)


Raw = dict[str, Any]


def _stuck(raw: Raw, name: str, count: int) -> Stuck:
    """`raw` as RabbitMQ's API names things."""
    properties = _mapping(raw.get("properties"))
    headers = _mapping(properties.get("headers"))
    key = _text(raw.get("routing_key"))
    queue = key if _text(raw.get("exchange")) in (None, "(AMQP default)") else None
    body, unread = _body(raw, properties, headers)
    task, args, kwargs, options = _call(body, headers)
    if unread is None and args is None:
        unread = "its body is not a task's"
    dumped = {} if args is None else {"args": json.dumps(args), "kwargs": json.dumps(kwargs)}
    left_out = tuple(_left_out(properties, headers, options))
    return Stuck(
        name, task, dumped.get("args"), dumped.get("kwargs"), queue, key, left_out=left_out, unread=unread, count=count
    )


def _call(body: Any, headers: Raw) -> tuple[str | None, list[Any] | None, Raw, Raw]:
    """(task, args, kwargs, options in the body) by either protocol; args None where the body is neither."""
    task = _text(headers.get("task"))
    if isinstance(body, list) and len(body) in (2, 3) and isinstance(body[0], list) and isinstance(body[1], dict):
        return task, body[0], body[1], _mapping(body[2] if len(body) == 3 else None)
    if isinstance(body, dict) and "task" in body:
        options = {option: body.get(option) for option in _V1_OPTIONS}
        args = body.get("args") or []
        return _text(body["task"]), args if isinstance(args, list) else None, _mapping(body.get("kwargs")), options
    return task, None, {}, {}


def _left_out(properties: Raw, headers: Raw, options: Raw) -> Iterator[str]:
    """Names only: their values may be anybody's."""
    for option in ("eta", "expires", "retries", "timelimit", "group"):
        if {**options, **headers}.get(option) not in NOTHING:
            yield option
    yield from (option for option in _EMBEDDED if options.get(option) not in NOTHING)
    if properties.get("priority") not in NOTHING:
        yield "priority"
    known = (*_OWN, "eta", "expires", "retries", "timelimit", "group")
    custom = sorted(header for header, value in headers.items() if header not in known and value not in NOTHING)
    if custom:
        yield f"headers {', '.join(custom)}"


# --- the body ----------------------------------------------------------------------------------------


def _body(raw: Raw, properties: Raw, headers: Raw) -> tuple[Any, str | None]:
    """(what the body says, None), or (None, why it cannot be read)."""
    payload = raw.get("payload")
    if not isinstance(payload, str) or not payload.strip():
        return None, "it shows no payload"
    kind = _text(properties.get("content_type")) or "application/json"
    if "python-serialize" in kind or "pickle" in kind:
        return None, "its body is pickled, and unpickling would run what is in it"
    try:
        data = _bytes(payload, raw.get("payload_encoding"))
        data = _unpacked(data, _text(headers.get("compression")))
        return _decoded(data, kind)
    except (ValueError, RecursionError, binascii.Error, zlib.error, OSError, yaml.YAMLError):
        return None, "its body is cut off or not what it says it is"


def _bytes(payload: str, encoding: object) -> bytes:
    if encoding == "base64":
        return base64.b64decode("".join(payload.split()), validate=True)
    return payload.encode()


def _unpacked(data: bytes, compression: str | None) -> bytes:
    if compression in ("application/x-gzip", "gzip", "zlib"):  # which is zlib to kombu
        return zlib.decompressobj().decompress(data, MOST_UNPACKED)
    if compression in ("application/x-bz2", "bzip2"):
        return bz2.BZ2Decompressor().decompress(data, MOST_UNPACKED)
    if compression is not None:
        raise ValueError(compression)
    return data


def _decoded(data: bytes, kind: str) -> tuple[Any, str | None]:
    if "json" in kind:
        return json.loads(data), None
    if "yaml" in kind:
        body = yaml.safe_load(data)
        try:
            json.dumps(body)
        except TypeError:
            return None, "its arguments hold what JSON has no word for"
        return body, None
    return None, f"its body is {kind}, not JSON"


# --- where messages are shown ------------------------------------------------------------------------


def _found(text: str) -> Iterator[Raw]:
    """The messages in a text, whatever shows them, as RabbitMQ's API would."""
    text = text.replace("\r\n", "\n").strip().lstrip("\ufeff")
    for reader in (_json, _json_lines, _redis_cli, _table, _long, _page):
        found = list(reader(text))
        if found:
            yield from found
            return


def _json(text: str) -> Iterator[Raw]:
    try:
        yield from _messages(json.loads(text))
    except ValueError:
        return


def _json_lines(text: str) -> Iterator[Raw]:
    """One JSON value a line, as `redis-cli --raw` prints them."""
    for line in filter(str.strip, text.splitlines()):
        yield from _json(line)


def _messages(value: object) -> Iterator[Raw]:
    """What a JSON value shows: one message or several, also as texts, also as redis keeps what is unacknowledged."""
    if isinstance(value, str):
        yield from _json(value)
    elif isinstance(value, list):
        for one in value:
            yield from _messages(one)
    elif isinstance(value, dict) and "payload" in value:
        yield value
    elif isinstance(value, dict) and "body" in value:
        yield _of_kombu(value)


def _of_kombu(value: Raw) -> Raw:
    """A message as kombu's virtual transports keep it (kombu.transport.virtual.base.Channel.prepare_message)."""
    properties = _mapping(value.get("properties"))
    delivery = _mapping(properties.get("delivery_info"))
    return {
        "payload": value["body"],
        "payload_encoding": properties.get("body_encoding"),
        "exchange": delivery.get("exchange"),
        "routing_key": delivery.get("routing_key"),
        "properties": {
            **properties,
            "headers": _mapping(value.get("headers")),
            "content_type": value.get("content-type"),
        },
    }


_QUOTED = re.compile(r'^\s*(?:\d+\)\s*)*"(?P<text>.*)"\s*$')
_ESCAPED = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)")
_CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}


def _redis_cli(text: str) -> Iterator[Raw]:
    """`1) "{\\"body\\": …}"`, as redis-cli quotes on a terminal (sdscatrepr)."""
    for line in text.splitlines():
        if found := _QUOTED.match(line):
            yield from _json(_ESCAPED.sub(_unescaped, found["text"].encode()).decode("utf-8", "replace"))


def _unescaped(found: re.Match[bytes]) -> bytes:
    what = found[1]
    return bytes.fromhex(what[1:].decode()) if len(what) == 3 else _CONTROLS.get(what, what)


def _table(text: str) -> Iterator[Raw]:
    """rabbitmqadmin's table: columns stand where the border has its corners, whatever a payload contains."""
    lines = text.splitlines()
    border = next((line for line in lines if re.fullmatch(r"\+(?:-+\+)+", line.strip())), None)
    if border is None:
        return
    corners = [index for index, mark in enumerate(border) if mark == "+"]
    rows = [
        [line[start + 1 : end].strip() for start, end in itertools.pairwise(corners)]
        for line in lines
        if line.startswith("|")
    ]
    for row in rows[1:]:
        yield _nested(dict(zip(rows[0], row, strict=True)))


def _long(text: str) -> Iterator[Raw]:
    """`rabbitmqadmin -f long`: one `name: value` a line, rules between messages."""
    for part in re.split(r"^-{20,}$", text, flags=re.MULTILINE):
        pairs = re.findall(r"^ *([a-z][\w.]*): (.*)$", part, re.MULTILINE)
        if {"payload", "payload_encoding"} <= {key for key, _ in pairs}:
            yield _nested(dict(pairs))


def _nested(flat: Mapping[str, str]) -> Raw:
    """`properties.headers.task` as what it stands for."""
    nested: Raw = {}
    for path, value in flat.items():
        *parents, last = path.split(".", 2)
        inside = nested
        for parent in parents:
            if not isinstance(inside.get(parent), dict):
                inside[parent] = {}
            inside = inside[parent]
        inside[last] = value
    return nested if "payload" in nested else {}


_ROW = re.compile(r"^\s*(Exchange|Routing Key)\s+(\S.*?)\s*$", re.MULTILINE)
_PROPERTY = re.compile(r"^\s*([A-Za-z_][\w.-]*):(?:[ \t]+(\S.*?))?\s*$", re.MULTILINE)
_PAYLOAD = re.compile(r"^\s*Payload\b.*?\bEncoding:\s*(?P<encoding>\w+)\s*(?P<payload>.*)", re.MULTILINE | re.DOTALL)
_NOT_HEADERS = frozenset(
    {"content_type", "content_encoding", "correlation_id", "delivery_mode", "priority", "reply_to", "expiration"}
)


def _page(text: str) -> Iterator[Raw]:
    """The management page's "Get messages", copied as text; the payload is the last thing of each message."""
    for part in re.split(r"^\s*Message \d+\s*$", text, flags=re.MULTILINE):
        payload = _PAYLOAD.search(part)
        rows = dict(_ROW.findall(part))
        if payload is None or "Routing Key" not in rows:
            continue
        pairs = dict(_PROPERTY.findall(part[: payload.start()]))
        yield {
            "payload": payload["payload"].strip(),
            "payload_encoding": payload["encoding"],
            "exchange": rows.get("Exchange"),
            "routing_key": rows["Routing Key"],
            "properties": {
                **{name: value for name, value in pairs.items() if name in _NOT_HEADERS},
                "headers": {name: value for name, value in pairs.items() if name not in _NOT_HEADERS},
            },
        }


def _mapping(value: object) -> Raw:
    return {str(key): inner for key, inner in value.items()} if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value not in NOTHING else None
