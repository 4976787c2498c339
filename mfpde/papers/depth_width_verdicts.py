"""Verdicts of `depth-width` on the claims 1, 2, 3 and 18."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mfpde.analysis.rates import Interval
from mfpde.studies.judging import (
    judge,
    judge_at_least,
    judge_below,
    neighbours,
    not_measured,
)
from mfpde.studies.report import Verdict

PARTICLES = (
    "Distances of particles are measured for fewer draws and widths than outputs, and "
    "reach their order in 1/L later."
)
NOT_FITTED = "There is no fit, see the notes."


def judgements(found: Any, tolerance: float) -> Iterator[Verdict]:
    """Verdicts on rows 1 (draws of paths), 18 (of layers), 2 and 3 of the claims.

    What a row demands and the table does not allow is not resolved.
    """
    yield from _rates(found, tolerance)
    if found.a == 0.0:
        claim = "outputs: order in 1/L, same draws at all depths"
        fit = found.paired
        yield _order(claim, 1.0, fit, "exponent", "interval", tolerance, row=1)
    for name, expected in (("width", 0.5), ("depth", 0.5 * found.a)):
        claim = f"spread over draws: order in 1/{'M' if name == 'width' else 'L'}"
        names = (f"{name}_exponent", f"{name}_interval")
        row = _row(found.a)
        yield _order(claim, expected, found.fluctuation, *names, tolerance, row=row)
    if found.a == 1.0:
        claim = "one particle a layer: power of L of the error"
        power = None
        if found.narrow is not None:
            low, high = found.narrow.exponent_interval
            power = -found.narrow.exponent, (-high, -low)
        yield _below(claim, 0.0, power, row=18)
    yield from _accuracy_and_confidence(found, tolerance)
    yield _below("growth of the error in s, late minus early", 0.0, found.growth, row=3)


def without_fit(name: str, a: float) -> Verdict:
    """The verdict on a case and coupling whose outputs have no fit."""
    return _absent(f"{name}: outputs: order in 1/L", 1.0, _row(a))


def _row(a: float) -> int:
    return 1 if a == 0.0 else 18


def _rates(found: Any, tolerance: float) -> Iterator[Verdict]:
    """Orders of the joint fits, Eq. (29)."""
    count = "M" if found.a == 0.0 else "(L M)"
    for quantity, rates in found.rates.items():
        fit = None if rates is None else rates.fit
        for name, text, expected in (
            ("p", "p, order in 1/L", 1.0),
            ("q", f"q, order in 1/{count}", 0.5),
        ):
            claim = f"{quantity}: {text}"
            if quantity != "loss":
                row, width, note = _row(found.a), tolerance, ""
                if quantity == "particles":
                    row, width, note = 1, 2.0 * tolerance, PARTICLES
                if fit is None:
                    yield _absent(claim, expected, row)
                    continue
                yield judge(
                    claim,
                    expected,
                    getattr(fit, name),
                    getattr(rates, f"{name}_interval"),
                    width,
                    rivals=neighbours(expected),
                    row=row,
                    note=note,
                )
            elif fit is not None:
                # Beside the claims: late in training the loss is of second order.
                interval = getattr(rates, f"{name}_interval")
                yield judge_at_least(
                    claim, expected, getattr(fit, name), interval, tolerance
                )


def _accuracy_and_confidence(found: Any, tolerance: float) -> Iterator[Verdict]:
    """Verdicts on row 2: powers of the error of the loss that few draws exceed."""
    names = ("exponent", "exponent_interval")
    claim = "loss, infinite width: order in 1/L"
    yield _order(claim, 1.0, found.deep, *names, 2.0 * tolerance, row=2)
    eta, fit = found.quantile or (None, None)
    of = "quantile" if eta is None else f"{1.0 - eta:g}-quantile"
    claim = f"loss, {of} over draws: order in 1/M"
    yield _order(claim, 0.5, fit, *names, 2.0 * tolerance, row=2)
    claim = "loss, quantiles over draws: order in 1/eta"
    power = None if found.eta is None else (found.eta.exponent, found.eta.interval)
    yield _below(claim, 0.5, power, row=2)


def _order(
    claim: str,
    expected: float,
    fit: Any,
    value: str,
    interval: str,
    tolerance: float,
    *,
    row: int,
) -> Verdict:
    """Judge an attribute of a fit by another that holds its interval."""
    if fit is None:
        return _absent(claim, expected, row)
    rivals = neighbours(expected)
    found = getattr(fit, value), getattr(fit, interval)
    return judge(claim, expected, *found, tolerance, rivals=rivals, row=row)


def _below(
    claim: str, bound: float, found: tuple[float, Interval] | None, *, row: int
) -> Verdict:
    if found is None:
        return _absent(claim, f"< {bound:g}", row)
    return judge_below(claim, bound, *found, row=row)


def _absent(claim: str, expected: float | str, row: int) -> Verdict:
    """What a claim demands and could not be fitted."""
    return not_measured(claim, row, NOT_FITTED, expected=expected)
