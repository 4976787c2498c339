"""Names of a package that are imported when they are used (PEP 562).

The package's stub, `__init__.pyi`, is their only list: static tools read it as it is,
and at run time its import statements say where each name comes from.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any


def lazy_names(
    package: str,
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package with a stub.

    The stub consists of `from . import module as module`,
    `from package.module import name as name`, and annotations such as
    `__version__: str` of what `__init__.py` itself defines.
    """
    stub = pkgutil.get_data(package, "__init__.pyi")
    assert stub is not None
    origins: dict[str, str | None] = {}
    own = []
    for node in ast.parse(stub).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                origins[alias.asname or alias.name] = node.module
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            own.append(node.target.id)

    def load(name: str) -> Any:
        if name not in origins:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        origin = origins[name]
        if origin is None:
            return importlib.import_module(f"{package}.{name}")
        return getattr(importlib.import_module(origin), name)

    names = sorted([*own, *origins])
    return load, lambda: list(names), names
