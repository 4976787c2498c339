"""Laws with the same marginals: the limit sees nothing else of the initial law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import checked
from mfpde.laws.composite import Mixture, Path, Product
from mfpde.laws.elementary import Gaussian
from mfpde.laws.parameters import A_LAW
from mfpde.laws.process import GaussianProcess


@checked(law=A_LAW)
def marginal(law: Any) -> Any:
    """Return a law with the marginals of `law` at every depth t, and fewer numbers.

    Eq. (6) moves rho at each t by itself, so initial laws with equal marginals have the
    same limit, however their paths are coupled over depth (theory, section 1.3). A law
    with one random number per parameter is what quadrature wants: a path alpha + beta
    cos(pi t) with normal alpha and beta takes two.

    Parameters
    ----------
    law : Law

    Returns
    -------
    law : Law
        For sums of functions of t with normal coefficients, for Gaussian processes,
        and for products and mixtures of these; any other law as it is.
    """
    if isinstance(law, Path) and all(isinstance(c, Gaussian) for c in law.coefficients):
        return Gaussian(_SumOfMeans(law), _RootOfVariances(law), law.n_params)
    if isinstance(law, GaussianProcess):
        return Gaussian(law.mean, law.std, law.n_params)
    if isinstance(law, Product):
        return Product([marginal(each) for each in law.laws])
    if isinstance(law, Mixture):
        return Mixture([marginal(each) for each in law.laws], law.probabilities)
    return law


# Classes, not closures: laws are compared, and sent to other processes.
@dataclass(frozen=True)
class _SumOfMeans:
    """Mean of sum_r c_r phi_r(t), shape (k,)."""

    law: Path

    def __call__(self, t: float) -> NDArray[np.float64]:
        phi = self.law.function_values(t)
        return sum(f * c.mean for f, c in zip(phi, self.law.coefficients, strict=True))


@dataclass(frozen=True)
class _RootOfVariances:
    """Standard deviation of sum_r c_r phi_r(t), shape (k,)."""

    law: Path

    def __call__(self, t: float) -> NDArray[np.float64]:
        phi = self.law.function_values(t)
        stds = (c.std for c in self.law.coefficients)
        return np.sqrt(sum((f * s) ** 2 for f, s in zip(phi, stds, strict=True)))
