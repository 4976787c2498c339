"""Numba kernels: activations, sweeps through depth, vector operations."""

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
# Forms of pi of Eq. (10).
CLIPPINGS = ("hard", "smooth")
