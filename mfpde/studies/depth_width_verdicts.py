"""Verdicts of `depth-width` on the claims 1, 2, 3 and 18."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mfpde.studies.judging import judge, judge_at_least, judge_below
from mfpde.studies.report import Verdict


def judgements(found: Any, tolerance: float) -> Iterator[Verdict]:
    """Verdicts on rows 1 (draws of paths), 18 (of layers), 2 and 3 of the claims."""
    row, count = (1, "M") if found.a == 0.0 else (18, "(L M)")
    for quantity, rates in found.rates.items():
        if rates is None:
            continue
        # Particles are compared for fewer draws, the loss beside the claims.
        rule, of, width = {
            "outputs": (judge, row, tolerance),
            "particles": (judge, row, 2.0 * tolerance),
            "loss": (judge_at_least, None, tolerance),
        }[quantity]
        for name, text, expected in (
            ("p", "p, order in 1/L", 1.0),
            ("q", f"q, order in 1/{count}", 0.5),
        ):
            claim = f"{quantity}: {text}"
            interval = getattr(rates, f"{name}_interval")
            yield rule(
                claim, expected, getattr(rates.fit, name), interval, width, row=of
            )
    if found.paired is not None:
        paired = found.paired
        claim = "outputs: order in 1/L, same draws at all depths"
        yield judge(claim, 1.0, paired.exponent, paired.interval, tolerance, row=row)
    if found.fluctuation is not None:
        spread = found.fluctuation
        for name, expected in (("width", 0.5), ("depth", 0.5 * found.a)):
            claim = f"spread over draws: order in 1/{'M' if name == 'width' else 'L'}"
            value = getattr(spread, f"{name}_exponent")
            interval = getattr(spread, f"{name}_interval")
            yield judge(claim, expected, value, interval, tolerance, row=row)
    if found.narrow is not None:
        low, high = found.narrow.exponent_interval
        claim = "one particle a layer: power of L of the error"
        yield judge_below(claim, 0.0, -found.narrow.exponent, (-high, -low), row=18)
    yield from _accuracy_and_confidence(found, tolerance)
    if found.growth is not None:
        claim = "growth of the error in s, late minus early"
        yield judge_below(claim, 0.0, *found.growth, row=3)


def _accuracy_and_confidence(found: Any, tolerance: float) -> Iterator[Verdict]:
    """Verdicts on row 2: powers of the error of the loss that few draws exceed."""
    if found.deep is not None:
        fit = found.deep
        claim = "loss, infinite width: order in 1/L"
        ends = fit.exponent_interval
        yield judge(claim, 1.0, fit.exponent, ends, 2.0 * tolerance, row=2)
    if found.quantile is not None:
        eta, fit = found.quantile
        claim = f"loss, {1.0 - eta:g}-quantile over draws: order in 1/M"
        ends = fit.exponent_interval
        yield judge(claim, 0.5, fit.exponent, ends, 2.0 * tolerance, row=2)
    if found.eta is not None:
        claim = "loss, quantiles over draws: order in 1/eta"
        yield judge_below(claim, 0.5, found.eta.exponent, found.eta.interval, row=2)
