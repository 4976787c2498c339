"""The density of rho on a grid in theta, for k = 1 or 2 parameters, Eqs. (6) and (16).

An independent discretisation: conservative finite volumes, with or without noise. It
shares with the particles the problem only; the formulas of f stand here once more.
"""

from mfpde.references.density.solution import DensitySolution
from mfpde.references.density.solver import solve_density

__all__ = ["DensitySolution", "solve_density"]
