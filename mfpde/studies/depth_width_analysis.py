"""What the table of `depth-width` says: rates and their verdicts, texts, figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
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
from mfpde.analysis.resampling import counts_with_all, percentile_interval
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
    notes : list of str
        Why there is no fit of what is None.
    """

    table: Table
    a: float
    window: NDArray[np.bool_]
    rates: dict[str, AsymptoticRates | None]
    in_s: list[AsymptoticRates | None]
    paired: PairedFit | None
    fluctuation: FluctuationFit | None
    narrow: PowerFit | None
    quantile: AsymptoticRates | None
    quantiles: ErrorQuantiles | None
    eta: EtaFit | None
    growth: tuple[float, Interval] | None
    notes: list[str]


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
    """Make all fits for one case and coupling; None for those the table does not allow.

    Raises
    ------
    ValueError
        If the outputs at the last s, which everything else explains, have no fit.
    """
    depths, widths = (np.array(table.axes[name], float) for name in ("depth", "width"))
    window = depths[:, np.newaxis] ** a * widths >= config["least_width"]
    finite = window & np.isfinite(widths)
    confidence = config["confidence"]
    outputs, losses = table["error_output"], table["error_loss"][..., -1]
    notes: list[str] = []

    def attempt(name: str, fit: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return fit(*args, **options, confidence=confidence)
        except (ValueError, ConvergenceError) as error:
            notes.append(f"{name}: {error}")
            return None

    def rates(name: str, errors: Array, cells: Any = window, **options: Any) -> Any:
        options |= {"a": a, "window": cells}
        return attempt(name, fit_asymptotic, depths, widths, errors, **options)

    signed = table["deviation"][..., -1, :]
    signed = signed[..., ~np.isnan(signed).all(axis=(0, 1, 2))]
    n_runs = np.sum(~np.isnan(losses), axis=-1)
    levels = [eta for eta in config["eta"] if eta * n_runs.max() >= 1.0]
    has_tail = n_runs * min(levels, default=0.0) >= 1.0
    narrow = None
    if a == 1.0 and widths[0] == 1.0 and len(depths) > 2:
        narrow = attempt("M = 1", fit_power, depths, outputs[:, 0, :, -1])
    found = Findings(
        table=table,
        a=a,
        window=window,
        rates={
            "outputs": rates("outputs", outputs[..., -1]),
            "loss": rates("loss", losses),
            "particles": rates("particles", table["distance"][..., -1], finite),
        },
        in_s=[
            rates(f"s = {s:g}", outputs[..., i]) for i, s in enumerate(table.axes["s"])
        ],
        paired=attempt("same draws", _paired, depths, signed, finite)
        if a == 0.0
        else None,
        fluctuation=attempt(
            "spread", fit_fluctuation, depths, widths, signed, window=finite
        ),
        narrow=narrow,
        # A quantile of |bias + fluctuation| grows like the sum of the two.
        quantile=rates(
            "quantile",
            losses,
            window & has_tail,
            statistic=1.0 - min(levels, default=0.5),
            combine="sum",
        ),
        quantiles=attempt("quantiles", error_quantiles, losses, levels),
        eta=attempt("eta", fit_eta, losses[finite & has_tail], levels),
        growth=attempt("growth", _growth, outputs[finite], np.array(table.axes["s"])),
        notes=notes,
    )
    if found.rates["outputs"] is None:
        raise ValueError(" ".join(notes))
    return found


def _paired(
    depths: Array, signed: Array, finite: NDArray[np.bool_], *, confidence: float
) -> PairedFit:
    """The draws of all widths in the window whose seeds are all there, side by side."""
    is_there = ~np.isnan(signed).any(axis=(0, 2, 3))
    columns = np.flatnonzero(finite.all(axis=0) & is_there)
    if len(columns) == 0:
        raise ValueError("There is no width with all seeds at all depths.")
    draws = np.concatenate([signed[:, j] for j in columns], axis=2)
    return fit_paired(depths, draws, confidence=confidence)


def _growth(errors: Array, s: Array, *, confidence: float) -> tuple[float, Interval]:
    """d ln error / ds over the last interval of s minus that over the first.

    errors (C, S, R) of cells, seeds and times; the mean over cells, seeds resampled.
    """
    counts = counts_with_all(errors.shape[1], N_BOOTSTRAP, seed=0)
    logs = np.stack(
        [log_statistics(errors[..., i], counts, "rms") for i in range(len(s))], axis=-1
    )
    # Cells without diverged runs, in resamples that have runs in all of them.
    logs = logs[:, np.isfinite(logs[0]).all(axis=-1)]
    logs = logs[np.isfinite(logs).all(axis=(1, 2))]
    if logs.shape[1] == 0 or len(logs) < 2:
        raise ValueError("No cell has positive errors at every s.")
    rates = np.diff(logs.mean(axis=1), axis=-1) / np.diff(s)
    change = rates[:, -1] - rates[:, 0]
    return float(change[0]), percentile_interval(change[1:], confidence)


def judgements(found: Findings, tolerance: float) -> Iterator[Verdict]:
    """Verdicts on rows 1, 2, 3 and 18 of the claims."""
    count = "M" if found.a == 0.0 else "(L M)"
    for quantity, rates in found.rates.items():
        if rates is None:
            continue
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
    if found.fluctuation is not None:
        spread, expected = found.fluctuation, 0.5 * found.a
        claim = "spread over draws: order in 1/M"
        yield judge(claim, 0.5, spread.width_exponent, spread.width_interval, tolerance)
        claim = "spread over draws: order in 1/L"
        yield judge(
            claim, expected, spread.depth_exponent, spread.depth_interval, tolerance
        )
    if found.narrow is not None:
        low, high = found.narrow.exponent_interval
        claim = "one particle a layer: power of L of the error"
        yield judge_below(claim, 0.0, -found.narrow.exponent, (-high, -low))
    if found.quantile is not None:
        fit, interval = found.quantile.fit, found.quantile.q_interval
        claim = f"loss, {fit.statistic:g}-quantile over draws: q"
        yield judge_at_least(claim, 0.5, fit.q, interval, 2.0 * tolerance)
    if found.eta is not None:
        claim = "loss, quantiles over draws: order in 1/eta"
        yield judge_below(claim, 0.5, found.eta.exponent, found.eta.interval)
    if found.growth is not None:
        claim = "growth of the error in s, late minus early"
        yield judge_below(claim, 0.0, *found.growth)


def _text(name: str, found: Findings) -> str:
    lines = [f"{name}:"]
    for quantity, rates in found.rates.items():
        if rates is None:
            continue
        fit = rates.fit
        lines.append(
            f"  {quantity}: c1 = {fit.c1:.3g}, p = {fit.p:.4f} (extrapolated "
            f"{rates.p_extrapolated:.4f}), c2 = {fit.c2:.3g}, q = {fit.q:.4f} "
            f"(extrapolated {rates.q_extrapolated:.4f}), {fit.n_used} cells; diverged "
            f"runs: {fit.n_diverged}"
        )
        lines += [f"    {note}" for note in fit.notes]
    lines += [
        f"  outputs at s = {s:g}: c1 = {rates.fit.c1:.3g}, c2 = {rates.fit.c2:.3g}"
        for s, rates in zip(found.table.axes["s"], found.in_s, strict=True)
        if rates is not None
    ]
    lines += [f"  There is no fit of {note}" for note in found.notes]
    return "\n".join(lines)
