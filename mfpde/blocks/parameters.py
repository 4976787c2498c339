"""Sizes and names of the parameters of blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from mfpde.arrays import choice, whole
from mfpde.kernels import ACTIVATIONS

DTYPE = choice("float64", "float32")
"""The number types of kernels."""
_SIZE = whole(1, 10**7)
Size = Annotated[int, _SIZE]
ActivationName = Annotated[str, choice(*ACTIVATIONS)]
LINEAR_REACH = 2.5
"""`param_reach` of a group in which f is linear."""


def parameter_names(groups: dict[str, slice]) -> list[str]:
    """Names of single parameters, from the groups in the order of theta."""
    names = []
    for name, part in groups.items():
        size = part.stop - part.start
        if size == 1:
            names.append(name)
        else:
            names += [f"{name}[{i}]" for i in range(size)]
    return names


def matrix_names(name: str, d: int) -> list[str]:
    """Names of the entries of a d x d matrix, row by row."""
    return [f"{name}[{i},{j}]" for i in range(d) for j in range(d)]


def check_groups(params: Any, k: int) -> dict[str, int]:
    """Return names and sizes of groups as a dict; raise unless they make up k."""
    if not isinstance(params, Mapping):
        raise TypeError(
            "`params` must be a dictionary of names and sizes, such as "
            f'{{"u": 2, "b": 1}}, got {params!r}.'
        )
    groups = {}
    for name, size in params.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"`params` must have names such as u or b, got {name!r}.")
        groups[name] = _SIZE(f"params[{name!r}]", size)
    if sum(groups.values()) != k:
        raise ValueError(
            f"`params` must have sizes with sum k = {k}, got {groups} with sum "
            f"{sum(groups.values())}."
        )
    return groups
