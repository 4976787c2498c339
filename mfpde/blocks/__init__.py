"""Residual blocks f(z, theta): the formulas of theory.md, section 4, by name.

A block knows its sizes, the names of its parameters, and its compiled kernels; it knows
neither data nor grids. Any object with `d`, `k`, `param_names` and
`kernels(dtype)` (from `mfpde.kernels.build`) can take a block's place.
"""

from __future__ import annotations

from mfpde.blocks.elementary import Bias, Bilinear, Custom, Linear, Perceptron
from mfpde.blocks.homogeneous import Capped, SignedSquaredReLU, SquaredReLU
from mfpde.kernels import ACTIVATIONS

__all__ = [
    "ACTIVATIONS",
    "Bias",
    "Bilinear",
    "Capped",
    "Custom",
    "Linear",
    "Perceptron",
    "SignedSquaredReLU",
    "SquaredReLU",
]
