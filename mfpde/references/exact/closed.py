"""What all exact cases share: their verbs, their data, and the integration in s.

t in [0, 1] is depth, s >= 0 is training time; both without units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import DOP853

from mfpde.arrays import Numbers, a_float, float_array, integer, shown
from mfpde.errors import ConvergenceError, NotFiniteError

Array = NDArray[np.float64]

# Error per step of the order-8 pair. Below 1e-13 rounding of the sums takes over.
RTOL, ATOL = 1e-13, 1e-15
MAX_EVALUATIONS = 100_000
# After so many of them a step that would have to become 10,000 times as long ends it.
EARLY_EVALUATIONS = 2_000
MOST_LAYERS = 10**7


class ExactCase(ABC):
    """A training flow with a closed form, or with a small closed system.

    Every case answers `output(s)`, `loss(s)` and `dissipation(s)` for one training
    time s or an array of them, in any order. Values have the shape of s, then that
    of the quantity. Closed systems are integrated by an explicit Runge-Kutta pair of
    order 8 with error 1e-13 per step, relative; the values are right to 1e-10 of the
    largest of them (a loss near zero to 1e-10, not to ten digits). The loss is
    sum_i c_i |z_i(1) - y_i|^2 / 2 everywhere, with c_i = 1 / N unless `sample_weights`
    are given.

    Raises
    ------
    ValueError, TypeError
        If an argument has the wrong shape, sign or kind; the message names it.
    ConvergenceError, NotFiniteError
        By the verbs, see `trajectory`: data of a scale that makes the system too stiff
        for explicit steps, or that overflows.
    """

    __slots__ = ()

    x: Numbers
    y: Numbers
    sample_weights: Numbers

    @abstractmethod
    def output(self, s: ArrayLike) -> Array:
        """z_i(1) at training time s."""

    @abstractmethod
    def dissipation(self, s: ArrayLike) -> Array:
        """D_s = int int |grad dE/drho + 2 lambda theta|^2 drho dt, Eq. (14)."""

    def loss(self, s: ArrayLike) -> Array:
        """E of Eq. (3), without regulariser, at training time s."""
        squares = (self.output(s) - self.y) ** 2
        if self.y.ndim > 1:
            squares = squares.sum(axis=-1)
        return 0.5 * mean_over_samples(squares, self.sample_weights)


def trajectory(
    rate: Callable[[float, Array], Array], start: ArrayLike, s: ArrayLike
) -> Array:
    """Values at training times s of dy/ds = rate(s, y), y(0) = start.

    Every requested time is the end of a step, so that no interpolation in s enters.

    Parameters
    ----------
    rate : callable
        Takes s and y of the shape of `start`; returns that shape.
    start : array_like, any shape
    s : array_like of numbers >= 0, in any order

    Returns
    -------
    y : ndarray, shape s.shape + start.shape

    Raises
    ------
    ConvergenceError
        If the system is so stiff that the steps become too many.
    NotFiniteError
        If it starts beyond the range of float64.
    """
    s = training_times(s)
    start = np.asarray(start, dtype=np.float64)
    times, places = np.unique(s, return_inverse=True)
    values = np.empty((len(times), start.size))
    now, y, n_evaluations = 0.0, start.ravel(), 0

    def flat_rate(s: float, y: Array) -> Array:
        return np.ravel(rate(s, y.reshape(start.shape)))

    # Trial steps may overflow; they are rejected.
    with np.errstate(over="ignore", invalid="ignore"):
        for row, target in zip(values, times, strict=True):
            if target > now:
                if not np.isfinite(flat_rate(now, y)).all():
                    raise NotFiniteError(
                        f"The velocity is not finite at s = {now:g} (training time). "
                        "Reduce the scale of the data or of the start."
                    )
                solver = DOP853(flat_rate, now, y, target, rtol=RTOL, atol=ATOL)
                _run(solver, MAX_EVALUATIONS - n_evaluations)
                now, y = float(target), solver.y
                n_evaluations += solver.nfev
            row[:] = y
    return values[places.ravel()].reshape((*s.shape, *start.shape))


def _run(solver: DOP853, n_left: int) -> None:
    """Integrate to the end, within a number of evaluations."""
    while solver.status == "running":
        message = solver.step()
        is_late = solver.nfev > n_left or _is_hopeless(solver)
        if solver.status == "failed" or is_late:
            reason = message or f"it needs more than {MAX_EVALUATIONS} evaluations"
            raise ConvergenceError(
                f"The closed system could not be integrated beyond s = {solver.t:g} "
                f"(training time): {reason} Reduce `s` or the scale of the data."
            )


def _is_hopeless(solver: DOP853) -> bool:
    """Whether the steps are far too short for the way that is left."""
    if solver.nfev < EARLY_EVALUATIONS or solver.step_size is None:
        return False
    return solver.t_bound - solver.t > 1e4 * MAX_EVALUATIONS * solver.step_size


def training_times(s: ArrayLike) -> Array:
    """Return `s` as a float array of any shape; raise unless all are >= 0."""
    times = float_array("s", s)
    if times.size and times.min() < 0.0:
        raise ValueError(f"`s` must not be negative, got {times.min():g}.")
    return times


def mean_over_samples(values: Array, weights: Array) -> Array:
    """sum_i c_i values[..., i]; a single sample has no axis, and weight 1."""
    return np.tensordot(values, weights, axes=weights.ndim)


def settle_samples(case: ExactCase, ndim: int) -> None:
    """Check `x`, `y` and `sample_weights` of a frozen case, and keep them as arrays.

    Parameters
    ----------
    case : frozen dataclass with these three fields
    ndim : int
        1 for scalar states: x is (N,), or a number for a single sample. 2 for vectors:
        x is (N, d).
    """
    x, y = float_array("x", case.x), float_array("y", case.y)
    if x.size == 0 or x.ndim not in ((0, 1) if ndim == 1 else (2,)):
        wanted = (
            "be a number or have shape (n_samples,)"
            if ndim == 1
            else "have shape (n_samples, d)"
        )
        raise ValueError(f"`x` must {wanted}, got shape {x.shape}.")
    if y.shape != x.shape:
        raise ValueError(f"`y` must have the shape {x.shape} of `x`, got {y.shape}.")
    n_samples = x.shape[:1]
    weights = case.sample_weights
    if weights is None:
        weights = np.full(n_samples, 1.0 / x.shape[0] if n_samples else 1.0)
    weights = float_array("sample_weights", weights)
    if weights.shape != n_samples:
        raise ValueError(
            f"`sample_weights` must have shape {n_samples}, got {weights.shape}."
        )
    if weights.min() < 0.0 or abs(weights.sum() - 1.0) > 1e-12:
        raise ValueError(
            "`sample_weights` must not be negative and must have sum 1, got sum "
            f"{weights.sum():.15g}."
        )
    put(case, x=x, y=y, sample_weights=weights)


def put(case: object, **values: object) -> None:
    """Set fields of a frozen dataclass, in its `__post_init__`."""
    for name, value in values.items():
        object.__setattr__(case, name, value)


def check_count(name: str, value: object, most: int = 2**63 - 1) -> int:
    """Return value as an int; raise unless it is a whole number from 1 to `most`."""
    return integer(name, value, 1, most)


def check_not_negative(name: str, value: object) -> float:
    """Return value as a float; raise unless it is a finite number >= 0."""
    found = a_float(name, value)
    if not 0.0 <= found < np.inf:
        raise ValueError(
            f"`{name}` must be finite and not negative, got {shown(value)}."
        )
    return found


def ridge_at(ridge: float, decay: float, s: ArrayLike) -> Array:
    """lambda(s) = lambda0 exp(-gamma s), the regulariser's factor after Eq. (14)."""
    return ridge * np.exp(-decay * np.asarray(s))
