"""Grids on depth t in [0, 1]: nodes, weights, scheme, order.

A grid is a Runge-Kutta tableau on each depth step, and the assignment of every
(step, stage) to the depth node whose particles it uses (theory, section 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import (
    instance,
    integer,
    mapping,
    whole,
)
from mfpde.describe import register, thing_of
from mfpde.errors import did_you_mean
from mfpde.kernels import OUTER_ACTIVATIONS
from mfpde.scales import describe_scale, residual_scales

Array = NDArray[np.float64]


# More layers than any machine has memory for.
MOST_LAYERS = 10**8
MOST_GAUSS_NODES = 1000


Count = Annotated[int, whole(1)]


@dataclass(frozen=True, eq=False)
class DepthGrid:
    """A depth scheme with the nodes at which particles live.

    Build one with `euler`, `midpoint`, `rk4`, `gauss` or `layers`. t in [0, 1] is
    depth; all quantities are dimensionless.

    Attributes
    ----------
    scheme : str
        "euler", "midpoint", "rk4", "gauss" or "layers".
    order : int
        Order of the state z(1) in the step size, for paths smooth in t.
    nodes : ndarray, shape (J,)
        Depths t_j of the particles, increasing.
    weights : ndarray, shape (J,)
        omega_j of Eq. (25): positive, sum 1; the residual scales tau_l for `layers`.
    step_size : ndarray, shape (n_steps,)
        Length of each depth step.
    a, b : ndarray, shape (n_stages, n_stages) and (n_stages,)
        Runge-Kutta tableau of Eq. (22), the same on every step.
    stage_node : ndarray of int, shape (n_steps, n_stages)
        The node used by each stage.
    is_implicit : bool
        Whether the stages of a step are coupled (Gauss collocation, Eq. 26).
    outer : str or None
        Outer activation psi of Eq. (9), applied after every step; None is the identity.
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
    outer: str | None = None
    weights: Array = field(init=False)

    def __post_init__(self) -> None:
        weights = node_weights(self.step_size, self.b, self.stage_node, self.n_nodes)
        object.__setattr__(self, "weights", weights)
        for array in (self.nodes, self.step_size, self.a, self.b, self.stage_node):
            array.setflags(write=False)

    @property
    def is_smooth(self) -> bool:
        """Whether the outer activation, if there is one, is analytic."""
        return self.outer is None or not self.outer.endswith("relu")

    @property
    def has_separate_nodes(self) -> bool:
        """Whether a step uses one node of its own: theta may be rough in depth."""
        return bool((self.stage_node == self.stage_node[:, :1]).all())

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
    def euler(cls, n: Count) -> DepthGrid:
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
    def layers(
        cls,
        n: int,
        residual_scale: Any = "ode",
        outer: str | None = None,
    ) -> DepthGrid:
        """The n layers of a residual network, Eq. (9), at t_l = l / n.

        z[l+1] = psi(z[l] + tau_l sum_m w_m f(z[l], theta[l, m])).

        Parameters
        ----------
        n : int
            Layers L.
        residual_scale : str, callable, float or array_like, shape (n,)
            tau_l > 0: "ode" 1 / n, "sde" n^(-1/2), a function of n such as
            `PowerLaw(tau0, exponent)` or the name of one that is registered, a number,
            or one for each layer.
        outer : str, optional
            Activation psi, one of those of `mfpde.blocks.Perceptron`, or
            "normalised_relu": r / sqrt(mean(r^2) + 1e-12), r = relu(a), a ReLU and a
            normalisation layer behind it, which has nothing to train.

        Notes
        -----
        The weights of the nodes are tau_l, because the velocity of Eq. (10) is the
        gradient divided by tau_l w_m. They have sum 1 for tau_l = 1 / n only, which is
        `euler` to the bit. With these weights second moment, dissipation and ledger
        hold exactly for every tau: M2 = sum_l tau_l sum_m w_m |theta_lm|^2.
        """
        n = _check_count("n", n)
        step_size = residual_scales(residual_scale, n)
        description = {"scheme": "layers", "n": n}
        description["residual_scale"] = describe_scale(residual_scale)
        return cls(
            scheme="layers",
            order=1,
            nodes=np.arange(n) / n,
            step_size=step_size,
            a=np.zeros((1, 1)),
            b=np.ones(1),
            stage_node=np.arange(n).reshape(n, 1),
            is_implicit=False,
            description=description | {"outer": _outer_activation(outer)},
            outer=_outer_activation(outer),
        )

    @classmethod
    def midpoint(cls, n: Count) -> DepthGrid:
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
    def rk4(cls, n: Count) -> DepthGrid:
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
    def gauss(cls, n_nodes: Count, n_elements: Count = 1) -> DepthGrid:
        """Gauss-Legendre collocation on equal elements, Eq. (26), order 2 n_nodes.

        Notes
        -----
        The stages are solved by fixed-point iteration, which contracts while
        |d_z F| / n_elements is below about 1; use more elements otherwise.
        """
        n_nodes = _check_count("n_nodes", n_nodes, MOST_GAUSS_NODES)
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
        options = dict(mapping("description", description))
        scheme = options.pop("scheme", None)
        return thing_of("depth scheme", scheme, argument="scheme")(**options)

    def refined(self) -> DepthGrid:
        """The same scheme with twice the steps (elements for Gauss).

        A residual scale keeps its law or its number.
        """
        options = self.describe()
        if isinstance(options.get("residual_scale"), list):
            raise ValueError(
                "`residual_scale` must be a law or a number to be refined, got one "
                "number for each layer."
            )
        options["n_elements" if self.scheme == "gauss" else "n"] *= 2
        return self.from_description(options)

    def state_depths(self) -> Array:
        """Depths (P,) at which `Evaluation.z` and `Evaluation.p` are given.

        The ends of the depth steps for explicit schemes; 0, the nodes and 1 for
        Gauss collocation.
        """
        if self.is_implicit:
            return np.concatenate([[0.0], self.nodes, [1.0]])
        if self.scheme == "layers":
            return np.concatenate([self.nodes, [1.0]])
        return np.concatenate([[0.0], np.cumsum(self.step_size)[:-1], [1.0]])

    def __repr__(self) -> str:
        options = ", ".join(
            str(value)
            for key, value in self.description.items()
            if key != "scheme" and value is not None
        )
        return f"DepthGrid.{self.scheme}({options})"


A_DEPTH_GRID = instance(DepthGrid, what="a grid such as DepthGrid.euler(8)")
for _scheme in (
    DepthGrid.euler,
    DepthGrid.midpoint,
    DepthGrid.rk4,
    DepthGrid.gauss,
    DepthGrid.layers,
):
    register(_scheme, kind="depth scheme", name=_scheme.__name__)


def _outer_activation(name: Any) -> str | None:
    """The name of psi, None for the identity."""
    if name is None:
        return None
    if isinstance(name, str) and name == "identity":
        return None
    if not isinstance(name, str) or name not in OUTER_ACTIVATIONS:
        raise ValueError(
            f"`outer` must be None or one of {', '.join(OUTER_ACTIVATIONS)}, got "
            f"{name!r}." + did_you_mean(str(name), OUTER_ACTIVATIONS)
        )
    return name


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


def _check_count(name: str, value: int, most: int = MOST_LAYERS) -> int:
    return integer(name, value, 1, most)
