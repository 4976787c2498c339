"""What is observed during a run, and when.

A schedule is any object with `times(s_end)`, training times on which steps end,
and `is_due(step)`. An observer is any function of an `Evaluation` that returns a number
or an array of fixed shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import (
    checked,
    shown,
)
from mfpde.depth import DepthGrid
from mfpde.engine.sharding import Shard
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.evaluation import AN_EVALUATION, Evaluation
from mfpde.evaluation import field as mean_field
from mfpde.schedules import (
    MOST_RECORDS as MOST_RECORDS,
)
from mfpde.schedules import (
    SAME_TIME as SAME_TIME,
)
from mfpde.schedules import (
    At as At,
)
from mfpde.schedules import (
    Clock as Clock,
)
from mfpde.schedules import (
    Every as Every,
)
from mfpde.schedules import (
    Logarithmic as Logarithmic,
)
from mfpde.schedules import (
    Schedule as Schedule,
)
from mfpde.schedules import (
    Steps as Steps,
)
from mfpde.schedules import (
    make_clocks as make_clocks,
)
from mfpde.schedules import (
    make_schedule as make_schedule,
)

Array = NDArray[np.float64]
Observer = Callable[[Evaluation], Any]


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
