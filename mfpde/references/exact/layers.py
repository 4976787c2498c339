"""Layer means of scalar networks: the end state, its slopes, and their descent.

Infinite depth is one "layer" with z(1) = x e^mean, an Euler network of L layers has
z(1) = x prod_l (1 + mean_l / L).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mfpde.arrays import float_array
from mfpde.references.exact.closed import Array, ExactCase, mean_over_samples


class LayerCase(ExactCase):
    """A scalar case whose end state depends on one mean of every layer.

    `n_layers` is None for infinite depth, and then there is one mean only.
    """

    __slots__ = ()

    x: Array
    n_layers: int | None

    def end_states(self, means: Array) -> Array:
        """z_i(1), shape (...) + x.shape, for means (..., J)."""
        means = self._checked(means)
        return np.multiply.outer(_growth(means, self.n_layers)[0], self.x)

    def descent(self, means: Array) -> Array:
        """-mean_i p_i z_i of every layer, (..., J); Euler: -mean_i p_i[l + 1] z_i[l].

        -L dE / d(mean of the layer): the velocity for f = theta z, -c for f = v u z.
        """
        return self._descent(self._checked(means))

    def _descent(self, means: Array) -> Array:
        """The same without a check: trial steps may overflow."""
        growth, slopes = _growth(means, self.n_layers)
        z = np.multiply.outer(growth, self.x)
        force = mean_over_samples(self.x * (z - self.y), self.sample_weights)
        return -np.asarray(force)[..., np.newaxis] * slopes

    def _checked(self, means: ArrayLike) -> Array:
        """Means of the layers (..., J) as an array."""
        means, n = float_array("means", means), self.n_layers or 1
        if means.ndim == 0 or means.shape[-1] != n:
            raise ValueError(
                f"`means` must have shape (..., {n}), one mean for each layer, got "
                f"{means.shape}."
            )
        return means


def _growth(means: Array, n_layers: int | None) -> tuple[Array, Array]:
    """z(1) / x, and L times its derivative in every layer's mean.

    `means` is (..., J), J = 1 for infinite depth; the results are (...) and (..., J).
    """
    if n_layers is None:
        growth = np.exp(means)
        return growth[..., 0], growth
    factors = 1.0 + means / n_layers
    # Products of all other factors, without a division: a factor may be zero.
    one = np.ones_like(factors[..., :1])
    before = np.cumprod(np.concatenate([one, factors[..., :-1]], axis=-1), axis=-1)
    after = np.cumprod(np.concatenate([one, factors[..., :0:-1]], axis=-1), axis=-1)
    return factors.prod(axis=-1), before * after[..., ::-1]


def per_layer(name: str, value: ArrayLike, n_layers: int | None) -> Array:
    """Moments of the layers, shape (n_layers,), or (1,) for infinite depth."""
    array = float_array(name, value)
    n = n_layers or 1
    if array.ndim > 1 or array.size not in (1, n):
        wanted = f"a number or have shape ({n},)" if n_layers else "a number"
        raise ValueError(
            f"`{name}` must be {wanted}, got shape {array.shape}; moments that differ "
            "between layers need `n_layers`."
        )
    return np.broadcast_to(array.ravel(), n)


def common(name: str, values: Array) -> float:
    """The moment all layers share."""
    if np.ptp(values) > 0.0:
        raise ValueError(
            f"`{name}` differs between layers, so it has no meaning at another number "
            "of layers. Build the other network with moments of its own."
        )
    return float(values[0])
