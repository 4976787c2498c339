"""The clipping pi of Eq. (10): a bound on how fast a parameter moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde import kernels
from mfpde.arrays import float_array, positive
from mfpde.fields import check

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Clipping:
    """pi of Eq. (10), dtheta_c/ds = -eta_c pi(g_c), coordinate by coordinate.

    g is the gradient of the first variation, ridge included, so |dtheta_c/ds| stays
    below eta_c times the bound. pi is odd, monotone, bounded, and Lipschitz with
    constant 1; hence dE_s/ds = -D_s + lambda' M2 still holds exactly in the discrete
    scheme, with D_s = sum_j sum_m omega_j w_m sum_c eta_c g_c pi(g_c) >= 0.

    Parameters
    ----------
    bound : float
        Largest |pi| (dimensionless, per unit of s), above 0.
    form : {"hard", "smooth"}
        "hard": g where |g| <= bound, else +-bound; not differentiable at the bound.
        "smooth": g / sqrt(1 + (g / bound)^2), analytic on the real line.

    Notes
    -----
    Trained embeddings and readouts are not clipped: they move as below Eq. (11).

    References
    ----------
    Marion, Wu, Sander, Biau 2023, arXiv:2309.01213, section 4.
    """

    bound: Annotated[float, positive]
    form: Literal["hard", "smooth"] = "hard"

    def __post_init__(self) -> None:
        check(self)

    @property
    def is_smooth(self) -> bool:
        """Whether pi has no kink."""
        return self.form == "smooth"

    def __call__(self, values: ArrayLike) -> Array:
        """pi of every entry of an array of any shape."""
        values = float_array("values", values, is_finite=False)
        out = np.empty(values.size)
        flat = np.ascontiguousarray(values).ravel()
        kernels.assembly.clip(flat, self.bound, self.is_smooth, out)
        return out.reshape(values.shape)
