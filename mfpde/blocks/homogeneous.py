"""Homogeneous blocks of Ding, Chen, Li, Wright (arXiv 2110.02926): theory, section 4.

The activation acts on W z + b by component, W a matrix of d x d. (H2): f is
2-homogeneous in theta, f(z, c theta) = c^2 f(z, theta) for c >= 0. (H1): f is linear in
the first parameter, and bounded in the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mfpde import kernels
from mfpde.arrays import checked
from mfpde.blocks.elementary import Sized
from mfpde.blocks.parameters import (
    DTYPE,
    LINEAR_REACH,
    ActivationName,
    Size,
    matrix_names,
    parameter_names,
)
from mfpde.describe import register
from mfpde.fields import check

if TYPE_CHECKING:
    from mfpde.kernels.build import Kernels

ACTIVATION = "squared_relu"
# The cap r / sqrt(1 + r^2) has its poles at +-i; sigma shortens the distance.
CAPPED_REACH = 0.5


class _Damped(Sized):
    """What the block with and the block without sign share: f is 2-homogeneous."""

    __slots__ = ()
    is_linear_in_z = False
    is_smooth = False
    homogeneous_group = None
    homogeneous_degree = 2
    suffixes: tuple[str, ...]

    @property
    def k(self) -> int:
        """Parameters per particle."""
        return len(self.suffixes) * (self.d + 1) * self.d

    @property
    def param_groups(self) -> dict[str, slice]:
        """Where the matrices and the vectors stand in theta."""
        groups, start = {}, 0
        for suffix in self.suffixes:
            for name, size in (("W", self.d * self.d), ("b", self.d)):
                groups[name + suffix] = slice(start, start + size)
                start += size
        return groups

    @property
    def param_names(self) -> list[str]:
        """Names of the k parameters."""
        return _names(self.param_groups, self.d)

    @property
    def param_reach(self) -> dict[str, float]:
        """Nothing is known: f has kinks in every parameter."""
        return {}

    @checked(dtype=DTYPE)
    def kernels(self, dtype: str = "float64") -> Kernels:
        """The compiled kernels for numbers of type "float64" or "float32"."""
        n_parts = len(self.suffixes)
        return kernels.build.generated_kernels(
            f"damped{n_parts}_d{self.d}",
            kernels.componentwise.damped,
            (self.d, n_parts, ACTIVATION),
            dtype,
            ACTIVATION,
        )


@register(kind="block", name="squared_relu")
@dataclass(frozen=True, slots=True)
class SquaredReLU(_Damped):
    """f(z, theta) = max(W z + b, 0)^2 e^{-|z|^2}, by component.

    theta = (W row by row, b[d]), k = d^2 + d. (H2). All components of f are at least
    zero: no state can decrease, and targets below the inputs are out of reach.

    Parameters
    ----------
    d : int
        State size.
    """

    d: Size

    suffixes = ("",)


@register(kind="block", name="signed_squared_relu")
@dataclass(frozen=True, slots=True)
class SignedSquaredReLU(_Damped):
    """f(z, theta) = (max(W1 z + b1, 0)^2 - max(W2 z + b2, 0)^2) e^{-|z|^2}.

    theta = (W1 row by row, b1[d], W2, b2), k = 2 (d^2 + d). (H2), and universal: the
    variant of `SquaredReLU` for studies of zero loss.

    Parameters
    ----------
    d : int
        State size.
    """

    d: Size

    suffixes = ("1", "2")


@register(kind="block", name="capped")
@dataclass(frozen=True, slots=True)
class Capped:
    """f(z, theta) = c sigma(W z / sqrt(1 + |W|^2) + b / sqrt(1 + |b|^2)), by component.

    theta = (c, W row by row, b[d]), k = 1 + d^2 + d. (H1): linear in c and bounded in W
    and b, with |W| the Frobenius norm.

    Parameters
    ----------
    d : int
        State size.
    activation : str
        As for `Perceptron`; the paper has a regularised ReLU.
    """

    d: Size
    activation: ActivationName = "tanh"

    is_linear_in_z = False
    is_even_in_theta = False
    homogeneous_group = "c"
    homogeneous_degree = 1

    def __post_init__(self) -> None:
        check(self)

    @property
    def k(self) -> int:
        """Parameters per particle."""
        return 1 + self.d * self.d + self.d

    @property
    def is_smooth(self) -> bool:
        """Whether f is analytic; kinks limit the order of every rule."""
        return not self.activation.endswith("relu")

    @property
    def param_groups(self) -> dict[str, slice]:
        """Where c, W and b stand in theta."""
        at_b = 1 + self.d * self.d
        return {"c": slice(0, 1), "W": slice(1, at_b), "b": slice(at_b, self.k)}

    @property
    def param_names(self) -> list[str]:
        """Names of the k parameters."""
        return _names(self.param_groups, self.d)

    @property
    def param_reach(self) -> dict[str, float]:
        """How far from the real line the flow is analytic, by group: rough."""
        return {"c": LINEAR_REACH, "W": CAPPED_REACH, "b": CAPPED_REACH}

    @checked(dtype=DTYPE)
    def kernels(self, dtype: str = "float64") -> Kernels:
        """The compiled kernels for numbers of type "float64" or "float32"."""
        return kernels.build.generated_kernels(
            f"capped_{self.activation}_d{self.d}",
            kernels.componentwise.capped,
            (self.d, self.activation),
            dtype,
            self.activation,
        )


def _names(groups: dict[str, slice], d: int) -> list[str]:
    """Names of parameters; groups that begin with W are matrices."""
    names = []
    for name, part in groups.items():
        if name.startswith("W") and d > 1:
            names += matrix_names(name, d)
        else:
            names += parameter_names({name: part})
    return names
