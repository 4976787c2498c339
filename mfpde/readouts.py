"""Linear maps before and after the flow: embedding z(0) = A x, readout g(z) = C z."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import (
    check_fields,
    flag,
    float_array,
    number,
    numbers,
    positive,
    seed_number,
)
from mfpde.describe import register


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear map, fixed or trained by plain gradient flow beside that of rho.

    Parameters
    ----------
    matrix : array_like, shape (q, d) for a readout, (d, d_in) for an embedding
        The map; dimensionless.
    trainable : bool
        Whether it moves with dC/ds = -rate dE/dC (below Eq. 11).
    rate : float
        Multiplier eta of that velocity.
    """

    matrix: NDArray[np.float64]
    trainable: bool = False
    rate: float = 1.0

    def __post_init__(self) -> None:
        matrix = float_array("matrix", self.matrix)
        if matrix.ndim != 2 or 0 in matrix.shape:
            raise ValueError(f"`matrix` must be a 2-D array, got shape {matrix.shape}.")
        object.__setattr__(self, "matrix", matrix)
        check_fields(self, trainable=flag, rate=positive)

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Apply the map to every row of values (n, columns)."""
        values = self._rows(values, self.matrix.shape[1])
        # einsum without BLAS: the same bits whatever the number of BLAS threads.
        return np.einsum("ic,rc->ir", values, self.matrix)

    def transposed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Apply the transposed map to every row of values (n, rows)."""
        values = self._rows(values, self.matrix.shape[0])
        return np.einsum("ir,rc->ic", values, self.matrix)

    @staticmethod
    def _rows(values: Any, n: int) -> NDArray[np.float64]:
        """Values as an array (..., n); a state may hold a blow-up: not looked at."""
        array = float_array("values", values, is_finite=False)
        if array.ndim != 2 or array.shape[1] != n:
            raise ValueError(
                f"`values` must have shape (n_rows, {n}), got {array.shape}."
            )
        return array

    def with_matrix(self, matrix: NDArray[np.float64]) -> Linear:
        """The same map with other entries."""
        return Linear(matrix, self.trainable, self.rate)

    @property
    def options(self) -> dict[str, Any]:
        """All but the matrix, which files hold as an array."""
        return {"trainable": self.trainable, "rate": self.rate}


@register(kind="linear map", name="identity")
def _identity(n_rows: int, n_columns: int) -> None:
    """No map: the values as they are."""


@register(kind="linear map", name="random")
def _random(
    n_rows: int,
    n_columns: int,
    *,
    trainable: bool = False,
    rate: Annotated[float, positive] = 1.0,
    scale: Annotated[float, number(0.0)] = 1.0,
    seed: Annotated[int, seed_number] = 0,
) -> Linear:
    """Independent normal entries with variance scale^2 / n_columns.

    Parameters
    ----------
    n_rows, n_columns : int
        Shape of the matrix.
    trainable : bool
        Whether the matrix moves, too.
    rate : float
        Factor of its velocity.
    scale : float
        Size of the entries.
    seed : int
        Seed of the entries.
    """
    normal = np.random.default_rng(seed).standard_normal
    matrix = scale / np.sqrt(n_columns) * normal((n_rows, n_columns))
    return Linear(matrix, trainable=trainable, rate=rate)


@register(kind="linear map", name="matrix")
def _matrix(
    n_rows: int,
    n_columns: int,
    *,
    matrix: Annotated[Any, numbers("n_rows", "n_columns")],
    trainable: bool = False,
    rate: Annotated[float, positive] = 1.0,
) -> Linear:
    """Given entries.

    Parameters
    ----------
    n_rows, n_columns : int
        Shape of the matrix, which is checked by the problem.
    matrix : list of list of float
        The entries, row by row.
    trainable : bool
        Whether the matrix moves, too.
    rate : float
        Factor of its velocity.
    """
    return Linear(np.array(matrix), trainable=trainable, rate=rate)
