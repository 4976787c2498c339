"""Blocks with one dot product for each particle, linear ones, and those of the user."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mfpde import kernels
from mfpde.arrays import checked
from mfpde.blocks.parameters import (
    DTYPE,
    LINEAR_REACH,
    ActivationName,
    Size,
    check_groups,
    matrix_names,
    parameter_names,
)
from mfpde.describe import register
from mfpde.fields import check

if TYPE_CHECKING:
    from mfpde.kernels.build import Kernels

ODD_ACTIVATIONS = ("tanh", "sin", "identity")
# `param_reach` is how far from the real line the flow is analytic in a parameter. It
# only shares quadrature nodes among the parameters, so rough numbers do: these follow
# from the nodes that tanh with d = 1, |x| <= 1 needs at s = 8 (at s = 0: pi / 2).
PERCEPTRON_REACH = {"u": 0.55, "v": 2.5, "b": 0.3}


@register(kind="block", name="perceptron")
@dataclass(frozen=True, slots=True)
class Perceptron:
    """Two-layer perceptron f(z, theta) = scale v sigma(u.z + b).

    theta = (u[d], v[d], b), k = 2 d + 1; without bias theta = (u[d], v[d]), k = 2 d.

    Parameters
    ----------
    d : int
        State size; in a configuration by default that of the inputs.
    activation : str
        One of `ACTIVATIONS`. "gelu" is the erf form; "regularised_relu" has half-width
        1/2; "leaky_relu" has slope 0.01.
    bias : bool
        Whether theta ends with b.
    scale : float
        Constant factor (dimensionless).
    """

    d: Size
    activation: ActivationName = "tanh"
    bias: bool = field(default=True, kw_only=True)
    scale: float = field(default=1.0, kw_only=True)

    homogeneous_group = "v"
    homogeneous_degree = 1

    def __post_init__(self) -> None:
        check(self)

    @property
    def k(self) -> int:
        """Parameters per particle."""
        return 2 * self.d + self.bias

    @property
    def is_smooth(self) -> bool:
        """Whether f is analytic; kinks limit the order of every rule."""
        return not self.activation.endswith("relu")

    @property
    def is_linear_in_z(self) -> bool:
        """Whether f is linear in z; then the traces of T7 are constant in depth."""
        return self.activation == "identity" and not self.bias

    @property
    def is_even_in_theta(self) -> bool:
        """Whether f(z, -theta) = f(z, theta): for an odd activation."""
        return self.activation in ODD_ACTIVATIONS

    @property
    def param_reach(self) -> dict[str, float]:
        """How far from the real line the flow is analytic, by group."""
        groups = self.param_groups
        if self.activation == "identity":
            return dict.fromkeys(groups, LINEAR_REACH)
        return {name: PERCEPTRON_REACH[name] for name in groups}

    @property
    def param_groups(self) -> dict[str, slice]:
        """Where u, v and b stand in theta."""
        groups = _dyadic_groups(self.d)
        if self.bias:
            groups["b"] = slice(2 * self.d, 2 * self.d + 1)
        return groups

    @property
    def param_names(self) -> list[str]:
        """Names of the k parameters."""
        return parameter_names(self.param_groups)

    @checked(dtype=DTYPE)
    def kernels(self, dtype: str = "float64") -> Kernels:
        """The compiled kernels for numbers of type "float64" or "float32"."""
        return kernels.build.generated_kernels(
            f"perceptron_{self.activation}_d{self.d}",
            kernels.families.perceptron,
            (self.d, self.activation, self.bias, dtype),
            dtype,
            self.activation,
            self.scale,
        )


class Sized:
    """Check of d, shared by the blocks without other options."""

    __slots__ = ()
    is_linear_in_z = True
    is_even_in_theta = False
    homogeneous_group = None
    homogeneous_degree = 1

    @property
    def param_reach(self) -> dict[str, float]:
        """f is linear in each group of parameters."""
        return dict.fromkeys(self.param_groups, LINEAR_REACH)

    def __post_init__(self) -> None:
        check(self)

    @property
    def param_names(self) -> list[str]:
        """Names of the k parameters."""
        return parameter_names(self.param_groups)


@register(kind="block", name="bilinear")
@dataclass(frozen=True, slots=True)
class Bilinear(Sized):
    """f(z, theta) = v (u.z), theta = (u[d], v[d]), k = 2 d.

    Parameters
    ----------
    d : int
        State size.
    """

    d: Size

    is_even_in_theta = True
    homogeneous_group = None
    homogeneous_degree = 2

    @property
    def k(self) -> int:
        """Parameters per particle."""
        return 2 * self.d

    @property
    def param_groups(self) -> dict[str, slice]:
        """Where u and v stand in theta."""
        return _dyadic_groups(self.d)

    @checked(dtype=DTYPE)
    def kernels(self, dtype: str = "float64") -> Kernels:
        """The compiled kernels for numbers of type "float64" or "float32"."""
        return kernels.build.generated_kernels(
            f"bilinear_d{self.d}",
            kernels.families.bilinear,
            (self.d,),
            dtype,
            "identity",
        )


@register(kind="block", name="linear")
@dataclass(frozen=True, slots=True)
class Linear(Sized):
    """f(z, theta) = Theta z, theta = Theta row by row, k = d^2.

    Parameters
    ----------
    d : int
        State size.
    """

    d: Size

    @property
    def k(self) -> int:
        """Parameters per particle."""
        return self.d * self.d

    @property
    def param_groups(self) -> dict[str, slice]:
        """All parameters, as one group."""
        return {"Theta": slice(0, self.k)}

    @property
    def param_names(self) -> list[str]:
        """Names of the k parameters."""
        return matrix_names("Theta", self.d)

    @checked(dtype=DTYPE)
    def kernels(self, dtype: str = "float64") -> Kernels:
        """The compiled kernels for numbers of type "float64" or "float32"."""
        name = f"linear_d{self.d}"
        return kernels.build.generated_kernels(
            name, kernels.families.linear, (self.d,), dtype
        )


@register(kind="block", name="bias")
@dataclass(frozen=True, slots=True)
class Bias(Sized):
    """f(z, theta) = theta, k = d.

    Parameters
    ----------
    d : int
        State size.
    """

    d: Size

    is_linear_in_z = False

    @property
    def k(self) -> int:
        """Parameters per particle."""
        return self.d

    @property
    def param_groups(self) -> dict[str, slice]:
        """All parameters, as one group."""
        return {"theta": slice(0, self.d)}

    @checked(dtype=DTYPE)
    def kernels(self, dtype: str = "float64") -> Kernels:
        """The compiled kernels for numbers of type "float64" or "float32"."""
        name = f"bias_d{self.d}"
        return kernels.build.generated_kernels(
            name, kernels.families.bias, (self.d,), dtype
        )


@dataclass(frozen=True, slots=True)
class Custom:
    """Any block, given as three functions that numba can compile.

    Parameters
    ----------
    d, k : int
        State size and parameters per particle.
    f : callable
        f(z, theta, out): write f(z, theta) to out; z (d,), theta (k,), out (d,).
    vjp_z : callable
        vjp_z(z, theta, p, out): write (d_z f)^T p to out; p (d,), out (d,).
    vjp_theta : callable
        vjp_theta(z, theta, p, out): write (d_theta f)^T p to out (k,).
    params : dict of str to int, optional
        Names and sizes of the groups of parameters, in their order in theta; sum k.
        Default: one group, "theta".

    Notes
    -----
    Plain loops over scalars compile best. A run with a custom block is resumed by
    passing the problem again, since the file cannot hold the functions.

    Machine code is kept on disk for the next process if the functions use only
    numbers, tuples, arrays, functions of math and NumPy, and functions compiled by
    numba of which the same is true; otherwise each process compiles them.
    """

    d: Size
    k: Size
    f: Callable[..., None]
    vjp_z: Callable[..., None]
    vjp_theta: Callable[..., None]
    params: Mapping[str, int] | None = field(
        default=None, kw_only=True, hash=False, repr=False
    )

    def __post_init__(self) -> None:
        check(self)
        for name in ("f", "vjp_z", "vjp_theta"):
            if not callable(getattr(self, name)):
                raise TypeError(
                    f"`{name}` must be a function that numba can compile, "
                    f"got {getattr(self, name)!r}."
                )
        params = {"theta": self.k} if self.params is None else self.params
        object.__setattr__(self, "params", check_groups(params, self.k))

    @property
    def functions(self) -> tuple[Callable[..., None], ...]:
        """f, vjp_z and vjp_theta, not compiled."""
        functions = (self.f, self.vjp_z, self.vjp_theta)
        return tuple(getattr(each, "py_func", each) for each in functions)

    @property
    def param_groups(self) -> dict[str, slice]:
        """Where each group of parameters stands in theta."""
        ends = itertools.accumulate(self.params.values())
        sizes = self.params.items()
        return {
            name: slice(end - size, end)
            for (name, size), end in zip(sizes, ends, strict=True)
        }

    @property
    def param_names(self) -> list[str]:
        """Names of the k parameters."""
        return parameter_names(self.param_groups)

    @checked(dtype=DTYPE)
    def kernels(self, dtype: str = "float64") -> Kernels:
        """The compiled kernels for numbers of type "float64" or "float32"."""
        return kernels.build.custom_kernels(self.d, self.k, *self.functions, dtype)

    def describe(self) -> dict[str, Any]:
        """Sizes and names only: the functions are not described."""
        params = dict(self.params)
        return {"d": self.d, "k": self.k, "params": params}


def _dyadic_groups(d: int) -> dict[str, slice]:
    return {"u": slice(0, d), "v": slice(d, 2 * d)}
