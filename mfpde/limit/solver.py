"""`solve_limit`: the mean-field limit to a tolerance, levels chosen by estimates."""

from __future__ import annotations

import contextlib
import functools
import signal
import warnings
from collections.abc import Mapping
from typing import Annotated, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import (
    a_float,
    checked,
    choice,
    having,
    number,
    positive,
    seed_number,
    whole,
)
from mfpde.depth import DepthGrid
from mfpde.errors import Interrupted, ToleranceWarning
from mfpde.gradients import check_own_parts
from mfpde.limit.levels import Limits, Search
from mfpde.limit.solves import (
    BudgetExceeded,
    Observable,
    Solves,
    Stopped,
)
from mfpde.limit.start import first_rule
from mfpde.options import Option, accepting, options_of
from mfpde.problem import A_PROBLEM, MeanFieldProblem
from mfpde.recording import Steps, check_observers, make_clocks, make_schedule
from mfpde.run.flow import check_end
from mfpde.run.options import OutputOptions
from mfpde.run.solution import Solution, announcing
from mfpde.run.states import State
from mfpde.signals import collected, deliver
from mfpde.storage import check_writable
from mfpde.waiting import waiting

SMALLEST_TOLERANCE = 1e-12
"""Relative to the targets: rounding, amplified by the flow, stays below."""
KINK_TOLERANCE = 1e-3
"""Below it a block with a kink gets a warning."""


class LimitOptions(OutputOptions, total=False):
    """Options of `solve_limit`.

    Attributes
    ----------
    record : sequence of float or schedule, optional
        Training times; None is start and end.
    states : sequence of float or schedule, optional
        When states and adjoints of the final solve are recorded; None is never.
    method : {"auto", "quadrature", "sobol"}
        Rule for rho. "auto" takes a tensor rule for a smooth block and a law of at most
        four independent random numbers, and scrambled Sobol points otherwise.
    observables : dict of str to callable, optional
        Functions of an `Evaluation` whose errors are estimated, too, and which are
        recorded.
    max_particles, max_nodes : int
        Caps per node, and of nodes in depth.
    max_cost : float
        Cap of the whole work, in kernel evaluations: node x particle x sample x
        right-hand side, that of the search included.
    seed : int
        Of the Sobol points.
    """

    record: Annotated[Any, Option(None)]
    states: Annotated[Any, Option(None)]
    method: Annotated[str, Option("auto", choice("auto", "quadrature", "sobol"))]
    observables: Annotated[Mapping[str, Observable] | None, Option(None)]
    max_particles: Annotated[int, Option(100_000, whole(1))]
    max_nodes: Annotated[int, Option(64, whole(2))]
    max_cost: Annotated[float, Option(1e10, positive)]
    seed: Annotated[int, Option(0, seed_number)]


@announcing
@accepting(LimitOptions)
@checked(
    problem=A_PROBLEM,
    law=having(
        "n_params", "n_random", "paths", what="a law such as mfpde.laws.Gaussian"
    ),
    s_end=a_float,
    tol=number(above=0.0, most=1e10),
)
def solve_limit(
    problem: MeanFieldProblem,
    law: Any,
    *,
    s_end: float,
    tol: float,
    **options: Unpack[LimitOptions],
) -> Solution:
    """Solve for the limit, Eqs. (1)-(6), until the outputs are known to `tol`.

    Grid in depth t, sampling of rho, particle number and the tolerances in training
    time s are chosen by comparing levels, each part of the error where the others are
    cheap; the finest combination is then solved and checked against a coarser one.

    Parameters
    ----------
    problem : MeanFieldProblem
    law : Law
        rho at s = 0, with paths smooth in t; coupling is "path".
    s_end : float
        End in training time s.
    tol : float
        Absolute tolerance of every output at every record time.
    **options
        record, method, observables, max_particles, max_nodes, max_cost, seed, states,
        and as for `solve` snapshots, output, overwrite, progress, metadata,
        checkpoint_every_s, theta_dtype, swmr; each is described in `LimitOptions`.
        Progress includes the search, which starts again and again at s = 0.

    Returns
    -------
    Solution
        With `error` and `estimated_error`; `message` says what was chosen. If the
        tolerance is out of reach within the caps, the best answer found, with a
        message and a `ToleranceWarning` that say so. A final solve that failed has no
        error: see `solve`.

    Raises
    ------
    ValueError, TypeError
        For arguments that do not fit, and a tolerance below rounding.
    GradientError
        As for `solve`.
    NotFiniteError, ConvergenceError
        If the flow cannot be solved.
    Interrupted
        After a signal, as for `solve`: `solution` is the best answer so far, up to
        s_end, be it of the search; None if there was none yet.
    """
    check_end(s_end, 0.0)
    given: dict[str, Any] = dict(options)
    observables = _checked_observables(given["observables"])
    _check_tolerance(problem, tol)
    caps = {name: given[name] for name in ("max_particles", "max_nodes", "max_cost")}
    limits = Limits(tol=tol, **caps)
    rule = first_rule(
        problem, law, given["method"], limits.max_particles, given["seed"], tol
    )
    s = _times(s_end, given["record"])
    coarse = DepthGrid.gauss(2)
    check_own_parts(problem, coarse, rule.ensemble(coarse))
    if given["output"] is not None:
        check_writable(given["output"], given["overwrite"])
    solves = Solves(problem, s, observables, 0.5 * limits.max_cost)
    progress = given["progress"]
    if callable(progress):
        solves.report = functools.partial(_report, progress, float(s_end))
    search = Search(limits, solves, rule)
    passed_on = {name: given[name] for name in (*options_of(OutputOptions), "states")}
    solution = None
    with collected() as stopped:
        solves.stopped = stopped
        try:
            with waiting(search) if progress is True else contextlib.nullcontext():
                search.run()
            solution = search.finish(passed_on)
        except BudgetExceeded:
            raise ValueError(
                f"`max_cost` = {limits.max_cost:g} kernel evaluations do not suffice "
                "for the coarsest levels. Raise it, or shorten `s_end`."
            ) from None
        except (Stopped, Interrupted) as ending:
            solution = search.best(getattr(ending, "solution", None))
    if stopped or solution is None:
        name = signal.Signals(stopped[0]).name
        text = "before any answer was found." if solution is None else solution.message
        deliver(stopped[0], Interrupted(f"Stopped by {name}: {text}", solution))
    if solution.error is not None and solution.error.output > tol:
        warnings.warn(solution.message, ToleranceWarning, stacklevel=4)
    return solution


def _report(progress: Any, s_end: float, state: State) -> None:
    """Tell the user's own progress of a step."""
    loss, objective = state.latest
    progress(state.s, s_end, loss, state.step, objective)


def _times(s_end: float, record: Any) -> NDArray[np.float64]:
    """Record times with start and end; a schedule by steps has none."""
    schedule = make_schedule("record", record)
    if isinstance(schedule, Steps):
        raise ValueError(
            "`record` must name training times, since the steps differ from level to "
            "level; use a sequence of s or mfpde.recording.Every(ds)."
        )
    clock = make_clocks({"record": schedule}, float(s_end))["record"]
    assert clock is not None
    return np.array(sorted({0.0, *clock.exact, float(s_end)}))


def _checked_observables(observables: Any) -> dict[str, Any]:
    observables = check_observers(observables, "observables")
    if "output" in observables:
        raise ValueError('`observables` must not use the name "output", which is ours.')
    return observables


def _check_tolerance(problem: MeanFieldProblem, tol: float) -> None:
    smallest = SMALLEST_TOLERANCE * max(1.0, float(np.abs(problem.y).max()))
    if tol < smallest:
        raise ValueError(
            f"`tol` must be at least {smallest:.1g}, since rounding in double "
            f"precision hides smaller errors, got {tol:g}."
        )
    if tol < KINK_TOLERANCE and problem.has_kinks:
        warnings.warn(
            f"{problem.block!r} has a kink, which limits the order of every rule; "
            f"`tol` = {tol:g} may be out of reach.",
            ToleranceWarning,
            stacklevel=5,
        )
