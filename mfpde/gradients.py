"""`check_gradient`: derivatives of a problem against differences of its functions.

A wrong derivative of the user's own does not stop a flow: its steps shrink, and it
crawls. So every part is compared with differences before it is trusted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import checked, optional
from mfpde.depth import A_DEPTH_GRID, DepthGrid
from mfpde.describe import is_built_in
from mfpde.differences import Precision, judged
from mfpde.ensemble import AN_ENSEMBLE, ParticleEnsemble
from mfpde.errors import ConvergenceError, GradientError, NotFiniteError
from mfpde.evaluation import check_loss, check_shapes, evaluate, predict
from mfpde.kernels import sweep
from mfpde.kernels.memory import empty_aligned
from mfpde.kernels.samples import VECTOR
from mfpde.kernels.sweep import STRIDE
from mfpde.losses import Functional
from mfpde.problem import A_PROBLEM, MeanFieldProblem

Array = NDArray[np.float64]

FIRST = ((1.0, 1.0),) * 4
"""Factors of z and theta at the points of the check at the start of a run."""
SPREADS = (*FIRST, (0.1, 0.1), (3.0, 3.0), (1.0, 10.0), (10.0, 1.0))
"""The same for a full check, some far out."""
N_DENSE = 4
MOST_COMPONENTS = 64
"""Coordinates that are taken one by one; of more, so many at random."""
N_PARTICLES = 8
N_NORMAL = 16
JITTER = 0.1
"""Relative distance of the points from the data: exact zeros may lie on kinks."""
TIMES = (0.1, 1.0, 10.0)
"""Training times at which a regulariser is looked at."""


@checked(
    problem=A_PROBLEM,
    grid=optional(A_DEPTH_GRID),
    ensemble=optional(AN_ENSEMBLE),
)
def check_gradient(
    problem: MeanFieldProblem,
    grid: DepthGrid | None = None,
    ensemble: ParticleEnsemble | None = None,
) -> None:
    """Compare all derivatives of a problem with differences; raise if one is wrong.

    The block (`vjp_z` and `vjp_theta` by component and in random directions, near the
    data and the particles and far out), the loss (`gradients`), the regulariser
    (`rate`), and the gradient of the whole discrete objective, Eq. (7), in theta and
    the trained maps.

    Parameters
    ----------
    problem : MeanFieldProblem
    grid : DepthGrid, optional
        Default `DepthGrid.rk4(2)`.
    ensemble : ParticleEnsemble, optional
        Default eight standard normal particles; with it, `grid` is needed.

    Raises
    ------
    GradientError
        If a derivative is wrong: names the part, the direction and both numbers.
    ValueError, TypeError
        For arguments that do not fit.
    NotFiniteError, ConvergenceError
        If the state of the given ensemble blows up.

    Notes
    -----
    Differences with steps from 0.1 down to 1e-9 of the scale are compared with each
    other, so that neither rounding nor curvature gives a false alarm. Where the slopes
    to both sides differ (a kink), or a function is not finite, nothing is said.
    """
    if ensemble is not None and grid is None:
        raise ValueError("`grid` must be given with an `ensemble`, got None.")
    grid = DepthGrid.rk4(2) if grid is None else grid
    rng = np.random.default_rng(0)
    is_given = ensemble is not None
    if ensemble is None:
        shape = (grid.n_nodes, N_PARTICLES, problem.k)
        ensemble = ParticleEnsemble(rng.normal(size=shape))
    check_shapes(problem, grid, ensemble)
    _check_block(problem, *_pools(problem, ensemble), rng, is_full=True)
    # Numbers of size one, whatever the data are.
    normal = (rng.normal(size=(N_NORMAL, size)) for size in (problem.d, problem.k))
    _check_block(problem, *normal, rng, is_full=True)
    _check_regulariser(problem.regulariser)
    outputs = rng.normal(size=(3, *problem.y.shape)) * _scale(problem.y)
    for output in (*outputs, 10.0 * outputs[0], problem.y + 0.1 * outputs[0]):
        _check_loss(problem, output, rng)
    try:
        evaluation = evaluate(problem, grid, ensemble)
    except (NotFiniteError, ConvergenceError):
        if is_given:
            raise
        return
    _check_loss(problem, evaluation.output, rng)
    _check_objective(evaluation, rng)


def own_parts(problem: MeanFieldProblem) -> list[str]:
    """Which of block, regulariser and loss are not built in."""
    parts = []
    if not is_built_in(problem.block):
        parts.append("block")
    if problem.regulariser is not None and not is_built_in(problem.regulariser):
        parts.append("regulariser")
    if not is_built_in(problem.loss) and type(problem.loss) is not Functional:
        parts.append("loss")
    return parts


def check_own_parts(
    problem: MeanFieldProblem, grid: DepthGrid, ensemble: ParticleEnsemble
) -> None:
    """The first direction of `check_gradient`, for parts that are not built in.

    It costs a few evaluations of the block, and of a loss one sweep forward.

    Raises
    ------
    GradientError
        If a derivative is wrong.
    """
    rng = np.random.default_rng(0)
    parts = own_parts(problem)
    if "block" in parts:
        states, particles = _pools(problem, ensemble)
        _check_block(problem, states, particles, rng, is_full=False)
    if "regulariser" in parts:
        _check_regulariser(problem.regulariser)
    if "loss" in parts:
        try:
            output = predict(problem, grid, ensemble, problem.x)
        except (NotFiniteError, ConvergenceError):
            return  # The first evaluation reports it, with its place.
        _check_loss(problem, output, rng)


# Block


@dataclass(frozen=True, eq=False)
class _Block:
    """f and its pullback at single particles, by the kernels of the problem."""

    problem: MeanFieldProblem
    kernels: tuple[int, int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        found = self.problem.block.kernels(self.problem.dtype).addresses
        object.__setattr__(self, "kernels", found)

    def values(self, theta: Array, z: Array) -> Array:
        """f(z_i, theta), (n, d), of up to 128 states (n, d)."""
        out = self._lanes(np.zeros_like(z))
        sweep.field(*self._arguments(theta, z), out, self._scratch())
        return out.reshape(-1, STRIDE)[:, : len(z)].T.astype(np.float64)

    def pulled(self, theta: Array, z: Array, p: Array) -> tuple[Array, Array]:
        """(d_z f)^T p (d,) and (d_theta f)^T p (k,), for one state (1, d)."""
        out = self._lanes(np.zeros_like(z))
        gradient = np.zeros((1, self.problem.k))
        rest = self._lanes(p), out, gradient, self._scratch()
        sweep.pullback(*self._arguments(theta, z), *rest)
        return out.reshape(-1, STRIDE)[:, 0].astype(np.float64), gradient[0]

    def _arguments(self, theta: Array, z: Array) -> tuple[Any, ...]:
        dtype = self.problem.dtype
        n_lanes = -(-len(z) // VECTOR) * VECTOR
        weights = np.ones(1, dtype=dtype)
        theta = np.array(theta[np.newaxis], dtype=dtype)
        return self.kernels, theta, weights, n_lanes, self._lanes(z)

    def _lanes(self, values: Array) -> Array:
        """Values (n, d) as d * STRIDE numbers; further lanes are zero."""
        out = empty_aligned((values.shape[1], STRIDE), self.problem.dtype)
        out[:] = 0.0
        out[:, : len(values)] = values.T
        return out.ravel()

    def _scratch(self) -> Array:
        return empty_aligned((self.kernels[3],), self.problem.dtype)


def _pools(
    problem: MeanFieldProblem, ensemble: ParticleEnsemble
) -> tuple[Array, Array]:
    """States (n, d) and particles (n, k) of a run at its start."""
    return problem.z0, ensemble.theta.reshape(-1, problem.k)


def _check_block(
    problem: MeanFieldProblem,
    states: Array,
    particles: Array,
    rng: np.random.Generator,
    *,
    is_full: bool,
) -> None:
    """Raise unless both derivatives of the block are right at some points."""
    block = _Block(problem)
    scales = {"z": _scale(states), "theta": _scale(particles)}
    with np.errstate(all="ignore"):
        for of_z, of_theta in SPREADS if is_full else FIRST:
            z = of_z * states[rng.integers(len(states))]
            theta = of_theta * particles[rng.integers(len(particles))]
            z = z + JITTER * scales["z"] * rng.normal(size=z.shape)
            theta = theta + JITTER * scales["theta"] * rng.normal(size=theta.shape)
            p = rng.normal(size=z.shape)
            point = _Point(block, z, theta, p)
            for name in ("z", "theta"):
                # Coordinates need not be as large as they usually are.
                scale = np.maximum(scales[name], np.abs(getattr(point, name)))
                point.check(name, scale, rng, is_full=is_full)


@dataclass(frozen=True, eq=False)
class _Point:
    """A state z (d,), a particle theta (k,) and a covector p (d,)."""

    block: _Block
    z: Array
    theta: Array
    p: Array

    def check(
        self, name: str, scale: Array, rng: np.random.Generator, *, is_full: bool
    ) -> None:
        """Raise if the derivative in z or theta is wrong in a direction."""
        direction = self._directions(scale, rng, is_full=is_full)
        found = self._wrong(name, direction)
        if found is None:
            return
        # Single coordinates tell more than a direction with many.
        found = self._wrong(name, self._coordinates(scale, rng)) or found
        problem = self.block.problem
        names = problem.block.param_names
        if name == "z":
            names = [f"z[{i}]" for i in range(problem.d)]
        towards, given, difference, error = found
        index = np.flatnonzero(towards)
        where = f"`{names[index[0]]}`" if len(index) == 1 else "a random direction"
        if len(index) == 1:
            given, difference, error = (
                x / towards[index[0]] for x in (given, difference, error)
            )
        raise GradientError(
            f"`vjp_{name}` of {type(problem.block).__name__} does not belong to `f`: "
            f"at z = {_text(self.z)}, theta = {_text(self.theta)} the derivative of "
            f"p . f, p = {_text(self.p)}, in {where} is {_both(given, difference)}."
        )

    def _directions(
        self, scale: Array, rng: np.random.Generator, *, is_full: bool
    ) -> Array:
        n_dense = N_DENSE if is_full else 1
        dense = rng.normal(size=(n_dense, len(scale))) * scale
        if not is_full:
            return dense
        return np.vstack([self._coordinates(scale, rng), dense])

    def _coordinates(self, scale: Array, rng: np.random.Generator) -> Array:
        chosen = np.arange(len(scale))
        if len(chosen) > MOST_COMPONENTS:
            chosen = np.sort(rng.choice(chosen, MOST_COMPONENTS, replace=False))
        return np.diag(scale)[chosen]

    def _wrong(
        self, name: str, directions: Array
    ) -> tuple[Array, float, float, float] | None:
        """The direction that is worst, with both numbers and the error, or None."""
        pulled = self.block.pulled(self.theta, self.z[np.newaxis], self.p[np.newaxis])
        derivative = dict(zip(("z", "theta"), pulled, strict=True))[name]
        precision = Precision.of(self.block.problem.dtype)
        values = np.stack(
            [self._values(name, each, precision.offsets) for each in directions], axis=1
        )
        along = directions @ derivative
        value = self.block.values(self.theta, self.z[np.newaxis])[0]
        size = np.abs(self.p) @ np.abs(value)
        inner = np.abs(self.z) @ np.abs(pulled[0])
        inner += np.abs(self.theta) @ np.abs(pulled[1])
        sizes = (np.full(len(along), each) for each in (size, inner))
        verdict = judged(values, along, *sizes, precision)
        if not verdict.is_wrong.any():
            return None
        miss = np.where(verdict.is_wrong, np.abs(along - verdict.difference), -1.0)
        worst = int(np.nan_to_num(miss, nan=np.inf).argmax())
        numbers = along[worst], verdict.difference[worst], verdict.error[worst]
        return directions[worst], *map(float, numbers)

    def _values(self, name: str, direction: Array, offsets: Array) -> Array:
        """p . f along a direction, (2 K + 1,)."""
        moved = getattr(self, name) + offsets[:, np.newaxis] * direction
        if name == "z":
            return self.block.values(self.theta, moved) @ self.p
        z = self.z[np.newaxis]
        return np.array([self.block.values(each, z)[0] @ self.p for each in moved])


# Loss, regulariser, objective


def _check_loss(
    problem: MeanFieldProblem, output: Array, rng: np.random.Generator
) -> None:
    """Raise unless the gradients of the loss are right at outputs (N, q)."""
    loss, y = problem.loss, problem.y
    precision = Precision.of("float64")
    scale = np.maximum(np.abs(output), 0.1 * _scale(output))
    with np.errstate(all="ignore"):
        gradients = loss.gradients(output, y)
        check_loss("gradients", gradients, output.shape)
        values = loss.values(output, y)
        check_loss("values", values, output.shape[:1])
        for column in (None, *range(output.shape[1])):
            direction = scale * rng.choice([-1.0, 1.0], size=output.shape)
            if column is not None:
                direction = np.where(np.arange(output.shape[1]) == column, scale, 0.0)
            values = np.stack(
                [loss.values(output + h * direction, y) for h in precision.offsets]
            )
            along = np.einsum("iq,iq->i", gradients, direction)
            inner = np.abs(gradients * output).sum(axis=1)
            inner += np.abs(gradients * y).sum(axis=1)
            verdict = judged(values, along, np.abs(values[0]), inner, precision)
            if verdict.is_wrong.any():
                break
        else:
            return
    i = int(np.flatnonzero(verdict.is_wrong)[0])
    where = "a random direction"
    given, difference = float(along[i]), float(verdict.difference[i])
    if column is not None:
        where = f"component {column} of the output"
        given, difference = (x / direction[i, column] for x in (given, difference))
    raise GradientError(
        f"`gradients` of the loss {type(loss).__name__} do not belong to `values`: at "
        f"output {_text(output[i])}, target {_text(y[i])} the derivative in {where} "
        f"is {_both(given, difference)}."
    )


def _check_regulariser(regulariser: Any) -> None:
    """Raise unless `rate` is the derivative of `strength`."""
    if regulariser is None:
        return
    precision = Precision.of("float64")
    for s in TIMES:
        values = np.array(
            [[regulariser.strength(s * (1.0 + h))] for h in precision.offsets]
        )
        along = np.array([s * regulariser.rate(s)])
        verdict = judged(values, along, np.abs(values[0]), np.abs(along), precision)
        if verdict.is_wrong[0]:
            given, difference = along[0] / s, verdict.difference[0] / s
            raise GradientError(
                f"`rate` of the regulariser {type(regulariser).__name__} is not the "
                f"derivative of `strength`: at s = {s:g} it is "
                f"{_both(given, difference)}."
            )


def _check_objective(evaluation: Any, rng: np.random.Generator) -> None:
    """Raise unless the discrete gradient of Eq. (7) is that of the loss."""
    grid, ensemble = evaluation.grid, evaluation.ensemble
    problem = evaluation.problem.with_plain_velocity()
    plain = evaluate(problem, grid, ensemble)
    step = rng.normal(size=ensemble.theta.shape)
    step *= _scale(ensemble.theta.reshape(-1, problem.k))
    maps = {
        name: _scale(linear.matrix.reshape(-1, 1))
        * rng.normal(size=linear.matrix.shape)
        for name, linear in problem.trained_maps.items()
    }
    weights = grid.weights[:, np.newaxis] * ensemble.weights
    along = -np.einsum("jm,jmk,jmk->", weights, plain.velocity, step)
    for name, linear in problem.trained_maps.items():
        gradient = -plain.map_velocities[name] / linear.rate
        along += float(np.sum(gradient * maps[name]))

    def loss(h: float) -> float:
        moved = ParticleEnsemble(ensemble.theta + h * step, ensemble.weights)
        matrices = {
            name: linear.matrix + h * maps[name]
            for name, linear in problem.trained_maps.items()
        }
        try:
            return evaluate(problem.with_parameters(**matrices), grid, moved).loss
        except (NotFiniteError, ConvergenceError):
            return np.nan

    precision = Precision.of(problem.dtype)
    values = np.array([[loss(h)] for h in precision.offsets])
    outputs = np.abs(problem.loss.gradients(plain.output, problem.y))
    outputs = outputs * (np.abs(plain.output) + np.abs(problem.y))
    size = np.array([problem.sample_weights @ outputs.sum(axis=1)])
    verdict = judged(values, np.array([along]), size, np.abs([along]), precision)
    if verdict.is_wrong[0]:
        raise GradientError(
            "The gradient of the discrete objective in a random direction of theta and "
            f"the trained maps is {_both(along, verdict.difference[0])}, though the "
            "parts are right by themselves."
        )


def _scale(rows: Array) -> Array:
    """Root mean square of each column of rows (n, c); a common one where it is 0."""
    largest = np.abs(rows).max(axis=0)
    unit = np.where(largest > 0, largest, 1.0)
    each = unit * np.sqrt(np.mean((rows / unit) ** 2, axis=0))
    common = float(np.max(each * (largest > 0), initial=0.0))
    return np.where(largest > 0, each, common if common > 0 else 1.0)


def _text(vector: Array) -> str:
    """A few numbers as text."""
    shown = ", ".join(f"{x:.4g}" for x in vector[:4])
    return f"({shown}{', ...' if len(vector) > 4 else ''})"


def _both(given: float, difference: float) -> str:
    """Both numbers, with the factor between them where it is a plain one."""
    text = f"given as {given:.6g}, but differences give {difference:.6g}"
    ratio = given / difference if difference else np.nan
    for factor, name in ((-1.0, "-1: the sign is wrong"), (2.0, "2"), (0.5, "1/2")):
        if abs(ratio - factor) < 1e-4:
            return f"{text} (a factor {name})"
    return text
