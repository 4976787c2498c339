"""Trajectories z(t; x) in the plane, and decision regions on the plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, to_rgb
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from mfpde import evaluation
from mfpde.arrays import a_function, checked, optional, whole
from mfpde.depth import A_DEPTH_GRID
from mfpde.ensemble import AN_ENSEMBLE
from mfpde.plotting import checks, style
from mfpde.plotting.sources import Array, class_names, classes_of, plain
from mfpde.problem import A_PROBLEM

MOST_POINTS = 2000
"""Along each axis of a picture."""


@checked(
    problem=A_PROBLEM,
    grid=A_DEPTH_GRID,
    ensemble=AN_ENSEMBLE,
    names=optional(checks.names),
    plane=checks.plane,
    n_shown=whole(1),
)
@style.styled
def trajectories(
    problem: Any,
    grid: Any,
    ensemble: Any,
    x: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
    plane: str | Sequence[int] = "auto",
    n_shown: int = 120,
    ax: Axes = style.NEW,
) -> Axes:
    """State trajectories z(t; x), Eq. (1), in two dimensions, by label.

    Parameters
    ----------
    problem, grid, ensemble
        What `mfpde.evaluation.trajectories` takes.
    x : array-like, shape (n, d_in), optional
        Inputs; the problem's own by default.
    labels : array-like, shape (n,) or (n, q), optional
        Classes (integers 0, 1, ..., signs, or one-hot rows) or real targets; the
        problem's y by default.
    names : sequence of str, optional
        Names of the classes; by default their numbers, or -1 and 1.
    plane : {"auto", "principal", "first"} or pair of int
        The plane of the first two principal components of z(1), of the first two
        components, or of two given ones. "auto": "first" if d <= 2, else
        "principal". A state of one component is drawn against depth t.
    n_shown : int
        At most this many trajectories, spread evenly over the classes.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    ax : matplotlib.axes.Axes

    Notes
    -----
    A small dot is z(0), a marker (or the digit of the class) z(1). Schemes of order
    2 and above are drawn with a cubic spline through their states.
    """
    x = checks.points("x", problem.x if x is None else x, problem.x.shape[1])
    y = checks.targets("labels", problem.y if labels is None else labels, len(x))
    classes = classes_of(y)
    names = _names(names, y, classes)
    chosen = _spread(len(x) if classes is None else classes, n_shown)
    t, z = evaluation.trajectories(
        problem, grid, ensemble, np.ascontiguousarray(x[chosen])
    )
    if z.shape[2] == 1:
        paths = np.stack([np.repeat(t[:, np.newaxis], z.shape[1], 1), z[..., 0]], -1)
        axis_labels = ("depth $t$", "state $z(t; x)$")
    else:
        paths, axis_labels = _project(z, plane)
    if grid.order > 1 and len(t) > 2:
        paths = CubicSpline(t, paths, axis=0)(np.linspace(0.0, 1.0, 101))
    if classes is None:
        _paths_by_value(ax, paths, _real_values(y)[chosen])
    else:
        _paths_by_class(ax, paths, classes[chosen], names)
    if classes is not None and z.shape[2] == 2 and plane in ("auto", "first"):
        _readout_boundary(ax, problem)
    ax.set_xlabel(axis_labels[0])
    ax.set_ylabel(axis_labels[1])
    return ax


@checked(
    problem=A_PROBLEM,
    grid=A_DEPTH_GRID,
    ensemble=AN_ENSEMBLE,
    names=optional(checks.names),
    transform=optional(a_function),
    resolution=whole(2, MOST_POINTS),
)
@style.styled
def decision_regions(
    problem: Any,
    grid: Any,
    ensemble: Any,
    x: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
    transform: Callable[[Array], Array] | None = None,
    resolution: int = 160,
    ax: Axes = style.NEW,
) -> Axes:
    """Shade the plane of a two-dimensional input by the answer of the limit.

    Parameters
    ----------
    problem, grid, ensemble
        What `mfpde.predict` takes.
    x : array-like, shape (n, 2), optional
        Points to draw, in the coordinates of the picture; the problem's inputs by
        default.
    labels : array-like, shape (n,) or (n, q), optional
        Their classes; the problem's y by default.
    names : sequence of str, optional
        Names of the classes; by default their numbers, or -1 and 1.
    transform : callable, optional
        Maps points of the picture (m, 2) to inputs of the problem (m, d_in), such
        as the standardisation of the training data. Default: the identity.
    resolution : int
        Points of the picture along each axis at which the output is computed.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    ax : matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the points are not two-dimensional.
    """
    x = checks.points("x", problem.x if x is None else x, 2)
    y = checks.targets("labels", problem.y if labels is None else labels, len(x))
    classes = classes_of(y)
    names = _names(names, y, classes)
    axes = [style.padded(column, resolution) for column in x.T]
    points = np.stack(np.meshgrid(*axes, indexing="xy"), axis=-1).reshape(-1, 2)
    inputs = checks.mapped("transform", transform, points, problem.x.shape[1])
    output = evaluation.predict(problem, grid, ensemble, inputs)
    _regions(ax, axes, output.reshape(resolution, resolution, -1))
    if classes is not None:
        _points_by_class(ax, x, classes, names)
        style.legend(ax, loc="best")
    ax.set_xlim(axes[0][0], axes[0][-1])
    ax.set_ylim(axes[1][0], axes[1][-1])
    ax.set_aspect("equal")
    ax.set_xlabel("input $x_1$")
    ax.set_ylabel("input $x_2$")
    return ax


def _names(
    given: Sequence[str] | None, y: NDArray[Any], classes: NDArray[np.int64] | None
) -> list[str]:
    """Names of the classes; none without classes."""
    if classes is None:
        return []
    if given is None:
        given = class_names(y, classes)
    checks.enough_names(given, int(classes.max()) + 1)
    return list(map(plain, given))


def _regions(ax: Axes, axes: list[Array], output: Array) -> None:
    """Shade regions by output (n2, n1, q): between two classes by their odds."""
    n_classes = output.shape[2]
    if n_classes <= 2:
        margin = _margin(output)
        colours = LinearSegmentedColormap.from_list(
            "odds", [_pale(_colour(0), 0.4), "white", _pale(_colour(1), 0.4)]
        )
        # The logistic model's difference of the two probabilities, in [-1, 1].
        shade = np.tanh(0.5 * margin)
        ax.contourf(*axes, shade, np.linspace(-1, 1, 21), cmap=colours, zorder=0)
        _boundary(ax, axes, margin)
        return
    ax.pcolormesh(
        *(*axes, np.argmax(output, axis=2)),
        cmap=ListedColormap([_pale(_colour(c), 0.35) for c in range(n_classes)]),
        vmin=-0.5,
        vmax=n_classes - 0.5,
        zorder=0,
        rasterized=True,
    )
    for c in range(n_classes):
        others = np.delete(output, c, axis=2).max(axis=2)
        _boundary(ax, axes, output[..., c] - others)


def _margin(output: Array) -> Array:
    """Return what decides between two classes: the output, or a difference."""
    return output[..., 0] if output.shape[-1] == 1 else output[..., 1] - output[..., 0]


def _boundary(ax: Axes, axes: list[Array], margin: Array) -> None:
    """Draw the curve margin = 0, if it passes through the picture."""
    if margin.min() < 0 < margin.max():
        ax.contour(*axes, margin, [0.0], colors=style.BLACK, linewidths=1.0)


def _readout_boundary(ax: Axes, problem: Any) -> None:
    """Draw where the readout of z(1), in the plane of z, passes between classes."""
    if problem.readout is None or problem.q > 2:
        return
    axes = [np.linspace(*limits, 50) for limits in (ax.get_xlim(), ax.get_ylim())]
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    _boundary(ax, axes, _margin(problem.read(points)).reshape(50, 50))


def _points_by_class(
    ax: Axes, points: Array, classes: NDArray[np.int64], names: list[str]
) -> None:
    """Draw points (n, 2) with the marker and colour of their class, and a legend."""
    for c, name in enumerate(names):
        ax.plot(
            *points[classes == c].T,
            linestyle="none",
            marker=style.CLASS_MARKERS[c % len(style.CLASS_MARKERS)],
            color=_colour(c),
            markeredgecolor="#303030",
            markeredgewidth=0.5,
            markersize=5,
            label=name,
        )


def _paths_by_class(
    ax: Axes, paths: Array, classes: NDArray[np.int64], names: list[str]
) -> None:
    """Draw paths (P, n, 2); with more than three classes the ends carry the names."""
    colours = [_colour(c) for c in classes]
    lines = LineCollection(
        list(paths.transpose(1, 0, 2)), colors=colours, linewidths=0.7, alpha=0.45
    )
    ax.add_collection(lines)
    ax.scatter(*paths[0].T, s=6, c=colours, linewidths=0, zorder=2)
    if len(names) <= 3:
        ax.plot([], [], ".", markersize=4, color=style.GREY, label="$z(0)$")
        _points_by_class(ax, paths[-1], classes, names)
        style.legend_above_curves(ax, n_columns=4)
        return
    for (horizontal, vertical), c in zip(paths[-1], classes, strict=True):
        ax.text(
            *(horizontal, vertical, names[c]),
            color=_colour(c),
            ha="center",
            va="center",
            fontsize=8,
            weight="bold",
            clip_on=True,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
        )


def _paths_by_value(ax: Axes, paths: Array, values: Array) -> None:
    """Draw paths (P, n, 2) coloured by real targets (n,), with a colour bar."""
    lines = LineCollection(
        list(paths.transpose(1, 0, 2)), cmap="viridis", linewidths=0.9
    )
    lines.set_array(values)
    ax.add_collection(lines)
    ax.scatter(*paths[0].T, s=4, c=style.GREY, linewidths=0, zorder=2)
    ax.scatter(*paths[-1].T, s=18, c=values, cmap="viridis", zorder=3)
    ax.figure.colorbar(lines, ax=ax, label="target $y_1$")


def _project(z: Array, plane: str | Sequence[int]) -> tuple[Array, tuple[str, str]]:
    """States (P, n, d) in a plane, (P, n, 2), and the labels of its axes."""
    if plane == "auto":
        plane = "first" if z.shape[2] == 2 else "principal"
    if plane == "principal":
        centre = z[-1].mean(axis=0)
        _, scale, axes = np.linalg.svd(z[-1] - centre, full_matrices=False)
        axes = np.vstack([axes, np.zeros((2, z.shape[2]))])[:2]
        share = np.append(scale, [0.0, 0.0])[:2] ** 2 / (np.sum(scale**2) or 1.0)
        # The sign of a principal axis is arbitrary: fix it by its largest entry.
        axes *= np.where(axes[[0, 1], np.abs(axes).argmax(axis=1)] < 0, -1, 1)[:, None]
        first, second = (f"{100 * each:.0f} % of variance" for each in share)
        return (z - centre) @ axes.T, (
            f"first principal axis of $z(1)$, {first}",
            f"second principal axis, {second}",
        )
    pair = (0, 1) if isinstance(plane, str) else plane
    if max(pair) >= z.shape[2]:
        raise ValueError(
            f"`plane` must name components below {z.shape[2]}, got {max(pair)}."
        )
    first, second = (f"state $z_{{{index + 1}}}$" for index in pair)
    return z[..., list(pair)], (first, second)


def _spread(classes: int | NDArray[np.int64], n_shown: int) -> NDArray[np.int64]:
    """Choose at most `n_shown` samples, spread evenly over order and classes."""
    if isinstance(classes, int):
        classes = np.zeros(classes, dtype=np.int64)
    by_class = np.argsort(classes, kind="stable")
    picks = np.linspace(0, len(classes) - 1, min(n_shown, len(classes)))
    return np.sort(by_class[np.unique(picks.astype(int))])


def _real_values(y: np.ndarray) -> Array:
    return np.asarray(y, dtype=float).reshape(len(y), -1)[:, 0]


def _colour(c: int) -> str:
    return style.CLASS_COLOURS[c % len(style.CLASS_COLOURS)]


def _pale(colour: str, strength: float) -> tuple[float, ...]:
    """Mix a colour with white, full colour at strength 1."""
    return tuple(1 - strength * (1 - part) for part in to_rgb(colour))
