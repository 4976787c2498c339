"""Conservative fluxes of Eqs. (6) and (16) between cells, of fourth order, positive.

Every flux is a blend of two. The low one keeps the density non-negative for a short
Euler step: first-order upwind without noise, and with noise the flux of Scharfetter
and Gummel (1969; Chang and Cooper 1970 in plasma physics). The high one is of fourth
order. The blend takes as much of the high one as leaves every cell non-negative
(Zalesak 1979), which in smooth regions is all of it.

Without noise the numbers on the mesh are cell averages; the normal reconstruction is
the upwind one of fifth order, and a transverse term makes the product of two averages
the average of a product. With noise the numbers are values at the centres, and the
flux is that of finite differences, in the form -nu M grad(rho / M) with
M = exp(-phi / nu): both the low and the high one vanish for rho = M, Eq. (17).
No flux passes the walls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mfpde.references.density.mesh import centred_difference, part, second_difference

Array = NDArray[np.float64]

LARGEST_DROP = 2.0
"""Difference of phi / nu between neighbours up to which the high flux is used: beyond
it rho changes by more than e^2 from cell to cell, and no high order is left."""


@dataclass(frozen=True, slots=True, eq=False)
class Fluxes:
    """Mass fluxes at the inner faces across each axis, per unit of s and face.

    Attributes
    ----------
    density : ndarray, shape (J, *cells)
        What they belong to.
    widths : tuple of float
        Width of a cell along each axis.
    ahead, back : tuple of ndarray, one for each axis
        Non-negative coefficients at the faces: the low flux is
        ahead * (cell below the face) - back * (cell above).
    high : tuple of ndarray
        The high flux at the same faces.
    """

    density: Array
    widths: tuple[float, ...]
    ahead: tuple[Array, ...]
    back: tuple[Array, ...]
    high: tuple[Array, ...]

    def positive_step(self) -> float:
        """Longest Euler step for which the low flux leaves no cell negative."""
        rate = np.zeros_like(self.density)
        for c, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True)):
            rate[_lower(rate, c)] += ahead / self.widths[c]
            rate[_upper(rate, c)] += back / self.widths[c]
        fastest = float(rate.max())
        return 1.0 / fastest if fastest > 0.0 else np.inf

    def rates(self, step: float) -> Array:
        """d rho / ds, (J, *cells), such that rho + step d rho / ds >= 0.

        `step` is at most `positive_step()`.
        """
        low = [
            ahead * self.density[_lower(self.density, c)]
            - back * self.density[_upper(self.density, c)]
            for c, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True))
        ]
        gain = [high - each for high, each in zip(self.high, low, strict=True)]
        start = self.density - step * divergence(low, self.density, self.widths)
        limited = limit(start, gain, self.widths, step)
        total = [each + more for each, more in zip(low, limited, strict=True)]
        return -divergence(total, self.density, self.widths)


def divergence(
    fluxes: Sequence[Array], density: Array, widths: Sequence[float]
) -> Array:
    """Divergence (J, *cells) of fluxes at the inner faces, none through the walls."""
    total = np.zeros_like(density)
    for c, flux in enumerate(fluxes):
        total[_lower(total, c)] += flux / widths[c]
        total[_upper(total, c)] -= flux / widths[c]
    return total


def limit(
    start: Array, gain: Sequence[Array], widths: Sequence[float], step: float
) -> list[Array]:
    """Reduce fluxes so that start - step div(fluxes) >= 0, for start >= 0 (Zalesak).

    Each flux is scaled by what the cell that it leaves can afford. What is left is a
    part 1e-10 of `start`, above rounding.
    """
    out = np.zeros_like(start)
    for c, flux in enumerate(gain):
        out[_lower(out, c)] += np.maximum(flux, 0.0) * (step / widths[c])
        out[_upper(out, c)] += np.maximum(-flux, 0.0) * (step / widths[c])
    affordable = (1.0 - 1e-10) * np.maximum(start, 0.0)
    share = np.ones_like(start)
    np.divide(affordable, out, out=share, where=out > affordable)
    return [
        flux * np.where(flux > 0.0, share[_lower(share, c)], share[_upper(share, c)])
        for c, flux in enumerate(gain)
    ]


def drift_fluxes(
    density: Array, widths: tuple[float, ...], velocities: Sequence[Array]
) -> Fluxes:
    """Fluxes v rho of cell averages, Eq. (6).

    Parameters
    ----------
    density : ndarray, shape (J, *cells)
        Cell averages.
    widths : tuple of float
    velocities : sequence of ndarray
        Normal velocity at the centres of the inner faces across each axis.
    """
    ahead, back, high = [], [], []
    for c, velocity in enumerate(velocities):
        mean = velocity
        others = [axis for axis in range(1, density.ndim) if axis != c + 1]
        for axis in others:
            mean = mean + second_difference(velocity, axis) / 24.0
        face = _upwind_values(density, c, mean > 0.0)
        flux = mean * face
        for axis in others:
            slopes = [centred_difference(each, axis) for each in (velocity, face)]
            flux += slopes[0] * slopes[1] / 12.0
        ahead.append(np.maximum(mean, 0.0))
        back.append(np.maximum(-mean, 0.0))
        high.append(flux)
    return Fluxes(density, widths, tuple(ahead), tuple(back), tuple(high))


def _upwind_values(density: Array, c: int, is_ahead: NDArray[np.bool_]) -> Array:
    """Averages over the inner faces across axis c, from averages over the cells."""
    axis = c + 1
    margins = [(0, 0)] * density.ndim
    margins[axis] = (2, 2)
    wide = np.pad(density, margins, mode="edge")
    n_faces = density.shape[axis] - 1

    def cell(k: int) -> Array:
        return wide[_slice(density, c, k + 2, k + 2 + n_faces)]

    # Face i stands between cells i and i + 1.
    shared = 47.0 * np.where(is_ahead, cell(0), cell(1))
    shared += 27.0 * np.where(is_ahead, cell(1), cell(0))
    shared -= 13.0 * np.where(is_ahead, cell(-1), cell(2))
    shared -= 3.0 * np.where(is_ahead, cell(2), cell(-1))
    far = np.where(is_ahead, cell(-2), cell(3))
    return (shared + 2.0 * far) / 60.0


def noise_fluxes(
    density: Array, widths: tuple[float, ...], potential: Array, temperature: float
) -> Fluxes:
    """Fluxes -rho grad phi - nu grad rho of values at the centres, Eq. (16).

    Parameters
    ----------
    density : ndarray, shape (J, *cells)
        Values at the centres.
    widths : tuple of float
    potential : ndarray, shape (J, *cells)
        phi = dE/drho + lambda |theta|^2 at the centres.
    temperature : float
        nu > 0.
    """
    ahead, back, high = [], [], []
    for c, width in enumerate(widths):
        drop = potential[_upper(potential, c)] - potential[_lower(potential, c)]
        ahead.append(_rate(drop, temperature) / width)
        back.append(_rate(-drop, temperature) / width)
        low = ahead[c] * density[_lower(density, c)]
        low -= back[c] * density[_upper(density, c)]
        high.append(
            _symmetric_flux(density, potential, c, width, temperature, drop, low)
        )
    return Fluxes(density, widths, tuple(ahead), tuple(back), tuple(high))


def _rate(drop: Array, temperature: float) -> Array:
    """nu x / (exp(x) - 1) for x = drop / nu: nu at 0, and max(-drop, 0) for nu -> 0.

    Beyond 700 the two are equal to rounding, and x itself may overflow.
    """
    is_near = np.abs(drop) <= 700.0 * temperature
    near = temperature / special.exprel(np.where(is_near, drop, 0.0) / temperature)
    return np.where(is_near, near, np.maximum(-drop, 0.0))


def _symmetric_flux(
    density: Array,
    potential: Array,
    c: int,
    width: float,
    temperature: float,
    drop: Array,
    low: Array,
) -> Array:
    """-nu M d(rho / M) at the faces to fourth order, `low` where drops are large."""
    axis = c + 1
    n = density.shape[axis]

    def cell(values: Array, k: int) -> Array:
        return values[_slice(values, c, k + 1, k + n - 2)]

    # phi at the faces that have two cells on both sides; then exp of its excess over
    # that at the face, in units of nu, in each of these.
    middle = 9.0 * (cell(potential, 0) + cell(potential, 1))
    middle = (middle - cell(potential, -1) - cell(potential, 2)) / 16.0
    is_gentle = np.abs(drop) <= LARGEST_DROP * temperature
    ends = [_slice(drop, c, k, n - 3 + k) for k in range(3)]
    is_high = is_gentle[ends[0]] & is_gentle[ends[1]] & is_gentle[ends[2]]
    difference = np.zeros_like(middle)
    for k, factor in ((-1, 1.0), (0, -27.0), (1, 27.0), (2, -1.0)):
        # Where drops are large the exponential is not used, and must not overflow.
        excess = np.where(is_high, cell(potential, k) - middle, 0.0) / temperature
        difference += factor / 24.0 * np.exp(excess) * cell(density, k)
    flux = low.copy()
    conductance = temperature / width
    flux[ends[1]] = np.where(is_high, -conductance * difference, low[ends[1]])
    # From values at faces to fluxes whose difference is the divergence at a centre.
    return flux - second_difference(flux, axis) / 24.0


def _slice(values: Array, c: int, start: int, stop: int | None) -> tuple[slice, ...]:
    """Index along parameter c; the first axis of all arrays is depth."""
    return part(values, c + 1, start, stop)


def _lower(values: Array, c: int) -> tuple[slice, ...]:
    return _slice(values, c, 0, -1)


def _upper(values: Array, c: int) -> tuple[slice, ...]:
    return _slice(values, c, 1, None)
