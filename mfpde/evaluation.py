"""State, adjoint, loss and velocity: one function of (problem, grid, ensemble, s).

The only home of the division in Eq. (7), through `kernels.assembly`.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import checked, float_array, instance, number, shown
from mfpde.depth import A_DEPTH_GRID, DepthGrid
from mfpde.engine import distributed as lockstep
from mfpde.engine.sharding import Shard
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.kernels import sweep
from mfpde.kernels.assembly import CHUNK, assemble
from mfpde.kernels.build import outer_kernels
from mfpde.kernels.memory import empty_aligned
from mfpde.kernels.queue import close, open_gate, wait_for_all
from mfpde.kernels.samples import SampleLayout, sample_layout
from mfpde.kernels.sweep import STRIDE
from mfpde.kernels.threads import start_helpers
from mfpde.kernels.workers import follow
from mfpde.problem import A_PROBLEM, MeanFieldProblem
from mfpde.sizes import cause

__all__ = [
    "Evaluation",
    "evaluate",
    "field",
    "first_variation",
    "first_variation_gradient",
    "predict",
    "trajectories",
]

Array = NDArray[np.float64]

# Fixed point of implicit stages: a few units of rounding of the largest state.
STAGE_TOLERANCE = {"float64": 1e-14, "float32": 5e-6}


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Everything known about one ensemble at one training time s.

    Attributes
    ----------
    loss, objective : float
        E of Eq. (3), and E_s = E + lambda(s) M2 of Eq. (12).
    dissipation : float
        D_s of Eq. (14), with the metric and the clipping; trained maps included.
    gradient_norm : float
        Root of int int |grad dE_s/drho|^2 drho dt, without the metric and the clipping;
        trained maps included.
    second_moment : float
        M2 = int int |theta|^2 drho dt.
    ledger_rate : float
        Derivative of the objective that the exact flow would have,
        -D_s + lambda'(s) M2, Eq. (14).
    velocity : ndarray, shape (J, M, k)
        dtheta/ds of Eqs. (7), (10) and (13), with the metric and the clipping. Of the
        particles of `ensemble`: if that is the share of one rank, so is the velocity,
        and nothing else.
    map_velocities : dict of str to ndarray
        dA/ds under "embedding", dC/ds under "readout", where these are trainable.
    output : ndarray, shape (N, q)
    z_end : ndarray, shape (N, d)
        The state at t = 1.
    t_states : ndarray, shape (P,)
        Depths of `z` and `p`, see `DepthGrid.state_depths`.
    """

    problem: MeanFieldProblem
    grid: DepthGrid
    ensemble: ParticleEnsemble
    s: float
    loss: float
    objective: float
    dissipation: float
    gradient_norm: float
    second_moment: float
    ledger_rate: float
    velocity: Array
    map_velocities: dict[str, Array]
    output: Array
    z_end: Array
    _forward: _Forward
    _p: Array

    @property
    def t_states(self) -> Array:
        """Depths (P,) of `z` and `p`."""
        return self.grid.state_depths()

    @property
    def z(self) -> Array:
        """State z(t) of every sample, shape (P, N, d)."""
        return self._forward.states()

    @property
    def p(self) -> Array:
        """Adjoint p(t) of every sample, shape (P, N, d); no factor 1/N, Eq. (4).

        The exact adjoint of the discrete scheme. Zero for samples of weight zero.
        """
        c = self.problem.sample_weights
        inverse = np.divide(1.0, c, out=np.zeros_like(c), where=c > 0)
        p = self._forward.layout.unpack(self._p)
        p *= inverse[:, np.newaxis]
        return p

    def gather(self) -> Evaluation | None:
        """The same with the particles of all ranks, on rank 0; None elsewhere."""
        if self.ensemble.shard.size == 1:
            return self
        ensemble = self.ensemble.gather()
        velocity = self.ensemble.shard.gather(self.velocity)
        if ensemble is None:
            return None
        return dataclasses.replace(self, ensemble=ensemble, velocity=velocity)

    def __repr__(self) -> str:
        return (
            f"Evaluation(s={self.s:g}, loss={self.loss:.6g}, "
            f"objective={self.objective:.6g}, dissipation={self.dissipation:.6g})"
        )


AN_EVALUATION = instance(Evaluation)


@checked(s=number())
def evaluate(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    s: float = 0.0,
    *,
    out: Array | None = None,
) -> Evaluation:
    """State, adjoint, loss and particle velocity, Eqs. (1)-(7), on a depth grid.

    Parameters
    ----------
    problem : MeanFieldProblem
    grid : DepthGrid
    ensemble : ParticleEnsemble
        theta of shape (J, M, k), J the nodes of `grid`.
    s : float
        Training time (dimensionless); matters only to a decaying regulariser.
    out : ndarray, shape (J, M, k), optional
        C-contiguous float64 array that receives the velocity; default a new one.

    Returns
    -------
    Evaluation
        The velocity is minus the exact gradient of the discrete objective, divided by
        the depth weight and the particle weight, Eq. (25).

    Raises
    ------
    ValueError
        If the ensemble fits neither the grid nor the block, or `out` not the ensemble.
    NotFiniteError
        If the state or the velocity is not finite; names depth, sample and s.
    ConvergenceError
        If the stages of Gauss collocation do not converge.
    """
    check_shapes(problem, grid, ensemble)
    if out is None:
        out = np.empty(ensemble.theta.shape)
    elif not _can_hold(out, ensemble.theta):
        raise ValueError(
            "`out` must be a C-contiguous float64 array of shape "
            f"{ensemble.theta.shape}, got {shown(out)}."
        )
    # A blow-up is found below and named; NumPy need not warn of it, too.
    with np.errstate(all="ignore"):
        return _evaluate(problem, grid, ensemble, float(s), out)


def _can_hold(out: Array, theta: Array) -> bool:
    if not isinstance(out, np.ndarray):
        return False
    is_plain = out.flags.c_contiguous and out.flags.writeable
    return is_plain and out.dtype == np.float64 and out.shape == theta.shape


def _evaluate(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    s: float,
    velocity: Array,
) -> Evaluation:
    ridge = problem.regulariser.strength(s) if problem.regulariser else 0.0
    particles = _particles(problem, ensemble)
    state = _prepare_state(grid, particles, problem.z0)
    adjoint = _prepare_adjoint(grid, particles, state.forward, velocity)
    assembly = _prepare_assembly(problem, grid, ensemble, ridge, velocity)
    gate = np.zeros(2, dtype=np.int64)
    followed = (state.arguments, gate, adjoint.arguments, adjoint.n_pieces)
    followed += (adjoint.counts, assembly.arguments)
    shard = ensemble.shard
    size = (particles.dtype, state.n_pieces, _n_operations(state, particles))
    counts = (gate, assembly.counts, adjoint.counts, state.counts)
    n_pieces = (0, assembly.n_pieces, adjoint.n_pieces, state.n_pieces)
    try:
        if shard.size == 1:
            start_helpers(follow, followed, *size)
        forward = _run_state(problem, grid, state, s, shard)
        z_end = forward.end()
        # Loss and output, of which all is decided, have the same bits on all ranks.
        shard.agree_(z_end)
        output, loss, output_gradient = _terminal(problem, z_end)
        if not np.isfinite(z_end).all() or not np.isfinite(loss):
            raise _not_finite(problem, forward, grid, s)
        p_end = output_gradient
        if problem.readout is not None:
            p_end = problem.readout.transposed(output_gradient)
        forward.layout.pack(p_end, adjoint.p_end, fill_own_only=True)
        open_gate(gate)
        if shard.size == 1:
            if gate[1] > 0:
                start_helpers(follow, followed, *size)
            sweep.adjoint(*adjoint.arguments)
            wait_for_all(adjoint.counts, adjoint.n_pieces)
        else:
            lockstep.adjoint(shard, *adjoint.arguments)
        assemble(*assembly.arguments)
    finally:
        # After an exception, too, at whatever moment: nobody may write to the velocity
        # when this has returned.
        close(counts, n_pieces)
    _check_stages(problem, adjoint.failed, grid, forward, None)
    p = adjoint.p
    integrals = shard.stack(grid.weights @ assembly.integrands.sum(axis=1))
    dissipation, squared_gradient, second_moment = integrals.sum(axis=0).tolist()
    gradients = {}
    if "embedding" in problem.trained_maps:
        p_start = forward.layout.unpack(p[:, 0])
        gradients["embedding"] = np.einsum("id,ix->dx", p_start, problem.x)
        shard.agree_(gradients["embedding"])
    if "readout" in problem.trained_maps:
        gradients["readout"] = np.einsum("iq,id->qd", output_gradient, z_end)
    map_velocities = {}
    for name, gradient in gradients.items():
        rate = problem.trained_maps[name].rate
        map_velocities[name] = -rate * gradient
        dissipation += rate * float(np.sum(gradient**2))
        squared_gradient += float(np.sum(gradient**2))
    if not np.isfinite(dissipation):
        raise _not_finite_velocity(problem, velocity, grid, s, shard)
    ridge_rate = problem.regulariser.rate(s) if problem.regulariser else 0.0
    return Evaluation(
        problem=problem,
        grid=grid,
        ensemble=ensemble,
        s=s,
        loss=loss,
        objective=loss + ridge * second_moment,
        dissipation=dissipation,
        gradient_norm=float(np.sqrt(squared_gradient)),
        second_moment=second_moment,
        ledger_rate=-dissipation + ridge_rate * second_moment,
        velocity=velocity,
        map_velocities=map_velocities,
        output=output,
        z_end=z_end,
        _forward=forward,
        _p=p,
    )


def _terminal(problem: MeanFieldProblem, z_end: Array) -> tuple[Array, float, Array]:
    """Output, loss, and the gradient c_i dloss / dout_i, Eqs. (3) and (4).

    The covector of every sample is carried with its weight c_i: Eq. (4) is linear.
    """
    output = problem.read(z_end)
    c = problem.sample_weights
    values = problem.loss.values(output, problem.y)
    check_loss("values", values, c.shape)
    gradients = problem.loss.gradients(output, problem.y)
    check_loss("gradients", gradients, output.shape)
    return output, float(np.dot(c, values)), gradients * c[:, np.newaxis]


@checked(problem=A_PROBLEM)
def predict(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    x: ArrayLike,
) -> Array:
    """Outputs g(z(1; x)), shape (n, q), for inputs x of shape (n, d_in)."""
    return problem.read(_flow(problem, grid, ensemble, x).end())


@checked(grid=A_DEPTH_GRID)
def trajectories(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    x: ArrayLike,
) -> tuple[Array, Array]:
    """State trajectories of Eq. (1): depths t (P,) and z (P, n, d), for x (n, d_in)."""
    return grid.state_depths(), _flow(problem, grid, ensemble, x).states()


def field(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    z: ArrayLike,
) -> Array:
    """The field F(z, t_j) of Eq. (8) at every node, (J, n, d), for states z (n, d)."""
    check_shapes(problem, grid, ensemble)
    states = _rows("z", z, problem.d)
    layout = _layout(len(states))
    particles = _particles(problem, ensemble)
    packed = layout.empty(problem.d, particles.dtype)
    layout.pack(states, packed)
    shape = (len(layout.lanes), grid.n_nodes, packed.shape[1])
    values = empty_aligned(shape, particles.dtype)
    values[:] = 0.0
    scratch = particles.scratch()
    for block, n in enumerate(layout.lanes):
        for j in range(grid.n_nodes):
            sweep.field(
                particles.kernels,
                particles.theta[j],
                particles.weights,
                n,
                packed[block],
                values[block, j],
                scratch,
            )
    ensemble.shard.sum_(values)
    return layout.unpack(values)


@checked(problem=A_PROBLEM)
def first_variation_gradient(
    problem: MeanFieldProblem, theta: ArrayLike, z: ArrayLike, p: ArrayLike
) -> Array:
    """Gradient in theta of the first variation, Eqs. (5) and (6), in given states.

    Unlike `evaluate` it does not ask whose states these are: minus the gradient moves
    particles in the field of others, those of the limit for example.

    Parameters
    ----------
    problem : MeanFieldProblem
        Its block and sample weights are used.
    theta : array_like, shape (J, M, k)
    z, p : array_like, shape (J, N, d)
        States and adjoints of the samples at each node; no factor 1 / N in p.

    Returns
    -------
    gradient : ndarray, shape (J, M, k)
        sum_i c_i (d_theta f(z_ji, theta_jm))^T p_ji, c_i the sample weights.

    Raises
    ------
    ValueError
        If the shapes do not fit each other or the problem.
    """
    theta, z, p = _in_states(problem, theta, z, p)
    # No weight of a particle enters its gradient.
    weights = np.full(theta.shape[1], 1.0 / theta.shape[1])
    particles = _particles(problem, ParticleEnsemble.view(theta, weights))
    layout = _layout(problem.n_samples)
    shape = (layout.n_blocks, len(theta), problem.d * STRIDE)
    states, covectors = (empty_aligned(shape, particles.dtype) for _ in range(2))
    layout.pack(z, states)
    layout.pack(p * problem.sample_weights[:, np.newaxis], covectors, True)
    gradient = np.zeros(theta.shape)
    sweep.gradient_in_states(
        particles.kernels,
        particles.theta,
        particles.weights,
        layout.lanes,
        states,
        covectors,
        gradient,
    )
    return gradient


def _in_states(
    problem: MeanFieldProblem, theta: ArrayLike, z: ArrayLike, p: ArrayLike
) -> tuple[Array, Array, Array]:
    """Particles (J, M, k), states and adjoints (J, N, d) as arrays that fit."""
    theta, z, p = (
        float_array(name, values)
        for name, values in (("theta", theta), ("z", z), ("p", p))
    )
    n_nodes = len(theta) if theta.ndim == 3 else -1
    if theta.ndim != 3 or theta.shape[2] != problem.k:
        raise ValueError(
            f"`theta` must have shape (n_nodes, n_particles, {problem.k}), "
            f"got {theta.shape}."
        )
    for name, values in (("z", z), ("p", p)):
        required = (n_nodes, problem.n_samples, problem.d)
        if values.shape != required:
            raise ValueError(
                f"`{name}` must have shape (n_nodes, n_samples, d) = {required}, "
                f"got {values.shape}."
            )
    return theta, z, p


@checked(problem=A_PROBLEM)
def first_variation(
    problem: MeanFieldProblem, theta: ArrayLike, z: ArrayLike, p: ArrayLike
) -> Array:
    """First variation dE/drho of Eq. (5), (J, M), in given states.

    sum_i c_i p_ji . f(z_ji, theta_jm); arguments as for `first_variation_gradient`.
    """
    theta, z, p = _in_states(problem, theta, z, p)
    layout = _layout(problem.n_samples)
    particles = _particles(problem, ParticleEnsemble.view(theta, np.ones(1)))
    shape = (layout.n_blocks, len(theta), problem.d * STRIDE)
    states, covectors = empty_aligned(shape, particles.dtype), np.empty(shape)
    layout.pack(z, states)
    layout.pack(p * problem.sample_weights[:, np.newaxis], covectors, True)
    # Of one node and one block at a time: all at once would be J N d numbers for each
    # particle.
    values = empty_aligned((theta.shape[1], shape[-1]), particles.dtype)
    scratch = particles.scratch()
    variation = np.zeros(theta.shape[:2])
    for block, j in np.ndindex(*shape[:2]):
        n, state = layout.lanes[block], states[block, j]
        values[:] = 0.0
        for m in range(theta.shape[1]):
            one = particles.theta[j, m : m + 1]
            arguments = (one, particles.weights, n, state, values[m], scratch)
            sweep.field(particles.kernels, *arguments)
        variation[j] += np.einsum("mc,c->m", values, covectors[block, j])
    return variation


def check_shapes(
    problem: MeanFieldProblem, grid: DepthGrid, ensemble: ParticleEnsemble
) -> None:
    """Raise ValueError unless theta has shape (grid.n_nodes, M, problem.k)."""
    for name, value, kind in (
        ("problem", problem, MeanFieldProblem),
        ("grid", grid, DepthGrid),
        ("ensemble", ensemble, ParticleEnsemble),
    ):
        if not isinstance(value, kind):
            raise TypeError(
                f"`{name}` must be a {kind.__name__}, got {type(value).__name__}."
            )
    n_nodes, n_particles, n_params = ensemble.theta.shape
    required = (grid.n_nodes, n_particles, problem.k)
    if (n_nodes, n_particles, n_params) != required:
        raise ValueError(
            "`theta` must have shape (n_nodes, n_particles, n_params) = "
            f"{required} for {grid!r} and {problem.block!r}, got "
            f"{ensemble.theta.shape}."
        )


@dataclass(frozen=True, eq=False)
class _Particles:
    """What the sweeps need of block and ensemble, in the type of the problem."""

    kernels: tuple[int, int, int, int]
    theta: Array
    weights: Array

    @property
    def dtype(self) -> np.dtype:
        return self.theta.dtype

    @property
    def n_particles(self) -> int:
        return len(self.weights)

    def scratch(self) -> Array:
        return empty_aligned((self.kernels[3],), self.dtype)


def _particles(problem: MeanFieldProblem, ensemble: ParticleEnsemble) -> _Particles:
    return _Particles(
        problem.kernels.addresses,
        ensemble.theta.astype(problem.dtype, copy=False),
        ensemble.weights.astype(problem.dtype, copy=False),
    )


@dataclass(frozen=True, eq=False)
class _Forward:
    """Blocked states of one sweep: z0, every stage, and the end."""

    layout: SampleLayout
    is_implicit: bool
    z0: Array
    zs: Array
    z_end: Array

    def end(self) -> Array:
        return self.layout.unpack(self.z_end)

    def states(self) -> Array:
        n_blocks, n_steps, n_stages, width = self.zs.shape
        # An explicit step keeps its first stage, which is where it starts.
        inner = self.zs.reshape(n_blocks, n_steps * n_stages, width)
        if not self.is_implicit:
            inner = self.zs[:, :, 0]
        n_first = 1 if self.is_implicit else 0
        n_samples = int(self.layout.is_own.sum())
        states = np.empty((n_first + inner.shape[1] + 1, n_samples, width // STRIDE))
        self.layout.unpack(self.z0, states[0])
        self.layout.unpack(inner, states[n_first:-1])
        self.layout.unpack(self.z_end, states[-1])
        return states


def _flow(problem, grid, ensemble, x) -> _Forward:
    check_shapes(problem, grid, ensemble)
    x = _rows("x", x, problem.x.shape[1])
    particles = _particles(problem, ensemble)
    state = _prepare_state(grid, particles, problem.embed(x))
    shard = ensemble.shard
    size = (particles.dtype, state.n_pieces, _n_operations(state, particles))
    counts, n_pieces = (state.counts,), (state.n_pieces,)
    try:
        if shard.size == 1:
            start_helpers(sweep.forward, state.arguments, *size)
        forward = _run_state(problem, grid, state, None, shard)
    finally:
        close(counts, n_pieces)
    shard.agree_(forward.z_end)
    if not np.isfinite(forward.z_end).all():
        raise _not_finite(problem, forward, grid, None)
    return forward


def _rows(name: str, values: ArrayLike, n_columns: int) -> Array:
    rows = float_array(name, values)
    if rows.ndim == 1 and n_columns == 1:
        rows = rows[:, np.newaxis]
    if rows.ndim != 2 or rows.shape[1] != n_columns or len(rows) == 0:
        raise ValueError(
            f"`{name}` must have shape (n, {n_columns}), got {rows.shape}."
        )
    return rows


_layout = functools.lru_cache(maxsize=64)(sample_layout)


@dataclass(frozen=True, eq=False)
class _State:
    """A sweep forward: arguments of `sweep.forward`, and what it fills."""

    arguments: tuple[Any, ...]
    forward: _Forward
    counts: NDArray[np.int64]
    failed: NDArray[np.int64]

    @property
    def n_pieces(self) -> int:
        return len(self.failed)


def _prepare_state(grid: DepthGrid, particles: _Particles, z0: Array) -> _State:
    """Eq. (22) for all samples, in parallel over blocks of them."""
    layout = _layout(len(z0))
    packed = layout.empty(z0.shape[1], particles.dtype)
    layout.pack(z0, packed)
    n_rows = grid.n_stages + (grid.outer is not None)
    shape = (layout.n_blocks, grid.n_steps, n_rows, packed.shape[1])
    zs = empty_aligned(shape, particles.dtype)
    if grid.is_implicit:
        # Steps after one that fails are not reached: their stages must be numbers.
        zs[:] = 0.0
    z_end = empty_aligned(packed.shape, particles.dtype)
    counts = np.zeros(2, dtype=np.int64)
    failed = np.empty(layout.n_blocks, dtype=np.int64)
    start = (packed, layout.lanes, counts)
    return _State(
        (*_scheme(grid, particles), *start, zs, z_end, failed),
        _Forward(layout, grid.is_implicit, packed, zs, z_end),
        counts,
        failed,
    )


def _run_state(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    state: _State,
    s: float | None,
    shard: Shard,
) -> _Forward:
    if shard.size == 1:
        sweep.forward(*state.arguments)
        wait_for_all(state.counts, state.n_pieces)
    else:
        lockstep.forward(shard, *state.arguments)
    _check_stages(problem, state.failed, grid, state.forward, s)
    return state.forward


@dataclass(frozen=True, eq=False)
class _Adjoint:
    """A sweep back: arguments of `sweep.adjoint`, and what it fills."""

    arguments: tuple[Any, ...]
    p_end: Array
    p: Array
    counts: NDArray[np.int64]
    failed: NDArray[np.int64]

    @property
    def n_pieces(self) -> int:
        return len(self.failed)


def _prepare_adjoint(
    grid: DepthGrid, particles: _Particles, forward: _Forward, gradient: Array
) -> _Adjoint:
    """Eq. (23); fills p, and gradient (J, M, k) with the sums over samples."""
    layout = forward.layout
    p_end = empty_aligned(forward.z0.shape, particles.dtype)
    shape = (layout.n_blocks, len(grid.state_depths()), p_end.shape[1])
    p = empty_aligned(shape, particles.dtype)
    counts = np.zeros(2, dtype=np.int64)
    turns = np.zeros(grid.n_nodes, dtype=np.int64)
    failed = np.empty(layout.n_blocks, dtype=np.int64)
    start = (forward.zs, p_end, layout.lanes, counts, turns)
    arguments = (*_scheme(grid, particles), *start, p, gradient, failed)
    return _Adjoint(arguments, p_end, p, counts, failed)


def _scheme(grid: DepthGrid, particles: _Particles) -> tuple[Any, ...]:
    """The arguments that both sweeps begin with."""
    name = particles.dtype.name
    return (
        particles.kernels,
        outer_kernels(grid.outer, name),
        particles.theta,
        particles.weights,
        grid.a,
        grid.b,
        grid.step_size,
        grid.stage_node,
        STAGE_TOLERANCE[name],
    )


@dataclass(frozen=True, eq=False)
class _Assembly:
    """Arguments of `assemble`, and what it fills."""

    arguments: tuple[Any, ...]
    integrands: Array
    counts: NDArray[np.int64]

    @property
    def n_pieces(self) -> int:
        return self.integrands.shape[0] * self.integrands.shape[1]


def _prepare_assembly(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    ridge: float,
    velocity: Array,
) -> _Assembly:
    """Eqs. (7), (10), (13), (14); turns the gradient (J, M, k) into the velocity."""
    n_nodes, n_particles, k = ensemble.theta.shape
    counts = np.zeros(2, dtype=np.int64)
    integrands = np.empty((n_nodes, -(-n_particles // CHUNK), 3))
    arguments = (
        grid.weights,
        np.repeat(ensemble.weights, k),
        ensemble.theta.reshape(n_nodes, -1),
        ridge,
        np.tile(problem.metric, CHUNK),
        *problem.clip_arguments,
        counts,
        velocity.reshape(n_nodes, -1),
        integrands,
    )
    return _Assembly(arguments, integrands, counts)


def _n_operations(state: _State, particles: _Particles) -> int:
    return state.forward.zs.size * particles.n_particles


def check_loss(name: str, array: Array, shape: tuple[int, ...]) -> None:
    """Raise unless what a loss gave has the right shape."""
    # A loss may be the user's own, and the kernels trust what they are given.
    if np.shape(array) != shape:
        raise ValueError(
            f"`loss` must give {name} of shape {shape}, got {np.shape(array)}."
        )


def _check_stages(
    problem: MeanFieldProblem,
    failed: NDArray[np.int64],
    grid: DepthGrid,
    forward: _Forward,
    s: float | None,
) -> None:
    """Raise if the stages of an implicit step overflowed or did not converge."""
    steps = failed[failed >= 0]
    if len(steps) == 0:
        return
    if not np.isfinite(forward.states()).all():
        raise _not_finite(problem, forward, grid, s)
    raise ConvergenceError(
        f"The stages of depth element {steps.min()} of {grid.n_steps} did not "
        "converge; the field is too large for the fixed-point iteration. Use more "
        "elements, DepthGrid.gauss(n_nodes, n_elements), or an explicit scheme."
    )


def _not_finite(
    problem: MeanFieldProblem, forward: _Forward, grid: DepthGrid, s: float | None
) -> NotFiniteError:
    """Name the first depth step and the sample whose state is not finite (T18)."""
    time = "" if s is None else f", at training time s = {s:g}"
    states = forward.states()
    is_bad = ~np.isfinite(states).all(axis=2)
    if not is_bad.any():
        mend = "Reduce the scale of the readout or targets."
        return NotFiniteError(f"The loss is not finite{time}. {cause(problem, mend)}")
    point = int(is_bad.any(axis=1).argmax())
    sample = int(is_bad[point].argmax())
    layer = "node" if grid.is_implicit else "layer"
    count = grid.n_nodes if grid.is_implicit else grid.n_steps
    mend = "Reduce the scale of theta, or use more depth nodes."
    if grid.is_implicit:
        mend = (
            "It blows up, or the iteration for the stages diverges: reduce the scale "
            "of theta, or use more elements."
        )
    return NotFiniteError(
        f"The state is not finite after {layer} {point} of {count} "
        f"(t = {grid.state_depths()[point]:.4g}, depth) for sample {sample}{time}. "
        + cause(problem, mend)
    )


def _not_finite_velocity(
    problem: MeanFieldProblem, velocity: Array, grid: DepthGrid, s: float, shard: Shard
) -> NotFiniteError:
    is_bad = ~np.isfinite(velocity)
    place = np.array([np.inf, np.inf])
    if is_bad.any():
        place[:] = np.argwhere(is_bad)[0, :2]
        place[1] += shard.bounds(shard.rank)[0] if shard.size > 1 else 0
    where, first = "somewhere", min(shard.stack(place).tolist())
    if np.isfinite(first).all():
        node, particle = (int(i) for i in first)
        where = f"at node {node} (t = {grid.nodes[node]:.4g}), particle {particle}"
    return NotFiniteError(
        f"The velocity is not finite {where}, at training time s = {s:g}. "
        + cause(problem, "Reduce the scale of theta.")
    )
