"""The density that the grid solver finds: curves for k = 1, a map for k = 2."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from mfpde.arrays import checked, number, optional
from mfpde.plotting import style
from mfpde.plotting.checks import A_DENSITY, times
from mfpde.plotting.sources import parameter_index, symbol

MAX_CURVES = 6


@checked(solution=A_DENSITY, s=optional(times), t=number(0.0, 1.0))
@style.styled
def density(
    solution: Any,
    parameter: int | str | None = None,
    *,
    s: ArrayLike | None = None,
    t: float = 0.5,
    ax: Axes = style.NEW,
) -> Axes:
    """Density of rho at one depth, from `mfpde.references.density.solve_density`.

    Parameters
    ----------
    solution : DensitySolution
    parameter : int or str, optional
        For k = 2: the marginal of this parameter, as curves. None draws the plane of
        both, at the last chosen s.
    s : float or sequence of float, optional
        Training times; the nearest records are shown. Default: up to six records,
        evenly spread over the numbering, first and last included.
    t : float
        Depth; the nearest node is shown.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    names = solution.problem.block.param_names
    records = _records(solution.s, s)
    node = int(np.argmin(np.abs(solution.t - t)))
    depth = f"at depth $t$ = {style.number(solution.t[node])}"
    if parameter is None and solution.mesh.k == 2:
        _plane(ax, solution, records[-1], node)
        ax.set_xlabel(f"{symbol(names[0])}, {depth}")
        ax.set_ylabel(symbol(names[1]))
        return ax
    component = 0 if parameter is None else parameter_index(names, parameter)
    _curves(ax, solution, records, node, component)
    ax.set_xlabel(f"{symbol(names[component])}, {depth}")
    ax.set_ylabel(r"density of $\rho$")
    return ax


def _records(recorded: np.ndarray, s: Any) -> list[int]:
    if s is None:
        n_curves = min(len(recorded), MAX_CURVES)
        spread = np.linspace(0, len(recorded) - 1, n_curves)
        return np.unique(spread.round().astype(int)).tolist()
    return [int(np.argmin(np.abs(recorded - each))) for each in s]


def _curves(
    ax: Axes, solution: Any, records: list[int], node: int, component: int
) -> None:
    marginal = solution.marginal(component)
    centres = solution.mesh.centres[component]
    for order, record in enumerate(records):
        is_last = order == len(records) - 1
        share = order / max(len(records) - 1, 1)
        ax.plot(
            *(centres, marginal[record, node]),
            color=style.BLUE if is_last else str(0.75 * (1.0 - share)),
            linestyle="-" if order else "--",
            label=f"$s$ = {style.number(solution.s[record])}",
        )
    ax.set_ylim(bottom=0.0)
    style.grid(ax)
    style.legend(ax, loc="best")


def _plane(ax: Axes, solution: Any, record: int, node: int) -> None:
    mesh = solution.mesh
    image = ax.pcolormesh(
        *mesh.edges, solution.density[record, node].T, cmap="Blues", rasterized=True
    )
    ax.figure.colorbar(image, ax=ax, label=r"density of $\rho$")
    first = solution.density[0, node].T
    if record > 0:
        ax.contour(
            *(*mesh.centres, first),
            levels=first.max() * np.array([0.05, 0.5]),
            colors=style.GREY,
            linestyles="--",
            linewidths=0.8,
        )
        ax.plot([], [], "--", color=style.GREY, label=r"$s$ = 0, 5 and 50 % of largest")
        style.legend(ax, loc="best")
    ax.set_title(f"$s$ = {style.number(solution.s[record])}")
