"""What theory says of a problem or a flow, one module for each subject."""

from mfpde.theory import (
    entropy,
    homogeneity,
    joint,
    landscape,
    lazy,
    shallow,
    supports,
    tangent,
)

__all__ = [
    "entropy",
    "homogeneity",
    "joint",
    "landscape",
    "lazy",
    "shallow",
    "supports",
    "tangent",
]
