"""A residual scale: 1 / (L log(e + L))."""

import math

import mfpde


@mfpde.register(kind="residual scale")
def logarithmic(n_layers: int, base: float = math.e):
    """tau = 1 / (L log(base + L)).

    Parameters
    ----------
    n_layers : int
        L.
    base : float
        What L is added to.
    """
    if not base > 0.0:
        raise ValueError(f"`base` must be positive, got {base!r}.")
    return 1.0 / (n_layers * math.log(base + n_layers))
