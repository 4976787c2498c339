"""Histories in training time s: loss, energy ledger, accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from mfpde.plotting import style
from mfpde.plotting.sources import Array, column_beside, columns, find_column, plain


@style.styled
def loss(run: Any, *, ax: Axes = style.NEW) -> Axes:
    """Loss E and objective E_s, Eqs. (3) and (12), against training time s.

    Parameters
    ----------
    run : Run, Solution or mapping
        With columns s, loss and (optional) objective, test_loss and validation_loss,
        shape (R,).
    ax : matplotlib.axes.Axes, optional
        A new one by default.

    Returns
    -------
    ax : matplotlib.axes.Axes

    Notes
    -----
    A loss of exactly 0 has no place on a logarithmic axis; a triangle at the lower
    edge marks where it is reached.
    """
    s, value = columns(run, "s", "loss")
    curves: list[tuple[str, Array, dict[str, Any]]]
    curves = [("loss $E$", value, {"color": style.BLUE})]
    objective = column_beside(run, "objective", s)
    if objective is not None and not np.array_equal(objective, value, equal_nan=True):
        look = {"color": style.VERMILLION, "linestyle": "--"}
        curves.append(("objective $E_s$", objective, look))
    for name, linestyle in (("test", ":"), ("validation", "-.")):
        values = column_beside(run, f"{name}_loss", s)
        if values is not None:
            look = {"color": style.BLACK, "linestyle": linestyle}
            curves.append((f"{name} loss", values, look))
    style.training_time_axis(ax, s)
    style.value_axis(ax, [values for _, values, _ in curves])
    for label, values, look in curves:
        ax.plot(s, values, label=label, **style.few_markers(len(s)), **look)
    if ax.get_yscale() == "log":
        _mark_zero(ax, s, value)
    has_objective = any(label.startswith("objective") for label, _, _ in curves)
    ax.set_ylabel("loss, objective" if has_objective else "loss")
    style.legend(ax, loc="best")
    return ax


@style.styled
def ledger(run: Any, *, ax: Axes = style.NEW) -> Axes:
    """Energy ledger: decrease of the objective, integrated dissipation, residual.

    All three are energies and share one logarithmic axis: the first two must lie on
    each other, and the distance down to the third is how well the steps in s keep the
    balance: no error of the loss.

    Parameters
    ----------
    run : Run, Solution or mapping
        With columns s, objective and energy_residual, shape (R,); without
        energy_residual, dissipation is integrated by the trapezoidal rule over the
        records, and the residual is mostly the error of that rule.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    ax : matplotlib.axes.Axes

    Notes
    -----
    By Eq. (14) the dissipated energy is int_0^s (D - lambda' M2) ds'. With noise the
    residual is NaN, and only the decrease of the objective is drawn.
    """
    s, objective = columns(run, "s", "objective")
    decrease = objective[0] - objective if len(s) else objective
    residual = column_beside(run, "energy_residual", s)
    if residual is None:
        _, dissipation = columns(run, "s", "dissipation")
        steps = 0.5 * (dissipation[1:] + dissipation[:-1]) * np.diff(s)
        residual = np.concatenate([[0.0], np.cumsum(steps)])[: len(s)] - decrease
    curves = [
        ("decrease of the objective", decrease, {"color": style.SKY, "linewidth": 4}),
        (
            _dissipated(run),
            decrease + residual,
            {"color": style.BLACK, "linestyle": "--", "linewidth": 1.2},
        ),
        (
            "|difference|",
            np.abs(residual),
            {"color": style.VERMILLION, "linestyle": "-", "linewidth": 1.2},
        ),
    ]
    if len(residual) and np.isnan(residual).all():
        curves, residual = curves[:1], np.zeros_like(residual)
    style.training_time_axis(ax, s[s > 0] if np.any(s > 0) else s)
    ax.set_ylabel("energy")
    if np.any(decrease > 0) and not np.any(decrease < 0):
        ax.set_yscale("log", nonpositive="mask")
        _cut_rounding(ax, decrease, np.abs(residual))
    for label, values, look in curves:
        ax.plot(s, values, label=label, **style.few_markers(len(s)), **look)
    style.legend(ax, loc="best")
    return ax


@style.styled
def accuracy(run: Any, *, ax: Axes = style.NEW) -> Axes:
    """Every recorded accuracy (train_accuracy, test_accuracy, ...) against s.

    Parameters
    ----------
    run : Run, Solution or mapping
        With column s and at least one column whose name ends with "accuracy",
        values in [0, 1], shape (R,).
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    ax : matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If no accuracy was recorded.
    """
    columns(run, "s")
    names = accuracy_names(run)
    if not names:
        raise ValueError(
            "`run` must have a column whose name ends with 'accuracy', as the "
            "configurations of classifiers record; it has none."
        )
    s, *values = columns(run, "s", *names)
    looks: tuple[dict[str, Any], ...] = (
        {"color": style.BLUE, "linestyle": "-"},
        {"color": style.ORANGE, "linestyle": "--"},
        {"color": style.BLACK, "linestyle": ":"},
    )
    style.training_time_axis(ax, s)
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        text = plain(name.removesuffix("accuracy").rstrip("_")) or "accuracy"
        finite = value[np.isfinite(value)]
        if len(finite):
            text += f", at the end {100 * finite[-1]:.1f} %"
        look = looks[index % len(looks)]
        ax.plot(s, value, label=text, **style.few_markers(len(s)), **look)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    ax.set_ylim(top=1.02)
    ax.set_ylabel("accuracy")
    style.legend(ax, loc="best")
    return ax


def accuracy_names(run: Any) -> list[str]:
    """Names of the columns that hold an accuracy, train before test."""
    names = run if isinstance(run, Mapping) else getattr(run, "scalars", {})
    found = [str(name) for name in names if str(name).endswith("accuracy")]
    return sorted(found, key=lambda name: (not name.startswith("train"), name))


def _dissipated(run: Any) -> str:
    """Label of the integral that Eq. (14) sets against the decrease."""
    value, objective = find_column(run, "loss"), find_column(run, "objective")
    is_equal = value is None or (
        objective is not None and np.array_equal(value, objective, equal_nan=True)
    )
    if is_equal:
        return r"dissipated, $\int_0^s D\,\mathrm{d}s$"
    return r"dissipated, $\int_0^s (D - \lambda' M_2)\,\mathrm{d}s$"


def _cut_rounding(ax: Axes, decrease: Array, residual: Array) -> None:
    """Let the axis end three decades below what counts: rounding at early s does not.

    What counts is the largest residual, or the first decrease if that is smaller.
    """
    levels = [np.min(decrease[decrease > 0])]
    if np.any(residual > 0):
        levels.append(np.nanmax(residual))
    low, high = 1e-3 * min(levels), 3.0 * np.nanmax(decrease)
    ax.set_ylim(low, high)


def _mark_zero(ax: Axes, s: Array, value: Array) -> None:
    """Mark the records whose value is exactly 0 at the lower edge."""
    where = s[value == 0]
    if len(where):
        ax.plot(
            where[:1],
            [0.03],
            transform=ax.get_xaxis_transform(),
            linestyle="none",
            marker="v",
            markersize=7,
            color=style.BLUE,
            label=f"loss is 0 from $s$ = {style.number(where[0])}",
        )
