"""A law: theta is uniform on a sphere, the same at every depth."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

import mfpde


@mfpde.register
@dataclass(frozen=True)
class Sphere(mfpde.laws.Law):
    """Uniform on the sphere of a radius in R^k.

    Parameters
    ----------
    n_params : int
        k, parameters per particle.
    radius : float
        Its radius.
    """

    n_params: int
    radius: float = 1.0

    is_constant_in_t = True
    is_symmetric = True

    def __post_init__(self):
        if not self.radius > 0.0:
            raise ValueError(f"`radius` must be positive, got {self.radius!r}.")

    @property
    def n_random(self):
        return self.n_params

    def paths(self, u, t):
        normal = ndtri(u)
        points = self.radius * normal / np.linalg.norm(normal, axis=1, keepdims=True)
        return np.broadcast_to(points, (len(t), *points.shape))
