"""`python -m bisect_celery.stack.brokers.embedded --announce FILE --user U --password-file P`: run until told to stop.

The announcement is JSON, `{"pid", "host", "amqp_port", "management_port"}`, and appears whole when both ports
listen. The user may administrate and use the virtual host `/`. Ends with status 0 on SIGTERM or SIGINT and,
with `--stdin-lifeline`, when its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bisect_celery.stack.brokers.embedded.broker import Broker
from bisect_celery.stack.brokers.embedded.server import DEFAULT_MEMORY_LIMIT, Server


def main() -> int:
    options = _parser().parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    asyncio.run(serve(options))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bisect_celery.stack.brokers.embedded")
    parser.add_argument("--announce", type=Path, required=True, metavar="FILE")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-file", type=Path, required=True, metavar="FILE")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--memory-limit", type=int, default=DEFAULT_MEMORY_LIMIT, metavar="BYTES")
    parser.add_argument("--stdin-lifeline", action="store_true")
    return parser


async def serve(options: argparse.Namespace) -> None:
    """Listen, announce, wait for the end, say goodbye."""
    ended = asyncio.Event()
    _watch_for_end(ended, options.stdin_lifeline)
    broker = Broker()
    broker.put_vhost("/")
    broker.put_user(options.user, options.password_file.read_text().rstrip("\n"), administrator=True)
    broker.permit(options.user, "/")
    server = Server(broker, options.memory_limit)
    await server.listen(options.host)
    announce(options.announce, options.host, server)
    await ended.wait()
    server.close()
    await asyncio.sleep(0)  # one turn of the loop writes the goodbyes


def _watch_for_end(ended: asyncio.Event, lifeline: bool) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if lifeline:
        loop.add_reader(0, _end_at_eof, ended.set, loop)


def _end_at_eof(end: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
    if not os.read(0, 4096):
        loop.remove_reader(0)
        end()


def announce(path: Path, host: str, server: Server) -> None:
    """Tell whoever started us where we listen, in one piece or not at all."""
    content = {
        "pid": os.getpid(),
        "host": host,
        "amqp_port": server.amqp_port,
        "management_port": server.management_port,
    }
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content))
    os.replace(unfinished, path)


if __name__ == "__main__":
    sys.exit(main())
