"""The broker's whole state: users, virtual hosts, sessions, and the time as it was last told. Pure."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from bisect_celery.stack.brokers.embedded.faults import ConnectionFault
from bisect_celery.stack.brokers.embedded.queues import Clock
from bisect_celery.stack.brokers.embedded.session import Session
from bisect_celery.stack.brokers.embedded.vhost import VirtualHost


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()


@dataclass
class User:
    """Somebody who may log in. `vhosts` are those he may use, with all permissions."""

    name: str
    password: bytes
    administrator: bool = False
    vhosts: set[str] = field(default_factory=set)


class Broker:
    """Users, virtual hosts, sessions. `advance` first, then call; afterwards send what `take_touched` names."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.users: dict[str, User] = {}
        self.vhosts: dict[str, VirtualHost] = {}
        self.sessions: dict[Session, None] = {}
        self._touched: dict[Session, None] = {}

    # --- administration

    def put_user(self, name: str, password: str, administrator: bool = False) -> None:
        vhosts = self.users[name].vhosts if name in self.users else set()
        self.users[name] = User(name, _digest(password), administrator, vhosts)

    def delete_user(self, name: str) -> bool:
        """Whether there was one. Its connections are closed."""
        for session in self.sessions:
            if session.user == name:
                session.force_close(f"user '{name}' is deleted")
        return self.users.pop(name, None) is not None

    def put_vhost(self, name: str) -> None:
        self.vhosts.setdefault(name, VirtualHost(name, self.clock))

    def delete_vhost(self, name: str) -> bool:
        """Whether there was one. Its connections are closed and everything in it is gone."""
        vhost = self.vhosts.pop(name, None)
        if vhost is None:
            return False
        for session in self.sessions:
            if session.vhost is vhost:
                session.force_close(f"vhost '{name}' is deleted")
        for queue in list(vhost.queues.values()):
            vhost.delete_queue(queue)
        for user in self.users.values():
            user.vhosts.discard(name)
        return True

    def permit(self, user: str, vhost: str) -> bool:
        """Give a user everything on a virtual host; False when either is unknown."""
        if user not in self.users or vhost not in self.vhosts:
            return False
        self.users[user].vhosts.add(vhost)
        return True

    def authenticate(self, name: str, password: str) -> User | None:
        user = self.users.get(name)
        known = user.password if user is not None else b""
        return user if hmac.compare_digest(known, _digest(password)) else None

    # --- sessions

    def open_session(self, user: User, vhost: str, cancel_notify: bool = False) -> Session:
        """A new connection of `user` to a virtual host; 530 when there is none or he may not."""
        if vhost not in self.vhosts:
            raise ConnectionFault(530, f"vhost {vhost} not found")
        if vhost not in user.vhosts:
            raise ConnectionFault(530, f"access to vhost '{vhost}' refused for user '{user.name}'")
        session = Session(user.name, self.vhosts[vhost], self._touch, cancel_notify)
        self.sessions[session] = None
        return session

    def close_session(self, session: Session) -> None:
        """The connection is gone. Idempotent."""
        if session in self.sessions:
            del self.sessions[session]
            session.close()
            self._touched.pop(session, None)

    def _touch(self, session: Session) -> None:
        self._touched[session] = None

    def take_touched(self) -> list[Session]:
        """Sessions that have something to send since the last call."""
        touched, self._touched = self._touched, {}
        return [session for session in touched if session in self.sessions]

    # --- time

    def advance(self, now: float) -> None:
        """Tell the time, in seconds of any monotonic clock; what expires by then expires."""
        for queue in self.clock.advance(now):
            if queue.deleted:
                continue
            queue.woken()
            if queue.expired():
                self._vhost_of(queue.name, queue).delete_queue(queue)

    def _vhost_of(self, name: str, queue: object) -> VirtualHost:
        return next(vhost for vhost in self.vhosts.values() if vhost.queues.get(name) is queue)
