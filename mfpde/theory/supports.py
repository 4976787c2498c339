"""Supports that separate, (Sep2) and (Sep1) of the theory, and how a flow keeps them.

A flow moves the support of rho(., t) by a continuous map. A closed curve in the plane
separates the circles around the origin from each other as long as it winds around it;
a graph over the plane, theta_[1] = g(theta_[2]), separates the half-spaces of large
and of small theta_[1] as long as its edge winds around theta_[2]. Both are counted on
particles that were laid out in order, in closed curves of straight pieces.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import checked, float_array, number, whole

Array = NDArray[np.float64]


@checked(n=whole(1, 10**7))
def circle(n: int) -> Array:
    """Unit vectors (n, 2) at equal angles, in order."""
    angle = 2.0 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


@checked(n=whole(1, 10**4), n_ratios=whole(1, 10**4))
def joined_circles(n: int, n_ratios: int) -> Array:
    """Points (n_ratios, n, n, 4) of the sphere in R^4: (cos r e_a, sin r e_b).

    e_a and e_b run around a circle each (axes 1 and 2), the angles r lie evenly in
    (0, pi / 2).
    """
    ratio = 0.5 * np.pi * (np.arange(n_ratios) + 0.5) / n_ratios
    points = np.empty((n_ratios, n, n, 4))
    shape = np.cos(ratio)[:, np.newaxis, np.newaxis, np.newaxis]
    points[..., :2] = shape * circle(n)[:, np.newaxis]
    shape = np.sin(ratio)[:, np.newaxis, np.newaxis, np.newaxis]
    points[..., 2:] = shape * circle(n)
    return points


@checked(n=whole(1, 10**4), half_width=number())
def square_sheet(n: int, half_width: float) -> Array:
    """Points (n, n, 2) of a grid over the square [-half_width, half_width]^2."""
    axis = half_width * np.linspace(-1.0, 1.0, n)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)


def winding(loops: ArrayLike) -> tuple[NDArray[np.int64], Array]:
    """How often closed curves in the plane go around the origin.

    Parameters
    ----------
    loops : array_like, shape (..., n, 2)
        Points of each curve in order; the last is joined to the first.

    Returns
    -------
    winding : ndarray of int, shape (...)
    gap : ndarray, shape (...)
        Largest angle between neighbours, seen from the origin. Below pi, the straight
        piece between them is surely passed on the side that was counted. pi where a
        point is at the origin: nothing is counted there.
    """
    loops = float_array("loops", loops)
    if loops.ndim < 2 or loops.shape[-1] != 2 or loops.shape[-2] < 3:
        raise ValueError(
            "`loops` must have shape (..., n_points, 2) with three points or more, "
            f"got {loops.shape}."
        )
    angle = np.arctan2(loops[..., 1], loops[..., 0])
    step = np.roll(angle, -1, axis=-1) - angle
    step -= 2.0 * np.pi * np.round(step / (2.0 * np.pi))
    # A point at the origin is seen at no angle at all.
    step[(loops == 0.0).all(axis=-1)] = np.pi
    turns = np.round(step.sum(axis=-1) / (2.0 * np.pi)).astype(np.int64)
    return turns, np.abs(step).max(axis=-1)


def edge_winding(
    sheets: ArrayLike, points: ArrayLike
) -> tuple[NDArray[np.int64], Array]:
    """How often the edges of sheets go around points: 1 where they lie over them.

    Parameters
    ----------
    sheets : array_like, shape (..., n, n, 2)
        Points of moved grids, `square_sheet` at first.
    points : array_like, shape (q, 2)

    Returns
    -------
    winding : ndarray of int, shape (..., q)
        Not zero: some point of the sheet lies over this one, however it is folded.
    gap : ndarray, shape (..., q)
        As for `winding`, seen from the points.
    """
    sheets, points = float_array("sheets", sheets), float_array("points", points)
    n = sheets.shape[-2] if sheets.ndim > 2 else 0
    if n < 2 or sheets.shape[-3:] != (n, n, 2):
        raise ValueError(
            "`sheets` must have shape (..., n, n, 2) with n of 2 or more, got "
            f"{sheets.shape}."
        )
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"`points` must have shape (q, 2), got {points.shape}.")
    sides = (
        sheets[..., :-1, 0, :],
        sheets[..., -1, :-1, :],
        sheets[..., :0:-1, -1, :],
        sheets[..., 0, :0:-1, :],
    )
    edge = np.concatenate(sides, axis=-2)[..., np.newaxis, :, :]
    return winding(edge - points[:, np.newaxis])
