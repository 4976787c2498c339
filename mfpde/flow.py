"""The flow in training time s: the loop, one accepted step at a time.

The state of the steppers is one flat vector: theta, the trained maps, and last the
ledger of Eq. (28), which is integrated beside them by the same method.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import a_float, checked, float_array
from mfpde.depth import DepthGrid
from mfpde.engine.sharding import Space
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import NotFiniteError
from mfpde.evaluation import Evaluation, check_shapes, evaluate
from mfpde.gradients import own_parts
from mfpde.ledger import LedgerBudget, objective_does_not_rise
from mfpde.problem import MeanFieldProblem
from mfpde.sizes import advice
from mfpde.steppers import (
    Diffusion,
    ErrorControl,
    Langevin,
    Point,
    StepFailure,
    make_stepper,
)

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class State:
    """The flow after an accepted step.

    Attributes
    ----------
    s : float
        Training time.
    step, n_evaluations, n_rejected : int
        Counts since s = 0.
    step_size : float
        Size of the last step, 0 at the start.
    evaluation : Evaluation
        At this state; its `problem` holds the present trained maps.
    ledger : float
        Objective at the start plus the integral of -D_s + lambda' M2, Eq. (28); NaN
        with noise, which adds to the objective what no integral of rates counts.
    y, rate : ndarray
        The flat vector of the steppers, and its derivative in s; with the particles of
        this rank, where several share them.
    memory : dict of str to float
        What the stepper carries from step to step.
    """

    s: float
    step: int
    step_size: float
    n_evaluations: int
    n_rejected: int
    evaluation: Evaluation
    ledger: float
    y: Array
    rate: Array
    memory: dict[str, float]

    @property
    def energy_residual(self) -> float:
        """Residual of the ledger, Eq. (28): objective minus `ledger`."""
        return self.evaluation.objective - self.ledger

    @property
    def problem(self) -> MeanFieldProblem:
        """The problem with the present trained maps."""
        return self.evaluation.problem

    @property
    def grid(self) -> DepthGrid:
        """The grid on depth."""
        return self.evaluation.grid

    @property
    def ensemble(self) -> ParticleEnsemble:
        """The present particles."""
        return self.evaluation.ensemble

    @property
    def latest(self) -> tuple[float, float]:
        """Loss and objective, for whoever shows progress."""
        return self.evaluation.loss, self.evaluation.objective


@dataclass(frozen=True, slots=True)
class Restart:
    """Where a flow continues: the fields of a `State` that a checkpoint keeps.

    y is that of a single process, whatever wrote it and whatever goes on with it.
    """

    s: float
    step: int
    step_size: float
    n_evaluations: int
    n_rejected: int
    y: Array
    memory: dict[str, float]
    end: float | None = None


@dataclass(frozen=True, eq=False)
class Setup:
    """What a flow was started with: the arguments of `iterate` at s = 0."""

    problem: MeanFieldProblem
    grid: DepthGrid
    ensemble: ParticleEnsemble
    stepper: Any = "dopri5"
    rtol: float = 1e-6
    atol: float = 1e-9
    ds: float | None = None


@dataclass(frozen=True)
class Layout:
    """Places of theta (J, M, k), the trained maps, and the ledger in a flat vector."""

    problem: MeanFieldProblem
    grid: DepthGrid
    space: Space
    weights: Array

    @property
    def theta_shape(self) -> tuple[int, int, int]:
        """(J, M, k), of the particles of this rank."""
        return self.space.theta_shape

    @property
    def diffusion(self) -> Diffusion:
        """What noise acts on, Eq. (16): theta, with the metric as mobility."""
        return Diffusion(self.space.n_own, self.problem.metric, self.space)

    @functools.cached_property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """Ranges of theta, of each trained map, and of the ledger."""
        sizes = [self.space.n_own]
        sizes += [m.matrix.size for m in self.problem.trained_maps.values()]
        stops = np.cumsum([*sizes, 1]).tolist()
        return tuple(zip([0, *stops[:-1]], stops, strict=True))

    def pack(self, theta: Array, maps: dict[str, Array], ledger: float) -> Array:
        """One flat vector."""
        matrices = [maps[name].ravel() for name in self.problem.trained_maps]
        return np.concatenate([theta.ravel(), *matrices, [ledger]])

    def unpack(self, y: Array) -> tuple[Array, dict[str, Array], float]:
        """Views of theta, the trained maps, and the value of the ledger."""
        pieces = [y[first:last] for first, last in self.parts]
        maps = {
            name: piece.reshape(trained.matrix.shape)
            for (name, trained), piece in zip(
                self.problem.trained_maps.items(), pieces[1:-1], strict=True
            )
        }
        return pieces[0].reshape(self.theta_shape), maps, float(y[-1])

    def point(
        self,
        s: float,
        y: Array,
        problem: MeanFieldProblem | None = None,
        evaluate: Callable[..., Evaluation] = evaluate,
    ) -> Point:
        """The rate of the flat vector, Eqs. (7), (13) and (14).

        Of the layout's problem, or of the same on other samples, and by any function
        with the arguments of `evaluate`.
        """
        theta, maps, _ = self.unpack(y)
        for name, matrix in maps.items():
            if not np.isfinite(matrix).all():
                raise NotFiniteError(
                    f"The {name} is not finite at training time s = {s:g}."
                )
        problem = self.problem if problem is None else problem
        problem = problem.with_parameters(**maps) if maps else problem
        ensemble = ParticleEnsemble.view(theta, self.weights, self.space.shard)
        rate = np.empty_like(y)
        velocity, rates, _ = self.unpack(rate)
        evaluation = evaluate(problem, self.grid, ensemble, s, out=velocity)
        for name, map_velocity in evaluation.map_velocities.items():
            rates[name][...] = map_velocity
        rate[-1] = evaluation.ledger_rate
        # An observer that worked on it in place would change the next step.
        velocity.setflags(write=False)
        return Point(s, y, rate, evaluation)

    def place(self, index: int) -> str:
        """Words for one entry of the flat vector."""
        particle, common = self.space.place(index, self.parts[-1][1])
        if particle is not None:
            node, particle, parameter = particle
            name = self.problem.block.param_names[parameter]
            t = self.grid.nodes[node]
            return f"node {node} (t = {t:.4g}), particle {particle}, parameter {name}"
        names = [*self.problem.trained_maps, "ledger"]
        for name, (first, last) in zip(names, self.parts[1:], strict=True):
            if common < last - self.space.n_own:
                return f"entry {common + self.space.n_own - first} of the {name}"
        raise IndexError(index)


@checked(s_end=a_float)
def iterate(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    *,
    s_end: float,
    stepper: Any = "dopri5",
    rtol: float = 1e-6,
    atol: float = 1e-9,
    ds: float | None = None,
    hits: Iterable[float] = (),
    restart: Restart | None = None,
) -> Iterator[State]:
    """Advance the flow of Eq. (6), yielding the start and every accepted step.

    Parameters
    ----------
    problem, grid, ensemble
        As for `evaluate`; the ensemble is rho at s = 0.
    s_end : float
        End in training time s.
    stepper, rtol, atol, ds
        As for `solve`.
    hits : iterable of float
        Training times on which a step shall end exactly; s_end is one of them.
    restart : Restart, optional
        Continue from here instead of from the ensemble.

    Yields
    ------
    State

    Raises
    ------
    ValueError, TypeError
        For arguments that do not fit.
    NotFiniteError
        If the state blows up (with an adaptive stepper: at the very start only).
    ConvergenceError
        If a step cannot meet the tolerance; says at which particle and layer.
    """
    flow = make_flow(problem, grid, ensemble, stepper, rtol=rtol, atol=atol, ds=ds)
    return flow.states(ensemble, s_end, hits, restart)


def make_flow(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    stepper: Any = "dopri5",
    *,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    ds: float | None = None,
) -> Flow:
    """The equations of a flow and the method that solves them; see `iterate`."""
    check_shapes(problem, grid, ensemble)
    space = Space(ensemble.shard, ensemble.theta.shape)
    layout = Layout(problem, grid, space, ensemble.weights)
    # Kinks of f or pi are kinks of the dissipation in s: steps in the budget would be
    # tiny.
    is_smooth = grid.is_smooth and not problem.has_kinks
    control = ErrorControl(
        rtol,
        atol,
        layout.parts,
        accept=objective_does_not_rise,
        defect=LedgerBudget(rtol, atol) if is_smooth else None,
        space=space,
    )
    method = make_stepper(stepper, ds=ds, control=control)
    if isinstance(method, Langevin):
        method = method.diffusing(layout.diffusion)
    return Flow(layout, method)


@dataclass(frozen=True, eq=False)
class Flow:
    """A flow: its state vector and rates, and the method that advances it."""

    layout: Layout
    method: Any

    def states(
        self,
        ensemble: ParticleEnsemble,
        s_end: float,
        hits: Iterable[float],
        restart: Restart | None,
    ) -> Iterator[State]:
        """The start and every accepted step; see `iterate`."""
        has_ledger = not has_noise(self.method)
        state = _start(self.layout, ensemble, restart, has_ledger=has_ledger)
        check_end(s_end, state.s)
        hits = list(hits) if isinstance(hits, Set) else hits
        hits = float_array("hits", hits).ravel().tolist()
        targets = sorted({s for s in hits if state.s < s < s_end} | {s_end})
        return self._steps(state, targets)

    def advance(self, state: State, s: float) -> State:
        """The state at s, by as many accepted steps as it takes."""
        while state.s < s:
            state = _advance(self.layout, self.method, state, s)
        return state

    def _steps(self, state: State, targets: list[float]) -> Iterator[State]:
        yield state
        for target in targets:
            while state.s < target:
                state = _advance(self.layout, self.method, state, target)
                yield state


def has_noise(stepper: Any) -> bool:
    """Whether a stepper adds noise, so that the ledger of Eq. (28) does not hold."""
    return bool(getattr(stepper, "has_noise", False))


def check_end(s_end: float, s: float) -> None:
    """Raise unless s_end is a finite number after s."""
    found = a_float("s_end", s_end)
    if not np.isfinite(found) or found < s:
        raise ValueError(
            f"`s_end` must be finite and at least the present s = {s:g}, got {s_end!r}."
        )


def _start(
    layout: Layout,
    ensemble: ParticleEnsemble,
    restart: Restart | None,
    *,
    has_ledger: bool,
) -> State:
    if restart is not None:
        point = layout.point(restart.s, layout.space.share(restart.y))
        return State(
            s=restart.s,
            step=restart.step,
            step_size=restart.step_size,
            n_evaluations=restart.n_evaluations,
            n_rejected=restart.n_rejected,
            evaluation=point.info,
            ledger=float(point.y[-1]),
            y=point.y,
            rate=point.rate,
            memory=restart.memory,
        )
    maps = {name: m.matrix for name, m in layout.problem.trained_maps.items()}
    point = layout.point(0.0, layout.pack(ensemble.theta, maps, 0.0))
    ledger = point.info.objective if has_ledger else np.nan
    point.y[-1] = ledger
    return State(0.0, 0, 0.0, 1, 0, point.info, ledger, point.y, point.rate, {})


def _causes(problem: MeanFieldProblem) -> str:
    """What lets steps collapse, as far as it can be so for a problem."""
    causes = []
    own = own_parts(problem)
    if own:
        causes.append(
            f"a derivative of your own {' or '.join(own)} that does not belong to its "
            "values (mfpde.check_gradient tests it)"
        )
    if problem.has_kinks or "block" in own:
        causes.append("kinks of the block or the clipping (raise the tolerances)")
    causes += [
        "a stiff flow (stepper 'auto' or 'rkc2')",
        "particles that grow without bound",
    ]
    return f"Likely causes: {', '.join(causes)}."


def _advance(layout: Layout, method: Any, state: State, target: float) -> State:
    point = Point(state.s, state.y, state.rate, state.evaluation)
    try:
        # What overflows is no finite number, and the step is refused for that.
        with np.errstate(over="ignore", invalid="ignore"):
            step = method.step(layout.point, point, target, state.memory)
    except StepFailure as failure:
        more = [*advice(state.evaluation.problem), _causes(layout.problem)]
        if failure.index is not None:
            more.insert(0, f"Worst: {layout.place(failure.index)}.")
        # What it comes from says whether the state blew up.
        text = " ".join([str(failure), *more])
        raise StepFailure(text, failure.index) from failure.__cause__
    return State(
        s=step.point.s,
        step=state.step + 1,
        step_size=step.size,
        n_evaluations=state.n_evaluations + step.n_evaluations,
        n_rejected=state.n_rejected + step.n_rejected,
        evaluation=step.point.info,
        ledger=float(step.point.y[-1]),
        y=step.point.y,
        rate=step.point.rate,
        memory=step.memory,
    )
