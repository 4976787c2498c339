"""A block: each component is moved by itself, f_c = v_c sin(u_c z_c)."""

import math
from dataclasses import dataclass

import mfpde


def f(z, theta, out):
    d = len(z)
    for c in range(d):
        out[c] = theta[d + c] * math.sin(theta[c] * z[c])


def vjp_z(z, theta, p, out):
    d = len(z)
    for c in range(d):
        out[c] = p[c] * theta[d + c] * math.cos(theta[c] * z[c]) * theta[c]


def vjp_theta(z, theta, p, out):
    d = len(z)
    for c in range(d):
        out[c] = p[c] * theta[d + c] * math.cos(theta[c] * z[c]) * z[c]
        out[d + c] = p[c] * math.sin(theta[c] * z[c])


@mfpde.register
@dataclass(frozen=True)
class Waves:
    """f_c(z, theta) = v_c sin(u_c z_c), theta = (u, v).

    Parameters
    ----------
    d : int
        Size of the state.
    """

    d: int

    def __post_init__(self):
        if self.d < 1:
            raise ValueError(f"`d` must be at least 1, got {self.d!r}.")

    @property
    def k(self):
        return 2 * self.d

    @property
    def param_groups(self):
        return {"u": slice(0, self.d), "v": slice(self.d, 2 * self.d)}

    @property
    def param_names(self):
        return [f"{name}{c + 1}" for name in "uv" for c in range(self.d)]

    def kernels(self, dtype="float64"):
        return mfpde.blocks.Custom(self.d, self.k, f, vjp_z, vjp_theta).kernels(dtype)
