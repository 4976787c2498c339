"""Supports that separate in one dimension, (Sep2) and (Sep1), and their tracking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.blocks import Capped, SignedSquaredReLU, SquaredReLU
from mfpde.theory import supports

Array = NDArray[np.float64]
Tracker = Callable[[Array], tuple[Array, Array]]

SUPPORTS = ("circle", "joined circles", "sheet")
N_RATIOS = 3
HALF_WIDTH = 3.0


def separating_support(kind: str, n: int, t: Array) -> tuple[Any, Array, Tracker]:
    """Return a block for d = 1, particles on a support, and what tracks it.

    Parameters
    ----------
    kind : str
        "circle": the parameters (W, b) of the squared ReLU run around the origin.
        "joined circles": those of both halves of the signed one do, in all
        combinations, which makes the sphere in R^4. "sheet": the capped block, c a
        function of (W, b) over a square.
    n : int
        Points along every curve or edge.
    t : ndarray, shape (J,)
        Depths: the supports vary with it.

    Returns
    -------
    block : object
    theta : ndarray, shape (J, M, k)
    track : callable
        From theta to winding numbers, one each as long as the support separates, and
        the largest angles between neighbours, as in `mfpde.theory.supports.winding`.
    """
    radius = 1.0 + 0.3 * np.cos(np.pi * t)
    if kind == "circle":
        theta = np.multiply.outer(radius, supports.circle(n))
        return SquaredReLU(1), theta, supports.winding
    if kind == "joined circles":
        points = np.multiply.outer(radius, supports.joined_circles(n, N_RATIOS))

        def track_both(theta: Array) -> tuple[Array, Array]:
            halves = theta.reshape(points.shape)
            loops = [halves[..., :2].swapaxes(2, 3), halves[..., 2:]]
            return supports.winding(np.array(loops))

        return SignedSquaredReLU(1), points.reshape(len(t), -1, 4), track_both
    sheet = np.empty((len(t), n, n, 3))
    sheet[..., 1:] = supports.square_sheet(n, HALF_WIDTH)
    sheet[..., 0] = np.multiply.outer(radius - 1.0, np.tanh(sheet[0, ..., 1]))
    inside = supports.square_sheet(5, 0.5 * HALF_WIDTH).reshape(-1, 2)

    def track_edge(theta: Array) -> tuple[Array, Array]:
        return supports.edge_winding(theta.reshape(sheet.shape)[..., 1:], inside)

    return Capped(1, "regularised_relu"), sheet.reshape(len(t), -1, 3), track_edge


def support_problem(kind: str) -> str | None:
    """Return what is wrong with the name of a support, or None."""
    if kind in SUPPORTS:
        return None
    return f"a support must be one of {', '.join(SUPPORTS)}, got {kind!r}."
