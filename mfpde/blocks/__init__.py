"""Residual blocks f(z, theta): the formulas of theory.md, section 4, by name.

A block knows its sizes, the names of its parameters, and its compiled kernels; it knows
neither data nor grids. Any object with `d`, `k`, `param_names`, `describe()` and
`kernels(dtype)` (from `mfpde.kernels.build`) can take a block's place.
"""

from __future__ import annotations

from typing import Any

from mfpde.arrays import mapping
from mfpde.blocks.elementary import Bias, Bilinear, Custom, Linear, Perceptron
from mfpde.blocks.homogeneous import Capped, SignedSquaredReLU, SquaredReLU
from mfpde.kernels import ACTIVATIONS

__all__ = [
    "ACTIVATIONS",
    "BLOCKS",
    "Bias",
    "Bilinear",
    "Capped",
    "Custom",
    "Linear",
    "Perceptron",
    "SignedSquaredReLU",
    "SquaredReLU",
    "from_description",
]

BLOCKS = {
    "perceptron": Perceptron,
    "bilinear": Bilinear,
    "linear": Linear,
    "bias": Bias,
    "squared_relu": SquaredReLU,
    "signed_squared_relu": SignedSquaredReLU,
    "capped": Capped,
}
"""Kind, as a description and a configuration have it, to the block."""


def from_description(description: dict[str, Any]) -> Any:
    """Rebuild a block from the output of its `describe`."""
    options = dict(mapping("description", description))
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or kind not in BLOCKS:
        raise ValueError(
            f"`kind` of a block must be one of {', '.join(BLOCKS)}, got {kind!r}. "
            "A custom block cannot be rebuilt: pass the problem again."
        )
    return BLOCKS[kind](**options)
