"""Exact references: training flows with a closed form or a small closed system.

They use NumPy and SciPy only and know nothing of the solver, so that a solver, this
one or any other, can be checked against them. Cases are frozen descriptions with the
verbs `output(s)`, `loss(s)` and `dissipation(s)`, for one training time or an array,
to 1e-10 or better; `finite_depth(n_layers)` is the residual network of that depth
instead of the limit. Theory, section 6.
"""

from mfpde.references.exact.bilinear import ScalarBilinear
from mfpde.references.exact.closed import ExactCase
from mfpde.references.exact.formulas import (
    bilinear_displacement,
    certified_rate,
    left_position_coefficient,
    near_two_layer_bound,
    near_two_layer_limit,
    order_reversal_infimum,
    orientation_infimum,
    scalar_sampling,
    second_moment_bound,
    tau_growth,
    tau_log_law,
    tau_perceptron_growth,
    tau_relu_bounds,
)
from mfpde.references.exact.matrix import MatrixLinear, WhitenedLinear
from mfpde.references.exact.moments import BilinearMoments, Moments, bures_distance
from mfpde.references.exact.scalar import (
    ScalarLinear,
    ScalarQuadratic,
    blow_up_depth,
)
from mfpde.references.exact.schemes import DepthScheme
from mfpde.references.exact.shallow import Bias, TwoLayer

__all__ = [
    "Bias",
    "BilinearMoments",
    "DepthScheme",
    "ExactCase",
    "MatrixLinear",
    "Moments",
    "ScalarBilinear",
    "ScalarLinear",
    "ScalarQuadratic",
    "TwoLayer",
    "WhitenedLinear",
    "bilinear_displacement",
    "blow_up_depth",
    "bures_distance",
    "certified_rate",
    "left_position_coefficient",
    "near_two_layer_bound",
    "near_two_layer_limit",
    "order_reversal_infimum",
    "orientation_infimum",
    "scalar_sampling",
    "second_moment_bound",
    "tau_growth",
    "tau_log_law",
    "tau_perceptron_growth",
    "tau_relu_bounds",
]
