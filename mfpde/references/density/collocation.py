"""Depth of the grid solver: collocation of Eqs. (1) and (4) at Lobatto nodes.

The state solves z(t_i) = z(0) + sum_j A_ij F(z(t_j), t_j), by Newton's method; the
adjoint is that of the continuum, Eq. (4), collocated at the same nodes (a linear
system). Unlike the gradient of the particles this is not the derivative of a discrete
loss: the two agree to the error in depth, which falls exponentially in the number of
nodes where rho is smooth in t.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from mfpde.errors import ConvergenceError, NotFiniteError

Array = NDArray[np.float64]
Field = Callable[[Array], tuple[Array, Array]]

NEWTON_TOLERANCE = 1e-12
"""Residual relative to 1 + max |z|: some hundred units of rounding."""

NEWTON_STEPS = 30


@dataclass(frozen=True, slots=True, eq=False)
class Collocation:
    """Lobatto nodes in depth t, both ends included.

    Attributes
    ----------
    nodes : ndarray, shape (J,)
        From t = 0 to t = 1.
    weights : ndarray, shape (J,)
        Positive with sum 1; exact for polynomials of degree 2 J - 3.
    integrals : ndarray, shape (J, J)
        A_ij, the integral from 0 to t_i of the j-th Lagrange polynomial.
    """

    nodes: Array
    weights: Array
    integrals: Array


def lobatto(n_nodes: int) -> Collocation:
    """Return the collocation with J = `n_nodes` Lobatto nodes on [0, 1]."""
    last = np.zeros(n_nodes)
    last[-1] = 1.0
    inner = np.sort(legendre.legroots(legendre.legder(last)).real)
    x = np.concatenate([[-1.0], inner, [1.0]])
    # Integrals from -1 of the Legendre polynomials, then of the Lagrange ones.
    powers = legendre.legvander(x, n_nodes)
    degrees = np.arange(1, n_nodes)
    higher = (powers[:, 2:] - powers[:, :-2]) / (2 * degrees + 1)
    primitives = np.column_stack([x + 1.0, higher])
    solved = np.linalg.solve(powers[:, :-1].T, primitives.T)
    integrals = np.asarray(0.5 * solved.T, dtype=np.float64)
    # P_n(-1) is not (-1)^n to the last bit.
    integrals[0] = 0.0
    return Collocation(0.5 * (x + 1.0), integrals[-1].copy(), integrals)


def solve_states(
    collocation: Collocation, field: Field, z0: Array, guess: Array | None
) -> tuple[Array, Array]:
    """States at the nodes, Eq. (1), and the derivative of the field there.

    Parameters
    ----------
    collocation : Collocation
    field : callable
        field(z) -> F (J, N, d) and d_z F (J, N, d, d) at states z (J, N, d).
    z0 : ndarray, shape (N, d)
    guess : ndarray, shape (J, N, d), or None
        States to start from; None starts from z0 at all nodes.

    Returns
    -------
    z : ndarray, shape (J, N, d)
    slopes : ndarray, shape (J, N, d, d)

    Raises
    ------
    NotFiniteError, ConvergenceError
        If Newton's method overflows, or does not converge.
    """
    n_nodes = len(collocation.nodes)
    z = np.broadcast_to(z0, (n_nodes, *z0.shape)) if guess is None else guess
    for _ in range(NEWTON_STEPS):
        value, slopes = field(z)
        gained = np.tensordot(collocation.integrals, value, axes=1)
        residual = z0 + gained - z
        if not (np.isfinite(residual).all() and np.isfinite(slopes).all()):
            raise NotFiniteError(
                "The state is not finite at depth t = "
                f"{_first_bad_depth(collocation, residual):.4g} of the grid solver. "
                "The field is too strong for the flow to exist; narrow the initial law."
            )
        if np.abs(residual).max() <= NEWTON_TOLERANCE * (1.0 + np.abs(z).max()):
            return z, slopes
        z = z + _solve_linear(collocation.integrals, slopes, residual)
    raise ConvergenceError(
        f"Newton's method for the states did not converge in {NEWTON_STEPS} steps on "
        f"{n_nodes} depth nodes (estimates use two less than `n_depth`). Use more "
        "nodes; if that does not help, the state may blow up before t = 1."
    )


def solve_adjoint(collocation: Collocation, slopes: Array, p_end: Array) -> Array:
    """Adjoint at the nodes, Eq. (4), shape (J, N, d).

    Parameters
    ----------
    collocation : Collocation
    slopes : ndarray, shape (J, N, d, d)
        d_z F at the states.
    p_end : ndarray, shape (N, d)
        p(1).
    """
    from_end = collocation.weights - collocation.integrals
    start = np.broadcast_to(p_end, (len(slopes), *p_end.shape))
    return _solve_linear(from_end, np.swapaxes(slopes, -1, -2), start)


def _solve_linear(integrals: Array, slopes: Array, right: Array) -> Array:
    """Solve v_i - sum_j integrals_ij slopes_j v_j = right_i, for every sample."""
    n_nodes, n_samples, d = right.shape
    coupling = np.einsum("ij,jnab->niajb", integrals, slopes)
    size = n_nodes * d
    matrix = np.eye(size) - coupling.reshape(n_samples, size, size)
    column = right.transpose(1, 0, 2).reshape(n_samples, size, 1)
    found = np.linalg.solve(matrix, column)
    return found.reshape(n_samples, n_nodes, d).transpose(1, 0, 2)


def _first_bad_depth(collocation: Collocation, residual: Array) -> float:
    is_bad = ~np.isfinite(residual).all(axis=(1, 2))
    return float(collocation.nodes[np.argmax(is_bad)])
