"""A database of one file, with one writer at a time."""

import fcntl
import os

PATH = os.path.join(os.environ["HOME"], "database")


class Database:
    def open(self):
        self.file = open(PATH, "a")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        return self

    def write(self, line):
        self.file.write(line + "\n")

    def close(self):
        self.file.flush()
        fcntl.flock(self.file, fcntl.LOCK_UN)
        self.file.close()
