"""Compiled functions whose machine code is kept on disk, all in one way.

One file for each function, signature, processor and key, in the folder of `folders`.
The key is a hash of all that the machine code follows from: the text of a module, of
the modules of this package that it imports (numba does not see when what it inlines is
edited), and the versions of numba and Python. A file that is damaged, of another user,
or cannot be written is as good as none.

This stands in for numba's own cache, which looks for a folder beside the module or in
the user's home, fails where neither can be written, and trusts what it finds.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.core.sigutils import normalize_signature

from mfpde.kernels.folders import cache_folder, is_own, warn_once

_HERE = Path(__file__).parent
_IMPORT = re.compile(
    r"^from mfpde\.kernels(?:\.(\w+))? import (\([^)]*\)|[^\n]*)", re.MULTILINE
)
# What a text imports without any effect on its machine code.
_WITHOUT_EFFECT = ("compiled",)
# Bytes of the check sum that a file begins with.
CHECK = 32


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit`, with machine code kept on disk; for functions of this package."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**options)(function)
        dispatcher._cache = Cache(function)
        return dispatcher

    return decorate


def cfunc(signature: Any, **options: Any) -> Callable[[Callable[..., Any]], CFunc]:
    """`numba.cfunc`, with machine code kept on disk if the module has a `KEY`."""

    def decorate(function: Callable[..., Any]) -> CFunc:
        normal = normalize_signature(signature)
        callback = CFunc(function, normal, locals={}, options=options)
        callback._cache = Cache(function)
        callback.compile()
        return callback

    return decorate


class Cache:
    """What numba calls before it compiles a function, and after."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    @property
    def cache_path(self) -> str | None:
        """The folder; None where nothing is kept."""
        folder = cache_folder() if self._key() else None
        return folder and str(folder)

    def load_overload(self, signature: Any, target: Any) -> CompileResult | None:
        """The compiled function for a signature, or None."""
        target.refresh()
        path = self._path(signature, target.codegen())
        data = _read(path) if path else None
        if data is None:
            return None
        try:
            return CompileResult._rebuild(target, *pickle.loads(data))
        except Exception:
            # Of a version of some library that the key does not name.
            return None

    def save_overload(self, signature: Any, compiled: CompileResult) -> None:
        """Keep a compiled function; a disk that is full is no reason to stop."""
        has_addresses = compiled.library.has_dynamic_globals
        if has_addresses or any(not each.can_cache for each in compiled.lifted):
            return
        path = self._path(signature, compiled.codegen)
        if path is None:
            return
        try:
            _write(path, dumps(compiled._reduce()))
        except OSError as error:
            warn_once(
                "Compiled kernels are not kept, every process compiles them anew: "
                f"{path.parent} cannot be written, {error.strerror}."
            )

    def enable(self) -> None:
        """It is on always."""

    def disable(self) -> None:
        """It is on always."""

    def flush(self) -> None:
        """Nothing is held back."""

    def _key(self) -> str | None:
        space = self.function.__globals__
        return space["KEY"] if "KEY" in space else module_key(space["__name__"])

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        key = self._key()
        folder = cache_folder() if key else None
        if folder is None:
            return None
        parts = (key, repr(signature), repr(codegen.magic_tuple()))
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]
        module = self.function.__globals__["__name__"].removeprefix("mfpde.kernels.")
        return folder / f"{module}.{self.function.__name__}.{digest}.nbc"


@functools.lru_cache(maxsize=256)
def module_key(name: str) -> str | None:
    """The key of a module of this package; None without its text, and for others."""
    package, _, stem = name.rpartition(".")
    text = _text(stem) if package == "mfpde.kernels" else None
    return text and text_key(text)


def text_key(text: str) -> str:
    """The key of a module's text, which may import from this package."""
    sources = {}
    _add_imported(text, sources)
    parts = [text, *(sources[name] for name in sorted(sources))]
    key = "\n".join([*parts, numba.__version__, sys.version])
    return hashlib.sha256(key.encode()).hexdigest()


def _add_imported(text: str, sources: dict[str, str]) -> None:
    """Add what a text imports from this package, and what that imports."""
    for module, names in _IMPORT.findall(text):
        for name in [module] if module else re.findall(r"\w+", names):
            is_known = name in sources or name in _WITHOUT_EFFECT
            source = None if is_known else _text(name)
            if source is not None:
                sources[name] = source
                _add_imported(source, sources)


def _text(name: str) -> str | None:
    try:
        return (_HERE / f"{name}.py").read_text(encoding="utf-8")
    except OSError:
        return None


def _read(path: Path) -> bytes | None:
    """What a file holds after its check sum; None unless both fit and it is our own."""
    try:
        with open(path, "rb") as file:
            content = file.read() if is_own(os.fstat(file.fileno())) else b""
    except OSError:
        return None
    data = content[CHECK:]
    is_whole = hashlib.sha256(data).digest() == content[:CHECK]
    return data if is_whole else None


def _write(path: Path, data: bytes) -> None:
    """Write a file with its check sum, whole or not at all."""
    descriptor, partial = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(data).digest() + data)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
