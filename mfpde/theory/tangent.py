"""Tangent kernel of the training flow, Eq. (27), and what it says of the loss.

With outputs out_i, covectors g_i = dloss/dout_i and sample weights c_i the flow moves
the scaled outputs by d(sqrt(c_i) out_i)/ds = -sum_j K_ij sqrt(c_j) g_j. For the squared
loss g = out - y = r, and with equal weights c_i = 1 / N this is Eq. (27):

    dr_i/ds = -sum_j K_ij r_j,    dE/ds = -(1/N) r^T K r,    E = (1/(2N)) |r|^2.

That is the flow without regulariser and clipping, which is linear in the covectors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import float_array
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.evaluation import check_shapes, evaluate
from mfpde.losses import Functional
from mfpde.problem import MeanFieldProblem

Array = NDArray[np.float64]


def tangent_kernel(
    problem: MeanFieldProblem, grid: DepthGrid, ensemble: ParticleEnsemble
) -> Array:
    """Tangent kernel K of Eq. (27), exactly that of the semi-discrete flow.

    One evaluation for each output of each sample: its loss is that output, so that the
    exact discrete adjoint of Eq. (23) starts from a unit covector. Costs N q gradients
    of one sample, and memory for N q vectors of the size of theta.

    Parameters
    ----------
    problem : MeanFieldProblem
        Block, maps, metric and sample weights are used; K does not depend on targets,
        loss, regulariser and clipping. With a clipping pi the dissipation is
        sum eta g pi(g), below the quadratic form of K, which is sum eta g^2; both
        agree where no gradient is clipped.
    grid : DepthGrid
    ensemble : ParticleEnsemble
        theta of shape (J, M, k), J the nodes of `grid`.

    Returns
    -------
    kernel : ndarray, shape (N q, N q)
        Symmetric and positive semidefinite; output a of sample i is row i q + a:

            K[ia, jb] = sqrt(c_i c_j) sum_lmc omega_l w_m eta_c V_ia[lmc] V_jb[lmc],

        V_ia[lmc] = (1 / (omega_l w_m)) d out_ia / d theta_lmc: the velocity of Eq. (7)
        for the output instead of the loss. Trained maps add their own part,
        sqrt(c_i c_j) eta (d out_ia / dA) . (d out_jb / dA). Rows of samples of weight
        zero are zero.

    Raises
    ------
    ValueError, TypeError
        If the ensemble fits neither the grid nor the block.
    NotFiniteError
        If a state or a gradient is not finite.

    Examples
    --------
    The dissipation of the squared loss is a quadratic form of the residuals:

    >>> import numpy as np, mfpde
    >>> problem = mfpde.MeanFieldProblem([[1.0], [2.0]], [0.5, 1.0],
    ...                                  mfpde.blocks.Perceptron(1))
    >>> grid = mfpde.DepthGrid.euler(4)
    >>> theta = np.random.default_rng(0).normal(size=(4, 8, problem.k))
    >>> ensemble = mfpde.ParticleEnsemble(theta)
    >>> ev = mfpde.evaluate(problem, grid, ensemble)
    >>> residual = (ev.output - problem.y).ravel() / np.sqrt(2)
    >>> kernel = mfpde.theory.tangent.tangent_kernel(problem, grid, ensemble)
    >>> bool(np.isclose(residual @ kernel @ residual, ev.dissipation, rtol=1e-12))
    True
    """
    check_shapes(problem, grid, ensemble)
    n_outputs = problem.n_samples * problem.q
    masses = np.multiply.outer(grid.weights, ensemble.weights)
    scale = np.sqrt(np.multiply.outer(masses, problem.metric)).ravel()
    features = np.empty((n_outputs, scale.size))
    rates = {name: linear.rate for name, linear in problem.trained_maps.items()}
    of_maps: dict[str, list[Array]] = {name: [] for name in rates}
    velocity = np.empty(ensemble.theta.shape)
    for row in range(n_outputs):
        sample, column = divmod(row, problem.q)
        one = _one_output(problem, sample, column)
        evaluation = evaluate(one, grid, ensemble, out=velocity)
        size = np.sqrt(problem.sample_weights[sample])
        features[row] = size * scale * velocity.ravel()
        for name, rows in of_maps.items():
            # A map's velocity is -eta times its gradient.
            move = evaluation.map_velocities[name].ravel()
            rows.append(size / np.sqrt(rates[name]) * move)
    kernel = features @ features.T
    ensemble.shard.sum_(kernel)
    for rows in of_maps.values():
        kernel += np.array(rows) @ np.array(rows).T
    return kernel


def late_rate(kernel: ArrayLike) -> float:
    """Rate 2 lambda_min(K) at which E falls to zero: E ~ exp(-2 lambda_min s).

    For the squared loss. Near a minimum with E = 0 the kernel has a limit and its
    lowest eigenvalue rules (section 2.4 of the theory; without regulariser; a clipping
    does not matter, since late gradients are small). At every s it bounds the ratio of
    Polyak and Lojasiewicz, D / E >= 2 lambda_min(K), and is the largest number that
    does so for all targets; with a clipping the ratio may be smaller.

    Parameters
    ----------
    kernel : array_like, shape (n, n)
        Of `tangent_kernel`; samples of weight zero left out.

    Returns
    -------
    rate : float
        Twice the lowest eigenvalue, in units of 1 / s; not negative beyond rounding.
    """
    kernel = float_array("kernel", kernel)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or kernel.size == 0:
        raise ValueError(f"`kernel` must have shape (n, n), got {kernel.shape}.")
    return 2.0 * float(np.linalg.eigvalsh(kernel)[0])


def _one_output(
    problem: MeanFieldProblem, sample: int, column: int
) -> MeanFieldProblem:
    """The problem whose objective is one output of one sample; plain metric."""
    return problem.with_changes(
        x=problem.x[sample : sample + 1],
        y=np.eye(problem.q)[column : column + 1],
        loss=Functional(),
        metric=None,
        regulariser=None,
        clipping=None,
        sample_weights=None,
    )
