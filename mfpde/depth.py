"""Grids on depth t in [0, 1]: nodes, weights, scheme, order.

A grid is a Runge-Kutta tableau on each depth step, and the assignment of every
(step, stage) to the depth node whose particles it uses (theory, section 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DepthGrid:
    """A depth scheme with the nodes at which particles live.

    Build one with `euler`, `midpoint`, `rk4` or `gauss`. t in [0, 1] is depth;
    all quantities are dimensionless.

    Attributes
    ----------
    scheme : str
        "euler", "midpoint", "rk4" or "gauss".
    order : int
        Order of the state z(1) in the step size, for paths smooth in t.
    nodes : ndarray, shape (J,)
        Depths t_j of the particles, increasing.
    weights : ndarray, shape (J,)
        omega_j of Eq. (25): positive, sum 1.
    step_size : ndarray, shape (n_steps,)
        Length of each depth step.
    a, b : ndarray, shape (n_stages, n_stages) and (n_stages,)
        Runge-Kutta tableau of Eq. (22), the same on every step.
    stage_node : ndarray of int, shape (n_steps, n_stages)
        The node used by each stage.
    is_implicit : bool
        Whether the stages of a step are coupled (Gauss collocation, Eq. 26).
    """

    scheme: str
    order: int
    nodes: Array
    step_size: Array
    a: Array
    b: Array
    stage_node: NDArray[np.int64]
    is_implicit: bool
    description: dict[str, Any]
    weights: Array = field(init=False)

    def __post_init__(self) -> None:
        weights = node_weights(self.step_size, self.b, self.stage_node, self.n_nodes)
        object.__setattr__(self, "weights", weights)
        for array in (self.nodes, self.step_size, self.a, self.b, self.stage_node):
            array.setflags(write=False)

    @property
    def n_nodes(self) -> int:
        """Number J of depth nodes."""
        return len(self.nodes)

    @property
    def n_steps(self) -> int:
        """Number of depth steps (elements for Gauss)."""
        return len(self.step_size)

    @property
    def n_stages(self) -> int:
        """Number of stages in each step."""
        return len(self.b)

    @classmethod
    def euler(cls, n: int) -> DepthGrid:
        """Explicit Euler, n layers at t_l = l / n, weights 1 / n: Eq. (2), order 1."""
        n = _check_count("n", n)
        return cls(
            scheme="euler",
            order=1,
            nodes=np.arange(n) / n,
            step_size=np.full(n, 1.0 / n),
            a=np.zeros((1, 1)),
            b=np.ones(1),
            stage_node=np.arange(n).reshape(n, 1),
            is_implicit=False,
            description={"scheme": "euler", "n": n},
        )

    @classmethod
    def midpoint(cls, n: int) -> DepthGrid:
        """Explicit midpoint steps; both stages use the cell's midpoint, order 2."""
        n = _check_count("n", n)
        return cls(
            scheme="midpoint",
            order=2,
            nodes=(np.arange(n) + 0.5) / n,
            step_size=np.full(n, 1.0 / n),
            a=np.array([[0.0, 0.0], [0.5, 0.0]]),
            b=np.array([0.0, 1.0]),
            stage_node=np.repeat(np.arange(n), 2).reshape(n, 2),
            is_implicit=False,
            description={"scheme": "midpoint", "n": n},
        )

    @classmethod
    def rk4(cls, n: int) -> DepthGrid:
        """Classical Runge-Kutta, J = 2n + 1 shared nodes, Simpson weights, order 4."""
        n = _check_count("n", n)
        first = 2 * np.arange(n)[:, np.newaxis]
        return cls(
            scheme="rk4",
            order=4,
            nodes=np.arange(2 * n + 1) / (2 * n),
            step_size=np.full(n, 1.0 / n),
            a=np.array([[0, 0, 0, 0], [0.5, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 1.0, 0]]),
            b=np.array([1.0, 2.0, 2.0, 1.0]) / 6.0,
            stage_node=first + np.array([[0, 1, 1, 2]]),
            is_implicit=False,
            description={"scheme": "rk4", "n": n},
        )

    @classmethod
    def gauss(cls, n_nodes: int, n_elements: int = 1) -> DepthGrid:
        """Gauss-Legendre collocation on equal elements, Eq. (26), order 2 n_nodes.

        Notes
        -----
        The stages are solved by fixed-point iteration, which contracts while
        |d_z F| / n_elements is below about 1; use more elements otherwise.
        """
        n_nodes = _check_count("n_nodes", n_nodes)
        n_elements = _check_count("n_elements", n_elements)
        c, a, b = gauss_collocation(n_nodes)
        left = np.arange(n_elements)[:, np.newaxis]
        return cls(
            scheme="gauss",
            order=2 * n_nodes,
            nodes=((left + c) / n_elements).ravel(),
            step_size=np.full(n_elements, 1.0 / n_elements),
            a=a,
            b=b,
            stage_node=left * n_nodes + np.arange(n_nodes),
            is_implicit=True,
            description={
                "scheme": "gauss",
                "n_nodes": n_nodes,
                "n_elements": n_elements,
            },
        )

    def describe(self) -> dict[str, Any]:
        """Plain values from which `from_description` rebuilds the grid."""
        return dict(self.description)

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> DepthGrid:
        """Rebuild a grid from the output of `describe`."""
        options = dict(description)
        scheme = options.pop("scheme", None)
        if scheme not in SCHEMES:
            raise ValueError(
                f"`scheme` must be one of {', '.join(SCHEMES)}, got {scheme!r}."
            )
        return getattr(cls, scheme)(**options)

    def refined(self) -> DepthGrid:
        """The same scheme with twice the steps (elements for Gauss)."""
        options = self.describe()
        options["n_elements" if self.scheme == "gauss" else "n"] *= 2
        return self.from_description(options)

    def state_depths(self) -> Array:
        """Depths (P,) at which `Evaluation.z` and `Evaluation.p` are given.

        The ends of the depth steps for explicit schemes; 0, the nodes and 1 for
        Gauss collocation.
        """
        if self.is_implicit:
            return np.concatenate([[0.0], self.nodes, [1.0]])
        return np.concatenate([[0.0], np.cumsum(self.step_size)[:-1], [1.0]])

    def __repr__(self) -> str:
        options = ", ".join(
            str(value) for key, value in self.description.items() if key != "scheme"
        )
        return f"DepthGrid.{self.scheme}({options})"


SCHEMES = ("euler", "midpoint", "rk4", "gauss")


def node_weights(
    step_size: Array, b: Array, stage_node: NDArray[np.int64], n_nodes: int
) -> Array:
    """Depth weights omega_j, the sum of dt b_i over the stages at node j, Eq. (25)."""
    weights = np.zeros(n_nodes)
    np.add.at(weights, stage_node, step_size[:, np.newaxis] * b)
    if not np.all(weights > 0):
        raise ValueError(
            "Every depth node must have a positive weight, got "
            f"{weights.min():g}; Eq. (7) divides by it."
        )
    weights.setflags(write=False)
    return weights


def gauss_collocation(n: int) -> tuple[Array, Array, Array]:
    """Gauss-Legendre nodes c (n,), matrix a (n, n) and weights b (n,) on [0, 1].

    a[i, j] is the integral from 0 to c_i of the j-th Lagrange polynomial, built from
    integrals of Legendre polynomials (a monomial Vandermonde matrix loses digits).
    """
    x, w = np.polynomial.legendre.leggauss(n)
    # l_j(x) = w_j sum_k (k + 1/2) P_k(x_j) P_k(x), and
    # int_{-1}^{x} P_k = (P_{k+1}(x) - P_{k-1}(x)) / (2k + 1), and x + 1 for k = 0.
    legendre = np.polynomial.legendre.legvander(x, n)
    integrals = np.empty((n, n))
    integrals[:, 0] = x + 1.0
    for k in range(1, n):
        integrals[:, k] = (legendre[:, k + 1] - legendre[:, k - 1]) / (2 * k + 1)
    coefficients = (np.arange(n) + 0.5)[:, np.newaxis] * legendre[:, :n].T * w
    a = 0.5 * integrals @ coefficients
    return 0.5 * (x + 1.0), a, 0.5 * w


def _check_count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"`{name}` must be an integer, got {value!r}.")
    if value < 1:
        raise ValueError(f"`{name}` must be at least 1, got {value}.")
    return int(value)
