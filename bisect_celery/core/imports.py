"""Where the import statements of a Python file stand, and which of them a hunk changes.

In Celery systems an import that nothing uses can be what matters: it is what registers a task, connects a
signal or loads a module before the pool forks. So narrowing moves import statements one by one, also when
a hunk changes several of them, or one of them beside other code. Statement units instead of lines, and
`ast` positions with byte splicing instead of a round-tripping parser, follow the measurements in
"Delta debugging inside one bad commit" (statements of Celery hunks parse alone far more often than lines).
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bisect_celery.core import syntax

_GUARD_FILLERS = (ast.Pass, ast.Assign, ast.AnnAssign, ast.Expr, ast.Raise)
_IMPORT = re.compile(rb"[ \t\f]*(?:import[ \t]+(?P<names>\w[^#]*)|from[ \t]+(?P<module>[\w.]+)[ \t]+import\b)")
_BARE_CR = re.compile(rb"\r(?!\n)")


@dataclass(frozen=True)
class Statement:
    """A statement's lines, 0-based and half open. `key` names what an import imports; None: no import.

    A guarded import (`try: import a` / `except ImportError: a = None`) counts as one import whose `guard`
    is set. `children` are the statements inside a compound one. `indent` is known only where the
    statement was found without a parser.
    """

    first: int
    last: int
    key: str | None = None
    guard: bool = False
    children: tuple[Statement, ...] = ()
    indent: int | None = None


@dataclass(frozen=True)
class Segment:
    """A run of a hunk's lines, 0-based and half open: one import statement (`key`), or other code (None).

    `partial`: the statement goes on outside the hunk.
    """

    first: int
    last: int
    key: str | None = None
    partial: bool = False


# --- statements of a file ----------------------------------------------------------------------------


def outline(lines: Sequence[bytes]) -> tuple[Statement, ...] | None:
    """The statements of a Python file given as lines that end in `\\n`; None when it does not parse."""
    source = b"".join(lines)
    if _BARE_CR.search(source):
        return None  # Python would count other lines than git does
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = syntax.module(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return _statements(tree.body, lines)


def plain_outline(lines: Sequence[bytes]) -> tuple[Statement, ...]:
    """Import statements found by their logical lines, for a file that this Python cannot parse."""
    found = []
    at = 0
    while at < len(lines):
        match = _IMPORT.match(lines[at])
        last = at + 1
        if match:
            last = _logical_end(lines, at)
            key = f"from {_text(match['module'])}" if match["module"] else f"import {_names(match['names'])}"
            found.append(Statement(at, last, key, indent=_indent(lines[at])))
        at = last
    return tuple(found)


def _statements(body: Iterable[ast.stmt], lines: Sequence[bytes]) -> tuple[Statement, ...]:
    merged: list[Statement] = []
    for node in body:
        statement = _statement(node, lines)
        if merged and statement.first < merged[-1].last:
            statement = _together(merged.pop(), statement)
        elif _indent(lines[statement.first]) != node.col_offset:
            statement = replace(statement, key=None)  # it stands behind something else, such as `if x:`
        merged.append(statement)
    return tuple(merged)


def _statement(node: ast.stmt, lines: Sequence[bytes]) -> Statement:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
    last = node.end_lineno or node.lineno
    if isinstance(node, ast.Import | ast.ImportFrom):
        return Statement(first, last, _key(node))
    inner = tuple(_inner(node))
    key = _guard_key(node, inner)
    return Statement(first, last, key, key is not None, _statements(inner, lines))


def _together(one: Statement, two: Statement) -> Statement:
    """Statements that share a line (`import a; import b`) move together, as an import only if both are."""
    key = f"{one.key}; {two.key}" if one.key and two.key and not (one.guard or two.guard) else None
    return Statement(one.first, max(one.last, two.last), key)


def _inner(node: ast.AST) -> Iterable[ast.stmt]:
    """The statements directly inside a compound one, in the order of their lines."""
    found: list[ast.stmt] = []
    for name in ("body", "orelse", "finalbody"):
        part = getattr(node, name, [])
        found.extend(part if isinstance(part, list) else [])
    for name in ("handlers", "cases"):
        for block in getattr(node, name, []):
            found.extend(block.body)
    return sorted(found, key=lambda statement: (statement.lineno, statement.col_offset))


def _guard_key(node: ast.AST, inner: Sequence[ast.stmt]) -> str | None:
    """The key of a guarded import: `try` or `if` around nothing but imports and what stands in for them."""
    if not isinstance(node, ast.Try | ast.If):
        return None
    imports = [statement for statement in inner if isinstance(statement, ast.Import | ast.ImportFrom)]
    if not imports or not all(isinstance(s, (ast.Import, ast.ImportFrom, *_GUARD_FILLERS)) for s in inner):
        return None
    return _key(imports[0])


def _key(node: ast.Import | ast.ImportFrom) -> str:
    if isinstance(node, ast.ImportFrom):
        return f"from {'.' * node.level}{node.module or ''}"
    return "import " + ", ".join(sorted(alias.name for alias in node.names))


def _logical_end(lines: Sequence[bytes], first: int) -> int:
    """The line after a logical line that may go on in brackets or after a backslash."""
    depth = 0
    for at in range(first, len(lines)):
        code = lines[at].split(b"#")[0].rstrip()
        depth += code.count(b"(") - code.count(b")")
        if depth <= 0 and not code.endswith(b"\\"):
            return at + 1
    return first + 1


def _names(names: bytes) -> str:
    return ", ".join(sorted(_text(name.split()[0]) for name in names.split(b",") if name.split()))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _indent(line: bytes) -> int:
    return len(line) - len(line.lstrip(b" \t\f"))


# --- segments of a hunk ------------------------------------------------------------------------------


def segments(statements: Sequence[Statement], lines: Sequence[bytes], first: int, last: int) -> tuple[Segment, ...]:
    """A hunk's lines `first` to `last` on one side, cut so that each import statement stands alone.

    Comments and empty lines go with the import below them, or else above them.
    """
    if first == last:
        return ()
    found: list[Segment] = []
    at = first
    for unit in _units(statements, first, last, _least_indent(lines[first:last])):
        if at < unit.first:
            found.append(Segment(at, unit.first))
        found.append(unit)
        at = unit.last
    if at < last:
        found.append(Segment(at, last))
    return _glued(found, lines)


def _units(statements: Sequence[Statement], first: int, last: int, least: int) -> Iterable[Segment]:
    """The outermost imports that a hunk changes; what lies inside other code that it changes stays with that."""
    for statement in statements:
        if statement.last <= first or statement.first >= last:
            continue
        inside = first <= statement.first and statement.last <= last
        if statement.indent is not None and statement.indent > least:
            continue
        if statement.key is not None and (inside or not statement.guard):
            yield Segment(max(statement.first, first), min(statement.last, last), statement.key, not inside)
        elif not inside:
            yield from _units(statement.children, first, last, least)


def _least_indent(lines: Sequence[bytes]) -> int:
    return min((_indent(line) for line in lines if line.strip()), default=0)


def _glued(found: Sequence[Segment], lines: Sequence[bytes]) -> tuple[Segment, ...]:
    glued: list[Segment] = []
    loose: Segment | None = None
    for segment in found:
        if segment.key is None and len(found) > 1 and _is_quiet(lines[segment.first : segment.last]):
            loose = segment
            continue
        glued.append(replace(segment, first=loose.first) if loose else segment)
        loose = None
    if loose:
        glued[-1] = replace(glued[-1], last=loose.last)
    return tuple(glued)


def _is_quiet(lines: Sequence[bytes]) -> bool:
    return all(not line.strip() or line.lstrip().startswith(b"#") for line in lines)


# --- which removed segment became which added one ----------------------------------------------------

Pair = tuple[Segment | None, Segment | None]


def align(old: Sequence[Segment], new: Sequence[Segment]) -> tuple[Pair, ...]:
    """Pair the segments of both sides in order: imports of the same module, and other code with other code.

    The heaviest common subsequence; removals stand before additions where nothing pairs.
    """
    best = _weights(old, new)
    pairs: list[Pair] = []
    i = j = 0
    while i < len(old) or j < len(new):
        paired = _weight(old[i], new[j]) if i < len(old) and j < len(new) else 0
        if paired and best[i][j] == paired + best[i + 1][j + 1]:
            pairs.append((old[i], new[j]))
            i, j = i + 1, j + 1
        elif i < len(old) and best[i][j] == best[i + 1][j]:
            pairs.append((old[i], None))
            i += 1
        else:
            pairs.append((None, new[j]))
            j += 1
    return tuple(pairs)


def _weights(old: Sequence[Segment], new: Sequence[Segment]) -> list[list[int]]:
    best = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i in reversed(range(len(old))):
        for j in reversed(range(len(new))):
            paired = _weight(old[i], new[j])
            best[i][j] = max(best[i + 1][j], best[i][j + 1], paired + best[i + 1][j + 1] if paired else 0)
    return best


def _weight(one: Segment, two: Segment) -> int:
    if one.key is None and two.key is None:
        return 3
    return 2 if one.key == two.key else 0
