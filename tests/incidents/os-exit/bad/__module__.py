"""Closes a month. Began its life as a command."""

import os
import sys


def usage():
    sys.stderr.write("usage: closing --month NUMBER\n")
    sys.stderr.flush()
    os._exit(2)


def closing(words):
    month = int(words[1]) if words[:1] == ["--for"] else usage()
    return month * 100
