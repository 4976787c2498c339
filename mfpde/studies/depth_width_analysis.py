"""What the table of `depth-width` says: rates and their verdicts, texts, figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.analysis import (
    AsymptoticRates,
    ErrorQuantiles,
    EtaFit,
    FluctuationFit,
    PairedFit,
    PowerFit,
    error_quantiles,
    fit_asymptotic,
    fit_eta,
    fit_fluctuation,
    fit_paired,
    fit_power,
)
from mfpde.analysis.rates import Interval, log_statistics
from mfpde.analysis.resampling import bootstrap_counts
from mfpde.errors import ConvergenceError
from mfpde.studies.depth_width_figures import page
from mfpde.studies.judging import judge, judge_at_least, judge_below
from mfpde.studies.report import Report, Verdict
from mfpde.studies.table import Table

Array = NDArray[np.float64]
Config = Mapping[str, Any]

EXPONENT_OF_L = {"path": 0.0, "tied": 0.0, "layer": 1.0}
"""a in L^a M, the number of independent draws, Eq. (29)."""
N_BOOTSTRAP = 1000


@dataclass(frozen=True, eq=False)
class Findings:
    """All fits for one case and coupling.

    Attributes
    ----------
    table : Table
        Without the axes case and coupling.
    a : float
        Exponent of L in the number of independent draws L^a M.
    window : ndarray of bool, shape (n_depths, n_widths)
        Cells with enough draws, infinite widths among them.
    rates : dict of str to AsymptoticRates
        Of outputs, loss and particles at the last s.
    in_s : list of AsymptoticRates
        Of the outputs at every s.
    paired : PairedFit or None
        Order in depth from the same draws; None for independent layers.
    fluctuation : FluctuationFit
    narrow : PowerFit or None
        Error of one particle a layer against L, for independent layers.
    quantile : AsymptoticRates
        Of the (1 - eta)-quantile of the error of the loss, for the smallest eta.
    quantiles : ErrorQuantiles
        Of the same, for every eta and cell.
    eta : EtaFit
    growth : (float, tuple of float)
        How much faster the error grows late than early, per unit of s.
    """

    table: Table
    a: float
    window: NDArray[np.bool_]
    rates: dict[str, AsymptoticRates]
    in_s: list[AsymptoticRates]
    paired: PairedFit | None
    fluctuation: FluctuationFit
    narrow: PowerFit | None
    quantile: AsymptoticRates
    quantiles: ErrorQuantiles
    eta: EtaFit
    growth: tuple[float, Interval]


def analyse(table: Table, config: Config) -> Report:
    """Fit every case and coupling, and judge the claims."""
    verdicts, texts, figures = [], [], {}
    for case in table.axes["case"]:
        for coupling in table.axes["coupling"]:
            name = f"{case}, {coupling}"
            part = table.select(case=case, coupling=coupling)
            try:
                found = find(part, EXPONENT_OF_L[coupling], config)
            except (ValueError, ConvergenceError) as error:
                texts.append(f"{name}: there is no fit. {error}")
                continue
            for each in judgements(found, config["tolerance"]):
                claim = f"{name}: {each.claim}"
                verdicts.append(dataclasses.replace(each, claim=claim))
            texts.append(_text(name, found))
            figures[f"{case}-{coupling}"] = page(found)
    if not verdicts:
        raise ValueError(" ".join(texts))
    return Report(verdicts, texts, figures)


def find(table: Table, a: float, config: Config) -> Findings:
    """Make all fits for one case and coupling."""
    depths, widths = (np.array(table.axes[name], float) for name in ("depth", "width"))
    window = depths[:, np.newaxis] ** a * widths >= config["least_width"]
    finite = window & np.isfinite(widths)
    confidence = config["confidence"]
    outputs, losses = table["error_output"], table["error_loss"][..., -1]
    levels = [eta for eta in config["eta"] if eta * losses.shape[2] >= 1.0]

    def rates(errors: Array, window: Any = window, **options: Any) -> AsymptoticRates:
        options |= {"a": a, "window": window, "confidence": confidence}
        return fit_asymptotic(depths, widths, errors, **options)

    signed = table["deviation"][..., -1, :]
    signed = signed[..., ~np.isnan(signed).all(axis=(0, 1, 2))]
    narrow = None
    if a == 1.0 and widths[0] == 1.0 and len(depths) > 2:
        narrow = fit_power(depths, outputs[:, 0, :, -1], confidence=confidence)
    return Findings(
        table=table,
        a=a,
        window=window,
        rates={
            "outputs": rates(outputs[..., -1]),
            "loss": rates(losses),
            "particles": rates(table["distance"][..., -1], finite),
        },
        in_s=[rates(outputs[..., i]) for i in range(outputs.shape[-1])],
        paired=_paired(depths, signed, finite, confidence) if a == 0.0 else None,
        fluctuation=fit_fluctuation(
            depths, widths, signed, window=finite, confidence=confidence
        ),
        narrow=narrow,
        # A quantile of |bias + fluctuation| grows like the sum of the two.
        quantile=rates(losses, statistic=1.0 - min(levels), combine="sum"),
        quantiles=error_quantiles(losses, levels, confidence=confidence),
        eta=fit_eta(losses[finite], levels, confidence=confidence),
        growth=_growth(outputs[finite], np.array(table.axes["s"]), confidence),
    )


def _paired(
    depths: Array, signed: Array, finite: NDArray[np.bool_], confidence: float
) -> PairedFit | None:
    """The draws of all widths that are in the window at every depth, together."""
    columns = np.flatnonzero(finite.all(axis=0))
    if len(depths) < 4 or len(columns) == 0:
        return None
    draws = np.concatenate([signed[:, j] for j in columns], axis=1)
    return fit_paired(depths, draws, confidence=confidence)


def _growth(errors: Array, s: Array, confidence: float) -> tuple[float, Interval]:
    """d ln error / ds over the last interval of s minus that over the first.

    errors (C, S, R) of cells, seeds and times; the mean over cells, seeds resampled.
    """
    n_seeds = errors.shape[1]
    counts = np.vstack(
        [np.ones(n_seeds), bootstrap_counts(n_seeds, N_BOOTSTRAP, seed=0)]
    )
    logs = np.stack(
        [log_statistics(errors[..., i], counts, "rms") for i in range(len(s))], axis=-1
    )
    rates = np.diff(np.nanmean(logs, axis=1), axis=-1) / np.diff(s)
    change = rates[:, -1] - rates[:, 0]
    tails = [0.5 * (1 - confidence), 0.5 * (1 + confidence)]
    low, high = np.quantile(change[1:], tails)
    return float(change[0]), (float(low), float(high))


def judgements(found: Findings, tolerance: float) -> Iterator[Verdict]:
    """Verdicts on rows 1, 2, 3 and 18 of the claims."""
    count = "M" if found.a == 0.0 else "(L M)"
    for quantity, rates in found.rates.items():
        # A loss near its minimum converges faster than the outputs.
        rule = judge_at_least if quantity == "loss" else judge
        for name, text, expected in (
            ("p", "p, order in 1/L", 1.0),
            ("q", f"q, order in 1/{count}", 0.5),
        ):
            yield rule(
                f"{quantity}: {text}",
                expected,
                getattr(rates.fit, name),
                getattr(rates, f"{name}_interval"),
                tolerance,
            )
    if found.paired is not None:
        paired = found.paired
        claim = "outputs: order in 1/L, same draws at all depths"
        yield judge(claim, 1.0, paired.exponent, paired.interval, tolerance)
    spread = found.fluctuation
    claim = "spread over draws: order in 1/M"
    yield judge(claim, 0.5, spread.width_exponent, spread.width_interval, tolerance)
    claim = "spread over draws: order in 1/L"
    expected = 0.5 * found.a
    yield judge(
        claim, expected, spread.depth_exponent, spread.depth_interval, tolerance
    )
    if found.narrow is not None:
        low, high = found.narrow.exponent_interval
        claim = "one particle a layer: power of L of the error"
        yield judge_below(claim, 0.0, -found.narrow.exponent, (-high, -low))
    quantile = found.quantile
    claim = f"loss, {quantile.fit.statistic:g}-quantile over draws: q"
    yield judge_at_least(
        claim, 0.5, quantile.fit.q, quantile.q_interval, 2.0 * tolerance
    )
    claim = "loss, quantiles over draws: order in 1/eta"
    yield judge_below(claim, 0.5, found.eta.exponent, found.eta.interval)
    yield judge_below("growth of the error in s, late minus early", 0.0, *found.growth)


def _text(name: str, found: Findings) -> str:
    lines = [f"{name}:"]
    for quantity, rates in found.rates.items():
        fit = rates.fit
        lines.append(
            f"  {quantity}: c1 = {fit.c1:.3g}, p = {fit.p:.4f} (extrapolated "
            f"{rates.p_extrapolated:.4f}), c2 = {fit.c2:.3g}, q = {fit.q:.4f} "
            f"(extrapolated {rates.q_extrapolated:.4f}), {fit.n_used} cells, "
            f"{fit.n_diverged} runs diverged"
        )
    lines += [
        f"  outputs at s = {s:g}: c1 = {rates.fit.c1:.3g}, c2 = {rates.fit.c2:.3g}"
        for s, rates in zip(found.table.axes["s"], found.in_s, strict=True)
    ]
    return "\n".join(lines)
