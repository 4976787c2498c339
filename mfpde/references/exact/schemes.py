"""Depth schemes for linear flows, by one linear solve for each step.

This is a reference beside `mfpde.DepthGrid` and the sweeps of the solver: tableaus,
Gauss coefficients, stages (a linear system, not an iteration) and adjoint are all its
own, so that one checks the other. t in [0, 1] is depth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import Legendre, legendre
from numpy.typing import ArrayLike
from scipy.interpolate import BarycentricInterpolator

from mfpde.arrays import float_array, is_function
from mfpde.references.exact.closed import MOST_LAYERS, Array, check_count


@dataclass(frozen=True, slots=True, eq=False)
class DepthScheme:
    """A Runge-Kutta scheme on equal steps of [0, 1], with the nodes its stages use.

    Build one with `euler`, `midpoint`, `rk4` or `gauss`.

    Attributes
    ----------
    name : str
        "euler", "midpoint", "rk4" or "gauss".
    nodes : ndarray, shape (J,)
        Depths t_j at which theta lives.
    a, b : ndarray, shape (S, S) and (S,)
        Tableau of Eq. (22).
    stage_node : ndarray of int, shape (n_steps, S)
        Node that each stage uses.
    """

    name: str
    nodes: Array
    a: Array
    b: Array
    stage_node: np.ndarray

    @classmethod
    def euler(cls, n_layers: int) -> DepthScheme:
        """The residual network: L layers at t_l = l / L, Eq. (2)."""
        n = check_count("n_layers", n_layers, MOST_LAYERS)
        nodes = np.arange(n) / n
        return cls("euler", nodes, np.zeros((1, 1)), np.ones(1), np.arange(n)[:, None])

    @classmethod
    def midpoint(cls, n_steps: int) -> DepthScheme:
        """Explicit midpoint steps, theta frozen at the middle of each; order 2."""
        n = check_count("n_steps", n_steps, MOST_LAYERS)
        a = np.array([[0.0, 0.0], [0.5, 0.0]])
        stage_node = np.repeat(np.arange(n)[:, None], 2, axis=1)
        return cls("midpoint", (np.arange(n) + 0.5) / n, a, np.eye(2)[1], stage_node)

    @classmethod
    def rk4(cls, n_steps: int) -> DepthScheme:
        """Classical Runge-Kutta on 2 n_steps + 1 shared nodes; order 4."""
        n = check_count("n_steps", n_steps, MOST_LAYERS)
        a = np.diag([0.5, 0.5, 1.0], -1)
        b = np.array([1.0, 2.0, 2.0, 1.0]) / 6.0
        stage_node = 2 * np.arange(n)[:, None] + np.array([0, 1, 1, 2])
        return cls("rk4", np.arange(2 * n + 1) / (2 * n), a, b, stage_node)

    @classmethod
    def gauss(cls, n_nodes: int, n_elements: int = 1) -> DepthScheme:
        """Gauss-Legendre collocation, Eq. (26): the limit of infinite depth.

        The error falls geometrically in `n_nodes` where theta is analytic in t.
        """
        k, n = (
            check_count("n_nodes", n_nodes, 1000),
            check_count("n_elements", n_elements, MOST_LAYERS),
        )
        points, weights = legendre.leggauss(k)
        # l_j = sum_n (n + 1/2) w_j P_n(x_j) P_n on [-1, 1], integrated term by term.
        integrals = [Legendre.basis(i).integ(lbnd=-1.0)(points) for i in range(k)]
        values = legendre.legvander(points, k - 1) * weights[:, None]
        a = 0.5 * np.transpose(integrals) @ (values * (np.arange(k) + 0.5)).T
        elements = np.arange(n)[:, None]
        nodes = (elements + 0.5 * (1.0 + points)) / n
        stage_node = k * elements + np.arange(k)
        return cls("gauss", nodes.ravel(), a, 0.5 * weights, stage_node)

    @property
    def n_nodes(self) -> int:
        """Number J of nodes."""
        return len(self.nodes)

    @property
    def weights(self) -> Array:
        """Quadrature weights omega_j of Eq. (25), shape (J,), with sum 1."""
        n_steps = len(self.stage_node)
        shares = np.tile(self.b / n_steps, n_steps)
        summed = np.bincount(self.stage_node.ravel(), shares, self.n_nodes)
        return np.asarray(summed, dtype=np.float64)

    def at_depth(self, values: ArrayLike, t: ArrayLike) -> Array:
        """Continue values at the nodes of one Gauss element to depths t.

        Parameters
        ----------
        values : array_like, shape (J, ...)
        t : number or array_like in [0, 1]

        Returns
        -------
        continued : ndarray, shape t.shape + values.shape[1:]
            The polynomial through all nodes.
        """
        if self.name != "gauss" or len(self.stage_node) > 1:
            raise ValueError(
                "Values between nodes need the polynomial of one Gauss element, got "
                f"scheme {self.name!r} with {len(self.stage_node)} steps. Use "
                "`DepthScheme.gauss(n_nodes)`."
            )
        t, values = float_array("t", t), float_array("values", values)
        if values.shape[:1] != self.nodes.shape:
            raise ValueError(
                f"`values` must have shape ({self.n_nodes}, ...), one value for each "
                f"node, got {values.shape}."
            )
        flat = values.reshape(self.n_nodes, -1)
        continued = BarycentricInterpolator(self.nodes, flat)(np.ravel(t))
        return continued.reshape((*t.shape, *values.shape[1:]))


class Sweep(NamedTuple):
    """State and adjoint of a linear flow through depth.

    output : ndarray, shape (N, d), z_i(1).
    loss : float, sum_i c_i |z_i(1) - y_i|^2 / 2.
    q : ndarray, shape (J, d, d), mean_i p_i z_i^T at the nodes: the derivative of the
        loss in A_j, divided by omega_j; for Euler mean p[l + 1] z[l]^T.
    """

    output: Array
    loss: float
    q: Array


def sweep(scheme: DepthScheme, a: Array, x: Array, y: Array, weights: Array) -> Sweep:
    """Solve dz/dt = A z and its exact discrete adjoint, Eqs. (22), (23), (25).

    Parameters
    ----------
    scheme : DepthScheme
    a : ndarray, shape (J, d, d)
        A at the nodes.
    x, y : ndarray, shape (N, d)
    weights : ndarray, shape (N,)
    """
    n_steps, d = len(scheme.stage_node), x.shape[1]
    to_stages, to_end, from_end = _step_maps(scheme, a)
    z = [x]
    for step in to_end:
        z.append(z[-1] @ step.T)
    output = z.pop()
    residual = output - y
    p = [residual]
    for step in to_end[:0:-1]:
        p.append(p[-1] @ step)
    pairs = np.einsum("i,nic,nie->nce", weights, np.array(p[::-1]), np.array(z))
    # Stage i: Lam_i z_i^T = from_end_i^T p[n + 1] z[n]^T to_stages_i^T.
    q = np.zeros((scheme.n_nodes, d, d))
    right = np.swapaxes(to_stages, -1, -2)
    parts = np.swapaxes(from_end, -1, -2) @ pairs[:, None] @ right / n_steps
    np.add.at(q, scheme.stage_node.ravel(), parts.reshape(-1, d, d))
    loss = 0.5 * weights @ np.sum(residual**2, axis=1)
    return Sweep(output, float(loss), q / scheme.weights[:, None, None])


def _step_maps(scheme: DepthScheme, a: Array) -> tuple[Array, Array, Array]:
    """Maps of every step n, d x d each.

    z[n] to stage i, (n_steps, S, d, d); z[n] to z[n + 1], (n_steps, d, d); and the
    slope of stage i, changed by itself, to z[n + 1] / dt, (n_steps, S, d, d).
    """
    n_steps, n_stages = scheme.stage_node.shape
    d = a.shape[-1]
    at_stages = a[scheme.stage_node]
    # Z = 1 z + dt (a x I) diag(A) Z
    coupling = np.einsum("ij,njce->nicje", scheme.a / n_steps, at_stages)
    size = n_stages * d
    system = np.eye(size) - coupling.reshape(n_steps, size, size)
    ones = np.tile(np.eye(d), (n_stages, 1))
    inverse = np.linalg.inv(system)
    to_stages = (inverse @ ones).reshape(n_steps, n_stages, d, d)
    slopes = np.einsum("i,nice->nice", scheme.b, at_stages)
    to_end = np.eye(d) + np.einsum("nice,nieg->ncg", slopes, to_stages) / n_steps
    # b_i + dt sum_j b_j A_j dZ_j / d(a_ji slope)
    rows = slopes.transpose(0, 2, 1, 3).reshape(n_steps, d, size) @ inverse
    rows = rows.reshape(n_steps, d, n_stages, d)
    from_end = np.einsum("ncje,ji->nice", rows, scheme.a) / n_steps
    from_end += scheme.b[:, None, None] * np.eye(d)
    return to_stages, to_end, from_end


def values_at_nodes(
    name: str,
    value: ArrayLike | Callable[[float], ArrayLike],
    scheme: DepthScheme,
    shape: tuple[int, ...],
) -> Array:
    """Return a quantity of that shape at all nodes, shape (J,) + shape.

    `value` is the same at all depths, or given at the nodes, or a function of t.
    """
    given: Any = value
    if is_function(given):
        given = [given(float(t)) for t in scheme.nodes]
    array = float_array(name, given)
    wanted = (scheme.n_nodes, *shape)
    if array.shape not in (shape, wanted):
        raise ValueError(
            f"`{name}` must have shape {shape}, or {wanted} with one value for each "
            f"depth node, got {array.shape}; a function of t fits every scheme."
        )
    return np.broadcast_to(array, wanted)
