"""Client of RabbitMQ's management API, the part the harness uses; the embedded broker answers the same calls.

Namespaces are a virtual host and a user who may do everything there and nothing elsewhere (45 ms to make and to
delete on RabbitMQ 3.10). Counts come from the one endpoint that asks the queues themselves (DESIGN 10): the
ordinary ones lag about 5 seconds behind.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from bisect_celery.errors import HeldBack, InfraError
from bisect_celery.model import Cancel, Credentials, QueueCount

DEADLINE = 10.0
_HINT = "Look at the broker's log; `bisect-celery resume` goes on with a new one."
_CHUNK = 1 << 16
_UNCOUNTED_FOR, _LOOK_AGAIN = 3.0, 0.02


class Management:
    """One keep-alive connection to a broker's management API. For one thread; connects at the first call.

    `deadline` is what each call may take, in seconds. Every method raises InfraError when the broker cannot be
    reached, refuses, or takes longer.
    """

    def __init__(self, url: str, user: str, password: str, deadline: float = DEADLINE) -> None:
        """`url` is like http://127.0.0.1:15672."""
        parts = urlsplit(url)
        if parts.hostname is None:
            raise ValueError(f"not a management URL: {url}")
        self._address = (parts.hostname, parts.port or 15672)
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._deadline = deadline
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- what can be asked

    def version(self) -> str:
        """The broker's version as it tells it, e.g. "3.13.7"; the emulated one says so in it."""
        overview = self._call("GET", "/api/overview")
        if not isinstance(overview, dict):
            raise InfraError("The broker's management API gave no overview.", _HINT)
        return str(overview.get("product_version") or overview.get("rabbitmq_version") or "unknown")

    def healthy(self) -> bool:
        """Whether no alarm (memory, disk) holds publishers back; True where that cannot be asked (before 3.8.10)."""
        status, _ = self._answered("GET", "/api/health/checks/alarms", None)
        return status in (200, 404)

    def await_health(self, cancel: Cancel) -> None:
        """Raises HeldBack when an alarm stays: the one that a trial before caused goes with its messages."""
        if not cancel.wait(self.healthy, self._deadline, poll=0.2):
            raise HeldBack()

    def create_namespace(self, name: str) -> Credentials:
        """A fresh virtual host `name` with a user of the same name and a random password, for that host only.

        What was left under that name goes first.
        """
        self.delete_namespace(name)
        credentials = Credentials(name, name, secrets.token_urlsafe(24))
        host, user = _quoted(name), _quoted(credentials.user)
        try:
            self._call("PUT", f"/api/vhosts/{host}")
            self._call("PUT", f"/api/users/{user}", {"password": credentials.password, "tags": ""})
            everything = {"configure": ".*", "write": ".*", "read": ".*"}
            self._call("PUT", f"/api/permissions/{host}/{user}", everything)
        except InfraError:
            with contextlib.suppress(InfraError):  # the first failure is the one to tell
                self.delete_namespace(name)
            raise
        return credentials

    def delete_namespace(self, name: str) -> None:
        """Delete virtual host and user with all queues; connections are closed. Nothing when there are none."""
        self._call("DELETE", f"/api/vhosts/{_quoted(name)}", allowed=(404,))
        self._call("DELETE", f"/api/users/{_quoted(name)}", allowed=(404,))

    def queues(self, vhost: str) -> list[QueueCount]:
        """Every queue of a virtual host with its live counts, sorted by name."""
        path = f"/api/queues/{_quoted(vhost)}?disable_stats=true&enable_queue_totals=true"
        end = time.monotonic() + _UNCOUNTED_FOR
        while True:
            found = self._call("GET", path)
            if not isinstance(found, list):
                raise InfraError("The broker's management API gave no list of queues.", _HINT)
            # A queue that just comes or goes has none for a moment, above all a quorum queue without a leader yet.
            if time.monotonic() > end or all(map(_has_counts, found)):
                return sorted((_counted(queue) for queue in found), key=lambda queue: queue.name)
            time.sleep(_LOOK_AGAIN)

    def definitions(self, vhost: str) -> bytes:
        """What of a virtual host outlives whoever declared it, as JSON: exchanges, queues, bindings, with arguments."""
        found = self._call("GET", f"/api/definitions/{_quoted(vhost)}")
        if not isinstance(found, dict):
            raise InfraError("The broker's management API gave no definitions.", _HINT)
        return json.dumps(_lasting(found)).encode()

    def define(self, vhost: str, definitions: bytes) -> None:
        """Declare in a virtual host what `definitions` told of another one."""
        self._call("POST", f"/api/definitions/{_quoted(vhost)}", json.loads(definitions))

    # --- how it is asked

    def _call(
        self, method: str, path: str, content: Mapping[str, Any] | None = None, allowed: tuple[int, ...] = ()
    ) -> object:
        status, body = self._answered(method, path, content)
        if not 200 <= status < 300 and status not in allowed:
            reason = _reason(body)
            raise InfraError(f"The broker refused {method} {path.partition('?')[0]}: {status}{reason}.", _HINT)
        try:
            return json.loads(body) if body and status == 200 else None
        except ValueError as error:
            raise InfraError(f"The broker's management API did not answer {path} with JSON.", _HINT) from error

    def _answered(self, method: str, path: str, content: Mapping[str, Any] | None) -> tuple[int, bytes]:
        """Status and body. A connection that was kept alive may have been closed meanwhile: then once more."""
        end = time.monotonic() + self._deadline
        kept = self._connection is not None
        try:
            try:
                return self._exchange(method, path, content, end)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                if not kept:
                    raise
                self.close()
                return self._exchange(method, path, content, end)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            host, port = self._address
            why = str(error) or type(error).__name__
            raise InfraError(f"The broker's management API at {host}:{port} does not answer: {why}.", _HINT) from error

    def _exchange(self, method: str, path: str, content: Mapping[str, Any] | None, end: float) -> tuple[int, bytes]:
        connection = self._connected(end)
        headers = {"Authorization": self._authorization, "Accept": "application/json"}
        body = None
        if content is not None or method == "PUT":
            headers["Content-Type"] = "application/json"
            body = json.dumps(content or {}).encode()
        connection.request(method, path, body, headers)
        self._hurry(connection, end)
        response = connection.getresponse()
        chunks = []
        while chunk := response.read1(_CHUNK):
            chunks.append(chunk)
            self._hurry(connection, end)
        response.close()  # read1 does not notice the end of a body of known length: the connection stays usable
        return response.status, b"".join(chunks)

    def _connected(self, end: float) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(*self._address, timeout=max(end - time.monotonic(), 0.001))
            self._connection.connect()
        self._hurry(self._connection, end)
        return self._connection

    def _hurry(self, connection: http.client.HTTPConnection, end: float) -> None:
        """What is left of the deadline is what the next step may take."""
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no answer within {self._deadline:g} s")
        if connection.sock is not None:
            connection.sock.settimeout(left)


def _lasting(definitions: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Of a virtual host's definitions what stays when its clients have gone: nothing that deletes itself."""
    kept = {
        kind: [one for one in definitions.get(kind) or () if not one.get("auto_delete")]
        for kind in ("exchanges", "queues")
    }
    names = {kind: {one.get("name") for one in found} for kind, found in kept.items()}
    bindings = [
        one
        for one in definitions.get("bindings") or ()
        if one.get("destination") in names[f"{one.get('destination_type')}s"]
        and (one.get("source") in names["exchanges"] or str(one.get("source")).startswith("amq."))
    ]
    return {**kept, "bindings": bindings}


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _reason(body: bytes) -> str:
    with contextlib.suppress(ValueError):
        content = json.loads(body)
        if isinstance(content, dict) and isinstance(content.get("reason"), str):
            return f", {content['reason']}"
    return ""


def _has_counts(queue: object) -> bool:
    return isinstance(queue, dict) and all(
        isinstance(queue.get(f"messages_{what}"), int) for what in ("ready", "unacknowledged")
    )


def _counted(queue: object) -> QueueCount:
    if not isinstance(queue, dict) or not _has_counts(queue):
        name = queue.get("name") if isinstance(queue, dict) else queue
        raise InfraError(
            f"The broker's management API gives no live counts of the queue {name}.", "RabbitMQ 3.8 or later is needed."
        )
    arguments = queue.get("arguments")
    return QueueCount(
        name=str(queue.get("name")),
        ready=int(queue["messages_ready"]),
        unacked=int(queue["messages_unacknowledged"]),
        durable=bool(queue.get("durable")),
        exclusive=bool(queue.get("exclusive")),
        auto_delete=bool(queue.get("auto_delete")),
        arguments=tuple(sorted((str(name), str(value)) for name, value in arguments.items()))
        if isinstance(arguments, dict)
        else (),
    )
