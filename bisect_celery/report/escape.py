"""Any text, safe inside GitHub's Markdown. Pure.

Titles and paths come from other people's repositories. None may break a table or a fence, become HTML or
an image, ping a person (`@name`), or leave a mark in another issue (`#12`, a URL). An invisible space
after the mark is the known way that also holds inside text (Renovate does so); inside code GitHub links
nothing.
"""

from __future__ import annotations

import re

GAP = "&#8203;"
SPECIAL = re.compile(r"[\\`*\[\]~$|]|(?<![^\W_])_|_(?![^\W_])")
AT_START = re.compile(r"^(?=[#+=-])|^(\d{1,9})(?=[.)](?:\s|$))")
LINKS = re.compile(r"(@)(?=\w)|(#)(?=\d)|\b(GH)(?=-\d)|(:)(?=//)|\b(www)(?=\.)", re.I)
CODE = re.compile(r"(`+)(.+?)(?<!`)\1(?!`)")


def clip(value: str, most: int) -> str:
    """At most `most` characters, the last one telling that there was more."""
    return value if len(value) <= most else value[: most - 1] + "…"


def text(value: str) -> str:
    """One line of plain text, for a paragraph or a table's cell."""
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    value = SPECIAL.sub(r"\\\g<0>", value)
    value = LINKS.sub(lambda found: found.group() + GAP, value)
    return AT_START.sub(lambda found: (found[1] or "") + "\\", value)


def code(value: str, cell: bool = False) -> str:
    """One line as code. `cell`: inside a table, where even code must escape its pipes."""
    if not value.strip():
        return ""
    fence = "`" * (_longest_run(value) + 1)
    # a space that touches a backtick keeps it apart from the fence, and is not shown
    pad = " " if value[0] in "` " or value[-1] in "` " else ""
    return f"{fence}{pad}{value.replace('|', chr(92) + '|') if cell else value}{pad}{fence}"


def prose(value: str) -> str:
    """One line of text in which `code` may stand in backticks, as advice has it."""
    parts: list[str] = []
    end = 0
    for found in CODE.finditer(value):
        parts += [text(value[end : found.start()]) if end < found.start() else "", code(found[2].strip())]
        end = found.end()
    return "".join([*parts, text(value[end:])])


def fence(lines: tuple[str, ...] | list[str], language: str = "") -> str:
    """Lines as a block of code that none of them can end."""
    body = "\n".join(lines)
    mark = "`" * max(3, _longest_run(body) + 1)
    return f"{mark}{language}\n{body}\n{mark}"


def _longest_run(value: str) -> int:
    return max((len(run) for run in re.findall("`+", value)), default=0)
