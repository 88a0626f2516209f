"""What one Python source binds, uses and imports, as far as it can be read without running it.

Scopes are resolved by CPython's own `symtable`, statements by `ast`. The checks are those for which pyflakes is
known (undefined names, names in `__all__` that nothing binds), kept to what decides whether a composed file can
run at all, and silent wherever a name may come from somewhere unseen. A source that this interpreter cannot
parse (Python 2, or a newer Python) is None: nothing is claimed about it.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from bisect_celery.core import syntax

KNOWN = frozenset(dir(builtins)) | {
    "__annotations__", "__builtins__", "__class__", "__doc__", "__file__", "__loader__", "__module__", "__name__",
    "__package__", "__path__", "__qualname__", "__spec__", "WindowsError",
}  # fmt: skip
_HARMLESS = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


@dataclass(frozen=True)
class Import:
    """One imported thing: `import module` (`name` None), `from module import name`, or a star (`name` "*").

    `level` counts the leading dots.
    """

    module: str
    name: str | None
    level: int = 0


@dataclass(frozen=True)
class Source:
    """What one file says. `bound`: names its module scope gets. `free`: names it uses that neither the module
    nor Python binds (a star import may). `early`: those of `free` that are looked up whenever the file is imported, by
    statements at the margin under no condition; `early_imports` likewise. `public`: its `__all__` where that is a plain
    list, else None.
    `imports`: those that must succeed, so neither guarded by `except ImportError` nor for type checkers only.
    `dynamic`: it can get names in ways that are not seen here (`__getattr__`, `globals()`, `sys.modules`).
    """

    bound: frozenset[str]
    free: frozenset[str]
    public: frozenset[str] | None
    imports: tuple[Import, ...]
    stars: tuple[Import, ...]
    dynamic: bool
    early: frozenset[str] = frozenset()
    early_imports: frozenset[Import] = frozenset()


@dataclass(frozen=True)
class _Piece:
    """What a run of whole statements says. `public` is `_UNKNOWN` for an `__all__` that is put together oddly."""

    bound: frozenset[str]
    used: frozenset[str]
    imports: tuple[Import, ...]
    public: frozenset[str] | None
    early: frozenset[str]
    early_imports: frozenset[Import]


@lru_cache(maxsize=1024)
def read(content: bytes) -> Source | None:
    """Read a source; None when it does not parse here.

    Mixtures of two versions of a file differ in a few statements, so each statement at the margin is read, and
    remembered, by itself. Where that does not work out the file is read in one, and that decides.
    """
    sound = _pieces(content)
    if sound is None:
        whole = _piece(content)
        if whole is None:
            return None
        sound = [whole]
    bound = frozenset[str]().union(*(piece.bound for piece in sound))
    used = frozenset[str]().union(*(piece.used for piece in sound))
    imports = [one for piece in sound for one in piece.imports]
    listed = [piece.public for piece in sound if piece.public is not None]
    odd = any(names is _UNKNOWN for names in listed)
    free = used - bound - KNOWN
    return Source(
        bound=bound,
        free=free,
        public=frozenset[str]().union(*listed) if listed and not odd else None,
        imports=tuple(one for one in imports if one.name != "*"),
        stars=tuple(one for one in imports if one.name == "*"),
        dynamic=odd or "__getattr__" in bound or b"globals()" in content or b"sys.modules" in content,
        early=free & frozenset[str]().union(*(piece.early for piece in sound)),
        early_imports=frozenset[Import]().union(*(piece.early_imports for piece in sound)),
    )


_MARGIN = re.compile(rb"^(?!(?:else|elif|except|finally)\b)[A-Za-z_@]", re.MULTILINE)


_LATE = b"from __future__ import annotations\n"  # with it annotations are never looked up: every piece must know
_SAYS_LATE = re.compile(rb"^from __future__ import [^#\n]*\bannotations\b", re.MULTILINE)


def _pieces(content: bytes) -> list[_Piece] | None:
    """A source read statement by statement; None when some of it does not parse however much is taken together."""
    parts = _parts(content)
    late = _SAYS_LATE.search(content) is not None
    found: list[_Piece] = []
    at = 0
    while at < len(parts):
        count, piece = 0, None
        while piece is None:  # a decorator, or text at the margin inside a string: take more
            if at + count >= len(parts):
                return None
            count = max(1, 2 * count)
            part = b"".join(parts[at : at + count])
            piece = _piece(_LATE + part if late and b"__future__" not in part else part)
        found.append(piece)
        at += count
    return found


def _parts(content: bytes) -> list[bytes]:
    """A source cut before each line that begins at the margin."""
    starts = [0, *(match.start() for match in _MARGIN.finditer(content))]
    ends = [*starts[1:], len(content)]
    return [content[start:end] for start, end in zip(starts, ends, strict=True) if start < end]


@lru_cache(maxsize=16384)
def _piece(content: bytes) -> _Piece | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = syntax.module(content)
            table = symtable.symtable(content, "<source>", "exec")  # type: ignore[arg-type]  # bytes work
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    imports = [one for one in tree.body if isinstance(one, ast.Import | ast.ImportFrom)]
    early = frozenset(_looked_up(tree.body))
    return _Piece(
        *_names(table), tuple(_imports(tree.body)), _public(tree.body), early, frozenset(_imports(imports))
    )  # fmt: skip


def _names(module: symtable.SymbolTable) -> tuple[frozenset[str], frozenset[str]]:
    """(names bound in the module's scope, names looked up there from anywhere in the file)."""
    bound = {s.get_name() for s in module.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    used = {s.get_name() for s in module.get_symbols() if s.is_referenced()}
    todo = list(module.get_children())
    while todo:
        scope = todo.pop()
        todo.extend(scope.get_children())
        for symbol in scope.get_symbols():
            local = symbol.is_assigned() or symbol.is_imported() or symbol.is_parameter()
            # Up to Python 3.12 symtable calls the locals of any function named "top" global as well.
            if symbol.is_declared_global() or (symbol.is_global() and not local):
                if symbol.is_referenced():
                    used.add(symbol.get_name())
                if local:
                    bound.add(symbol.get_name())
    return frozenset(bound), frozenset(used)


def _looked_up(body: Iterable[ast.AST]) -> Iterator[str]:
    """Names that running these statements looks up for certain: what may be passed over is left out, and so are
    annotations, which newer Pythons look up when they are asked for."""
    for node in body:
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                yield node.id
        elif isinstance(node, ast.ClassDef):
            own = {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
            own |= {
                one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            }
            own |= {one.split(".")[0] for inner in ast.walk(node) for one in _imported(inner)}
            yield from _looked_up([*node.decorator_list, *node.bases, *node.keywords])
            yield from (name for name in _looked_up(node.body) if name not in own)
        else:
            yield from _looked_up(_run_with(node))


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)


def _run_with(node: ast.AST) -> list[ast.AST]:
    """The parts of a node that run whenever it does."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [*node.decorator_list, *node.args.defaults, *(one for one in node.args.kw_defaults if one is not None)]
    if isinstance(node, ast.Lambda):
        return [*node.args.defaults, *(one for one in node.args.kw_defaults if one is not None)]
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return [node.generators[0].iter]
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        return [node.test]
    if isinstance(node, ast.BoolOp):
        return [node.values[0]]
    if isinstance(node, ast.Compare):
        return [node.left, node.comparators[0]]
    if isinstance(node, ast.For):
        return [node.iter]
    if isinstance(node, ast.AnnAssign):
        return [node.target, *([node.value] if node.value is not None else [])]
    if isinstance(node, ast.Try | ast.TryStar | ast.Match | ast.Assert):
        return []
    return list(ast.iter_child_nodes(node))


def _imports(body: Sequence[ast.stmt]) -> Iterator[Import]:
    for statement in body:
        if isinstance(statement, ast.Import):
            yield from (Import(alias.name, None) for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield from (Import(statement.module or "", alias.name, statement.level) for alias in statement.names)
        else:
            yield from _imports(list(_inside(statement)))


def _inside(statement: ast.stmt) -> Iterator[ast.stmt]:
    """The statements nested in `statement` that run when it does, guarded ones left out."""
    if isinstance(statement, ast.If) and _for_checkers(statement.test):
        yield from statement.orelse
        return
    if isinstance(statement, ast.Try | ast.TryStar):
        if not any(_forgives(handler.type) for handler in statement.handlers):
            yield from statement.body
        for handler in statement.handlers:
            yield from handler.body
    elif isinstance(statement, ast.Match):
        for case in statement.cases:
            yield from case.body
    else:
        yield from getattr(statement, "body", ())
    yield from getattr(statement, "orelse", ())
    yield from getattr(statement, "finalbody", ())


def _for_checkers(test: ast.expr) -> bool:
    return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"


def _forgives(kind: ast.expr | None) -> bool:
    """Whether `except kind` lets a failed import pass."""
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(one is None or getattr(one, "id", getattr(one, "attr", "")) in _HARMLESS for one in kinds)


_UNKNOWN: frozenset[str] = frozenset({"*"})  # an `__all__` that is put together at run time


def _public(body: Iterable[ast.stmt]) -> frozenset[str] | None:
    """The module's `__all__`: None without one, `_UNKNOWN` when it is anything but plain lists of strings."""
    names: frozenset[str] | None = None
    for statement in body:
        if isinstance(statement, ast.Assign):
            targets: Sequence[ast.expr] = statement.targets
        elif isinstance(statement, ast.AugAssign | ast.AnnAssign):
            targets = [statement.target]
        else:
            if any(isinstance(node, ast.Name) and node.id == "__all__" for node in _shallow(statement)):
                return _UNKNOWN
            continue
        if any(getattr(target, "id", "") == "__all__" for target in targets):
            listed = _strings(statement.value)
            if listed is None:
                return _UNKNOWN
            names = (names or frozenset()) | listed
    return names


def _shallow(statement: ast.stmt) -> Iterator[ast.AST]:
    """The nodes of a statement at module level that may change `__all__`; what is defined is not looked into."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
        return iter(())
    return ast.walk(statement)


def _strings(value: ast.expr | None) -> frozenset[str] | None:
    if not isinstance(value, ast.List | ast.Tuple):
        return None
    texts = [item.value for item in value.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return frozenset(texts) if len(texts) == len(value.elts) else None
