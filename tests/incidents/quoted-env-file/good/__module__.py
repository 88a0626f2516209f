"""Reads NAME=value files."""

import os


def read(name):
    with open(os.path.join(os.path.dirname(__file__), name)) as file:
        lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)
