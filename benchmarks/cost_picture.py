"""The picture of `bench_cost_to_accuracy`: one panel for each problem."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from mfpde.plotting import style

# Told apart by marker and line, not by colour alone.
LOOKS = {
    "a": {"color": style.VERMILLION, "marker": "o"},
    "b": {"color": style.GREY, "marker": "s"},
    "c": {"color": style.SKY, "marker": "^"},
    "d": {"color": style.BLUE, "marker": "D", "markerfacecolor": "white"},
}


def draw(
    panels: list[tuple[str, list[Any], Any]],
    methods: dict[str, str],
    smallest: float,
    path: str,
) -> None:
    """Draw error against kernel evaluations, log-log, and write it to `path`.

    Parameters
    ----------
    panels : list of (title, rows, law)
        Rows with `method`, `evaluations` and `error`; `law.needs(eps)` ends with the
        evaluations to which method "a" is extrapolated.
    methods : dict of str to str
        Key and name of every method.
    smallest : float
        Error to which "a" is extrapolated.
    path : str
    """
    with mpl.rc_context(style.STYLE):
        figure = Figure(figsize=(11.0, 4.2), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, sharex=True)
        for ax, (title, rows, law) in zip(axes, panels, strict=True):
            _draw_panel(ax, rows, law, methods, smallest)
            ax.set_title(title)
        axes[0].set_ylabel("largest error of the outputs")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))
        style.save(figure, path)


def _draw_panel(ax, rows, law, methods, smallest) -> None:
    for method, name in methods.items():
        own = [each for each in rows if each.method == method]
        cost = [each.evaluations for each in own]
        error = [each.error for each in own]
        ax.plot(cost, error, label=f"({method}) {name}", **LOOKS[method])
        if method == "a":
            eps = np.geomspace(error[-1], smallest, 40)
            cost = [law.needs(each)[-1] for each in eps]
            ax.plot(
                cost, eps, "--", color=LOOKS["a"]["color"], label="(a) extrapolated"
            )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_major_locator(LogLocator(numticks=9))
    ax.set_xlabel("kernel evaluations")
    style.grid(ax)
