"""What is observed during a run, and when.

A schedule is any object with `times(s_end)`, training times on which steps end,
and `is_due(step)`. An observer is any function of an `Evaluation` that returns a number
or an array of fixed shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import (
    checked,
    float_array,
    number,
    positive,
    shown,
    whole,
)
from mfpde.depth import DepthGrid
from mfpde.describe import register
from mfpde.engine.sharding import Shard
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.evaluation import AN_EVALUATION, Evaluation
from mfpde.evaluation import field as mean_field
from mfpde.fields import check

Array = NDArray[np.float64]
Observer = Callable[[Evaluation], Any]

# Relative distance below which two training times are the same one.
SAME_TIME = 1e-12


END = number(least=0.0)
MOST_RECORDS = 10**7


def _check_number(name: str, n: float, s_end: float) -> None:
    """Raise ValueError for a schedule with too many records."""
    if n > MOST_RECORDS:
        raise ValueError(
            f"`{name}` must give at most {MOST_RECORDS} records up to s = {s_end:g}, "
            f"got {n:.3g}."
        )


class Schedule:
    """Base class of the schedules: when something is recorded."""

    def times(self, s_end: float) -> Array:
        """Training times in [0, s_end] on which steps end, to be recorded."""
        return np.empty(0)

    def is_due(self, step: int) -> bool:
        """Whether to record after this step, whatever s."""
        return False


def _times(name: str, value: Any) -> Array:
    times = np.unique(float_array("record", value))
    if times.size and times[0] < 0:
        raise ValueError(
            f"`record` must hold training times of at least 0, got {times[0]:g}."
        )
    return times


@register(kind="output schedule", name="at")
@dataclass(frozen=True, eq=False)
class At(Schedule):
    """Record at given training times s.

    Parameters
    ----------
    s : array_like, shape (n,)
        Training times; those after s_end are left out.
    """

    s: Annotated[NDArray[np.float64], _times]

    def __post_init__(self) -> None:
        check(self)

    @checked(s_end=END)
    def times(self, s_end: float) -> Array:
        """The given times up to s_end."""
        return self.s[self.s <= s_end]


@register(kind="output schedule", name="every")
@dataclass(frozen=True)
class Every(Schedule):
    """Record at s = 0, ds, 2 ds, ...

    Parameters
    ----------
    ds : float
        Training time between two records.
    """

    ds: Annotated[float, positive]

    def __post_init__(self) -> None:
        check(self)

    @checked(s_end=END)
    def times(self, s_end: float) -> Array:
        """Multiples of ds up to s_end."""
        n = s_end / self.ds * (1 + 1e-12)
        _check_number("ds", n, s_end)
        return self.ds * np.arange(int(n) + 1)


@register(kind="output schedule", name="logarithmic")
@dataclass(frozen=True)
class Logarithmic(Schedule):
    """Record at s = 0 and at start 10^(i / per_decade), i = 0, 1, ...

    Parameters
    ----------
    start : float
        The first time after 0.
    per_decade : float
        Records in a factor of ten.
    """

    start: Annotated[float, positive] = 1e-2
    per_decade: Annotated[float, positive] = 10

    def __post_init__(self) -> None:
        check(self)

    @checked(s_end=END)
    def times(self, s_end: float) -> Array:
        """The times up to s_end."""
        decades = np.log10(s_end / self.start) if s_end >= self.start else -1.0
        n = decades * self.per_decade * (1 + 1e-12)
        _check_number("per_decade", n, s_end)
        steps = np.arange(int(n) + 1)
        values = self.start * 10.0 ** (steps / self.per_decade)
        return np.concatenate([[0.0], values[values <= s_end]])


@register(kind="output schedule", name="steps")
@dataclass(frozen=True)
class Steps(Schedule):
    """Record after every n-th step, without changing any step.

    Parameters
    ----------
    n : int
        Steps from record to record.
    """

    n: Annotated[int, whole(1)] = 1

    def __post_init__(self) -> None:
        check(self)

    @checked(step=whole(0, 2**63))
    def is_due(self, step: int) -> bool:
        """Whether step is a multiple of n."""
        return step % self.n == 0


def make_schedule(name: str, value: Any) -> Any:
    """A schedule from a sequence of s, from None (start and end), or as it is."""
    if value is None:
        return At(np.zeros(1))
    if hasattr(value, "times") and hasattr(value, "is_due"):
        return value
    try:
        if isinstance(value, bool):
            raise TypeError
        return At(np.atleast_1d(np.asarray(value, dtype=np.float64)))
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"`{name}` must be a sequence of training times, at least 0, or a schedule "
            f"such as mfpde.recording.Every(ds), got {shown(value)}."
        ) from None


@dataclass(frozen=True)
class Clock:
    """One cadence over a horizon: its schedule and the exact times of its records."""

    schedule: Any
    exact: frozenset[float]

    def is_due(self, s: float, step: int) -> bool:
        """Whether a record belongs here; the start always does."""
        return step == 0 or s in self.exact or bool(self.schedule.is_due(step))


def make_clocks(
    schedules: Mapping[str, Any], s_end: float, s_start: float = 0.0
) -> dict[str, Clock | None]:
    """Clocks of several schedules, None staying None, over 0 <= s <= s_end.

    Times that differ by rounding alone, between schedules or from the ends of the run
    at s_start and s_end, become one: no step could tell them apart.
    """
    wanted = {
        name: np.asarray(schedule.times(s_end), dtype=np.float64)
        for name, schedule in schedules.items()
        if schedule is not None
    }
    every = np.sort(np.concatenate([[s_end], *wanted.values()]))
    one_of: dict[float, float] = {}
    last = s_end
    for time in every[::-1].tolist():
        last = last if last - time <= SAME_TIME * last else time
        is_start = abs(time - s_start) <= SAME_TIME * s_start
        one_of[time] = s_start if is_start else last
    return {
        name: None
        if schedule is None
        else Clock(schedule, frozenset(one_of[t] for t in wanted[name].tolist()))
        for name, schedule in schedules.items()
    }


SCALARS = (
    "step",
    "loss",
    "objective",
    "dissipation",
    "energy_residual",
    "second_moment",
    "gradient_norm",
    "max_abs_z",
    "max_abs_p",
    "depth_roughness",
    "hamiltonian_spread",
    "step_size",
    "n_evaluations",
    "wall_time",
)


def scalar_names(problem: Any) -> tuple[str, ...]:
    """Names of the scalars recorded for a problem, in the order of the file."""
    linear = getattr(problem.block, "is_linear_in_z", False)
    return (*SCALARS, "invariant_spread") if linear else SCALARS


@checked(evaluation=AN_EVALUATION)
def observe(evaluation: Evaluation) -> dict[str, float]:
    """The scalars of `SCALARS` that an evaluation alone determines."""
    z, p = evaluation.z, evaluation.p
    row = {
        "loss": evaluation.loss,
        "objective": evaluation.objective,
        "dissipation": evaluation.dissipation,
        "second_moment": evaluation.second_moment,
        "gradient_norm": evaluation.gradient_norm,
        "max_abs_z": float(max(z.max(), -z.min())),
        "max_abs_p": float(max(p.max(), -p.min())),
        "depth_roughness": depth_roughness(evaluation),
        "hamiltonian_spread": hamiltonian_spread(evaluation),
    }
    if getattr(evaluation.problem.block, "is_linear_in_z", False):
        row["invariant_spread"] = invariant_spread(evaluation)
    return row


def flow_row(state: Any) -> dict[str, float]:
    """The scalars of a state of `flow.iterate`, wall time excepted."""
    return {
        "energy_residual": state.energy_residual,
        "step_size": state.step_size,
        "n_evaluations": float(state.n_evaluations),
        **observe(state.evaluation),
    }


@checked(evaluation=AN_EVALUATION)
def depth_roughness(evaluation: Evaluation) -> float:
    """Largest |theta_{j+1,m} - theta_{j,m}| / (t_{j+1} - t_j); 0 for one node."""
    theta, nodes = evaluation.ensemble.theta, evaluation.grid.nodes
    largest = 0.0
    for j in range(len(nodes) - 1):
        difference = theta[j + 1] - theta[j]
        squared = np.einsum("mk,mk->m", difference, difference).max()
        largest = max(largest, float(np.sqrt(squared)) / (nodes[j + 1] - nodes[j]))
    return float(evaluation.ensemble.shard.stack([largest]).max())


@checked(evaluation=AN_EVALUATION)
def invariant_spread(evaluation: Evaluation) -> float:
    """Spread in t of tr Q(t)^j, Q = mean p z^T, j = 1 ... d (T7), f linear in z.

    The largest over j of (max - min) / (mean |p| |z|)^j, dimensionless;
    rounding only, for every exact discrete adjoint, between the ends of depth steps. On
    Gauss grids the two ends of depth are compared: the nodes are stages inside a step.
    NaN with an outer activation, which is not linear.
    """
    if evaluation.grid.outer is not None:
        return float("nan")
    c = evaluation.problem.sample_weights
    z, p = evaluation.z, evaluation.p
    if evaluation.grid.is_implicit:
        z, p = z[[0, -1]], p[[0, -1]]
    q = np.einsum("i,pic,pie->pce", c, p, z)
    scale = np.einsum(
        "i,pi,pi->p", c, np.linalg.norm(p, axis=2), np.linalg.norm(z, axis=2)
    ).max()
    if scale == 0.0:
        return 0.0
    power, spread = np.broadcast_to(np.eye(z.shape[2]), q.shape), 0.0
    for _ in range(z.shape[2]):
        power = np.einsum("pce,pef->pcf", power, q / scale)
        spread = max(spread, float(np.ptp(np.trace(power, axis1=1, axis2=2))))
    return spread


@checked(evaluation=AN_EVALUATION)
def hamiltonian_spread(evaluation: Evaluation) -> float:
    """Largest spread in t of H_i = p_i . F(z_i), relative to its size (T17).

    Constant in the continuum while rho is the same at all depths; NaN otherwise, and
    with an outer activation.
    """
    theta, shard = evaluation.ensemble.theta, evaluation.ensemble.shard
    is_constant = shard.stack([(theta == theta[0]).all()]).all()
    if evaluation.grid.outer is not None or not is_constant:
        return float("nan")
    z, p = evaluation.z, evaluation.p
    # One node stands for all.
    once = ParticleEnsemble.view(theta[:1], evaluation.ensemble.weights, shard)
    hamiltonian = np.empty(z.shape[:2])
    # Depth by depth: fields at all of them would be the largest array of a run.
    for j in range(len(z)):
        value = mean_field(evaluation.problem, DepthGrid.euler(1), once, z[j])[0]
        hamiltonian[j] = np.einsum("ic,ic->i", p[j], value)
    size = np.abs(hamiltonian).max()
    return float(np.ptp(hamiltonian, axis=0).max() / size) if size > 0 else 0.0


def check_observers(
    observers: Mapping[str, Observer] | None, name: str = "observers"
) -> dict[str, Observer]:
    """A dict of callables whose names are free; TypeError or ValueError otherwise."""
    if observers is None:
        return {}
    if not isinstance(observers, Mapping):
        raise TypeError(
            f"`{name}` must be a dict from names to functions of an Evaluation, "
            f"got {type(observers).__name__}."
        )
    observers = dict(observers)
    for key, observer in observers.items():
        if not isinstance(key, str) or not key.isidentifier():
            raise ValueError(f"`{name}` must have identifiers as names, got {key!r}.")
        if key in (*SCALARS, "invariant_spread", "s"):
            raise ValueError(
                f"`{name}` must not reuse the name {key!r} of a recorded scalar."
            )
        if not callable(observer):
            raise TypeError(
                f"`{name}[{key!r}]` must be a function of an Evaluation, "
                f"got {shown(observer)}."
            )
    return observers


def collective(observer: Observer) -> Observer:
    """Mark an observer that is right for the share of one rank; all ranks call it.

    It asks the evaluation for nothing of single particles: only for what all ranks
    have, such as outputs, or through `predict` and `field`.
    """
    observer.is_collective = True
    return observer


def _is_collective(observer: Observer) -> bool:
    return getattr(observer, "is_collective", False)


def _on_rank_0(shard: Shard, observer: Observer, whole: Evaluation | None) -> Any:
    """Value of an observer that rank 0 calls, or its failure, on all ranks.

    A blow-up ends a run in order: all ranks have to know of it. Any other error is one
    of rank 0 alone, which stops the others.
    """
    told = None
    if whole is not None:
        try:
            told = observer(whole), None
        except (NotFiniteError, ConvergenceError) as failure:
            told = None, failure
    value, failure = shard.tell(told)
    if failure is not None:
        raise failure
    return value


def apply_observers(
    observers: Mapping[str, Observer], evaluation: Evaluation
) -> tuple[dict[str, float], dict[str, Array]]:
    """Values of all observers: numbers, and arrays, apart.

    Where ranks share the particles, an observer sees those of all of them, on rank 0,
    unless it is `collective`.
    """
    numbers, arrays = {}, {}
    shard, whole = evaluation.ensemble.shard, None
    if not all(_is_collective(observer) for observer in observers.values()):
        whole = evaluation.gather()
    for name, observer in observers.items():
        if _is_collective(observer):
            value = observer(evaluation)
        else:
            value = _on_rank_0(shard, observer, whole)
        try:
            value = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"`observers[{name!r}]` must give a number or an array of numbers, "
                f"got {value!r}."
            ) from error
        if value.ndim == 0:
            numbers[name] = float(value)
        else:
            arrays[name] = value
    return numbers, arrays
