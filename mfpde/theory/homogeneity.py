"""Homogeneity identities of the training flow (T12), as observers of a run.

If f is h-homogeneous in a group g of parameters, then theta_g . d f / d theta_g = h f,
and at every depth node, for one multiplier eta of the velocity of all of g, no clipping
and no noise,

    d/ds int |theta_g|^2 drho_t = -2 eta (h mean_i p_i . F(z_i, t)
                                          + 2 lambda(s) int |theta_g|^2 drho_t).

h = 2 and all of theta under (H2), h = 1 and the linear parameters under (H1). A block
tells h and g as `homogeneous_degree` and `homogeneous_group`. All functions take an
`Evaluation` and return an array of fixed shape, as `observers` of `solve` do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import checked
from mfpde.blocks import Bilinear, Perceptron
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.evaluation import AN_EVALUATION, Evaluation, field
from mfpde.problem import MeanFieldProblem

Array = NDArray[np.float64]

BALANCED = ("relu", "leaky_relu", "identity")
"""Activations with sigma(c a) = c sigma(a) for c >= 0."""


@checked(evaluation=AN_EVALUATION)
def group_moments(evaluation: Evaluation) -> Array:
    """int |theta_g|^2 drho_t at every depth node, shape (J,)."""
    theta = _of_group(evaluation, evaluation.ensemble.theta)
    return np.einsum("m,jmk,jmk->j", evaluation.ensemble.weights, theta, theta)


@checked(evaluation=AN_EVALUATION)
def group_moment_rates(evaluation: Evaluation) -> Array:
    """d/ds int |theta_g|^2 drho_t by the velocity of the particles, shape (J,)."""
    theta = _of_group(evaluation, evaluation.ensemble.theta)
    velocity = _of_group(evaluation, evaluation.velocity)
    return 2.0 * np.einsum("m,jmk,jmk->j", evaluation.ensemble.weights, theta, velocity)


@checked(evaluation=AN_EVALUATION)
def predicted_moment_rates(evaluation: Evaluation) -> Array:
    """The same by the field: -2 eta (h mean_i p_i . F(z_i, t) + ...), T12, shape (J,).

    Under Euler p[l + 1] stands with F_l(z[l]); at Gauss nodes both are of that node.

    Raises
    ------
    ValueError
        For grids with several stages at a node, an outer activation, a clipping, or a
        metric that is not the same for all parameters of the group.
    """
    grid, problem = evaluation.grid, evaluation.problem
    _check_no_clipping(problem)
    if grid.outer is not None or not (grid.is_implicit or grid.n_stages == 1):
        raise ValueError(
            "`evaluation` must be on a grid with one stage at each depth node and no "
            f"outer activation, got {grid!r}. Use DepthGrid.euler or DepthGrid.gauss."
        )
    inner = slice(1, -1)
    states = evaluation.z[inner] if grid.is_implicit else evaluation.z[:-1]
    adjoints = evaluation.p[inner] if grid.is_implicit else evaluation.p[1:]
    degree, _ = _homogeneity(evaluation)
    fields = _fields(evaluation, states)
    means = np.einsum("i,jic,jic->j", problem.sample_weights, adjoints, fields)
    eta = _of_group(evaluation, problem.metric)
    if (eta != eta[0]).any():
        raise ValueError(
            "`evaluation` must have a metric that is the same for all parameters of "
            f"the homogeneous group, got {eta.tolist()}."
        )
    ridge = problem.regulariser.strength(evaluation.s) if problem.regulariser else 0.0
    decay = 2.0 * ridge * group_moments(evaluation)
    return -2.0 * eta[0] * (degree * means + decay)


@checked(evaluation=AN_EVALUATION)
def balances(evaluation: Evaluation) -> Array:
    """|v|^2 - |u|^2 - b^2 of every particle, shape (J, M): conserved by the flow.

    For f = scale v sigma(u.z + b) with sigma positively 1-homogeneous. With a metric
    every square is divided by its multiplier eta_c.

    Raises
    ------
    ValueError
        For other blocks; and with a regulariser, a clipping, or a frozen parameter,
        for which nothing of this form is conserved.
    """
    problem, block = evaluation.problem, evaluation.problem.block
    groups = block.param_groups
    is_balanced = isinstance(block, Bilinear) or (
        isinstance(block, Perceptron) and block.activation in BALANCED
    )
    if not is_balanced:
        raise ValueError(
            "`evaluation` must have a Bilinear block or a Perceptron with an "
            f"activation among {', '.join(BALANCED)}, got {block!r}."
        )
    _check_no_clipping(problem)
    if problem.regulariser is not None or (problem.metric == 0.0).any():
        raise ValueError(
            "`evaluation` must have no regulariser and no parameter with metric 0, got "
            f"{problem.regulariser!r} and {problem.metric.tolist()}: balances then "
            "change."
        )
    squares = evaluation.ensemble.theta**2 / problem.metric
    signs = np.full(block.k, -1.0)
    signs[groups["v"]] = 1.0
    return squares @ signs


def _check_no_clipping(problem: MeanFieldProblem) -> None:
    if problem.clipping is not None:
        raise ValueError(
            f"`evaluation` must be of a problem without clipping, got "
            f"{problem.clipping!r}: a clipped gradient has lost its homogeneity."
        )


def _homogeneity(evaluation: Evaluation) -> tuple[int, str | None]:
    """Degree h and the name of the group g; None for all of theta."""
    block = evaluation.problem.block
    degree = getattr(block, "homogeneous_degree", None)
    if degree is None:
        raise ValueError(
            "`evaluation` must have a block with `homogeneous_degree` and "
            f"`homogeneous_group`, got {block!r}."
        )
    return degree, block.homogeneous_group


def _of_group(evaluation: Evaluation, values: Array) -> Array:
    """Of values (..., k) the columns of the group g."""
    _, group = _homogeneity(evaluation)
    groups: dict[str, Any] = evaluation.problem.block.param_groups
    if group is not None and group not in groups:
        raise ValueError(
            "`homogeneous_group` of a block must be None or one of its parameter "
            f"groups {', '.join(groups)}, got {group!r}."
        )
    return values if group is None else values[..., groups[group]]


def _fields(evaluation: Evaluation, states: Array) -> Array:
    """F(z_j, t_j) of Eq. (8) at every node, (J, N, d), for states (J, N, d)."""
    ensemble, once = evaluation.ensemble, DepthGrid.euler(1)
    values = np.empty_like(states)
    for j, at_node in enumerate(states):
        one = ParticleEnsemble.view(
            ensemble.theta[j : j + 1], ensemble.weights, ensemble.shard
        )
        values[j] = field(evaluation.problem, once, one, at_node)[0]
    return values
