"""From what `mfpde study` is given to the study that is meant."""

from __future__ import annotations

import inspect
from typing import Any

from mfpde.describe import names, thing_of
from mfpde.errors import ConfigurationError, did_you_mean, sentence
from mfpde.plugins import referred_to
from mfpde.studies.study import a_study


def is_reference(source: str) -> bool:
    """Return whether a text names a study by its module: "module:Study"."""
    return ":" in source


def is_named(source: str) -> bool:
    """Return whether a text names a study, and no file of a configuration."""
    return is_reference(source) or source in names("study")


def find_study(source: str) -> Any:
    """Return a study by its registered name or by its module.

    Parameters
    ----------
    source : str
        A registered name, or "module:Study": a class, or an object, of a module in the
        current folder or of an installed one.

    Raises
    ------
    ConfigurationError
        If there is no such study, or it lacks parts of one.
    """
    if is_reference(source):
        thing = referred_to(source)
    elif source in names("study"):
        thing = thing_of("study", source)
        # Studies of a plugin are imported when they are used.
        thing = referred_to(thing) if isinstance(thing, str) else thing
    else:
        raise ConfigurationError([_unknown(source)])
    try:
        return a_study(source, thing() if inspect.isclass(thing) else thing)
    except (TypeError, ValueError) as error:
        raise ConfigurationError([sentence(error)]) from error


def _unknown(name: str) -> str:
    known = names("study")
    return (
        f"There is no study {name!r}.{did_you_mean(name, known)} There is: "
        f"{', '.join(known) or 'none'}. The name of a configuration ends in .toml; a "
        "study of your own is module:Study."
    )
