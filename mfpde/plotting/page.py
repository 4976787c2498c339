"""The page of a run: the pictures that its data allow, composed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mfpde import data, evaluation
from mfpde.arrays import checked, optional, text
from mfpde.depth import A_DEPTH_GRID
from mfpde.ensemble import AN_ENSEMBLE
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.plotting import history, measure, outputs, states, style
from mfpde.plotting.sources import (
    classes_of,
    columns,
    decide,
    find_column,
    plain,
)
from mfpde.problem import A_PROBLEM
from mfpde.run.rebuilding import limit_of
from mfpde.snapshots import has_snapshots, snapshots

N_COLUMNS = 3
PANEL_SIZE = (4.3, 3.7)  # inches
MOST_LETTERS = 120
"""Of a title; more do not fit on a page."""

Panel = tuple[str, Callable[..., Axes]]


@checked(
    problem=optional(A_PROBLEM),
    grid=optional(A_DEPTH_GRID),
    ensemble=optional(AN_ENSEMBLE),
    title=optional(text),
)
def summary(
    run: Any,
    problem: Any = None,
    grid: Any = None,
    ensemble: Any = None,
    *,
    title: str | None = None,
) -> Figure:
    """Compose a page for a run, by what the run has.

    Histories and the measure are always there. With a problem, also the states,
    and decision regions for two-dimensional inputs, the confusion of the test (or
    training) samples for other classes, the fit for a regression.

    Parameters
    ----------
    run : Run or Solution
    problem, grid, ensemble : optional
        The trained limit; by default that of the solution, or the one at the last
        snapshot, rebuilt from the file. A run with a block or a loss of the user's
        own needs all three for the pictures of the states.
    title : str, optional
        Default: the title in the run's file.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Unknown to pyplot: nothing has to be closed. `save` writes it.
    """
    columns(run, "s", "loss")
    limit = _limit(run, problem, grid, ensemble)
    recorded = dict(getattr(run, "data", None) or {})
    with style.applied():
        if limit is None:
            panels = _panels_of_file(run)
        else:
            panels = _panels_of_limit(run, _Shown(*limit, recorded))
        n_columns = min(len(panels), N_COLUMNS)
        n_rows = -(-len(panels) // n_columns)
        width, height = PANEL_SIZE[0] * n_columns, PANEL_SIZE[1] * n_rows + 0.6
        figure = style.Page(figsize=(width, height), layout="constrained")
        style.pad(figure)
        for index, panel in enumerate(panels):
            _draw(figure.add_subplot(n_rows, n_columns, index + 1), *panel)
        figure.suptitle(_heading(run, title), x=0.01, ha="left", fontsize=10.5)
    return figure


def _draw(ax: Axes, name: str, draw: Callable[..., Axes]) -> None:
    """Draw one panel; where the states blow up, say so in its place."""
    try:
        draw(ax=ax)
    except (NotFiniteError, ConvergenceError) as error:
        ax.set_axis_off()
        ax.text(0.02, 0.9, str(error), transform=ax.transAxes, va="top", wrap=True)
    ax.set_title(ax.get_title(loc="left") or name, loc="left")


def _limit(run: Any, *given: Any) -> tuple[Any, Any, Any] | None:
    """Problem, grid and ensemble: as given, else those of the run; None without."""
    found = tuple(getattr(run, name, None) for name in ("problem", "grid", "ensemble"))
    if any(part is None for part in given) and hasattr(run, "description"):
        try:
            found = limit_of(run)
        except ValueError:  # no snapshot yet, or parts of the user's own
            found = (None, None, None)
    problem, grid, ensemble = (
        own if part is None else part for part, own in zip(given, found, strict=True)
    )
    is_partial = problem is None or grid is None or ensemble is None
    return None if is_partial else (problem, grid, ensemble)


@dataclass(frozen=True)
class _Shown:
    """The limit of a run, and the arrays recorded beside x and y in its file."""

    problem: Any
    grid: Any
    ensemble: Any
    recorded: dict[str, np.ndarray]

    @property
    def parts(self) -> tuple[Any, Any, Any]:
        return self.problem, self.grid, self.ensemble

    @property
    def is_prepared(self) -> bool:
        """Whether the file says how the inputs were made from raw ones."""
        return {"mean", "std", "scale", "n_padding"} <= set(self.recorded)

    @property
    def raw_dimension(self) -> int:
        """Number of components of the inputs before their preparation."""
        return (
            len(self.recorded["mean"]) if self.is_prepared else self.problem.x.shape[1]
        )

    @property
    def class_names(self) -> list[str] | None:
        return self.names("class_name")

    def names(self, key: str) -> list[str] | None:
        """Names that the file has for its data; None without."""
        names = self.recorded.get(key)
        return None if names is None else [style.plain(str(name)) for name in names]

    def column_names(self, key: str) -> list[str] | None:
        """The same where they are those of the source, not our own x0, x1, ..."""
        return self.names(key) if "column_name" in self.recorded else None

    @property
    def raw_targets(self) -> np.ndarray:
        """The targets in the units that they had before their preparation."""
        return data.inverse_transform_targets(self.recorded, self.problem.y)

    def raw_inputs(self) -> dict[str, Any]:
        """Options of a picture in the coordinates before the preparation."""
        if not self.is_prepared:
            return {}
        return {
            "x": data.inverse_transform(self.recorded, self.problem.x),
            "transform": partial(data.transform, self.recorded),
        }

    def flow(self, *, ax: Axes) -> Axes:
        return states.trajectories(
            *self.parts, labels=self.raw_targets, names=self.class_names, ax=ax
        )

    def fit(self, *, ax: Axes) -> Axes:
        """Fit, against the raw input if that has one component."""
        options = self.raw_inputs() if self.raw_dimension == 1 else {}
        restore = partial(data.inverse_transform_targets, self.recorded)
        inputs = self.column_names("feature_name") or ["input $x$"]
        targets = self.column_names("target_name") or ["target $y_1$"]
        options |= {"y": self.raw_targets, "restore": restore}
        options["names"] = inputs[0], targets[0]
        return outputs.fit(*self.parts, **options, ax=ax)

    def regions(self, *, ax: Axes) -> Axes:
        """Decision regions, in the coordinates before the preparation."""
        states.decision_regions(
            *self.parts, names=self.class_names, **self.raw_inputs(), ax=ax
        )
        names = self.column_names("feature_name")
        if names:
            ax.set_xlabel(names[0])
            ax.set_ylabel(names[1])
        return ax

    def confusion(self, *, ax: Axes) -> Axes:
        """Confusion of the test samples, if there are any, else of the training."""
        name, x, y = "Training samples", self.problem.x, self.problem.y
        if "x_test" in self.recorded:
            name, x, y = (
                "Test samples",
                self.recorded["x_test"],
                self.recorded["y_test"],
            )
        output = evaluation.predict(*self.parts, np.ascontiguousarray(x, dtype=float))
        outputs.confusion(classes_of(y), decide(output), names=self.class_names, ax=ax)
        ax.set_title(f"{name}: {ax.get_title(loc='left')}", loc="left")
        return ax

    def depth(self, run: Any, *, ax: Axes) -> Axes:
        present = evaluation.evaluate(*self.parts)
        return measure.depth_profile(run, evaluation=present, ax=ax)


def is_network(run: Any) -> bool:
    """Whether a run is the training of a network, which has no energy ledger."""
    return find_column(run, "batch_loss") is not None


def _panels_of_file(run: Any) -> list[Panel]:
    """Titles and functions of the panels for which the file alone is enough."""
    panels: list[Panel] = [("Loss", partial(history.loss, run))]
    if history.accuracy_names(run):
        panels += [("Accuracy", partial(history.accuracy, run))]
    if not is_network(run):
        panels += [("Energy ledger", partial(history.ledger, run))]
    if has_snapshots(run):
        panels += [
            ("Marginals of ρ", partial(measure.marginals, run)),
            ("Depth profile", partial(measure.depth_profile, run)),
            ("Particle paths", partial(measure.particle_paths, run)),
        ]
    return panels


def _panels_of_limit(run: Any, shown: _Shown) -> list[Panel]:
    """Titles and functions of the panels of a trained limit."""
    panels = dict(_panels_of_file(run))
    loss, marginals = ((name, panels[name]) for name in ("Loss", "Marginals of ρ"))
    accuracy, ledger = (
        [(name, panels[name])] if name in panels else []
        for name in ("Accuracy", "Energy ledger")
    )
    flow = ("States from z(0) to z(1)", shown.flow)
    depth = ("Depth profile", partial(shown.depth, run))
    if classes_of(shown.problem.y) is None:
        return [loss, *ledger, ("Fit", shown.fit), flow, marginals, depth]
    if shown.raw_dimension == 2:
        regions = ("Decision regions", shown.regions)
        return [loss, *ledger, regions, flow, marginals, depth]
    confusion = ("Classes", shown.confusion)
    return [loss, *accuracy, *ledger, marginals, flow, confusion]


def _heading(run: Any, title: str | None) -> str:
    """Title and file and, on a second line, how the run ended."""
    if title is None:
        title = str(getattr(run, "attrs", {}).get("title", ""))
    path = getattr(run, "path", None)
    names = [title[:MOST_LETTERS], path and os.path.basename(path)]
    first = ", ".join(plain(each) for each in names if each)
    facts = [str(getattr(run, "status", ""))]
    s = find_column(run, "s")
    if s is not None and len(s):
        facts.append(f"training time $s$ = {style.number(s[-1])}")
        for name in ("loss", *history.accuracy_names(run)):
            value = np.asarray(find_column(run, name))[-1]
            is_share = name.endswith("accuracy")
            text = f"{100 * value:.1f} %" if is_share else style.number(value)
            facts.append(f"{plain(name.replace('_', ' '))} {text}")
    if has_snapshots(run):
        source = snapshots(run)
        facts.append(
            f"{len(source.weights)} particles at each of {len(source.t)} depth nodes"
        )
    name = "Residual network" if is_network(run) else "Mean-field limit"
    return f"{first or name}\n{', '.join(filter(None, facts))}"
