"""What the study `lazy` makes of errors over the residual scale alpha and L M."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.analysis import ValleyFit, bootstrap, fit_asymptotic
from mfpde.analysis.rates import Interval
from mfpde.figures import Panel
from mfpde.studies.curves import curves

Array = NDArray[np.float64]


def rising_power(
    valley: ValleyFit,
    alphas: Array,
    errors: Array,
    pure: Array,
    largest_noise: float,
    options: Mapping[str, Any],
) -> tuple[float, Interval]:
    """Power q of A alpha^-p + C (alpha^-2 L M)^-q, squares added, beyond the valley.

    Errors are (C, X, S), those of L M = inf `pure` (X,), at the scales `alphas`, up to
    alpha / sqrt(L M) = `largest_noise`; `options` are those of `fit_asymptotic`.
    A alpha^-p is that of L M = inf. Before the valley the other term is the smaller
    one, and what is of higher order, such as alpha / (L M), is not below it.
    """
    sizes = np.append(valley.sizes, np.inf)
    limit = np.broadcast_to(pure[:, np.newaxis], errors.shape[1:])
    cells = np.swapaxes(np.concatenate([errors, limit[np.newaxis]]), 0, 1)
    scales = alphas[:, np.newaxis]
    is_beyond = scales > np.append(valley.best, 0.0)
    window = is_beyond & (scales / np.sqrt(sizes) <= largest_noise)
    found = fit_asymptotic(alphas, sizes, cells, a=-2.0, window=window, **options)
    return found.fit.q, found.q_interval


def width_ratio(errors: Array, confidence: float) -> tuple[float, Interval]:
    """Mean ratio of rms, first width over last, of errors (C, W, X, S)."""

    def ratio(runs: Array) -> float:
        mean = np.log(np.mean(np.square(runs), axis=0))
        return float(np.exp(0.5 * np.mean(mean[:, 0] - mean[:, -1])))

    is_kept = np.isfinite(errors).all(axis=(1, 3))
    runs = np.moveaxis(errors, 2, 1)[is_kept]
    return bootstrap(ratio, np.moveaxis(runs, -1, 0), confidence=confidence)


def valley_panels(
    valley: ValleyFit,
    rms: Array,
    alphas: Array,
    limit: tuple[Array, Array],
    power: float,
) -> list[Panel]:
    """Panels of the valleys, and of their places.

    Parameters
    ----------
    valley : ValleyFit
    rms : ndarray, shape (C, X)
        Errors of all runs of one size and scale.
    alphas : ndarray, shape (X,)
    limit : (ndarray, ndarray)
        Scales and errors of L M = inf.
    power : float
        Of L M in the best alpha, by theory.
    """
    shown = {
        f"LM = {size:g}": (alphas, values)
        for size, values in zip(valley.sizes, rms, strict=True)
    }
    line = valley.best[-1] * (valley.sizes / valley.sizes[-1]) ** power
    return [
        curves(
            "distance to the linearised flow",
            "alpha",
            "rms error of outputs",
            shown,
            bounds={"LM = inf": limit},
        ),
        curves(
            "best alpha",
            "L M",
            "alpha",
            {"minimum of the fit": (valley.sizes, valley.best)},
            bounds={f"power {power:.3g} (theory)": (valley.sizes, line)},
            note=f"fitted power {valley.exponent:.3f}; theory through the last size",
        ),
    ]
