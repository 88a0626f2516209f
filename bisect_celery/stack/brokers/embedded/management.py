"""The broker's HTTP API: the part of RabbitMQ's management API that the harness uses, with the same answers.

GET  /api/overview                         PUT, DELETE /api/vhosts/<vhost>
GET  /api/health/checks/alarms             PUT, DELETE /api/users/<user>            {"password", "tags"}
GET  /api/queues/<vhost>                   PUT         /api/permissions/<vhost>/<user>
GET, POST /api/definitions/<vhost>

Counts are live. Only administrators may ask, by basic authentication.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from bisect_celery.stack.brokers.embedded import definitions
from bisect_celery.stack.brokers.embedded.broker import Broker
from bisect_celery.stack.brokers.embedded.faults import Fault
from bisect_celery.stack.brokers.embedded.handshake import WIRE_VERSION
from bisect_celery.stack.brokers.embedded.queues import Queue
from bisect_celery.stack.brokers.embedded.vhost import VirtualHost

PRODUCT = "bisect-celery emulated broker"
# Raised with every change of what the emulation does: verdicts of an older one must not be reused (DESIGN 18).
EMULATION = 2
LARGEST_BODY = 1 << 20
IDLE_SECONDS = 300.0
_REASONS = {200: "OK", 201: "Created", 204: "No Content", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
            405: "Method Not Allowed", 413: "Content Too Large", 501: "Not Implemented",
            503: "Service Unavailable"}  # fmt: skip


class Hub(Protocol):
    """What the API needs of the server around it."""

    broker: Broker
    alarmed: bool

    def advance(self) -> None: ...

    def flush(self) -> None: ...


class Request(NamedTuple):
    method: str
    path: tuple[str, ...]
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """Status and JSON content (None: no content)."""

    status: int
    content: object = None


class BadRequest(Exception):
    """The request cannot be read; the connection ends."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ManagementServer:
    """Serves one HTTP/1.1 connection per call of `serve`, kept alive between requests."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await asyncio.wait_for(read_request(reader), IDLE_SECONDS)) is not None:
                writer.write(written(self._answer(request)))
                await writer.drain()
        except BadRequest as error:
            writer.write(written(Answer(error.status, {"error": "bad_request", "reason": str(error)})))
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # a client that went away or does not speak HTTP is owed nothing
        finally:
            writer.close()

    def _answer(self, request: Request) -> Answer:
        self._hub.advance()
        if not self._is_administrator(request.headers.get("authorization", "")):
            return Answer(401, {"error": "not_authorized", "reason": "Login failed"})
        answer = self._route(request)
        self._hub.flush()
        return answer

    def _is_administrator(self, authorization: str) -> bool:
        scheme, _, encoded = authorization.partition(" ")
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        user = self._hub.broker.authenticate(name, password) if scheme.lower() == "basic" else None
        return user is not None and user.administrator

    def _route(self, request: Request) -> Answer:
        match request.path:
            case ("api", "overview"):
                actions: dict[str, Callable[[], Answer]] = {"GET": self._overview}
            case ("api", "health", "checks", "alarms"):
                actions = {"GET": self._alarms}
            case ("api", "queues", vhost):
                actions = {"GET": lambda: self._queues(vhost)}
            case ("api", "definitions", vhost):
                actions = {"GET": lambda: self._definitions(vhost), "POST": lambda: self._define(vhost, request)}
            case ("api", "vhosts", vhost):
                actions = {"PUT": lambda: self._put_vhost(vhost), "DELETE": lambda: self._delete_vhost(vhost)}
            case ("api", "users", user):
                actions = {"PUT": lambda: self._put_user(user, request), "DELETE": lambda: self._delete_user(user)}
            case ("api", "permissions", vhost, user):
                actions = {"PUT": lambda: self._permit(vhost, user, request)}
            case _:
                return Answer(404, {"error": "Object Not Found", "reason": "Not Found"})
        action = actions.get(request.method)
        return action() if action else Answer(405, {"error": "Method Not Allowed", "reason": request.method})

    # --- what is asked

    def _overview(self) -> Answer:
        version = f"{EMULATION}, after RabbitMQ {WIRE_VERSION}"
        return Answer(200, {"product_name": PRODUCT, "product_version": version, "rabbitmq_version": WIRE_VERSION})

    def _alarms(self) -> Answer:
        if self._hub.alarmed:
            return Answer(503, {"status": "failed", "reason": "too many messages are held in memory"})
        return Answer(200, {"status": "ok"})

    def _queues(self, name: str) -> Answer:
        vhost = self._hub.broker.vhosts.get(name)
        if vhost is None:
            return Answer(404, {"error": "Object Not Found", "reason": "Not Found"})
        return Answer(200, [described(queue, vhost) for queue in vhost.queues.values()])

    def _definitions(self, name: str) -> Answer:
        vhost = self._hub.broker.vhosts.get(name)
        return _absent() if vhost is None else Answer(200, definitions.exported(vhost))

    def _define(self, name: str, request: Request) -> Answer:
        vhost = self._hub.broker.vhosts.get(name)
        if vhost is None:
            return _absent()
        try:
            definitions.imported(vhost, _json_object(request.body))
        except Fault as refused:
            return Answer(400, {"error": "bad_request", "reason": str(refused)})
        return Answer(204)

    def _put_vhost(self, name: str) -> Answer:
        existed = name in self._hub.broker.vhosts
        self._hub.broker.put_vhost(name)
        return Answer(204 if existed else 201)

    def _delete_vhost(self, name: str) -> Answer:
        return _deleted(self._hub.broker.delete_vhost(name))

    def _put_user(self, name: str, request: Request) -> Answer:
        wanted = _json_object(request.body)
        password, tags = wanted.get("password"), wanted.get("tags", "")
        if not isinstance(password, str) or not isinstance(tags, str):
            return Answer(400, {"error": "bad_request", "reason": "password and tags must be texts"})
        existed = name in self._hub.broker.users
        self._hub.broker.put_user(name, password, "administrator" in tags.split(","))
        return Answer(204 if existed else 201)

    def _delete_user(self, name: str) -> Answer:
        return _deleted(self._hub.broker.delete_user(name))

    def _permit(self, vhost: str, user: str, request: Request) -> Answer:
        wanted = _json_object(request.body)
        if any(wanted.get(right) != ".*" for right in ("configure", "write", "read")):
            return Answer(501, {"error": "not_implemented", "reason": 'only permissions ".*" are emulated'})
        if not self._hub.broker.permit(user, vhost):
            return Answer(400, {"error": "bad_request", "reason": "vhost_or_user_not_found"})
        return Answer(201)


def described(queue: Queue, vhost: VirtualHost) -> dict[str, object]:
    """A queue in the words of RabbitMQ's API."""
    ready, unacked = queue.ready_count(), len(queue.unacked)
    return {
        "name": queue.name,
        "vhost": vhost.name,
        "type": "classic",
        "durable": queue.durable,
        "auto_delete": queue.auto_delete,
        "exclusive": queue.owner is not None,
        "arguments": queue.arguments,
        "messages": ready + unacked,
        "messages_ready": ready,
        "messages_unacknowledged": unacked,
    }


def _absent() -> Answer:
    return Answer(404, {"error": "Object Not Found", "reason": "Not Found"})


def _deleted(existed: bool) -> Answer:
    return Answer(204) if existed else _absent()


def _json_object(body: bytes) -> dict[str, object]:
    try:
        content = json.loads(body or b"{}")
    except ValueError as error:
        raise BadRequest(400, "the body is not JSON") from error
    if not isinstance(content, dict):
        raise BadRequest(400, "the body is not a JSON object")
    return content


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request, None at the end of the connection. Raises BadRequest."""
    line = (await reader.readline()).decode("latin-1").split()
    if not line:
        return None
    if len(line) != 3:
        raise BadRequest(400, "the request line cannot be read")
    headers = {}
    while header := (await reader.readline()).decode("latin-1").strip():
        name, _, value = header.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = headers.get("content-length", "0")
    if not length.isdigit() or "transfer-encoding" in headers:
        raise BadRequest(400, "the length of the body must be given")
    if int(length) > LARGEST_BODY:
        raise BadRequest(413, "the body is too large")
    path = tuple(unquote(part) for part in urlsplit(line[1]).path.strip("/").split("/"))
    return Request(line[0], path, headers, await reader.readexactly(int(length)))


def written(answer: Answer) -> bytes:
    """An answer as bytes of HTTP/1.1."""
    body = b"" if answer.content is None else json.dumps(answer.content, default=str).encode()
    head = [f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}"]
    if answer.status == 401:
        head.append('WWW-Authenticate: Basic realm="bisect-celery embedded broker"')
    if answer.status != 204:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body
