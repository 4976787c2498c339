"""The flow of particles in (theta, t), with the swaps of blocks counted, Eq. (18)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import NotFiniteError
from mfpde.flow import check_end, has_noise
from mfpde.problem import MeanFieldProblem
from mfpde.recording import check_observers, make_clocks, make_schedule
from mfpde.run.divergence import blown_up
from mfpde.run.solution import announcing
from mfpde.steppers import Point, check_steps, make_stepper
from mfpde.steppers.names import ADAPTIVE
from mfpde.theory.joint.evaluation import (
    JointEvaluation,
    check_joint,
    evaluate_joint,
)
from mfpde.theory.joint.measure import JointEnsemble, count_swaps
from mfpde.theory.joint.schemes import JointScheme

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class JointSolution:
    """What a flow in (theta, t) found; R records.

    Attributes
    ----------
    s, loss, objective : ndarray, shape (R,)
        Training times, E and E_s.
    dissipation, t_dissipation : ndarray, shape (R,)
        As in `JointEvaluation`.
    ledger : ndarray, shape (R,)
        E_s at the start plus the integral of its rate between swaps: the objective
        minus this is what swaps, at which E_s jumps, have changed. Of depths that leave
        [0, 1] in a step it counts to where they are put: what a step over an end adds
        to the error is of the order ds^2.
    theta : ndarray, shape (R, n, k), and t : ndarray, shape (R, n)
        The particles, each in its place from the first record to the last.
    swaps : ndarray of int, shape (n_steps,)
        Pairs of blocks that changed their order in each step.
    step_s : ndarray, shape (n_steps,)
        Training time after each step.
    observations : dict of str to ndarray, shape (R, ...)
    ensemble : JointEnsemble
        At the end.
    status : {"finished", "failed"}
    message : str
    n_steps, n_evaluations : int
    """

    s: Array
    loss: Array
    objective: Array
    dissipation: Array
    t_dissipation: Array
    ledger: Array
    theta: Array
    t: Array
    swaps: NDArray[np.int64]
    step_s: Array
    observations: dict[str, Array]
    ensemble: JointEnsemble
    status: str
    message: str
    n_evaluations: int

    @property
    def n_steps(self) -> int:
        """Steps that were made."""
        return len(self.swaps)

    @property
    def swap_gain(self) -> Array:
        """Change of the objective by swaps until each record (R,); lower is better."""
        return self.objective - self.ledger

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
    observers: Mapping[str, Callable[[JointEvaluation], Any]] | None = None,
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
    flow = _Flow(problem, ensemble, scheme)
    clocks = make_clocks({"record": make_schedule("record", record)}, float(s_end))
    recorder = _Recorder(clocks["record"], check_observers(observers))
    times = {*clocks["record"].exact, float(s_end)}
    targets = sorted(s for s in times if s > 0.0)
    status, message = "finished", f"The end s = {s_end:g} is reached."
    point = None
    try:
        for point, order in flow.steps(method, targets):
            recorder.visit(point, order)
            where = f"step {len(recorder.swaps)} (s = {point.s:g})"
            at_start = recorder.rows[0]["objective"]
            failed = blown_up(problem, point.info.objective, at_start, where)
            if failed is not None:
                status, message = failed
                break
    except NotFiniteError as failure:
        if point is None:
            raise
        status, message = "failed", str(failure)
    if recorder.rows[-1]["s"] < point.s:
        recorder.write(point)
    return recorder.solution(point.info.ensemble, status, message, flow.n_evaluations)


def _fixed_stepper(stepper: Any, ds: float | None) -> Any:
    """The stepper; ValueError if its steps adapt, or if it adds noise."""
    is_name = isinstance(stepper, str)
    given = repr(stepper) if is_name else type(stepper).__name__
    hint = "Use 'euler', 'heun' or 'rk4' with `ds`."
    adaptive = tuple(ADAPTIVE.values())
    if isinstance(stepper, adaptive) or (is_name and stepper in ADAPTIVE):
        raise ValueError(
            f"`stepper` must have fixed steps, got {given}: the loss jumps where "
            f"blocks change places. {hint}"
        )
    if has_noise(stepper) or (is_name and stepper == "langevin"):
        raise ValueError(
            f"`stepper` must be without noise, got {given}: depths and ledger do not "
            f"diffuse. {hint}"
        )
    return make_stepper(stepper, ds=ds)


class _Flow:
    """The flat vector of the steppers: theta, t, and the ledger."""

    def __init__(
        self, problem: MeanFieldProblem, ensemble: JointEnsemble, scheme: JointScheme
    ) -> None:
        self.problem = problem
        self.ensemble = ensemble
        self.scheme = scheme
        self.n_evaluations = 0

    def point(self, s: float, y: Array) -> Point:
        """The rate of the flat vector."""
        self.n_evaluations += 1
        if not np.isfinite(y).all():
            raise NotFiniteError(
                f"The particles are not finite at training time s = {s:g}. Reduce `ds`."
            )
        theta, t, _ = self._unpack(y)
        t, sign = self.scheme.inside(t)
        ensemble = dataclasses.replace(self.ensemble, theta=theta, t=t)
        found = evaluate_joint(self.problem, ensemble, self.scheme, s)
        # Beyond an end E_s is continued along its derivative there, see `_settled`.
        t_rate = sign * found.t_velocity
        ledger_rate = found.network.ledger_rate + found.change_along(t_rate)
        rate = np.concatenate([found.velocity.ravel(), t_rate, [ledger_rate]])
        return Point(s, y, rate, found)

    def steps(
        self, method: Any, targets: list[float]
    ) -> Iterator[tuple[Point, NDArray[np.int64]]]:
        """The start and every step, each with the order of the blocks before it."""
        start = self.ensemble
        y = np.concatenate([start.theta.ravel(), start.t, [0.0]])
        point = self.point(0.0, y)
        point.y[-1] = point.info.objective
        yield point, start.order
        rng = np.random.default_rng(self.scheme.seed)
        memory: dict[str, float] = {}
        for target in targets:
            while point.s < target:
                order = point.info.order
                step = method.step(self.point, point, target, memory)
                memory, point = step.memory, self._settled(step.point, rng)
                yield point, order

    def _settled(self, point: Point, rng: np.random.Generator) -> Point:
        """The point with its depths inside [0, 1], and dealt anew if so asked."""
        _, t, _ = self._unpack(point.y)
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
        return self.point(point.s, y)

    def _unpack(self, y: Array) -> tuple[Array, Array, Array]:
        shape = self.ensemble.theta.shape
        size = self.ensemble.theta.size
        return y[:size].reshape(shape), y[size:-1], y[-1:]


class _Recorder:
    """The records, and the swaps of every step."""

    def __init__(self, clock: Any, observers: dict[str, Any]) -> None:
        self.clock = clock
        self.observers = observers
        self.rows: list[dict[str, Any]] = []
        self.swaps: list[int] = []
        self.step_s: list[float] = []

    def visit(self, point: Point, order: NDArray[np.int64]) -> None:
        """Count the swaps of a step from the order before it; record if it is due."""
        if self.rows:
            self.swaps.append(count_swaps(order, point.info.order))
            self.step_s.append(point.s)
        if self.clock.is_due(point.s, len(self.swaps)):
            self.write(point)

    def write(self, point: Point) -> None:
        """Record a point."""
        found = point.info
        self.rows.append(
            {
                "s": point.s,
                "loss": found.loss,
                "objective": found.objective,
                "dissipation": found.dissipation,
                "t_dissipation": found.t_dissipation,
                "ledger": point.y[-1],
                "theta": found.ensemble.theta,
                "t": found.ensemble.t,
                "observed": {n: np.array(f(found)) for n, f in self.observers.items()},
            }
        )

    def solution(
        self, ensemble: JointEnsemble, status: str, message: str, n_evaluations: int
    ) -> JointSolution:
        """All of it."""
        columns = {
            name: np.array([row[name] for row in self.rows])
            for name in self.rows[0]
            if name != "observed"
        }
        observations = {
            name: np.array([row["observed"][name] for row in self.rows])
            for name in self.observers
        }
        return JointSolution(
            **columns,
            swaps=np.array(self.swaps, dtype=np.int64),
            step_s=np.array(self.step_s),
            observations=observations,
            ensemble=ensemble,
            status=status,
            message=message,
            n_evaluations=n_evaluations,
        )
