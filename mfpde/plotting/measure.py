"""The measure rho(theta, t): marginals, particle paths, profile in depth t."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter1d

from mfpde import evaluation as evaluations
from mfpde.arrays import checked, choice, is_iterable, number, optional, shown
from mfpde.plotting import style
from mfpde.plotting.checks import AN_EVALUATION, times, which
from mfpde.plotting.sources import (
    Array,
    letters,
    parameter_index,
    symbol,
)
from mfpde.snapshots import Snapshots, snapshots

MAX_VIOLINS = 9  # more parameters than this are pooled by letter
N_BINS = 256
A_DEPTH = number(0.0, 1.0)
LINE_STYLES = ("--", ":", "-.")


@checked(s=optional(times), t=optional(A_DEPTH))
@style.styled
def marginals(
    run: Any,
    parameter: int | str | Sequence[int | str] | None = None,
    *,
    s: float | Sequence[float] | None = None,
    t: float | None = None,
    ax: Axes = style.NEW,
) -> Axes:
    """Marginals of rho in theta at chosen training times s and depth t.

    Parameters
    ----------
    run : Run, Solution or Evaluation
    parameter : int, str, pair of them, or None
        One parameter: weighted histograms. A pair: the particles in the plane of
        the two, the area of a marker proportional to the particle's weight. None:
        the marginals of all parameters side by side, the first chosen s on the
        left and the last on the right of each; with more than nine, parameters
        that share a letter (all components of u, say) are pooled.
    s : float or sequence of float, optional
        Training times; the nearest snapshots are shown. Default: first and last.
    t : float, optional
        Depth; the nearest node is shown. Default: the mean over all depths,
        int_0^1 rho(., t) dt.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    source = snapshots(run)
    indices = source.first_and_last()
    if s is not None:
        indices = [source.at(each) for each in np.atleast_1d(s)]
    if parameter is None:
        _violins(ax, source, indices, t)
    elif isinstance(parameter, (int, np.integer, str)):
        chosen = parameter_index(source.names, parameter)
        _histograms(ax, source, indices, t, chosen)
    else:
        pair = _pair(source.names, parameter)
        _plane(ax, source, indices, t, pair)
    return ax


@checked(against=choice("t", "s"), t=A_DEPTH)
@style.styled
def particle_paths(
    run: Any,
    parameter: int | str = 0,
    *,
    against: str = "t",
    t: float = 0.5,
    particles: int | ArrayLike = 8,
    ax: Axes = style.NEW,
) -> Axes:
    """Paths of some particles: theta_m(t) through depth, or theta_m(s) in training.

    Parameters
    ----------
    run : Run, Solution or Evaluation
    parameter : int or str
        The component of theta that is shown.
    against : {"t", "s"}
        "t": the path through depth at the first (dashed) and the last (solid)
        snapshot. "s": the path in training time at the depth node nearest to `t`,
        from a hollow to a filled marker.
    t : float
        Depth, used with against="s".
    particles : int or sequence of int
        How many particles (spread evenly over the numbering), or which.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    source = snapshots(run)
    component = parameter_index(source.names, parameter)
    n_particles = len(source.weights)
    chosen = which("particles", particles, n_particles)
    if against == "t":
        _paths_in_depth(ax, source, component, chosen)
    else:
        _paths_in_training(ax, source, component, chosen, source.node(t))
    place = f", {_depth_text(source, t)}" if against == "s" else ""
    ax.set_ylabel(
        f"{symbol(source.names[component])}{place}, "
        f"{len(chosen)} of {n_particles} particles"
    )
    style.grid(ax)
    return ax


@checked(evaluation=optional(AN_EVALUATION))
@style.styled
def depth_profile(run: Any, *, evaluation: Any = None, ax: Axes = style.NEW) -> Axes:
    """Root mean squares of the field F and of theta against depth t.

    Parameters
    ----------
    run : Run, Solution or Evaluation
        Gives theta at the first (dashed) and the last (solid) snapshot, and the
        movement theta(s) - theta(0) in between (dotted); the mean is over
        particles with their weights, of the Euclidean norm in R^k.
    evaluation : Evaluation, optional
        Gives the field F(z(t), t) of Eq. (8) along its states; the mean is over
        samples. Default: `run`, if that is an evaluation.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    source = snapshots(run)
    if evaluation is None and hasattr(run, "t_states"):
        evaluation = run
    curves = _theta_profiles(source)
    if evaluation is not None:
        look = {"color": style.VERMILLION, "marker": "s", "linestyle": "-"}
        label = "field $F(z(t), t)$"
        curves.insert(0, (label, evaluation.grid.nodes, field_rms(evaluation), look))
    for label, t, values, look in curves:
        ax.plot(t, values, label=label, markersize=3.5, **look)
    style.value_axis(ax, [values for _, _, values, _ in curves], least_ratio=30.0)
    if ax.get_yscale() == "linear":
        ax.set_ylim(bottom=0.0)
    _depth_axis(ax)
    ax.set_ylabel("root mean square")
    style.legend_above_curves(ax)
    return ax


def _pair(names: list[str], parameter: Any) -> list[int]:
    """Positions of two parameters."""
    is_list = isinstance(parameter, list | tuple | np.ndarray)
    is_list = is_list and is_iterable(parameter)
    if not is_list or len(parameter) != 2:
        got = f"{len(parameter)} parameters" if is_list else shown(parameter)
        raise (ValueError if is_list else TypeError)(
            f"`parameter` must be one parameter, a pair or None, got {got}."
        )
    return [parameter_index(names, each) for each in parameter]


def field_rms(evaluation: Any) -> Array:
    """Root mean square over samples of |F(z(t_j), t_j)|, Eq. (8), shape (J,).

    Between the depths at which the evaluation holds states (midpoints of steps),
    z is interpolated linearly: enough for a picture.
    """
    grid, states = evaluation.grid, evaluation.z
    values = np.empty(grid.n_nodes)
    for node, t in enumerate(grid.nodes):
        right = np.clip(np.searchsorted(evaluation.t_states, t), 1, len(states) - 1)
        t0, t1 = evaluation.t_states[right - 1 : right + 1]
        share = (t - t0) / (t1 - t0)
        z = np.ascontiguousarray(
            (1 - share) * states[right - 1] + share * states[right]
        )
        force = evaluations.field(evaluation.problem, grid, evaluation.ensemble, z)[
            node
        ]
        values[node] = np.sqrt(np.mean(np.sum(force**2, axis=1)))
    return values


def smooth_histogram(values: Array, weights: Array) -> tuple[Array, Array]:
    """Density estimate: a fine weighted histogram smoothed with Scott's bandwidth.

    Parameters
    ----------
    values, weights : ndarray, shape (n,)
        Weights of sum 1.

    Returns
    -------
    centre, density : ndarray, shape (N_BINS,)
        One bin is one spike if all values agree.
    """
    spread = np.sqrt(np.cov(values, aweights=weights, ddof=0))
    bandwidth = 1.06 * float(spread) * np.sum(weights**2) ** 0.2
    margin = 3.0 * bandwidth or 1e-3 * (abs(values[0]) or 1.0)
    edges = np.linspace(values.min() - margin, values.max() + margin, N_BINS + 1)
    density, _ = np.histogram(values, edges, weights=weights, density=True)
    width = bandwidth / (edges[1] - edges[0])
    smooth = gaussian_filter1d(density, width, mode="constant") if width else density
    return 0.5 * (edges[1:] + edges[:-1]), smooth


def _sample_of(
    source: Snapshots, index: int, t: float | None, components: Sequence[int]
) -> tuple[Array, Array]:
    """Values (n, c) of some components with masses (n,) at a snapshot and a depth."""
    theta = source.particles(index)[..., list(components)]
    if t is None:
        masses = source.t_weights[:, np.newaxis] * source.weights
        return theta.reshape(-1, theta.shape[-1]), masses.ravel()
    return theta[source.node(t)], source.weights


def _violins(ax: Axes, source: Snapshots, indices: list[int], t: float | None) -> None:
    names = source.names
    if len(names) <= MAX_VIOLINS:
        groups = {symbol(name): [c] for c, name in enumerate(names)}
    else:
        groups = {
            f"{symbol(letter)} ({len(members)})": members
            for letter, members in letters(names).items()
        }
    sides: list[tuple[float, int, str, str | None]]
    sides = [(-1.0, indices[0], style.LIGHT_GREY, "////")]
    if indices[0] == indices[-1]:
        sides = [(-1.0, indices[0], style.BLUE, None)]
    sides.append((1.0, indices[-1], style.BLUE, None))
    for side, index, colour, hatch in sides:
        for position, members in enumerate(groups.values()):
            values, masses = _sample_of(source, index, t, members)
            pooled = values.T.ravel()
            weights = np.tile(masses / len(members), len(members))
            centre, density = smooth_histogram(pooled, weights / weights.sum())
            edge = position + side * 0.42 * density / density.max()
            is_new = position == 0 and (side < 0 or indices[0] != indices[-1])
            label = f"$s$ = {style.number(source.s[index])}" if is_new else None
            ax.fill_betweenx(
                *(centre, position, edge),
                facecolor=colour,
                edgecolor=style.BLACK,
                hatch=hatch,
                linewidth=0.6,
                label=label,
            )
    ax.set_xticks(range(len(groups)), list(groups))
    ax.set_xlim(-0.6, len(groups) - 0.4)
    ax.set_ylabel(rf"$\theta$, {_depth_text(source, t)}")
    ax.set_xlabel("parameter" if len(names) <= MAX_VIOLINS else "parameters, pooled")
    ax.axhline(0.0, color=style.GREY, linewidth=0.6, zorder=0)
    style.legend(ax, loc="best")


def _histograms(
    ax: Axes, source: Snapshots, indices: list[int], t: float | None, component: int
) -> None:
    samples = [_sample_of(source, index, t, [component]) for index in indices]
    pooled = np.concatenate([values[:, 0] for values, _ in samples])
    n_bins = int(np.clip(2.5 * len(samples[0][0]) ** (1 / 3), 8, 60))
    edges = np.histogram_bin_edges(pooled, n_bins)
    shades = np.linspace(0.0, 1.0, len(indices))
    for order, (index, (values, masses)) in enumerate(
        zip(indices, samples, strict=True)
    ):
        density, _ = np.histogram(values[:, 0], edges, weights=masses, density=True)
        is_last = order == len(indices) - 1
        ax.stairs(
            *(density, edges),
            fill=is_last,
            facecolor=(*_rgb(style.SKY), 0.45) if is_last else "none",
            edgecolor=style.BLUE if is_last else str(0.55 * (1 - shades[order])),
            linestyle="-" if is_last else LINE_STYLES[order % len(LINE_STYLES)],
            linewidth=1.3,
            label=f"$s$ = {style.number(source.s[index])}",
        )
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel(f"{symbol(source.names[component])}, {_depth_text(source, t)}")
    ax.set_ylabel(r"density of $\rho$")
    style.legend(ax, loc="best")


def _plane(
    ax: Axes, source: Snapshots, indices: list[int], t: float | None, pair: list[int]
) -> None:
    looks = [{"facecolors": "none", "edgecolors": style.GREY, "linewidths": 0.7}]
    looks += [{"color": style.BLUE, "alpha": 0.6, "linewidths": 0.0}]
    chosen = indices[:1] + indices[-1:] if indices[0] != indices[-1] else indices[-1:]
    for index, look in zip(chosen, looks[-len(chosen) :], strict=True):
        values, masses = _sample_of(source, index, t, pair)
        area = np.clip(18.0 * masses / masses.mean(), 0.5, 200.0)
        label = f"$s$ = {style.number(source.s[index])}"
        ax.scatter(values[:, 0], values[:, 1], s=area, label=label, **look)
    ax.set_xlabel(f"{symbol(source.names[pair[0]])}, {_depth_text(source, t)}")
    ax.set_ylabel(symbol(source.names[pair[1]]))
    style.grid(ax)
    style.legend(ax, loc="best")


def _paths_in_depth(
    ax: Axes, source: Snapshots, component: int, chosen: np.ndarray
) -> None:
    indices = source.first_and_last()
    for index in indices:
        is_last = index == indices[-1]
        paths = source.particles(index)[:, chosen, component]
        for order, path in enumerate(paths.T):
            ax.plot(
                *(source.t, path),
                color=style.CLASS_COLOURS[order % len(style.CLASS_COLOURS)],
                linestyle="-" if is_last else (0, (3, 2)),
                linewidth=1.5 if is_last else 0.8,
                marker="o" if is_last else "none",
                markersize=3,
            )
        ax.plot(
            *([], []),
            color=style.BLACK,
            linestyle="-" if is_last else "--",
            marker="o" if is_last else "none",
            markersize=3,
            label=f"$s$ = {style.number(source.s[index])}",
        )
    _depth_axis(ax)
    style.legend(ax, loc="best")


def _paths_in_training(
    ax: Axes, source: Snapshots, component: int, chosen: np.ndarray, node: int
) -> None:
    paths = np.array(
        [source.particles(i)[node, chosen, component] for i in range(len(source.s))]
    )
    style.training_time_axis(ax, source.s)
    for order, path in enumerate(paths.T):
        colour = style.CLASS_COLOURS[order % len(style.CLASS_COLOURS)]
        ax.plot(source.s, path, color=colour, linewidth=1.2)
        ax.plot(source.s[:1], path[:1], "o", color=colour, markerfacecolor="white")
        ax.plot(source.s[-1:], path[-1:], "o", color=colour)


def _theta_profiles(source: Snapshots) -> list[tuple[str, Array, Array, dict]]:
    """Label, depths, rms over particles and look of the curves of `depth_profile`."""
    indices = source.first_and_last()
    last = source.particles(indices[-1])
    s_last = f"$s$ = {style.number(source.s[indices[-1]])}"
    look = {"color": style.BLUE, "marker": "o", "linestyle": "-"}
    curves = [(rf"$\theta$ at {s_last}", source.t, _rms(source, last), look)]
    if len(indices) == 2:
        first = source.particles(indices[0])
        look = {"color": style.BLACK, "marker": "^", "linestyle": "--"}
        s_first = f"$s$ = {style.number(source.s[indices[0]])}"
        curves.append((rf"$\theta$ at {s_first}", source.t, _rms(source, first), look))
        look = {"color": style.GREEN, "marker": "D", "linestyle": ":"}
        moved = _rms(source, last - first)
        curves.append((r"change of $\theta$ between", source.t, moved, look))
    return curves


def _rms(source: Snapshots, theta: Array) -> Array:
    """Root mean square over particles of |theta_m(t_j)|, shape (J,)."""
    return np.sqrt(np.sum(theta**2, axis=2) @ source.weights)


def _depth_axis(ax: Axes) -> None:
    ax.set_xlim(-0.03, 1.03)
    ax.set_xlabel("depth $t$")
    style.grid(ax)


def _depth_text(source: Snapshots, t: float | None) -> str:
    if t is None:
        return "all depths $t$"
    return f"at depth $t$ = {style.number(source.t[source.node(t)])}"


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
