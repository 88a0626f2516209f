"""A TCP relay on the loopback between a worker and its broker, which can be cut: for scenarios with a fault.

    relay.py HOST PORT

Says `{"event": "listening", "port": N}` on standard output, and obeys words on standard input, one a line, answering
each with an event of the same name: `drop` closes every connection (reset) and lets nobody in, `freeze` moves no byte
any more and says so to nobody, `open` ends both: after `freeze` what was held goes on. Ends when its input does.
"""

from __future__ import print_function

import errno
import json
import os
import select
import socket
import struct
import sys
import time

LOOPBACK = "127.0.0.1"
CHUNK = 1 << 16
HELD = 1 << 18  # bytes of one direction that are read ahead of a slow reader
AGAIN = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINPROGRESS, errno.EINTR)
BIND_FOR = 5.0


class Pair(object):
    """Two ends of one connection. `waiting[end]` are bytes on their way to that end."""

    def __init__(self, worker, broker):
        self.peer = {worker: broker, broker: worker}
        self.waiting = {worker: b"", broker: b""}
        self.over = set()  # ends that will say nothing more
        for end in self.peer:
            end.setblocking(False)

    def readable(self):
        return [end for end in self.peer if end not in self.over and len(self.waiting[self.peer[end]]) < HELD]

    def writable(self):
        return [end for end in self.peer if self.waiting[end]]

    def read(self, end):
        """Whether the pair lives on."""
        try:
            data = end.recv(CHUNK)
        except socket.error as error:
            return error.errno in AGAIN
        if data:
            self.waiting[self.peer[end]] += data
        else:
            self.over.add(end)
        return True

    def write(self, end):
        """Whether the pair lives on: it does not once one end is over and the other has all of it."""
        if self.waiting[end]:
            try:
                self.waiting[end] = self.waiting[end][end.send(self.waiting[end]) :]
            except socket.error as error:
                return error.errno in AGAIN
        return self.waiting[end] or self.peer[end] not in self.over

    def close(self, reset):
        for end in self.peer:
            if reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()


class Relay(object):
    def __init__(self, target):
        self.target = target
        self.port = 0
        self.pairs = []
        self.listener = None
        self.frozen = False
        self.words = b""
        self.listen()

    def listen(self):
        """On the port we had, if we had one: it is what the worker was told."""
        end = time.time() + BIND_FOR
        while True:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((LOOPBACK, self.port))
                break
            except socket.error:
                listener.close()
                if time.time() > end:
                    raise
                time.sleep(0.05)
        listener.listen(64)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self.listener = listener

    def obey(self, word):
        if word == "drop" and self.listener is not None:
            self.listener.close()
            self.listener = None
            for pair in self.pairs:
                pair.close(reset=True)
            self.pairs = []
        elif word == "freeze":
            self.frozen = True
        elif word == "open":
            self.frozen = False
            if self.listener is None:
                self.listen()
        tell(word)

    def step(self):
        """Wait for something to do, and do it; False when there is nobody any more to do it for."""
        reading, writing = [sys.stdin], []
        if not self.frozen:
            reading += [self.listener] if self.listener else []
            reading += [end for pair in self.pairs for end in pair.readable()]
            writing += [end for pair in self.pairs for end in pair.writable()]
        ready, free, _ = select.select(reading, writing, [])
        if sys.stdin in ready:
            return self.hear()
        if self.listener in ready:
            self.accept()
        for pair in list(self.pairs):
            lives = all([pair.read(end) for end in pair.peer if end in ready])
            if not (lives and all([pair.write(end) for end in pair.peer])):
                pair.close(reset=False)
                self.pairs.remove(pair)
        return True

    def hear(self):
        data = os.read(sys.stdin.fileno(), CHUNK)
        lines = (self.words + data).split(b"\n")
        self.words = lines.pop()
        for line in lines:
            self.obey(line.decode("ascii").strip())
        return bool(data)

    def accept(self):
        try:
            worker, _ = self.listener.accept()
        except socket.error:
            return
        try:
            broker = socket.create_connection(self.target, 10)
        except socket.error:
            worker.close()  # nobody is behind us: the worker finds out the same way as without us
            return
        for end in (worker, broker):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pairs.append(Pair(worker, broker))


def tell(event, **fields):
    fields["event"] = event
    print(json.dumps(fields))
    sys.stdout.flush()


def main(arguments):
    relay = Relay((arguments[0], int(arguments[1])))
    tell("listening", port=relay.port)
    while relay.step():
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
