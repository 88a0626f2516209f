"""Requirements files as pip reads them: continued lines, includes, options, local entries. Pure but for `Folder`.

Format: https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bisect_celery.environment.tree import Folder, join

_INCLUDE = re.compile(r"^(?:-r|--requirement|-c|--constraint)(?:\s+|=|(?=\S))(?P<path>\S.*)$")
_OPTION = re.compile(
    r"^(?:-i|--index-url|--extra-index-url|-f|--find-links|--no-index|--no-binary|--only-binary)(?:\s|=|$)"
)
_NAME = re.compile(r"^\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(?=$|[=<>!~@;,(])")
_LOCAL = re.compile(r"^(?:-e\s*|--editable(?:\s+|=))?(?P<path>(?:\.{1,2}(?:/[^\s;\[]*)?|file:[^\s;]+))")
_EDITABLE = re.compile(r"^(?:-e\s*|--editable(?:\s+|=))(?P<path>(?![\w+]+://|[\w+]+\+\w+:)[^\s;\[]+)")
_CHECKOUT = re.compile(
    r"^(?:-e\s*|--editable(?:\s+|=))?(?P<url>(?:git|hg|svn|bzr)\+[^\s#]+)#(?P<more>[^\s;]*)(?P<marker>\s*;.*)?$"
)
_ARCHIVE = re.compile(r"\.(?:whl|zip|tar\.gz|tgz|tar\.bz2)$", re.I)


@dataclass(frozen=True)
class Chain:
    """A requirements file with all it includes. `lines` are logical lines; `options` those that name indexes."""

    files: tuple[str, ...]
    lines: tuple[str, ...]
    options: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def local(self) -> bool:
        """Whether something of the tree itself is required: its metadata must be built, so uv needs the tree."""
        return any(is_local(line) for line in self.lines)


def read_chain(folder: Folder, path: str) -> Chain:
    """Read a requirements file and, each once, the files it includes; absent ones are left for uv to name."""
    files: list[str] = []
    lines: list[str] = []
    pending = [path]
    while pending:
        current = pending.pop(0)
        text = folder.text(current)
        if current in files or text is None:
            continue
        files.append(current)
        for line in logical_lines(text):
            include = _INCLUDE.match(line)
            if include is None:
                lines.append(_from_root(line, posixpath.dirname(current)))
            elif "://" not in include["path"]:
                pending.append(join(posixpath.dirname(current), include["path"].strip("'\"")))
    options = tuple(dict.fromkeys(line for line in lines if _OPTION.match(line)))
    return Chain(tuple(files), tuple(lines), options)


def find_links(line: str) -> str | None:
    """The path of a `--find-links` that is a folder beside us, None for any other line or an address."""
    match = re.match(r"^(?:-f|--find-links)(?:\s+|=)(?P<path>\S+)", line)
    return match["path"] if match and "://" not in match["path"] and not match["path"].startswith("/") else None


def _from_root(line: str, place: str) -> str:
    path = find_links(line)
    return line if path is None else f"--find-links ./{join(place, path)}"


def logical_lines(text: str) -> Iterator[str]:
    """Lines without comments and blanks, those that end in a backslash joined with the next."""
    joined = re.sub(r"\\\r?\n", " ", text)
    for line in joined.splitlines():
        kept = re.sub(r"(^|\s)#.*$", "", line).strip()
        if kept:
            yield kept


def modern(text: str) -> str:
    """The text of a requirements file with pip's older ways to name a checkout said in PEP 508's.

    `-e git+https://host/x.git@ref#egg=x` becomes `x @ git+https://host/x.git@ref`: uv takes no editable checkouts.
    """
    return "".join(_modern_line(line) for line in text.splitlines(keepends=True))


def _modern_line(line: str) -> str:
    match = _CHECKOUT.match(line.strip())
    if match is None:
        return line
    parts = dict(part.partition("=")[::2] for part in match["more"].split("&"))
    if "egg" not in parts:
        return line
    where = f"#subdirectory={parts['subdirectory']}" if "subdirectory" in parts else ""
    return f"{parts['egg']} @ {match['url']}{where}{match['marker'] or ''}\n"


def name_of(line: str) -> str | None:
    """The normalised name (PEP 503) that a requirement line begins with, None for options and bare paths."""
    match = _NAME.match(line)
    return normalise(match[1]) if match else None


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def is_local(line: str) -> bool:
    return local_path(line) is not None


def local_path(line: str) -> str | None:
    """The path of a requirement that is a folder or file beside us (`-e .`, `./x.whl`, `n @ file:///x`), or None."""
    direct = re.match(r"^[A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?\s*@\s*(?P<path>(?:file:|\.{1,2}/)[^\s;]+)", line)
    match = direct or _LOCAL.match(line) or _EDITABLE.match(line)
    if match is None or line.startswith("..."):
        return None
    return re.sub(r"^file:(?://)?", "", match["path"])


def is_archive(path: str) -> bool:
    return _ARCHIVE.search(path) is not None
