"""From labels to classes, and what speaks against the task that was given."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mfpde.data.numerals import Numerals
from mfpde.errors import DataWarning

Task = Literal["classification", "regression"]
TASKS = get_args(Task)
_FEW = 2
_LONG = 10**20


def number_classes(
    name: str, labels: Sequence[Any], numerals: Numerals, hint: str = ""
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Assign 0, 1, ... to the sorted classes, numbers first and by value.

    Parameters
    ----------
    name : str
        Where the labels stand, for messages.
    labels : sequence of str or float, none missing
        Numbers are compared by their exact value, so that 1 and 1.0 are one class;
        `DataWarning` says so where they are written in several ways.
    numerals : Numerals
        How numbers are written.
    hint : str
        End of the message that the labels are no classes.

    Returns
    -------
    class_names : tuple of str
    positions : ndarray of int, shape (N,)

    Raises
    ------
    ValueError
        If a label is a number that is not whole.
    """
    spellings: dict[Any, dict[str, None]] = {}
    keys = []
    for label in labels:
        key, text = _key(label, numerals)
        keys.append(key)
        spellings.setdefault(key, {})[text] = None
    numbers = [key for key in spellings if isinstance(key, Decimal)]
    broken = [key for key in numbers if key != key.to_integral_value()]
    if broken:
        shown = next(iter(spellings[broken[0]]))
        raise ValueError(
            f"{name} must hold classes, but {shown!r} is a number that is not whole; "
            f'it has {len(numbers)} different numbers. Set `task` = "regression".{hint}'
        )
    ordered = [*sorted(numbers), *sorted(k for k in spellings if isinstance(k, str))]
    for key in ordered:
        if len(spellings[key]) > 1:
            shown = " and ".join(map(repr, list(spellings[key])[:3]))
            one = _class_name(key, list(spellings[key]))
            warnings.warn(
                f"{name} has {shown}, which are the same number and so one class, "
                f"{one!r}. If they are not, write them as text.",
                DataWarning,
                stacklevel=2,
            )
    position = {key: i for i, key in enumerate(ordered)}
    names = tuple(_class_name(key, list(spellings[key])) for key in ordered)
    return names, np.array([position[key] for key in keys], dtype=np.int64)


def _key(label: Any, numerals: Numerals) -> tuple[Decimal | str, str]:
    """What tells a class from others, and how the label is written."""
    if not isinstance(label, str):
        number = Decimal(label)
        return number, str(int(label)) if label == int(label) else str(label)
    if not numerals.is_number(label):
        return label, label
    try:
        return numerals.exact(label), label
    except InvalidOperation:  # an exponent of many digits
        return label, label


def _class_name(key: Decimal | str, spellings: list[str]) -> str:
    is_short = len(spellings) > 1 and isinstance(key, Decimal) and key < _LONG
    return str(int(key)) if is_short else spellings[0]


def check_classes(name: str, labels: NDArray[np.int64]) -> None:
    """Warn of more classes than half of the samples; raise if there is one class."""
    n_classes = len(np.unique(labels))
    if n_classes == 1 and len(labels) > 1:
        raise ValueError(
            f"{name} must have at least two classes, got one in {len(labels)} samples."
        )
    if 2 * n_classes > len(labels) and n_classes > _FEW:
        warnings.warn(
            f"{name} has {n_classes} classes in {len(labels)} samples, more than half. "
            'If these are numbers to be fitted, set `task` = "regression".',
            DataWarning,
            stacklevel=2,
        )


def check_values(names: Sequence[str], y: NDArray[np.float64]) -> None:
    """Warn of targets of a regression that have one or two values."""
    for name, column in zip(names, y.T, strict=True):
        values = np.unique(column)
        if len(values) <= _FEW < len(column):
            shown = " and ".join(f"{value:g}" for value in values)
            plural = "s" if len(values) > 1 else ""
            warnings.warn(
                f"The target {name!r} of a regression has only the value{plural} "
                f'{shown}. For classes set `task` = "classification".',
                DataWarning,
                stacklevel=2,
            )
