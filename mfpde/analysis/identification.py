"""Whether cells determine the exponents of Eq. (29).

An exponent is identified if its term is seen in the cells, if a constant in its place
fits worse than their scatter allows, and if its interval holds neither 0 nor a bound of
the search.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as fisher

from mfpde.analysis.fitting import (
    EXPONENT_BOUNDS,
    N_PARAMS,
    TwoTerms,
    fit_two_terms,
)
from mfpde.analysis.rates import MODEL_ERROR, Interval

Array = NDArray[np.float64]

# A term below this share of the error in all cells says nothing about its exponent.
LEAST_SHARE = 0.1
# Level of the test of an exponent against 0.
TEST_LEVEL = 0.95
# Minus the logarithm of a term of infinite width or less.
EMPTY = 100.0


def doubts(model: TwoTerms, params: Array, logs: Array, weights: Array) -> list[str]:
    """Why the cells do not determine p and q, "" where nothing speaks against it.

    Of the fit alone, whatever the resamples say: they repeat what all cells have.
    """
    value, _ = model(params[np.newaxis])
    terms = model.terms(params[np.newaxis])
    left = float(np.sum(weights * (logs - value[0]) ** 2))
    found = []
    for i, (axis, term) in enumerate(zip(("depth", "width"), terms, strict=True)):
        share = float(np.exp(np.max(term - value)))
        exponent = params[2 * i + 1]
        other = terms[1 - i]
        lowest = np.where(term > -EMPTY, term, np.inf).min()
        highest = np.logaddexp(model.power * term.max(), model.power * other)
        least = np.logaddexp(model.power * lowest, model.power * other)
        change = float(np.max(highest - least)) / model.power
        if exponent in EXPONENT_BOUNDS:
            found.append(
                f"the fit ends at a bound of the search, {exponent:g}: the {axis} term "
                "is no power in these cells"
            )
        elif share < LEAST_SHARE:
            found.append(
                f"the {axis} term is at most {100 * share:.2g} % of the error in these "
                "cells"
            )
        elif change < MODEL_ERROR:
            found.append(
                f"the {axis} term changes the error by {100 * change:.2g} % over these "
                "cells"
            )
        else:
            found.append(_doubt_of_scatter(model, params, logs, weights, i, left))
    return found


def _doubt_of_scatter(
    model: TwoTerms, params: Array, logs: Array, weights: Array, i: int, left: float
) -> str:
    """Whether a constant in place of a term leaves hardly more scatter of the cells.

    By the F-test of one parameter: what the cells differ from the law is their noise.
    """
    n_free = len(logs) - N_PARAMS
    if n_free < 1:
        return ""
    # Far from a minimum in the constants the test would be too lenient: start twice.
    starts = np.repeat(params[np.newaxis], 2, axis=0)
    starts[1, 2 * i] += model.terms(params[np.newaxis])[i].max() - params[2 * i]
    starts[:, 2 * i + 1] = 0.0
    same = np.broadcast_to(logs, (2, len(logs)))
    wide = np.broadcast_to(weights, same.shape)
    free = np.ones(N_PARAMS, dtype=bool)
    free[2 * i + 1] = False
    _, cost = fit_two_terms(model, same, wide, starts, free=free)
    if (
        float(cost.min()) - left
        > float(fisher.ppf(TEST_LEVEL, 1, n_free)) * left / n_free
    ):
        return ""
    name = ("depth", "width")[i]
    return f"a constant {name} term fits these cells as well"


def doubt_of_interval(interval: Interval) -> str:
    """Why an interval of resamples says that nothing is determined, or ""."""
    low, high = interval
    if low <= EXPONENT_BOUNDS[0] or high >= EXPONENT_BOUNDS[1]:
        bound = EXPONENT_BOUNDS[0] if low <= EXPONENT_BOUNDS[0] else EXPONENT_BOUNDS[1]
        return f"its interval reaches a bound of the search, {bound:g}"
    if low <= 0.0 <= high:
        return f"its interval [{low:.2g}, {high:.2g}] holds 0: no term of this kind"
    return ""
