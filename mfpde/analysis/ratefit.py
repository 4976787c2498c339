"""The result of a joint fit in depth and width, Eq. (29)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis.rates import Interval
from mfpde.analysis.resampling import tails
from mfpde.arrays import float_array

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# How two terms add: themselves, or, for bias and fluctuation of draws, their squares.
POWERS = {"sum": 1, "squares": 2}


@dataclass(frozen=True, eq=False)
class RateFit:
    """error = c1 L^-p + c2 (L^a M)^-q, the terms or their squares added, Eq. (29).

    Attributes
    ----------
    p, q, c1, c2 : float
    p_interval, q_interval, c1_interval, c2_interval : tuple of float
        At `confidence`; NaN where they cannot be told, see `not_identified` and
        `notes`.
    a : float
        0: path-coupled or tied draws; 1: independent draws in each layer.
    combine, statistic, confidence
        As they were asked for.
    depths, widths : ndarray, shapes (n_depths,) and (n_widths,)
    values : ndarray, shape (n_depths, n_widths)
        The statistic of every cell.
    deviations : ndarray, shape (n_depths, n_widths)
        Standard deviation of ln value that weighs the cell; NaN where it is left out.
    residuals : ndarray, shape (n_depths, n_widths)
        ln value minus the fit, NaN where the cell is left out.
    is_used : ndarray of bool, shape (n_depths, n_widths)
    n_diverged, n_missing : int
        Runs in all cells, used or not.
    left_out : tuple of str
        One sentence for each cell that is not used.
    not_identified : dict of str to str
        "p" and "q" where the cells do not determine them, with the reason: their values
        are those of the best fit, and say nothing.
    notes : tuple of str
    replicates : ndarray, shape (B, 4)
        (c1, p, c2, q) of the resamples; empty if there is one seed.
    """

    p: float
    q: float
    c1: float
    c2: float
    p_interval: Interval
    q_interval: Interval
    c1_interval: Interval
    c2_interval: Interval
    a: float
    combine: str
    statistic: str | float
    confidence: float
    depths: Array
    widths: Array
    values: Array
    deviations: Array
    residuals: Array
    is_used: Mask
    n_diverged: int
    n_missing: int
    left_out: tuple[str, ...]
    not_identified: dict[str, str]
    notes: tuple[str, ...]
    replicates: Array

    @property
    def n_used(self) -> int:
        """Number of cells in the fit."""
        return int(self.is_used.sum())

    def terms(self, depths: ArrayLike, widths: ArrayLike) -> tuple[Array, Array]:
        """Depth term c1 L^-p and width term c2 (L^a M)^-q, of the broadcast shape."""
        params = np.array([[self.c1, self.p, self.c2, self.q]])
        first, second = _terms(params, depths, widths, self.a)
        return first[0], second[0]

    def predict(self, depths: ArrayLike, widths: ArrayLike) -> Array:
        """The fitted error, of the broadcast shape of `depths` and `widths`."""
        return _combined(self.terms(depths, widths), self.combine)

    def band(self, depths: ArrayLike, widths: ArrayLike) -> tuple[Array, Array]:
        """Percentiles of the fitted error over resamples, at each place by itself."""
        if len(self.replicates) == 0:
            shape = np.broadcast_shapes(np.shape(depths), np.shape(widths))
            return np.full(shape, np.nan), np.full(shape, np.nan)
        both = _terms(self.replicates, depths, widths, self.a)
        levels = tails(self.confidence)
        errors = _combined(both, self.combine)
        with np.errstate(invalid="ignore"):
            low, high = np.quantile(errors, levels, axis=0)
        # Between two infinite errors the quantile is inf - inf.
        return np.where(np.isnan(low), np.inf, low), np.where(
            np.isnan(high), np.inf, high
        )

    def _shown(self, name: str, exponent: str) -> str:
        """A number of a term, or its name where the exponent is not identified."""
        if exponent in self.not_identified:
            return name
        return f"{getattr(self, name):.4g}"

    def __str__(self) -> str:
        second = {0.0: "M", 1.0: "(L M)"}.get(self.a, f"(L^{self.a:g} M)")
        power, root = ("", "") if self.combine == "sum" else ("^2", "^(1/2)")
        lines = [
            f"{self.statistic} error = (({self._shown('c1', 'p')} "
            f"L^-{self._shown('p', 'p')}){power} + ({self._shown('c2', 'q')} "
            f"{second}^-{self._shown('q', 'q')}){power}){root}, {self.n_used} of "
            f"{self.values.size} cells, {self.n_diverged} runs diverged"
        ]
        lines += [
            f"  {name} not identified: {reason}"
            for name, reason in self.not_identified.items()
        ]
        names = [
            name
            for name, exponent in (("p", "p"), ("q", "q"), ("c1", "p"), ("c2", "q"))
            if exponent not in self.not_identified
        ]
        for name in names:
            low, high = getattr(self, f"{name}_interval")
            lines.append(
                f"  {name} = {getattr(self, name):.4g} in [{low:.4g}, {high:.4g}] "
                f"({100 * self.confidence:g} %)"
            )
        return "\n".join([*lines, *self.left_out, *self.notes])


def _sizes(name: str, values: ArrayLike) -> Array:
    """Positive numbers of any shape; inf is the limit."""
    array = float_array(name, values, is_finite=False)
    if array.size and not array.min() > 0.0:
        raise ValueError(f"`{name}` must be positive, got {array.min():g}.")
    return array


def _terms(
    params: Array, depths: ArrayLike, widths: ArrayLike, a: float
) -> tuple[Array, Array]:
    """Both terms, each (B, ...), for (c1, p, c2, q) of shape (B, 4)."""
    depths, widths = np.broadcast_arrays(
        _sizes("depths", depths), _sizes("widths", widths)
    )
    tail = (slice(None), *(np.newaxis,) * depths.ndim)
    c1, p, c2, q = (column[tail] for column in params.T)
    return c1 * depths**-p, c2 * (depths**a * widths) ** -q


def _combined(terms: tuple[Array, Array], combine: str) -> Array:
    power = POWERS[combine]
    return (terms[0] ** power + terms[1] ** power) ** (1.0 / power)
