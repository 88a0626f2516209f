"""Real repositories for tests, made with git directly and not with the code under test."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

Content = bytes | str | None


class Made:
    """A user's repository that a test makes. `commit` returns the sha; dates grow by an hour a commit."""

    def __init__(self, path: Path, *init: str) -> None:
        self.path = path
        self._clock = 1_700_000_000
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main", *init)
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.org")

    def git(self, *words: str, input: bytes | None = None, **env: str) -> str:
        return self.raw(*words, input=input, **env).decode("utf-8", "surrogateescape").strip()

    def raw(self, *words: str, input: bytes | None = None, **env: str) -> bytes:
        done = subprocess.run(
            ["git", *words], cwd=self.path, input=input, env={**os.environ, **env}, capture_output=True, timeout=60
        )
        assert done.returncode == 0, (words, done.stderr.decode("utf-8", "replace"))
        return done.stdout

    def write(self, files: dict[str, Content]) -> None:
        for name, content in files.items():
            path = os.path.join(os.fsencode(self.path), name.encode("utf-8", "surrogateescape"))
            if content is None:
                os.unlink(path)
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)

    def dates(self) -> dict[str, str]:
        self._clock += 3600
        return {"GIT_AUTHOR_DATE": f"{self._clock} +0100", "GIT_COMMITTER_DATE": f"{self._clock} +0100"}

    def commit(self, files: dict[str, Content], title: str = "change") -> str:
        self.write(files)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", title, **self.dates())
        return self.head()

    def merge(self, other: str, title: str = "merge") -> str:
        self.git("merge", "-q", "--no-ff", "-m", title, other, **self.dates())
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def tree(self, revision: str = "HEAD") -> str:
        return self.git("rev-parse", f"{revision}^{{tree}}")

    def numbers(self, upto: int) -> list[str]:
        """A line of commits from nothing, each with its number in the file `n`, checked out."""
        stream = b""
        for number in range(1, upto + 1):
            self._clock += 3600
            content, title = b"%d\n" % number, b"number %d" % number
            stream += b"commit refs/heads/main\nmark :%d\n" % number
            stream += b"committer Ada <ada@example.org> %d +0100\ndata %d\n%s\n" % (self._clock, len(title), title)
            stream += b"M 100644 inline n\ndata %d\n%s\n" % (len(content), content)
        self.git("fast-import", "--quiet", input=stream)
        self.git("reset", "-q", "--hard")
        return self.git("rev-list", "--reverse", "HEAD").split()


def fingerprint(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Everything below a folder: mode, time of change and content of each file, times of folders too, so that
    even a lock file that came and went is seen."""
    found = {}
    for base, folders, files in os.walk(folder):
        for name in [".", *folders, *files]:
            path = Path(base, name)
            stat = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path)] = (stat.st_mode, stat.st_mtime_ns, content)
    return found
