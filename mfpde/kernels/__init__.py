"""Numba kernels: activations, sweeps through depth, vector operations.

Its modules are attributes, imported when they are used first: numba takes a second.
"""

from __future__ import annotations

from mfpde.lazy_names import lazy_names

# Types of the numbers that the sweeps work with.
DTYPES = ("float64", "float32")
# Names of the functions of `vectormath`, for those who must not import numba.
ACTIVATIONS = (
    "tanh",
    "sigmoid",
    "softplus",
    "gelu",
    "relu",
    "leaky_relu",
    "regularised_relu",
    "squared_relu",
    "sin",
    "identity",
)
# What may follow every layer as psi of Eq. (9): an activation of each component, or of
# all d of them together: relu(a) brought to root mean square one.
NORMALISED = "normalised_relu"
OUTER_ACTIVATIONS = (*ACTIVATIONS, NORMALISED)

__getattr__, __dir__, __all__ = lazy_names(__name__)
