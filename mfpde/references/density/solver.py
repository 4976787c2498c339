"""`solve_density`: checks, the runs on three meshes, and the estimates from them."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import (
    a_float,
    check_positive,
    checked,
    flag,
    float_array,
    number,
    positive,
    whole,
)
from mfpde.errors import ToleranceWarning
from mfpde.problem import A_PROBLEM, MeanFieldProblem
from mfpde.references.density.collocation import lobatto
from mfpde.references.density.flow import GridFlow
from mfpde.references.density.formulas import make_formula
from mfpde.references.density.initial import cell_averages
from mfpde.references.density.mesh import Mesh, make_mesh
from mfpde.references.density.solution import DensitySolution
from mfpde.references.density.stepping import Counts, march

Array = NDArray[np.float64]

FORMAL_ORDER = 4
LEAST_ORDER = 0.5
CLEAN_ORDER = 3.0
"""An order seen above this is that of a smooth density. The estimates then rely on
second order, since the error of the steps in s has its share, and of three meshes one
is coarse; below it on first order, since jumps and kinks move through the cells."""

WALL_MASS = 1e-5
"""Largest mass at the walls without a warning."""

N_LEVELS = 3
FEWEST_DEPTH_NODES = 4
MOST_DEPTH_NODES = 1000
SAFETY = 2.0
"""Factor of an estimate. Roache (1998) takes 1.25 for three meshes in the asymptotic
range, but jumps that move through the cells, and single outputs, do not behave so."""


@checked(
    problem=A_PROBLEM,
    s_end=a_float,
    n_depth=whole(FEWEST_DEPTH_NODES, MOST_DEPTH_NODES),
    temperature=number(least=0.0),
    rtol=positive,
    estimate=flag,
)
def solve_density(
    problem: MeanFieldProblem,
    law: Any,
    *,
    low: ArrayLike,
    high: ArrayLike,
    n_cells: ArrayLike,
    s_end: float,
    n_depth: int = 7,
    temperature: float = 0.0,
    record: ArrayLike | None = None,
    rtol: float = 1e-7,
    estimate: bool = True,
) -> DensitySolution:
    """Solve Eq. (6), or (16) with noise, for the density of rho on a mesh in theta.

    For k = 1 or 2 parameters. Conservative finite volumes of fourth order in theta, a
    positive Runge-Kutta scheme of order four in s, collocation at Lobatto nodes in t.
    Only the problem is shared with the particles: this is an independent check of
    them, it gives the density, and it needs no samples for noise.

    Parameters
    ----------
    problem : MeanFieldProblem
        With fixed embedding and readout, and a block of `mfpde.blocks`.
    law : Law or callable
        Initial law: Gaussian, GaussianProcess, Uniform, a Path of Gaussians, products
        and mixtures of these, or a function density(theta, t) of theta (..., k) and
        the depth t, which need not have mass 1.
    low, high : number or array_like, shape (k,)
        Walls of the mesh, the same at all depths. They must hold the initial law, and
        leave room for where it goes: see `DensitySolution.wall_mass`.
    n_cells : int or sequence of int, length k
        Cells per parameter; a multiple of 4, at least 64, for the estimates. Jumps and
        kinks of the density are best put on edges of the coarsest cells.
    s_end : float
        Last training time.
    n_depth : int
        Depth nodes J, at least 4. The error falls exponentially where the law is
        smooth in t.
    temperature : float
        nu of Eq. (16), not negative. The cells should be small enough for
        dE/drho + lambda |theta|^2 to change by less than 2 nu from one to the next;
        where it changes by more the scheme is of first order, down to the upwind one
        for nu -> 0. Only at 0 itself are the cells averages, and of high order.
    record : array_like, optional
        Training times to record; None: start and end. The end is always recorded.
    rtol : float
        Bound of the error of each step in s, relative to the width of rho.
    estimate : bool
        Whether to estimate the errors, with three more runs on coarser meshes.

    Returns
    -------
    DensitySolution

    Raises
    ------
    ValueError, TypeError
        For options that do not fit, trained maps, a law that the mesh does not hold.
    ConvergenceError, NotFiniteError
        If the states blow up or the steps in s become too short.

    Warns
    -----
    ToleranceWarning
        If mass has come to the walls.
    """
    _check_problem(problem, temperature)
    formula = make_formula(problem.block)
    times = _times(record, s_end)
    mesh = make_mesh(low, high, n_cells, problem.k, N_LEVELS if estimate else 1)
    parts = problem, formula, law
    finest = _run(*parts, mesh, n_depth, temperature, times, rtol)
    _check_walls(finest["wall_mass"], times)
    errors: dict[str, Any] = dict.fromkeys(("output_error", "loss_error", "order"))
    if estimate:
        rest = (temperature, times)
        coarser = [
            # An error of fourth order in the steps grows by the same factor.
            _run(*parts, mesh.coarsened(2**i), n_depth, *rest, rtol * 16.0**i)
            for i in range(1, N_LEVELS)
        ]
        half = mesh.coarsened(2)
        shallow = _run(*parts, half, n_depth - 2, *rest, rtol * 16.0)
        errors = _estimates([finest, *coarser], shallow)
    return DensitySolution(problem=problem, mesh=mesh, s=times, **finest, **errors)


def _check_problem(problem: MeanFieldProblem, temperature: float) -> None:
    if not isinstance(problem, MeanFieldProblem):
        raise TypeError(f"`problem` must be a MeanFieldProblem, got {problem!r}.")
    if problem.trained_maps:
        raise ValueError(
            "`problem` must have fixed maps on a grid in theta, but its "
            f"{' and '.join(problem.trained_maps)} would be trained. "
            "Use particles (`mfpde.solve`) for trained maps."
        )
    is_plain = (problem.metric == 1.0).all() and problem.clipping is None
    if temperature > 0.0 and not is_plain:
        raise ValueError(
            "`temperature` must be 0 for a problem with a `metric` or `clipping`: "
            "Eq. (16) has noise without them."
        )


def _times(record: ArrayLike | None, s_end: float) -> Array:
    check_positive("s_end", s_end)
    asked = float_array("record", [0.0] if record is None else record)
    if asked.ndim != 1 or (asked < 0.0).any() or (asked > s_end).any():
        raise ValueError(
            f"`record` must be a sequence of training times between 0 and `s_end` = "
            f"{s_end:g}, got {record!r}."
        )
    return np.unique([0.0, *asked, float(s_end)])


def _check_walls(mass: Array, times: Array) -> None:
    worst = int(np.argmax(mass))
    if mass[worst] > WALL_MASS:
        warnings.warn(
            f"The walls of the mesh hold a mass of {mass[worst]:.2g} at s = "
            f"{times[worst]:.4g} (`wall_mass`). They keep it inside, and the estimated "
            "errors do not see them: widen `low` and `high`.",
            ToleranceWarning,
            stacklevel=3,
        )


def _run(
    problem: MeanFieldProblem,
    formula: Any,
    law: Any,
    mesh: Mesh,
    n_depth: int,
    temperature: float,
    times: Array,
    rtol: float,
) -> dict[str, Any]:
    """One run; the attributes of `DensitySolution` that it tells."""
    depth = lobatto(n_depth)
    flow = GridFlow(problem, formula, mesh, depth, float(temperature))
    averages, outside = cell_averages(law, mesh, depth.nodes)
    counts = Counts()
    points, scalars = [], []
    last = None
    for last in march(flow, flow.start(averages), times, rtol, counts):
        points.append(last.density)
        scalars.append(flow.scalars(last.density, last.states, last.s))
    assert last is not None
    names = ("output", "loss", "objective", "second_moment", "free_energy")
    columns = {
        name: np.array([getattr(each, name) for each in scalars]) for name in names
    }
    return columns | {
        "t": depth.nodes,
        "t_weights": depth.weights,
        "temperature": flow.temperature,
        "density": np.array(points),
        "potential": flow.potential(last.states, last.s),
        "mass_error": np.array(
            [np.abs(mesh.total(each) - 1.0).max() for each in points]
        ),
        "mass_outside": outside,
        "wall_mass": np.array([mesh.wall_mass(each) for each in points]),
        "n_steps": counts.n_steps,
        "n_rejected": counts.n_rejected,
        "n_evaluations": counts.n_evaluations,
    }


def _estimates(runs: list[dict[str, Any]], shallow: dict[str, Any]) -> dict[str, Array]:
    """Errors of the first of three runs, from the finest to the coarsest mesh."""
    fine, half, quarter = (each["output"] for each in runs)
    near, far = _largest(fine - half), _largest(half - quarter)
    order = np.full(len(near), float(FORMAL_ORDER))
    # Where the meshes agree to rounding they show no order.
    is_seen = (near > 1e-13) & (far > 1e-13)
    order[is_seen] = np.log2(far[is_seen] / near[is_seen])
    order = np.clip(order, LEAST_ORDER, FORMAL_ORDER)
    # A difference may be small by chance, where it changes sign: from one pair of
    # meshes to the next it cannot fall by more than the formal order tells.
    most = 2.0**FORMAL_ORDER
    trusted = np.where(order > CLEAN_ORDER, 2.0, np.minimum(order, 1.0))
    share = SAFETY / (2.0**trusted - 1.0)
    losses = [each["loss"] for each in runs]
    of_loss = [np.abs(one - other) for one, other in pairwise(losses)]
    in_depth = [_largest(half - shallow["output"]), np.abs(losses[1] - shallow["loss"])]
    return {
        "output_error": share * np.maximum(near, far / most) + in_depth[0],
        "loss_error": share * np.maximum(of_loss[0], of_loss[1] / most) + in_depth[1],
        "order": order,
    }


def _largest(values: Array) -> Array:
    """Largest absolute entry of (R, N, q) for each of the R records."""
    return np.abs(values).reshape(len(values), -1).max(axis=1)
