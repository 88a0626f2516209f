"""A connection pool: a thread of its own makes connections, begun with the first question."""

import queue
import sqlite3
import threading


class PoolTimeout(Exception):
    pass


wanted, made = queue.Queue(), queue.Queue()
threads = []


def work():
    while True:
        wanted.get()
        made.put(sqlite3.connect(":memory:", check_same_thread=False))


def query(text):
    if not threads:
        threads.append(threading.Thread(target=work, daemon=True))
        threads[0].start()
    wanted.put(None)
    try:
        connection = made.get(timeout=0.5)
    except queue.Empty:
        raise PoolTimeout("couldn't get a connection after 0.50 sec") from None
    return connection.execute(text).fetchone()[0]
