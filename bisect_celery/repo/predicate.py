"""The predicate that `git bisect run` starts: asks the session over its socket and exits with the answer.

Started as `python -I -S predicate.py SOCKET`; standard library only, and little of it, because it starts at
every step. Git reads every exit status from 1 to 127 but 125 as bad, so this program ends with 0, 1 or 125
when the session said so, and with 128 or more for anything else: no session, no answer, a word it does
not know, a crash of its own.
"""

import os
import socket
import sys

ANSWERS = {b"0\n": 0, b"1\n": 1, b"125\n": 125}
FAILED = 129
LONGEST = 4


def ask(path: str) -> int:
    """Connect, wait for the answer as long as it takes, and return the exit status."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        answer = b""
        while not answer.endswith(b"\n") and len(answer) <= LONGEST:
            part = connection.recv(LONGEST)
            if not part:
                break
            answer += part
    return ANSWERS.get(answer, FAILED)


if __name__ == "__main__":
    status = FAILED
    try:
        if len(sys.argv) == 2:
            status = ask(sys.argv[1])
    except BaseException:
        status = FAILED
    os._exit(status)
