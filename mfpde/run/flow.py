"""The flow in training time s: the loop, one accepted step at a time.

The state of the steppers is one flat vector: theta, the trained maps, and last the
ledger of Eq. (28), which is integrated with them by the same method.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import a_float, checked, float_array
from mfpde.depth import DepthGrid
from mfpde.engine.sharding import Space
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import NotFiniteError
from mfpde.evaluation import Evaluation, check_shapes, evaluate
from mfpde.gradients import own_parts
from mfpde.ledger import budget_used, objective_does_not_rise
from mfpde.options import accepting
from mfpde.problem import MeanFieldProblem
from mfpde.run.options import MethodOptions
from mfpde.run.states import Checkpoint, InitialState, Method, State
from mfpde.sizes import advice
from mfpde.steppers import (
    Point,
    StateVector,
    StepFailure,
    make_stepper,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Layout:
    """Places of theta (J, M, k), the trained maps, and the ledger in a flat vector.

    Dynamics that carry more than theta (a momentum, second moments; theory, section 10)
    get their place here, between the trained maps and the ledger: one more entry of
    `parts`, which `pack` and `unpack` follow, and its rate in `point`. Steppers,
    checkpoints and ranks see a flat vector only. What belongs to particles has the
    shape of theta, and `Space` has to share it out in the same way.
    """

    problem: MeanFieldProblem
    grid: DepthGrid
    space: Space
    weights: Array

    @property
    def theta_shape(self) -> tuple[int, int, int]:
        """(J, M, k), of the particles of this rank."""
        return self.space.theta_shape

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


@accepting(MethodOptions)
@checked(s_end=a_float)
def iterate(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    *,
    s_end: float,
    tstops: ArrayLike | Set[float] = (),
    checkpoint: Checkpoint | None = None,
    **options: Unpack[MethodOptions],
) -> Iterator[State]:
    """Advance the flow of Eq. (6), yielding the start and every accepted step.

    Parameters
    ----------
    problem, grid, ensemble
        As for `evaluate`; the ensemble is rho at s = 0.
    s_end : float
        End in training time s.
    tstops : array_like or set of float
        Training times on which a step shall end exactly; s_end is one of them.
    checkpoint : Checkpoint, optional
        Continue from here instead of from the ensemble.
    **options
        stepper, rtol, atol, ds: as for `solve`.

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
    initial = InitialState(problem, grid, ensemble, Method(**options))
    return Flow.of(initial).states(ensemble, s_end, tstops, checkpoint)


@dataclass(frozen=True, eq=False)
class Flow:
    """A flow: its state vector and rates, and the stepper that advances it."""

    layout: Layout
    stepper: Any

    @classmethod
    def of(cls, initial: InitialState) -> Flow:
        """The flow of a problem on a grid with particles; see `iterate`."""
        problem, grid, ensemble = initial.problem, initial.grid, initial.ensemble
        check_shapes(problem, grid, ensemble)
        space = Space(ensemble.shard, ensemble.theta.shape)
        layout = Layout(problem, grid, space, np.asarray(ensemble.weights))
        method = initial.method
        # Kinks of f or pi are kinks of the dissipation in s: steps in the budget would
        # be tiny.
        is_smooth = grid.is_smooth and not problem.has_kinks
        vector = StateVector(
            layout.parts,
            accept=objective_does_not_rise,
            defect=budget_used if is_smooth else None,
            space=space,
            n_diffusing=space.n_own,
            mobility=problem.metric,
        )
        stepper = make_stepper(**method.options)
        bound = getattr(stepper, "bound", None)
        return cls(layout, stepper if bound is None else bound(vector))

    def states(
        self,
        ensemble: ParticleEnsemble,
        s_end: float,
        tstops: ArrayLike | Set[float],
        checkpoint: Checkpoint | None,
    ) -> Iterator[State]:
        """The start and every accepted step; see `iterate`."""
        state = self._start(ensemble, checkpoint)
        check_end(s_end, state.s)
        given = list(tstops) if isinstance(tstops, Set) else tstops
        times = float_array("tstops", given).ravel().tolist()
        return self._steps(state, sorted({s for s in times if s < s_end} | {s_end}))

    def advance(self, state: State, s: float) -> State:
        """The state at s, by as many accepted steps as it takes."""
        while state.s < s:
            state = self._step(state, s)
        return state

    def _steps(self, state: State, targets: list[float]) -> Iterator[State]:
        yield state
        for target in targets:
            while state.s < target:
                state = self._step(state, target)
                yield state

    def _start(
        self, ensemble: ParticleEnsemble, checkpoint: Checkpoint | None
    ) -> State:
        layout = self.layout
        if checkpoint is not None:
            point = layout.point(checkpoint.s, layout.space.share(checkpoint.y))
            kept: dict[str, Any] = vars(checkpoint) | {"y": point.y}
            return State(**kept, rate=point.rate, evaluation=point.info)
        maps = {name: m.matrix for name, m in layout.problem.trained_maps.items()}
        point = layout.point(0.0, layout.pack(ensemble.theta, maps, 0.0))
        point.y[-1] = np.nan if has_noise(self.stepper) else point.info.objective
        return State(
            s=0.0,
            step=0,
            step_size=0.0,
            n_evaluations=1,
            n_rejected=0,
            y=point.y,
            memory={},
            rate=point.rate,
            evaluation=point.info,
        )

    def _step(self, state: State, target: float) -> State:
        point = Point(state.s, state.y, state.rate, state.evaluation)
        try:
            # What overflows is no finite number, and the step is refused for that.
            with np.errstate(over="ignore", invalid="ignore"):
                step = self.stepper.step(self.layout.point, point, target, state.memory)
        except StepFailure as failure:
            causes = _causes(self.layout.problem)
            more = [*advice(state.evaluation.problem), causes]
            if failure.index is not None:
                more.insert(0, f"Worst: {self.layout.place(failure.index)}.")
            # What it comes from says whether the state blew up.
            text = " ".join([str(failure), *more])
            raise StepFailure(text, failure.index) from failure.__cause__
        return State(
            s=step.point.s,
            step=state.step + 1,
            step_size=step.size,
            n_evaluations=state.n_evaluations + step.n_evaluations,
            n_rejected=state.n_rejected + step.n_rejected,
            y=step.point.y,
            memory=step.memory,
            rate=step.point.rate,
            evaluation=step.point.info,
        )


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
