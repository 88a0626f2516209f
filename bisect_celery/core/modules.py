"""Which files of a repository an import statement means, and which names they offer.

A repository's import roots are unknown (`src/`, a monorepo's subfolder, a folder put on the path), so every
folder that is not itself a package may be one, and an import is only called broken when no reading of it works.
Modules that no end of the commit has are somebody else's: nothing is claimed about them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath

from bisect_celery.core import names

SUFFIX = ".py"
Content = Callable[[str], bytes | None]
Names = frozenset[str] | None  # None: any name may be there


def stem(path: str) -> str:
    """A module's path without its ending; a package's is its folder."""
    base = path.removesuffix(SUFFIX)
    return base.removesuffix("__init__").rstrip("/") if PurePosixPath(base).name == "__init__" else base


class Modules:
    """The modules among `paths`, the Python files of both ends of a commit."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.below: dict[str, set[str]] = {}  # folder -> files anywhere below it
        self._roots: dict[str, set[str]] = {}  # first part of a dotted name -> folders it may be found in
        self._stems: set[str] = set()
        paths = frozenset(paths)
        for path in paths:
            self._stems.add(stem(path))
            folders = [str(folder) for folder in PurePosixPath(path).parents]
            for folder in folders:
                self.below.setdefault("" if folder == "." else folder, set()).add(path)
        packages = {str(PurePosixPath(path).parent) for path in paths if PurePosixPath(path).name == "__init__.py"}
        for path in {*self._stems, *self.below} - {""}:
            folder = str(PurePosixPath(path).parent)
            if folder not in packages:
                self._roots.setdefault(PurePosixPath(path).name, set()).add("" if folder == "." else folder)

    def meant(self, importer: str, what: names.Import) -> tuple[str, ...]:
        """The stems that `what` may mean in the file `importer`, of those that an end of the commit has."""
        parts = what.module.split(".") if what.module else []
        if what.level:
            folders = list(PurePosixPath(importer).parent.parts)
            if what.level - 1 > len(folders):
                return ()
            found = ["/".join(folders[: len(folders) - what.level + 1] + parts)]
        else:
            found = ["/".join([root, *parts] if root else parts) for root in sorted(self._roots.get(parts[0], ()))]
        return tuple(one for one in found if one in self._stems or one in self.below)


class View:
    """The modules of one mixture of the two ends, whose files `content` reads."""

    def __init__(self, modules: Modules, content: Content) -> None:
        self.modules = modules
        self.content = content
        self._files: dict[str, str | None] = {}
        self._offers: dict[str, Names] = {}

    def exists(self, module: str) -> bool:
        """Whether the module or package of this stem is there; a folder with Python files below is one too."""
        if self._file(module) is not None:
            return True
        return any(self.content(path) is not None for path in self.modules.below.get(module, ()))

    def offers(self, module: str) -> Names:
        """The names that can be imported from an existing module, submodules left out."""
        if module not in self._offers:
            self._offers[module] = frozenset()  # what modules that star-import each other see of themselves
            self._offers[module] = self._read(module)
        return self._offers[module]

    def _read(self, module: str) -> Names:
        path = self._file(module)
        text = self.content(path) if path else None
        if path is None or text is None:
            return frozenset()
        source = names.read(text)
        if source is None or source.dynamic:
            return None
        starred = self.starred(path, source)
        return None if starred is None else source.bound | names.KNOWN | starred

    def starred(self, path: str, source: names.Source) -> Names:
        """What the star imports of a file bring into it."""
        brought: frozenset[str] = frozenset()
        for star in source.stars:
            meant = [module for module in self.modules.meant(path, star) if self.exists(module)]
            for module in meant:
                offered = self._public(module)
                if offered is None:
                    return None
                brought |= offered
            if not meant:
                return None
        return brought

    def _public(self, module: str) -> Names:
        offered = self.offers(module)
        path = self._file(module)
        source = names.read(self.content(path) or b"") if path else None
        if offered is None or source is None:
            return offered
        if source.public is not None:
            return source.public
        return frozenset(name for name in offered if not name.startswith("_"))

    def _file(self, module: str) -> str | None:
        if module not in self._files:
            paths = (f"{module}/__init__{SUFFIX}".lstrip("/"), f"{module}{SUFFIX}")
            self._files[module] = next((path for path in paths if self.content(path) is not None), None)
        return self._files[module]


def overlay(base: Mapping[str, bytes], changed: Mapping[str, bytes | None]) -> Content:
    """Reads a path from `changed`, else from `base`."""
    return lambda path: changed[path] if path in changed else base.get(path)
