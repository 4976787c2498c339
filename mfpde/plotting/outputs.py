"""Outputs against targets: the fit of a regression, the confusion of classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy.typing import ArrayLike

from mfpde import evaluation
from mfpde.arrays import a_function, checked, optional
from mfpde.depth import A_DEPTH_GRID
from mfpde.ensemble import AN_ENSEMBLE
from mfpde.plotting import checks, style
from mfpde.plotting.sources import Array, plain, readable
from mfpde.problem import A_PROBLEM


@checked(
    problem=A_PROBLEM,
    grid=A_DEPTH_GRID,
    ensemble=AN_ENSEMBLE,
    transform=optional(a_function),
    restore=optional(a_function),
    names=checks.two_names,
)
@style.styled
def fit(
    problem: Any,
    grid: Any,
    ensemble: Any,
    x: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    transform: Callable[[Array], Array] | None = None,
    restore: Callable[[Array], Array] | None = None,
    names: tuple[str, str] = ("input $x$", "target $y_1$"),
    ax: Axes = style.NEW,
) -> Axes:
    """Output of a regression: against the input if that has one component, else y.

    Parameters
    ----------
    problem, grid, ensemble
        What `mfpde.predict` takes.
    x : array-like, shape (n, any), optional
    y : array-like, shape (n, q), optional
        The problem's data by default. Only the first output component is drawn.
    transform : callable, optional
        Maps `x` and points like it to inputs of the problem, (m, d_in). Default: the
        identity.
    restore : callable, optional
        Maps outputs of the problem (m, q) to the units of `y`. Default: the identity.
    names : (str, str)
        Names of the input, if there is one, and of the first target.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    x = checks.points("x", problem.x if x is None else x)
    y = checks.points("y", problem.y if y is None else y)
    if len(x) != len(y):
        raise ValueError(
            f"`x` and `y` must have equally many rows, got {len(x)} and {len(y)}."
        )
    is_curve = x.shape[1] == 1
    line = style.padded(x[:, 0], 400)
    points = line[:, np.newaxis] if is_curve else x
    inputs = checks.mapped("transform", transform, points, problem.x.shape[1])
    output = evaluation.predict(problem, grid, ensemble, inputs)
    output = checks.mapped("restore", restore, output)
    labels = list(map(readable, names))
    if is_curve:
        ax.plot(x[:, 0], y[:, 0], "o", color=style.GREY, label="data", alpha=0.7)
        ax.plot(line, output[:, 0], color=style.BLUE, label="output", linewidth=2)
        ax.set_xlabel(labels[0])
        ax.set_ylabel(f"{labels[1]} and output")
    else:
        ends = np.array([y[:, 0].min(), y[:, 0].max()])
        ax.plot(ends, ends, color=style.GREY, linestyle="--", label="output = target")
        ax.plot(y[:, 0], output[:, 0], "o", color=style.BLUE, alpha=0.6)
        ax.set_xlabel(labels[1])
        ax.set_ylabel("output" if y.shape[1] == 1 else "output, first component")
    style.grid(ax)
    style.legend(ax, loc="best")
    return ax


@checked(
    labels=checks.class_numbers,
    predicted=checks.class_numbers,
    names=optional(checks.names),
)
@style.styled
def confusion(
    labels: ArrayLike,
    predicted: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    ax: Axes = style.NEW,
) -> Axes:
    """Count samples by true class (rows) and predicted class (columns).

    Parameters
    ----------
    labels, predicted : array-like of int, shape (n,)
        Class numbers 0, 1, ...
    names : sequence of str, optional
        Names of the classes; their numbers by default.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    ax : matplotlib.axes.Axes

    Notes
    -----
    The shade is the share within the true class, so that a rare class weighs as
    much as a frequent one; off the diagonal it is on a scale of its own.
    """
    true, found = np.asarray(labels), np.asarray(predicted)
    if true.shape != found.shape:
        raise ValueError(
            "`labels` and `predicted` must have one shape (n,), got "
            f"{true.shape} and {found.shape}."
        )
    n_classes = int(max(true.max(), found.max())) + 1
    texts = list(map(plain, range(n_classes) if names is None else names))
    checks.enough_names(texts, n_classes)
    n_classes = len(texts)
    counts = np.zeros((n_classes, n_classes), dtype=int)
    np.add.at(counts, (true, found), 1)
    share = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[..., np.newaxis]
    is_right = np.eye(n_classes, dtype=bool)[..., np.newaxis]
    # One error in a hundred must be seen: errors start at a quarter of full colour.
    strength = np.minimum(np.where(is_right, 0.5 * share, 0.25 + 5.0 * share), 1.0)
    full = np.where(is_right, to_rgb(style.BLUE), to_rgb(style.VERMILLION))
    shade = np.where(counts[..., np.newaxis] > 0, 1.0 - strength * (1.0 - full), 1.0)
    ax.imshow(shade, aspect="equal", interpolation="none")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            weight = "normal" if row == column else "bold"
            ax.text(column, row, str(count), ha="center", va="center", weight=weight)
    ax.set_xticks(range(n_classes), texts)
    ax.set_yticks(range(n_classes), texts)
    ax.tick_params(length=0)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    n_right = int(np.trace(counts))
    ax.set_title(f"{n_right} of {len(true)} right ({100 * n_right / len(true):.1f} %)")
    return ax
