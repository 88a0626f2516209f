"""Stuck messages as people copy them. The samples are real: RabbitMQ 3.10's API and its rabbitmqadmin, Celery 5.7.

`*.page.txt` is the management page's own template filled in and copied as a browser copies text; `redis-*` is what
kombu's virtual transport keeps, quoted as redis-cli quotes it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisect_celery.config import describe, detect, load, to_request, told_of_message
from bisect_celery.config.listing import FolderListing
from bisect_celery.config.message import Stuck, parse
from bisect_celery.errors import UserError
from bisect_celery.model import Request

SAMPLES = Path(__file__).with_name("messages")
TASK = "orders.tasks.mail"
NESTED = ('[[17, "\\u00c5se | Ada"]]', '{"copies": 2}')
REDIS = ('[17, "\\u00c5se"]', '{"copies": 2}')
PLAIN = ("[17]", "{}")
# file: (task, (args, kwargs), queue, left out, how many)
READ: dict[str, tuple[str | None, tuple[str, str], str, tuple[str, ...], int]] = {
    "v2.page.txt": (TASK, NESTED, "v2", (), 1),
    "v2.api.json": (TASK, NESTED, "v2", (), 1),
    "v2.pretty_json.txt": (TASK, NESTED, "v2", (), 1),
    "v2.deep.txt": (TASK, NESTED, "v2", (), 1),
    "v2.table.txt": (None, NESTED, "v2", (), 1),
    "v2.long.txt": (None, NESTED, "v2", (), 1),
    "v1.api.json": (TASK, ('[17, "Ada"]', '{"copies": 2}'), "v1", (), 1),
    "v1.table.txt": (TASK, ('[17, "Ada"]', '{"copies": 2}'), "v1", (), 1),
    "eta.raw_json.txt": (TASK, PLAIN, "eta", ("eta", "expires", "callbacks", "priority", "headers tenant"), 1),
    "eta.page.txt": (TASK, PLAIN, "eta", ("eta", "expires", "callbacks", "priority", "headers tenant"), 1),
    "gzip.api.json": (TASK, PLAIN, "gzip", (), 1),
    "gzip.page.txt": (TASK, PLAIN, "gzip", (), 1),
    "yaml.api.json": (TASK, PLAIN, "yaml", (), 1),
    "many.raw_json.txt": (TASK, PLAIN, "many", (), 2),
    "many.page.txt": (TASK, PLAIN, "many", (), 2),
    "redis-v2.cli.txt": (TASK, REDIS, "mail", ("priority",), 2),
    "redis-v2.raw.txt": (TASK, REDIS, "mail", ("priority",), 2),
    "redis-v2.json": (TASK, REDIS, "mail", ("priority",), 2),
    "redis-unacked.cli.txt": (TASK, REDIS, "mail", ("priority",), 1),
}


def sample(name: str) -> str:
    return (SAMPLES / name).read_text("utf-8")


@pytest.mark.parametrize("name", READ)
def test_what_people_copy_is_read(name: str) -> None:
    task, (args, kwargs), queue, left_out, count = READ[name]
    expected = Stuck(name, task, args, kwargs, queue, queue, left_out, None, count)
    assert parse(sample(name), name) == expected
    # as mail programs and editors leave it
    assert parse(f"\n\ufeff{sample(name)}\n".replace("\n", "\r\n"), name) == expected


def test_every_sample_is_in_a_test() -> None:
    assert {path.name for path in SAMPLES.iterdir()} == {*READ, "pickle.api.json"}


# --- what must not be read -----------------------------------------------------------------------------


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('unpickled')",)


def test_a_pickle_is_never_unpickled() -> None:
    (message,) = json.loads(sample("pickle.api.json"))
    message["payload"] = base64.b64encode(pickle.dumps(([Bomb()], {}, {}))).decode()
    for text in (sample("pickle.api.json"), json.dumps([message])):
        stuck = parse(text, "pickle")
        assert (stuck.task, stuck.args, stuck.kwargs) == (TASK, None, None)
        assert "pickled" in (stuck.unread or "")


def changed(**changes: object) -> str:
    (message,) = json.loads(sample("v2.api.json"))
    return json.dumps([{**message, **changes}])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (changed(payload="[[17], {"), "cut off"),
        (changed(payload="!!", payload_encoding="base64"), "cut off"),
        (changed(payload='{"order": 17}'), "not a task's"),
        (changed(payload=""), "no payload"),
        (changed(payload='{"task": "shop.work", "id": "1", "args": true}'), "not a task's"),
        (changed(payload='{"task": "shop.work", "id": "1", "args": "17"}'), "not a task's"),
        (sample("gzip.api.json").replace("eJyLjjY0j9", "AAAAAAAAAA"), "cut off"),
        (sample("gzip.api.json").replace("x-gzip", "zstd"), "cut off"),
        (sample("v2.api.json").replace("application/json", "application/x-msgpack"), "application/x-msgpack, not JSON"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, why: str) -> None:
    stuck = parse(text, "stuck")
    assert stuck.args is None
    assert why in (stuck.unread or "")


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "null", "(empty array)", "hello", "+--+\n|a|\n+--+", '1) "x"', "Message 1"]
)
def test_what_shows_no_message(text: str) -> None:
    with pytest.raises(UserError, match="shows no message"):
        parse(text, "stuck")


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_anything_else_is_a_sentence(text: str) -> None:
    with contextlib.suppress(UserError):
        parse(text, "stuck")


@pytest.mark.parametrize("text", ["[" * 100_000, '1) "' + "[" * 100_000 + '"', '{"payload": ' + "[" * 100_000])
def test_what_is_nested_without_end_is_a_sentence(text: str) -> None:
    with pytest.raises(UserError):
        parse(text, "stuck")
    assert "cut off" in (parse(changed(payload="[" * 100_000), "stuck").unread or "")


SHOWN = st.sampled_from(
    ("payload", "body", "properties", "headers", "task", "args", "kwargs", "payload_encoding", "exchange",
     "routing_key", "content_type", "compression", "delivery_info", "body_encoding", "content-type", "base64", "string")
)  # fmt: skip
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | SHOWN | st.sampled_from(('{"task": "t", "args": 5}', "[[1], {}, {}]")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SHOWN, inner, max_size=6),
    max_leaves=12,
)
LINE = st.sampled_from(
    ["| payload | properties | properties.headers.task |", "+-----+----------+----+", "payload: x", "properties: x",
     "payload_encoding: string", "properties.headers: y", "properties.headers.task: z", "-" * 30, "Message 1",
     "Exchange x", "Routing Key y", "Payload 1 Encoding: string", '1) "{\\"body\\": 3}"', "properties.a.b.c: 5", ""]
)  # fmt: skip


@given(ODD.map(json.dumps) | st.lists(LINE, max_size=12).map("\n".join))
def test_what_is_shown_in_an_odd_way_is_read_or_is_a_sentence(text: str) -> None:
    with contextlib.suppress(UserError):
        parse(text, "stuck")


JSON = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(JSON, max_size=3), st.dictionaries(st.text(), JSON, max_size=3))
def test_any_arguments_come_through_every_way(args: list[object], kwargs: dict[str, object]) -> None:
    body = json.dumps([args, kwargs, {}])
    properties = {"body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": "q"}}
    encoded = base64.b64encode(body.encode()).decode()
    said = json.dumps({"body": encoded, "headers": {"task": "t"}, "properties": properties})
    quoted = '1) "{}"'.format("".join(f"\\x{byte:02x}" if byte in b'"\\\n' else chr(byte) for byte in said.encode()))
    rows = "Exchange\t(AMQP default)\nRouting Key\tq\nProperties\t\ntask:\tt"
    page = f"Message 1\n{rows}\nPayload\n9 bytes\nEncoding: string\n\t\n{body}"
    for text in (changed(payload=body), said, quoted, page):
        stuck = parse(text, "stuck")
        assert stuck.args is not None
        assert stuck.kwargs is not None
        assert json.loads(stuck.args) == args
        assert json.loads(stuck.kwargs) == kwargs


# --- what becomes of it --------------------------------------------------------------------------------


def asked(folder: Path, name: str, **flags: object) -> Request:
    (folder / "shop.py").write_text("from celery import Celery\napp = Celery('shop')\n")
    (folder / "stuck.txt").write_text(sample(name))
    loaded = load({"message": "stuck.txt", **flags}, typed_in=folder, root=folder, caller_environment={})
    listing = FolderListing(folder)
    return to_request(loaded, detect(listing, typed_in="", app=None), good="a", bad="b", repository=folder)


def test_it_becomes_the_probe_and_its_arguments_stay_private(tmp_path: Path) -> None:
    request = asked(tmp_path, "eta.raw_json.txt")
    probe = request.probe
    assert (probe.task, probe.args, probe.kwargs, probe.queue) == (TASK, "[17]", "{}", "eta")
    rows = {key: (value, source) for key, value, source in describe(request)}
    assert rows["task"] == (TASK, "message stuck.txt")
    assert rows["args"] == ("…", "message stuck.txt")
    told = told_of_message(request) or ""
    assert "17" not in told
    assert "task orders.tasks.mail, args, kwargs, queue eta" in told
    assert "not taken over: eta, expires, callbacks, priority, headers tenant" in told
    assert "acme" not in told


def test_what_is_spelt_out_wins(tmp_path: Path) -> None:
    (tmp_path / "bisect-celery.toml").write_text('queue = "slow"\n')
    request = asked(tmp_path, "v2.api.json", args="[1]")
    probe = request.probe
    assert (probe.task, probe.args, probe.kwargs, probe.queue) == (TASK, "[1]", '{"copies": 2}', "slow")
    assert {key: value for key, value, _ in describe(request)}["args"] == "[1]"
    assert told_of_message(dataclasses.replace(request, sources=())) is None


def test_an_exchange_of_the_projects_own_is_left_to_its_routes(tmp_path: Path) -> None:
    (message,) = json.loads(sample("v2.api.json"))
    (tmp_path / "own.json").write_text(json.dumps({**message, "exchange": "orders"}))
    request = asked(tmp_path, "v2.api.json", message="own.json")
    assert request.probe.queue is None
    assert "its routing key v2 is left to the project's own routes" in (told_of_message(request) or "")


@pytest.mark.parametrize(
    ("name", "flags", "why"),
    [
        ("v2.table.txt", {}, "does not show the task's name"),
        ("pickle.api.json", {}, "pickled"),
        ("pickle.api.json", {"args": "[1]"}, "pickled"),
        ("v2.api.json", {"script": "shop.py"}, "sends by itself"),
    ],
)
def test_what_is_too_little_is_refused(tmp_path: Path, name: str, flags: dict[str, object], why: str) -> None:
    with pytest.raises(UserError, match=why) as refused:
        asked(tmp_path, name, **flags)
    assert refused.value.hint


def test_what_it_lacks_can_be_given(tmp_path: Path) -> None:
    assert asked(tmp_path, "v2.table.txt", task="t").probe.task == "t"
    assert asked(tmp_path, "pickle.api.json", args="[1]", kwargs="{}").probe.task == TASK
