"""What `solve_density` returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import checked, whole
from mfpde.problem import MeanFieldProblem
from mfpde.references.density.mesh import Mesh

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DensitySolution:
    """The density of rho at the recorded training times, and what follows from it.

    Attributes
    ----------
    problem : MeanFieldProblem
    mesh : Mesh
        With `edges`, `centres`, `widths` and `volume` of the cells.
    t, t_weights : ndarray, shape (J,)
        Depth nodes (both ends included) and their weights, with sum 1.
    temperature : float
        nu of Eq. (16).
    s : ndarray, shape (R,)
        Training times.
    density : ndarray, shape (R, J, n_1) or (R, J, n_1, n_2)
        Averages over the cells; with noise values at their centres.
    output : ndarray, shape (R, N, q)
    loss, objective : ndarray, shape (R,)
        E of Eq. (3), and E_s of Eq. (12).
    second_moment : ndarray, shape (R,)
        M2 of Eq. (12).
    free_energy : ndarray, shape (R,)
        E_s + nu int int rho ln rho dtheta dt; it does not increase for constant
        lambda.
    potential : ndarray, shape (J, *cells)
        dE/drho + lambda |theta|^2 at the centres, at the last record.
    mass_error : ndarray, shape (R,)
        Largest |mass - 1| over the depth nodes: rounding.
    mass_outside : float
        Largest mass of the initial law outside the mesh.
    wall_mass : ndarray, shape (R,)
        Largest mass, over the depth nodes, in the two layers of cells at the walls.
        While it is negligible the walls do not matter; above 1e-5 there is a
        `ToleranceWarning`.
    output_error, loss_error : ndarray, shape (R,), or None
        Estimated errors, `output_error` that of the largest one over samples and
        outputs: from meshes with half and a quarter of the cells (and longer steps
        in s), plus the change with two depth nodes less. They do not see the walls.
    order : ndarray, shape (R,), or None
        Order in the width of the cells that the outputs of the three meshes show,
        between 1/2 and 4; used in the estimates.
    n_steps, n_rejected, n_evaluations : int
        On the finest mesh: steps, rejected ones, solutions of Eqs. (1) and (4).
    """

    problem: MeanFieldProblem
    mesh: Mesh
    t: Array
    t_weights: Array
    temperature: float
    s: Array
    density: Array
    output: Array
    loss: Array
    objective: Array
    second_moment: Array
    free_energy: Array
    potential: Array
    mass_error: Array
    mass_outside: float
    wall_mass: Array
    output_error: Array | None
    loss_error: Array | None
    order: Array | None
    n_steps: int
    n_rejected: int
    n_evaluations: int

    @checked(parameter=whole(-2))
    def marginal(self, parameter: int = 0) -> Array:
        """Densities of one parameter, (R, J, n_c), the other one integrated out."""
        k = self.mesh.k
        if not -k <= parameter < k:
            raise ValueError(
                f"`parameter` must be one of 0 to {k - 1}, got {parameter!r}."
            )
        parameter %= k
        others = tuple(c for c in range(k) if c != parameter)
        width = float(np.prod([self.mesh.widths[c] for c in others]))
        return self.density.sum(axis=tuple(c + 2 for c in others)) * width

    def gibbs(self) -> Array:
        """Stationary law (17) of the last potential, (J, *cells), mass 1 at each t.

        The last density equals it where the flow with noise has come to rest.
        """
        if self.temperature == 0.0:
            raise ValueError("The law (17) needs noise: `temperature` was 0.")
        axes = tuple(range(1, self.potential.ndim))
        least = self.potential.min(axis=axes, keepdims=True)
        # The smallest number is exp(-745), and less noise must not overflow.
        above = np.minimum(self.potential - least, 745.0 * self.temperature)
        weights = np.exp(-above / self.temperature)
        return weights / weights.sum(axis=axes, keepdims=True) / self.mesh.volume

    def __repr__(self) -> str:
        cells = " x ".join(str(n) for n in self.mesh.shape)
        return (
            f"DensitySolution({cells} cells, {len(self.t)} depth nodes, "
            f"s={self.s[-1]:g}, loss={self.loss[-1]:.6g})"
        )
