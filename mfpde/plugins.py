"""Modules from outside whose things are registered: `--import` and entry points.

A configuration names no modules. They come from the command line (`--import MODULE`,
repeatable), from the entry-point group `mfpde.plugins` of installed packages, or from
an import in the user's own script.
"""

from __future__ import annotations

import contextlib
import importlib
import operator
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from mfpde.errors import ConfigurationError, did_you_mean

GROUP = "mfpde.plugins"
VARIABLE = "MFPDE_IMPORT"
"""Environment variable by which worker processes import what their parent did."""
SEPARATOR = "\n"

_state = {"entry_points": False, "variable": False}


def import_modules(names: Sequence[str]) -> None:
    """Import modules that register things; what `--import` does.

    Parameters
    ----------
    names : sequence of str
        Names of modules, which are looked for in the current folder, too, or paths of
        Python files. Processes that this one starts import them as well.

    Raises
    ------
    ConfigurationError
        If a module is missing, or raises; one sentence for each.
    """
    _import_all(names, "--import")
    known = [name for name in os.environ.get(VARIABLE, "").split(SEPARATOR) if name]
    kept = dict.fromkeys([*known, *map(_anywhere, names)])
    if kept:
        os.environ[VARIABLE] = SEPARATOR.join(kept)
    _state["variable"] = True


def _import_all(names: Sequence[str], option: str) -> None:
    problems = []
    for name in names:
        try:
            _import(name)
        # A module may raise anything, and even leave the process.
        except (Exception, SystemExit) as error:
            problems.append(_reason(f"{option} {name}", name, error))
    if problems:
        raise ConfigurationError(problems)


def referred_to(reference: str) -> Any:
    """The object that "module:attribute" names.

    Raises
    ------
    ConfigurationError
        If there is no such module, it raises, or it has no such attribute.
    """
    name, _, attribute = reference.rpartition(":")
    _import_all([name], "The module")
    module = sys.modules[Path(name).stem if _is_file(name) else name]
    try:
        return operator.attrgetter(attribute)(module)
    except AttributeError:
        hint = did_you_mean(attribute, vars(module))
        raise ConfigurationError(
            [f"The module {name} has no {attribute!r}.{hint}"]
        ) from None


def load_outside() -> None:
    """Import, once, what installed packages and the parent process register."""
    if not _state["variable"]:
        _state["variable"] = True
        import_modules([n for n in os.environ.get(VARIABLE, "").split(SEPARATOR) if n])
    if not _state["entry_points"]:
        from importlib.metadata import entry_points  # not for every start

        _state["entry_points"] = True
        for entry in entry_points(group=GROUP):
            try:
                entry.load()
            # One package that is broken is no reason to do without the others.
            except Exception as error:
                warnings.warn(
                    f"The plugin {entry.name} ({entry.value}) could not be imported: "
                    f"{type(error).__name__}: {error}.",
                    UserWarning,
                    stacklevel=2,
                )


def _import(name: str) -> ModuleType:
    with _current_folder_first():
        if _is_file(name):
            return _import_file(Path(name).expanduser())
        return importlib.import_module(name)


def _import_file(path: Path) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    path = path.resolve()
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    if loaded is not None:
        raise ImportError(
            f"there is a module {path.stem} already; give the file another name"
        )
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = module_from_spec(spec)
    # Before it runs, as the import system does: its classes can then be pickled.
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    return module


@contextlib.contextmanager
def _current_folder_first() -> Iterator[None]:
    """Look for modules in the current folder: first now, last from then on."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)


def _is_file(name: str) -> bool:
    return name.endswith(".py") or os.sep in name


def _anywhere(name: str) -> str:
    """The name, or the path of a file that holds in every folder."""
    return str(Path(name).expanduser().resolve()) if _is_file(name) else name


def _reason(what: str, name: str, error: BaseException) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and (name == missing or name.startswith(f"{missing}.")):
        return (
            f"{what}: there is no such module, neither in the current folder "
            "nor among the installed packages."
        )
    text = str(error).rstrip(".") or "no reason given"
    return f"{what}: the module raised {type(error).__name__}: {text}."
