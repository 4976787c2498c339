"""Linear maps before and after the flow: embedding z(0) = A x, readout g(z) = C z."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import check_fields, flag, float_array, positive


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
