"""Pointwise losses and the regulariser, with their gradients (Eqs. 3, 4 and 12).

A loss is any object with `values(output, y)` and `gradients(output, y)`; one whose
targets are classes also has `has_classes = True`, and one that needs targets of an
encoding ("one_hot" or "signs") says so by `encoding`. A regulariser is any object with
`strength(s)` and `rate(s)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import checked, number
from mfpde.describe import OfKind, register
from mfpde.fields import check

Array = NDArray[np.float64]


@register(kind="loss")
@dataclass(frozen=True, slots=True)
class Squared:
    """|out - y|^2 / 2 for each sample."""

    name: ClassVar[str] = "squared"

    def values(self, output: Array, y: Array) -> Array:
        """Loss of every sample, shape (N,); output and y (N, q)."""
        return 0.5 * np.einsum("iq,iq->i", output - y, output - y)

    def gradients(self, output: Array, y: Array) -> Array:
        """Gradient in the output, shape (N, q)."""
        return output - y

    def check(self, y: Array) -> None:
        """Accept any finite target."""


@register(kind="loss")
@dataclass(frozen=True, slots=True)
class Logistic:
    """sum_q log(1 + exp(-y_q out_q)), targets -1 or 1."""

    name: ClassVar[str] = "logistic"
    has_classes: ClassVar[bool] = True
    encoding: ClassVar[str] = "signs"

    def values(self, output: Array, y: Array) -> Array:
        """Loss of every sample, shape (N,); output and y (N, q)."""
        return np.logaddexp(0.0, -y * output).sum(axis=1)

    def gradients(self, output: Array, y: Array) -> Array:
        """Gradient in the output, shape (N, q): -y / (1 + exp(y out))."""
        from scipy import special  # takes longer to import than all of this package

        return -y * special.expit(-y * output)

    def check(self, y: Array) -> None:
        """Raise ValueError unless every target is -1 or 1."""
        _check_targets(y, np.isin(y, (-1.0, 1.0)), "-1 or 1", self.name)


@register(kind="loss")
@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """-sum_q y_q log softmax(out)_q, targets one-hot.

    Small losses and gradients are accurate relative to themselves.
    """

    name: ClassVar[str] = "cross_entropy"
    has_classes: ClassVar[bool] = True
    encoding: ClassVar[str] = "one_hot"

    def values(self, output: Array, y: Array) -> Array:
        """Loss of every sample, shape (N,); output and y (N, q)."""
        # No term is negative: a small loss keeps all its digits.
        gaps, _, others = _beside_largest(output)
        logs = gaps + np.log1p(others)
        return np.einsum("iq,iq->i", np.where(y > 0.0, logs, 0.0), y)

    def gradients(self, output: Array, y: Array) -> Array:
        """Gradient in the output, shape (N, q): softmax(out) - y."""
        # (1 - y) softmax - y (1 - softmax), and 1 - softmax as the sum of the others.
        gaps, is_largest, others = _beside_largest(output)
        shares = np.exp(-gaps) / (1.0 + others)
        rest = np.where(is_largest, others / (1.0 + others), 1.0 - shares)
        return (1.0 - y) * shares - y * rest

    def check(self, y: Array) -> None:
        """Raise ValueError unless every row of targets is one-hot."""
        is_valid = np.isin(y, (0.0, 1.0)) & (y.sum(axis=1, keepdims=True) == 1.0)
        _check_targets(y, is_valid, "one-hot rows", self.name)
        if y.shape[1] < 2:
            raise ValueError(
                "`y` must have at least two columns for the loss 'cross_entropy', "
                "got one; use 'logistic' with targets -1 and 1 for two classes."
            )


@dataclass(frozen=True, slots=True)
class Functional:
    """out . y for each sample: then the adjoint p(1) is y, whatever the state.

    For the sensitivities of a network, not for training: it has no lower bound.
    """

    name: ClassVar[str] = "functional"

    def values(self, output: Array, y: Array) -> Array:
        """out . y of every sample, shape (N,); output and y (N, q)."""
        return np.einsum("iq,iq->i", output, y)

    def gradients(self, output: Array, y: Array) -> Array:
        """Gradient in the output, shape (N, q)."""
        return y


def loss_from_name(loss: Any) -> Any:
    """The loss object of a name; an object with the methods of a loss is kept."""
    return OfKind("loss")("loss", loss)


def has_classes(loss: Any) -> bool:
    """Whether the targets of a loss are classes, so that there is an accuracy."""
    return bool(getattr(loss, "has_classes", False))


def accuracy(output: Array, y: Array) -> float:
    """Share of the samples whose class is predicted.

    Parameters
    ----------
    output, y : ndarray, shape (N, q)
        The class is the column of the largest entry, or the sign if q = 1.
    """
    if y.shape[1] == 1:
        return float(np.mean((output > 0) == (y > 0)))
    return float(np.mean(output.argmax(axis=1) == y.argmax(axis=1)))


@register(kind="regulariser", name="decaying_quadratic")
@dataclass(frozen=True, slots=True)
class DecayingQuadratic:
    """lambda(s) int int |theta|^2 drho dt, lambda(s) = lambda0 exp(-gamma s), Eq. (12).

    Parameters
    ----------
    lambda0 : float
        Strength at s = 0, not negative (dimensionless).
    gamma : float
        Decay rate in training time s, not negative; 0 is a constant ridge.
    """

    lambda0: Annotated[float, number(least=0.0)]
    gamma: Annotated[float, number(least=0.0)] = 0.0

    def __post_init__(self) -> None:
        check(self)

    @checked(s=number())
    def strength(self, s: float) -> float:
        """lambda(s)."""
        return self.lambda0 * float(np.exp(-self.gamma * s))

    @checked(s=number())
    def rate(self, s: float) -> float:
        """The derivative lambda'(s), for the ledger of Eq. (14)."""
        return -self.gamma * self.strength(s)


def _beside_largest(output: Array) -> tuple[Array, Array, Array]:
    """How far outputs (N, q) lie below the largest one of their sample.

    Returns
    -------
    gaps : ndarray, shape (N, q)
        Largest output minus each.
    is_largest : ndarray of bool, shape (N, q)
        True once in every row, at the first of the largest.
    others : ndarray, shape (N, 1)
        Sum of exp(-gaps) over the entries that are not the largest.
    """
    gaps = output.max(axis=1, keepdims=True) - output
    is_largest = np.arange(output.shape[1]) == output.argmax(axis=1)[:, np.newaxis]
    others = np.where(is_largest, 0.0, np.exp(-gaps)).sum(axis=1, keepdims=True)
    return gaps, is_largest, others


def _check_targets(
    y: Array, is_valid: NDArray[np.bool_], required: str, loss: str
) -> None:
    if not is_valid.all():
        row, column = np.argwhere(~is_valid)[0]
        raise ValueError(
            f"`y` must hold {required} for the loss {loss!r}, got {y[row, column]:g} "
            f"in row {row}, column {column}."
        )
