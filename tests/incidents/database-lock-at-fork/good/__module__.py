"""A database of one file, with one writer at a time."""

import os

from django.core.files import locks

PATH = os.path.join(os.environ["HOME"], "database")


class Database:
    def open(self):
        self.file = open(PATH, "a")
        locks.lock(self.file, locks.LOCK_EX)
        return self

    def write(self, line):
        self.file.write(line + "\n")

    def close(self):
        self.file.flush()
        locks.unlock(self.file)
        self.file.close()
