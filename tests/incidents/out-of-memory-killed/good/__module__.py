"""What the kernel does to a container that takes more than it may have.

A test cannot count on a memory cgroup, so the limit is kept here: the resident memory is the real one, and who is
above the limit gets the kernel's signal.
"""

import os
import signal

LIMIT = 40 * 1024 * 1024  # beyond what the process had when it first came here
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_began = {}


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE_SIZE


def watched(page, number):
    began = _began.setdefault(os.getpid(), resident())
    if number % 16 == 0 and resident() - began > LIMIT:
        os.kill(os.getpid(), signal.SIGKILL)
    return page
