"""The flow of particles in (theta, t), with the swaps of blocks counted, Eq. (18)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.depth import DepthGrid
from mfpde.describe import thing_of
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import NotFiniteError
from mfpde.evaluation import predict
from mfpde.problem import MeanFieldProblem
from mfpde.recording import check_observers, make_schedule
from mfpde.run.flow import check_end, has_noise
from mfpde.run.loop import run_from_start
from mfpde.run.solution import Solution, announcing
from mfpde.run.specification import Dynamics, Row, Specification
from mfpde.run.states import Checkpoint
from mfpde.steppers import Point, check_steps, make_stepper
from mfpde.theory.joint.evaluation import (
    JointEvaluation,
    check_joint,
    evaluate_joint,
)
from mfpde.theory.joint.measure import JointEnsemble, count_swaps
from mfpde.theory.joint.schemes import JointScheme

__all__ = ["JointSolution", "solve_joint"]

Array = NDArray[np.float64]
DEPTHS = "depths of the particles"
"""The name under which t is recorded: no observer can have it."""


@dataclass(frozen=True, eq=False, repr=False)
class JointSolution(Solution):
    """What a flow in (theta, t) found: a `Solution`; R records.

    Attributes
    ----------
    theta : ndarray, shape (R, n, k), and t : ndarray, shape (R, n)
        The particles, each in its place from the first record to the last.
    swaps : ndarray of int, shape (n_steps,)
        Pairs of blocks that changed their order in each step.
    step_s : ndarray, shape (n_steps,)
        Training time after each step.
    ensemble : JointEnsemble
        At the end; `grid` is that of the layers then.
    """

    ensemble: Any  # a JointEnsemble: no ParticleEnsemble has depths of its own
    t: Array = field(kw_only=True)
    swaps: NDArray[np.int64] = field(kw_only=True)
    step_s: Array = field(kw_only=True)

    @property
    def t_dissipation(self) -> Array:
        """As in `JointEvaluation` (R,)."""
        return self.scalars["t_dissipation"]

    @property
    def ledger(self) -> Array:
        """E_s at the start plus the integral of its rate between swaps (R,).

        The objective minus this is what swaps, at which E_s jumps, have changed. Of
        depths that leave [0, 1] in a step it counts to where they are put: what a step
        over an end adds to the error is of the order ds^2.
        """
        return self.scalars["ledger"]

    @property
    def swap_gain(self) -> Array:
        """Change of the objective by swaps until each record (R,); lower is better."""
        return self.objective - self.ledger

    @property
    def n_kernel_evaluations(self) -> int:
        """Block x sample x evaluation."""
        size = self.ensemble.n_particles * self.problem.n_samples
        return size * self.n_evaluations

    def predict(self, x: ArrayLike) -> Array:
        """Outputs (n, q) of the network at the end for inputs x (n, d_in)."""
        theta = self.ensemble.theta[self.ensemble.order]
        layers = ParticleEnsemble.view(theta[:, np.newaxis], np.ones(1))
        return predict(self.problem, self.grid, layers, x)

    def __repr__(self) -> str:
        return (
            f"JointSolution({self.status}, s={self.s[-1]:g}, loss={self.loss[-1]:.6g}, "
            f"swaps={self.swaps.sum()})"
        )


@announcing
def solve_joint(
    problem: MeanFieldProblem,
    ensemble: JointEnsemble,
    *,
    s_end: float,
    ds: float | None,
    scheme: JointScheme | None = None,
    stepper: Any = "heun",
    record: Any = None,
    observers: Mapping[str, Callable[[Any], Any]] | None = None,
) -> JointSolution:
    """Solve the flow of Eq. (18) for particles (theta_j, t_j) from s = 0 to s_end.

    Parameters
    ----------
    problem : MeanFieldProblem
        Without trained maps.
    ensemble : JointEnsemble
    s_end : float
    ds : float
        Step in training time; None with a stepper that is an object.
    scheme : JointScheme, optional
        Default: uniform weights, Eq. (19) with a window.
    stepper : {"euler", "heun", "rk4"} or object
        With a fixed step and without noise: the loss jumps where blocks change places.
        "euler" is gradient descent.
    record : sequence of float or schedule, optional
        As for `solve`.
    observers : dict of str to callable, optional
        Functions of a `JointEvaluation`.

    Returns
    -------
    JointSolution
        A blow-up after s = 0 ends the run with the last good state, `status` "failed",
        and an `UnfinishedWarning`.
    """
    scheme = JointScheme() if scheme is None else scheme
    check_joint(problem, ensemble, scheme)
    if problem.trained_maps:
        raise ValueError(
            "`problem` must have a fixed embedding and readout, got trainable "
            f"{', '.join(problem.trained_maps)}; particles alone have a depth."
        )
    check_end(s_end, 0.0)
    method = _fixed_stepper(stepper, ds)
    check_steps(method, s_end)
    own = check_observers(observers)
    schedule = make_schedule("record", record)
    specification = Specification(
        dynamics=JointDynamics(
            problem=problem,
            ensemble=ensemble,
            scheme=scheme,
            stepper=method,
            s_end=float(s_end),
            observed=tuple(own),
        ),
        schedules={"record": schedule, "snapshots": schedule, "states": None},
        observers={**own, DEPTHS: _depths},
    )
    return run_from_start(specification)


def _depths(found: Any) -> Array:
    """Depths (n,) of the particles of an evaluation."""
    return found.ensemble.t


def _fixed_stepper(stepper: Any, ds: float | None) -> Any:
    """The stepper; ValueError if its steps adapt, or if it adds noise."""
    given = repr(stepper) if isinstance(stepper, str) else type(stepper).__name__
    kind = stepper
    if isinstance(stepper, str):
        kind = thing_of("stepper", stepper, argument="stepper")
    hint = "Use 'euler', 'heun' or 'rk4' with `ds`."
    if getattr(kind, "is_adaptive", False):
        raise ValueError(
            f"`stepper` must have fixed steps, got {given}: the loss jumps where "
            f"blocks change places. {hint}"
        )
    if has_noise(kind):
        raise ValueError(
            f"`stepper` must be without noise, got {given}: depths and ledger do not "
            f"diffuse. {hint}"
        )
    return make_stepper(stepper, ds=ds)


@dataclass(frozen=True, eq=False, kw_only=True)
class JointState(Checkpoint):
    """The joint flow after a step; y holds theta, t and the ledger."""

    point: Point

    @property
    def evaluation(self) -> JointEvaluation:
        """At this state."""
        return self.point.info

    @property
    def problem(self) -> MeanFieldProblem:
        """The problem."""
        return self.evaluation.network.problem

    @property
    def grid(self) -> DepthGrid:
        """The layers of the sorted blocks."""
        return self.evaluation.network.grid

    @property
    def ensemble(self) -> JointEnsemble:
        """The present particles."""
        return self.evaluation.ensemble

    @property
    def latest(self) -> tuple[float, float]:
        """Loss and objective, as progress shows them."""
        return self.evaluation.loss, self.evaluation.objective


@dataclass(frozen=True, kw_only=True)
class JointDynamics(Dynamics):
    """The flow of Eq. (18); see `Dynamics`.

    Attributes
    ----------
    observed : tuple of str
        Names of the user's observers.
    swaps : list of (float, int)
        Training time after every step, and the swaps in it.
    """

    problem: MeanFieldProblem
    ensemble: JointEnsemble
    scheme: JointScheme
    stepper: Any
    s_end: float
    observed: tuple[str, ...]
    swaps: list[tuple[float, int]] = field(default_factory=list)

    def row(self, state: JointState) -> Row:
        """The scalars of a state."""
        found = state.evaluation
        return {
            "loss": found.loss,
            "objective": found.objective,
            "dissipation": found.dissipation,
            "t_dissipation": found.t_dissipation,
            "ledger": float(state.y[-1]),
        }

    def describe(self) -> dict[str, Any]:
        """Nothing: a joint flow has no file."""
        return {}

    def solution(self, values: dict[str, Any], state: JointState) -> JointSolution:
        """The solution of the run."""
        observations, scalars = values["observations"], values["scalars"]
        t = observations.pop(DEPTHS)
        numbers = {n: scalars.pop(n) for n in self.observed if n not in observations}
        observations |= numbers
        values["theta"] = np.array(values["theta"])
        return JointSolution(
            **values,
            ensemble=state.ensemble,
            t=t,
            swaps=np.array([n for _, n in self.swaps], dtype=np.int64),
            step_s=np.array([s for s, _ in self.swaps]),
        )

    def states(
        self, tstops: set[float], checkpoint: Checkpoint | None
    ) -> Iterator[JointState]:
        """The start and the state after every step."""
        start, rng = self.ensemble, np.random.default_rng(self.scheme.seed)
        point = self._point(0.0, np.concatenate([start.theta.ravel(), start.t, [0.0]]))
        point.y[-1] = point.info.objective
        state = JointState(
            s=0.0,
            step=0,
            step_size=0.0,
            n_evaluations=1,
            n_rejected=0,
            y=point.y,
            memory={},
            point=point,
        )
        yield state
        for target in sorted({*tstops, self.s_end} - {0.0}):
            while state.s < target:
                state = self._step(state, target, rng)
                yield state

    def _step(
        self, state: JointState, target: float, rng: np.random.Generator
    ) -> JointState:
        step = self.stepper.step(self._point, state.point, target, state.memory)
        point = self._settled(step.point, rng)
        self.swaps.append(
            (point.s, count_swaps(state.ensemble.order, point.info.order))
        )
        n_more = step.n_evaluations + (point is not step.point)
        return JointState(
            s=point.s,
            step=state.step + 1,
            step_size=step.size,
            n_evaluations=state.n_evaluations + n_more,
            n_rejected=0,
            y=point.y,
            memory=step.memory,
            point=point,
        )

    def _point(self, s: float, y: Array) -> Point:
        """The rate of the flat vector: theta, t, and the ledger."""
        if not np.isfinite(y).all():
            raise NotFiniteError(
                f"The particles are not finite at training time s = {s:g}. Reduce `ds`."
            )
        theta, t = self._unpack(y)
        t, sign = self.scheme.inside(t)
        ensemble = dataclasses.replace(self.ensemble, theta=theta, t=t)
        found = evaluate_joint(self.problem, ensemble, self.scheme, s)
        # Beyond an end E_s is continued along its derivative there, see `_settled`.
        t_rate = sign * found.t_velocity
        ledger_rate = found.network.ledger_rate + found.change_along(t_rate)
        rate = np.concatenate([found.velocity.ravel(), t_rate, [ledger_rate]])
        return Point(s, y, rate, found)

    def _settled(self, point: Point, rng: np.random.Generator) -> Point:
        """The point with its depths inside [0, 1]; permuted if the scheme says so."""
        _, t = self._unpack(point.y)
        inside, _ = self.scheme.inside(t)
        undone = inside - t
        if self.scheme.velocity == "shuffle":
            inside = rng.permutation(inside)
        if np.array_equal(inside, t):
            return point
        y = point.y.copy()
        self._unpack(y)[1][:] = inside
        # The way beyond an end and back is none of the flow.
        y[-1] += point.info.change_along(undone)
        return self._point(point.s, y)

    def _unpack(self, y: Array) -> tuple[Array, Array]:
        shape, size = self.ensemble.theta.shape, self.ensemble.theta.size
        return y[:size].reshape(shape), y[size:-1]
