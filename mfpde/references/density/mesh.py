"""Boxes of cells in the space of theta, k = 1 or 2, and sums over them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import check_size, float_array

Array = NDArray[np.float64]

FEWEST_CELLS = 16
"""Per parameter, on the coarsest mesh: less than this carries no density."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """Equal cells between `low` and `high` along each parameter.

    Attributes
    ----------
    low, high : tuple of float, length k
    shape : tuple of int, length k
        Cells per parameter.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    shape: tuple[int, ...]

    @property
    def k(self) -> int:
        """Parameters per particle."""
        return len(self.shape)

    @cached_property
    def widths(self) -> tuple[float, ...]:
        """Width of a cell along each parameter."""
        sides = zip(self.low, self.high, self.shape, strict=True)
        return tuple((high - low) / n for low, high, n in sides)

    @cached_property
    def volume(self) -> float:
        """Volume of a cell."""
        return float(np.prod(self.widths))

    @cached_property
    def edges(self) -> tuple[Array, ...]:
        """Edges (n_c + 1,) along each parameter c."""
        sides = zip(self.low, self.high, self.shape, strict=True)
        return tuple(np.linspace(low, high, n + 1) for low, high, n in sides)

    @cached_property
    def centres(self) -> tuple[Array, ...]:
        """Centres (n_c,) along each parameter c."""
        return tuple(0.5 * (edge[1:] + edge[:-1]) for edge in self.edges)

    def coarsened(self, factor: int) -> Mesh:
        """The same box with cells wider by `factor`."""
        return Mesh(self.low, self.high, tuple(n // factor for n in self.shape))

    @cached_property
    def at_centres(self) -> tuple[Array, ...]:
        """theta at the centres, each component of a shape that broadcasts."""
        return np.ix_(*self.centres)

    def at_faces(self, axis: int) -> tuple[Array, ...]:
        """theta at the centres of the inner faces across `axis`, as `at_centres`."""
        points = list(self.centres)
        points[axis] = self.edges[axis][1:-1]
        return np.ix_(*points)

    def total(self, values: Array) -> Array:
        """Sums of values (J, *shape) over the cells times their volume, (J,)."""
        return self.volume * values.reshape(len(values), -1).sum(axis=1)

    def wall_mass(self, density: Array) -> float:
        """Largest mass, over the depth nodes, of the two outermost layers of cells."""
        inner = (slice(None), *(slice(2, -2) for _ in self.shape))
        mass = self.total(density) - self.total(density[inner])
        return float(np.maximum(mass, 0.0).max())


def make_mesh(
    low: ArrayLike, high: ArrayLike, n_cells: ArrayLike, k: int, n_levels: int
) -> Mesh:
    """Check the box and the cells, and return the finest mesh.

    Parameters
    ----------
    low, high : number or array_like, shape (k,)
    n_cells : int or sequence of int, length k
    k : int
        Parameters per particle.
    n_levels : int
        Meshes that will be used, each with half the cells of the one before.
    """
    if k > 2:
        raise ValueError(
            f"`problem` must have k = 1 or 2 parameters per particle for a grid in "
            f"theta, got {k}. Use particles (`mfpde.solve`) for more."
        )
    sides: dict[str, Array] = {}
    for name, value in (("low", low), ("high", high), ("n_cells", n_cells)):
        given = float_array(name, value)
        if given.shape not in ((), (k,)):
            raise ValueError(
                f"`{name}` must be a number or hold one for each of the k = {k} "
                f"parameters, got shape {given.shape}."
            )
        sides[name] = np.broadcast_to(given, (k,))
    if (sides["low"] >= sides["high"]).any():
        raise ValueError(f"`low` must be below `high`, got {low!r} and {high!r}.")
    counts = sides["n_cells"]
    multiple = 2 ** (n_levels - 1)
    fewest = FEWEST_CELLS * multiple
    if (counts % multiple != 0).any() or (counts < fewest).any():
        extra = f" and a multiple of {multiple}" if multiple > 1 else ""
        hint = ", since the error is estimated on coarser meshes" if extra else ""
        raise ValueError(
            f"`n_cells` must be an integer, at least {fewest}{extra}{hint}; "
            f"got {n_cells!r}."
        )
    check_size("n_cells", *counts.tolist())
    return Mesh(
        tuple(sides["low"].tolist()),
        tuple(sides["high"].tolist()),
        tuple(int(n) for n in counts),
    )


def centred_difference(values: Array, axis: int) -> Array:
    """Half the difference of the neighbours along an axis.

    An end value stands for its own missing neighbour.
    """
    half = 0.5 * np.diff(values, axis=axis)
    return _beside(half, half, values, axis)


def second_difference(values: Array, axis: int) -> Array:
    """Second difference along an axis, with equal values beyond the ends.

    Its sum along the axis is zero, so that adding it keeps the mass.
    """
    difference = np.diff(values, axis=axis)
    return _beside(difference, -difference, values, axis)


def _beside(below: Array, above: Array, values: Array, axis: int) -> Array:
    """Add numbers that stand between neighbours to the one below, the one above."""
    total = np.zeros_like(values)
    total[part(values, axis, 0, -1)] = below
    total[part(values, axis, 1, None)] += above
    return total


def part(values: Array, axis: int, start: int, stop: int | None) -> tuple[slice, ...]:
    """Index of the entries from start to stop along one axis."""
    index = [slice(None)] * values.ndim
    index[axis] = slice(start, stop)
    return tuple(index)
