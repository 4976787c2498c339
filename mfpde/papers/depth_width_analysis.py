"""What the table of `depth-width` says: rates and their verdicts, texts, figures."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
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
    fit_asymptotic_power,
    fit_eta,
    fit_fluctuation,
    fit_paired,
    fit_power,
)
from mfpde.analysis.rates import Interval, log_statistics
from mfpde.analysis.resampling import counts_with_all, percentile_interval
from mfpde.errors import ConvergenceError
from mfpde.papers.depth_width_figures import page
from mfpde.papers.depth_width_verdicts import judgements, without_fit
from mfpde.studies.report import Report
from mfpde.studies.table import Table

Array = NDArray[np.float64]
Config = Mapping[str, Any]

EXPONENT_OF_L = {"path": 0.0, "tied": 0.0, "layer": 1.0}
"""a in L^a M, the number of independent draws, Eq. (29)."""
N_BOOTSTRAP = 1000
WIDTHS_OF_QUANTILE = (4, 3)
"""Widths through which a power of the quantiles is fitted: wanted, and at least."""


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
    deep : PowerFit or None
        Error of the loss of the network of infinite width against L, at `loss_s`.
    quantile : (float, PowerFit) or None
        (1 - eta)-quantile over draws of what a finite width changes of the loss of the
        deepest network, against M: eta, the smallest with enough draws, and the fit.
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
    deep: PowerFit | None
    quantile: tuple[float, PowerFit] | None
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
                verdicts.append(without_fit(name, EXPONENT_OF_L[coupling]))
                continue
            for each in judgements(found, config["tolerance"]):
                claim = f"{name}: {each.claim}"
                verdicts.append(dataclasses.replace(each, claim=claim))
            texts.append(_text(name, found))
            figures[f"{case}-{coupling}"] = page(found)
    if not figures:
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
    outputs = table["error_output"]
    # Late in training the loss is of second order in the outputs, which hides rates.
    losses = table.select(s=config["loss_s"])["error_loss"]
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
            "particles": rates("particles", table["distance"][..., -1]),
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
        deep=attempt("infinite width", _deep, table, losses),
        quantile=attempt("quantile", _quantile, table, config),
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


def _deep(table: Table, losses: Array, *, confidence: float) -> PowerFit:
    """Error of the loss of the network of infinite width against L."""
    widths = table.axes["width"]
    if not np.isinf(widths[-1]):
        raise ValueError("There are no networks of infinite width.")
    errors = losses[:, -1, 0]
    return fit_asymptotic_power(table.axes["depth"], errors, confidence=confidence)


def _quantile(
    table: Table, config: Config, *, confidence: float
) -> tuple[float, PowerFit]:
    """The smallest eta whose tail has a draw at enough widths, and its fit."""
    loss = table.select(s=config["loss_s"], depth=table.axes["depth"][-1])["loss"]
    widths = np.array(table.axes["width"], float)
    if not np.isinf(widths[-1]):
        raise ValueError("There are no networks of infinite width.")
    errors = np.abs(loss - loss[-1, 0])
    n_runs = np.sum(~np.isnan(errors), axis=1)
    is_wide = (widths >= config["least_width"]) & np.isfinite(widths)
    for needed, eta in itertools.product(WIDTHS_OF_QUANTILE, sorted(config["eta"])):
        columns = is_wide & (n_runs * eta >= 1.0)
        if columns.sum() >= needed:
            options = {"statistic": 1.0 - eta, "confidence": confidence}
            return eta, fit_asymptotic_power(
                widths[columns], errors[columns], **options
            )
    raise ValueError(f"No `eta` has a tail at {WIDTHS_OF_QUANTILE[-1]} widths.")


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


def _text(name: str, found: Findings) -> str:
    lines = [f"{name}:"]
    for quantity, rates in found.rates.items():
        if rates is None:
            continue
        fit = rates.fit
        lines.append(
            f"  {quantity}: {_term(rates, '1', 'p')}, {_term(rates, '2', 'q')}, "
            f"{fit.n_used} cells; diverged runs: {fit.n_diverged}"
        )
        lines += [f"    {note}" for note in fit.notes]
    lines += [
        f"  outputs at s = {s:g}: c1 = {rates.fit.c1:.3g}, c2 = {rates.fit.c2:.3g}"
        for s, rates in zip(found.table.axes["s"], found.in_s, strict=True)
        if rates is not None
    ]
    lines += [f"  There is no fit of {note}" for note in found.notes]
    return "\n".join(lines)


def _term(rates: AsymptoticRates, number: str, name: str) -> str:
    """Constant and exponent of a term, or why the cells do not determine them."""
    fit = rates.fit
    if name in fit.not_identified:
        return f"{name} not identified ({fit.not_identified[name]})"
    end = getattr(rates, f"{name}_extrapolated")
    return (
        f"c{number} = {getattr(fit, f'c{number}'):.3g}, {name} = "
        f"{getattr(fit, name):.4f} (extrapolated {end:.4f})"
    )
