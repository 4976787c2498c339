"""Joint fit of depth and width, Eq. (29): c1 L^-p + c2 (L^a M)^-q."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis.cells import (
    N_BOOTSTRAP,
    cell_statistics,
    checked_share,
    checked_statistic,
    error_table,
    positive_axis,
    reason_left_out,
    seeds_with_runs,
)
from mfpde.analysis.fitting import (
    N_PARAMS,
    TwoTerms,
    fit_two_terms,
)
from mfpde.analysis.identification import doubt_of_interval, doubts
from mfpde.analysis.ratefit import POWERS, RateFit
from mfpde.analysis.rates import (
    MODEL_ERROR,
    UNKNOWN,
    Interval,
    log_statistics,
    precision_weights,
)
from mfpde.analysis.resampling import (
    bca_intervals,
    bootstrap_counts,
    jackknife_counts,
)
from mfpde.arrays import (
    a_float,
    as_array,
    checked,
    is_number,
    seed_number,
    sequence,
    shown,
)
from mfpde.errors import did_you_mean

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# A row of smallest depth or width whose residuals, in standard deviations, have a
# larger root mean square than this is before the asymptotic range.
MISFIT = 2.0
MIN_VALUES = 3


@checked(n_bootstrap=N_BOOTSTRAP, seed=seed_number)
def fit_rates(
    depths: ArrayLike,
    widths: ArrayLike,
    errors: ArrayLike,
    *,
    a: float,
    combine: str = "squares",
    statistic: str | float = "rms",
    window: Any = None,
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> RateFit:
    """Fit the error of networks jointly in depth L and width M, Eq. (29).

    Parameters
    ----------
    depths, widths : array_like, shapes (n_depths,) and (n_widths,)
        L and M, positive and increasing.
    errors : array_like, shape (n_depths, n_widths, n_seeds)
        Not negative; NaN a missing run, inf a diverged one. The same seed means the
        same draws in all cells (common random numbers).
    a : float
        Exponent of L in the second term: 0 for path-coupled and tied draws, 1 for
        independent draws in each layer.
    combine : {"squares", "sum"}
        "squares": the root of the sum of squared terms. So add the bias of depth and
        the fluctuation of independent draws in the rms error.
    statistic : {"rms", "mean", "median"} or float
        What is fitted over the seeds; a number is the level of a quantile.
    window : ndarray of bool or {"auto"} or mapping, optional
        Cells to use: a mask (n_depths, n_widths), or {"depth": (low, high), "width":
        (low, high)}; default all. "auto" leaves out, one after the other, the smallest
        depth or width as long as its residuals, in standard deviations, have a root
        mean square above 2 and three depths and widths remain; its intervals do not
        know of that choice.
    confidence : float
    n_bootstrap : int
    seed : int
        Of the resampling.

    Returns
    -------
    fit : RateFit

    Raises
    ------
    ValueError
        If arguments do not fit together, or fewer than four cells, two depths or two
        widths are left.

    Notes
    -----
    Least squares in ln error. A cell weighs by the inverse of the variance of its
    ln error over resamples, for few seeds drawn to that of the others, plus 0.02^2 for
    what the law leaves out. Intervals are
    bias-corrected and accelerated, from resamples of seeds, the same in all cells
    (`resampling.bca_intervals`). A cell with a diverged run has no mean: for "rms" and
    "mean" it is left out, and said so.

    References
    ----------
    Ding, Chen, Li, Wright 2021 (arXiv 2110.02926) for a = 0; Chizat 2025 (arXiv
    2509.10167) for a = 1.
    """
    _check_options(a, combine)
    statistic = checked_statistic(statistic)
    confidence = checked_share("confidence", confidence)
    table = error_table(errors, ("depth", "width", "seed"))
    cells = _Cells(
        depths=positive_axis("depths", depths, table.shape[0]),
        widths=positive_axis("widths", widths, table.shape[1], allow_inf=True),
        runs=seeds_with_runs(table),
        a=float(a),
        power=POWERS[combine],
        statistic=statistic,
        n_bootstrap=n_bootstrap,
        seed=seed,
    )
    values = cells.values()
    reasons = _reasons(cells, values, window)
    parts = _solve(cells, reasons)
    while _is_automatic(window):
        edge = _worst_edge(parts.residuals / parts.deviations)
        if edge is None:
            break
        reasons[edge][reasons[edge] == ""] = "before the asymptotic range (rule 'auto')"
        parts = _solve(cells, reasons)
    c1, p, c2, q = (float(value) for value in parts.estimate)
    intervals = _intervals(parts, confidence)
    reasons_not = {}
    for term, name in enumerate(("p", "q")):
        reason = parts.doubts[term] or doubt_of_interval(intervals[2 * term + 1])
        if reason:
            reasons_not[name] = reason
            intervals[2 * term] = intervals[2 * term + 1] = UNKNOWN
    return RateFit(
        p=p,
        q=q,
        c1=c1,
        c2=c2,
        c1_interval=intervals[0],
        p_interval=intervals[1],
        c2_interval=intervals[2],
        q_interval=intervals[3],
        a=float(a),
        combine=combine,
        statistic=statistic,
        confidence=confidence,
        depths=cells.depths,
        widths=cells.widths,
        values=values,
        deviations=parts.deviations,
        residuals=parts.residuals,
        is_used=reasons == "",
        n_diverged=int(np.isinf(table).sum()),
        n_missing=int(np.isnan(table).sum()),
        left_out=_sentences(cells, reasons),
        not_identified=reasons_not,
        notes=parts.notes,
        replicates=parts.replicates,
    )


@dataclass(frozen=True, eq=False)
class _Cells:
    """The data of a joint fit; `runs` has shape (n_depths, n_widths, S)."""

    depths: Array
    widths: Array
    runs: Array
    a: float
    power: int
    statistic: str | float
    n_bootstrap: int
    seed: int

    def values(self) -> Array:
        """The statistic of every cell, (n_depths, n_widths)."""
        flat = self.runs.reshape(-1, self.runs.shape[2])
        counts = np.ones((1, flat.shape[1]))
        found = cell_statistics(flat, counts, self.statistic)[0]
        return found.reshape(self.runs.shape[:2])


@dataclass(frozen=True, eq=False)
class _Parts:
    """A fit on the cells in use: (c1, p, c2, q), its resamples, what is left over."""

    estimate: Array
    replicates: Array
    jackknife: Array
    residuals: Array
    deviations: Array
    notes: tuple[str, ...]
    doubts: Sequence[str]


def _check_options(a: Any, combine: Any) -> None:
    if not is_number(a) or not abs(a) < np.inf:
        raise ValueError(
            "`a` must be a number, 0 for draws along paths and 1 for independent "
            f"layers, got {a!r}."
        )
    if not isinstance(combine, str) or combine not in POWERS:
        raise ValueError(
            f"`combine` must be one of {', '.join(POWERS)}, got {combine!r}."
            + did_you_mean(shown(combine), POWERS)
        )


def _reasons(cells: _Cells, values: Array, window: Any) -> NDArray[np.object_]:
    """Why each cell is left out, "" for those in use, shape (n_depths, n_widths)."""
    is_inside = _inside(cells, window)
    reasons = np.full(values.shape, "", dtype=object)
    for index in np.ndindex(values.shape):
        found = reason_left_out(cells.runs[index], float(values[index]))
        reasons[index] = found or ("" if is_inside[index] else "outside the window")
    return reasons


def _is_automatic(window: Any) -> bool:
    return isinstance(window, str) and window == "auto"


def _inside(cells: _Cells, window: Any) -> Mask:
    shape = cells.runs.shape[:2]
    if window is None or _is_automatic(window):
        return np.ones(shape, dtype=bool)
    if isinstance(window, dict) and set(window) <= {"depth", "width"}:
        low, high = _ends(window, "depth")
        rows = (cells.depths >= low) & (cells.depths <= high)
        low, high = _ends(window, "width")
        return np.logical_and.outer(
            rows, (cells.widths >= low) & (cells.widths <= high)
        )
    mask = as_array("window", window)
    if mask.dtype != bool or mask.shape != shape:
        raise ValueError(
            "`window` must be 'auto', a mapping with 'depth' and 'width', or a mask of "
            f"shape (n_depths, n_widths) = {shape}, got {shown(window)}."
        )
    return mask


def _ends(window: dict[str, Any], axis: str) -> tuple[float, ...]:
    """Least and largest size along an axis."""
    ends = sequence(a_float)("window", window.get(axis, (0.0, np.inf)))
    if len(ends) != 2:
        raise ValueError(
            f"`window` must have two sizes for {axis!r}, the least and the largest, "
            f"got {shown(window[axis])}."
        )
    return ends


def _sentences(cells: _Cells, reasons: NDArray[np.object_]) -> tuple[str, ...]:
    return tuple(
        f"L = {cells.depths[i]:g}, M = {cells.widths[j]:g} is left out: "
        f"{reasons[i, j]}."
        for i, j in zip(*np.nonzero(reasons != ""), strict=True)
    )


def _check_enough(is_used: Mask, sentences: tuple[str, ...]) -> None:
    n_cells = int(is_used.sum())
    n_depths, n_widths = (int(is_used.any(axis=axis).sum()) for axis in (1, 0))
    if n_cells < N_PARAMS or min(n_depths, n_widths) < 2:
        raise ValueError(
            f"A joint fit needs at least {N_PARAMS} cells with two depths and two "
            f"widths, got {n_cells} cells with {n_depths} depths and {n_widths} "
            "widths; use `fit_power` along one axis. " + " ".join(sentences[:3])
        )


def _solve(cells: _Cells, reasons: NDArray[np.object_]) -> _Parts:
    """Fit the cells in use."""
    is_used = reasons == ""
    _check_enough(is_used, _sentences(cells, reasons))
    rows, columns = np.nonzero(is_used)
    runs = cells.runs[rows, columns]
    n_seeds = runs.shape[1]
    model = TwoTerms.of(cells.depths[rows], cells.widths[columns], cells.a, cells.power)
    logs = log_statistics(runs, np.ones((1, n_seeds)), cells.statistic)
    weights, resampled = np.full(len(rows), MODEL_ERROR**-2), None
    if n_seeds > 1:
        counts = bootstrap_counts(n_seeds, cells.n_bootstrap, cells.seed)
        resampled = log_statistics(runs, counts, cells.statistic)
        weights = precision_weights(runs, resampled)
    starts = model.starts(logs[0], weights)
    same = np.broadcast_to(logs, (len(starts), len(rows)))
    found, cost = fit_two_terms(
        model, same, np.broadcast_to(weights, same.shape), starts
    )
    params = found[np.argmin(cost)][np.newaxis]
    replicates = jackknife = np.empty((0, N_PARAMS))
    if resampled is not None:
        left_one_out = log_statistics(runs, jackknife_counts(n_seeds), cells.statistic)
        replicates = _refit(model, resampled, weights, params)
        jackknife = _refit(model, left_one_out, weights, params)
    parts = _Parts(
        estimate=model.natural(params)[0],
        replicates=model.natural(replicates),
        jackknife=model.natural(jackknife),
        residuals=np.full(is_used.shape, np.nan),
        deviations=np.full(is_used.shape, np.nan),
        notes=(),
        doubts=(),
    )
    parts.residuals[is_used] = logs[0] - model(params)[0][0]
    parts.deviations[is_used] = weights**-0.5
    return replace(
        parts,
        notes=_notes(len(rows), n_seeds),
        doubts=doubts(model, params[0], logs[0], weights),
    )


def _refit(model: TwoTerms, logs: Array, weights: Array, start: Array) -> Array:
    """Parameters (B, 4) for resamples with logarithms (B, C), from one start (1, 4)."""
    is_there = np.isfinite(logs)
    enough = is_there.sum(axis=1) >= N_PARAMS
    logs, is_there = logs[enough], is_there[enough]
    starts = np.repeat(start, len(logs), axis=0)
    return fit_two_terms(
        model, np.where(is_there, logs, 0.0), weights * is_there, starts
    )[0]


def _notes(n_cells: int, n_seeds: int) -> tuple[str, ...]:
    """What limits the trust in a fit, in sentences."""
    notes = []
    if n_seeds == 1:
        notes.append("There is one seed: intervals need at least two.")
    if n_cells == N_PARAMS:
        notes.append("Four cells fix the four parameters: nothing tests the law.")
    return tuple(notes)


def _intervals(parts: _Parts, confidence: float) -> list[Interval]:
    """Intervals of (c1, p, c2, q); those of constants on the logarithmic scale."""
    if len(parts.replicates) == 0:
        return [UNKNOWN] * N_PARAMS
    ends = bca_intervals(
        _flattened(parts.estimate[np.newaxis])[0],
        _flattened(parts.replicates),
        _flattened(parts.jackknife),
        confidence,
    )
    ends[::2] = np.exp(ends[::2])
    return [(float(low), float(high)) for low, high in ends]


def _flattened(natural: Array) -> Array:
    """(ln c1, p, ln c2, q), shape (B, 4)."""
    out = natural.copy()
    out[:, ::2] = np.log(natural[:, ::2])
    return out


def _worst_edge(standardised: Array) -> tuple[Any, Any] | None:
    """The row or column of smallest depth or width that does not fit, or None."""
    is_used = np.isfinite(standardised)
    squares = np.where(is_used, standardised, 0.0) ** 2
    worst, place = MISFIT, None
    for axis in (0, 1):
        lines = np.nonzero(is_used.any(axis=1 - axis))[0]
        if len(lines) <= MIN_VALUES:
            continue
        index = (lines[0], slice(None)) if axis == 0 else (slice(None), lines[0])
        rms = float(np.sqrt(squares[index].sum() / is_used[index].sum()))
        if rms > worst:
            worst, place = rms, index
    return place
