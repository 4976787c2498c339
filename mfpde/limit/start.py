"""The particles with which a search for the limit begins: the choice of their rule."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from mfpde.arrays import choice
from mfpde.laws.provenance import Provenance
from mfpde.laws.quadrature import TensorRule, quadrature_rule
from mfpde.laws.variables import base_variables_of
from mfpde.problem import MeanFieldProblem

METHODS = ("auto", "quadrature", "sobol")
START_NODES = 4
START_PARTICLES = 256
MOST_NUMBERS = 4
"""Random numbers of a law up to which a tensor rule is the choice of "auto"."""
CORNER_MARGIN = 5.0
"""Normal numbers are cut at a radius with exp(-radius^2 / 2) = exp(-5) tol."""


def first_rule(
    problem: MeanFieldProblem,
    law: Any,
    method: str,
    max_particles: int,
    seed: int,
    tol: float,
) -> Provenance:
    """Return the coarsest particles, of the rule that shall be refined.

    Parameters
    ----------
    problem : MeanFieldProblem
    law : Law
    method : {"auto", "quadrature", "sobol"}
        "auto" takes a tensor rule for a smooth block and few independent numbers.
    max_particles : int
    seed : int
        Of Sobol points.
    tol : float
        Tolerance, which tells how far out normal numbers matter.

    Raises
    ------
    ValueError, TypeError
        If the law does not fit the block or the method.
    """
    choice(*METHODS)("method", method)
    if not all(hasattr(law, name) for name in ("n_params", "n_random", "paths")):
        raise TypeError(
            f"`law` must be a law such as mfpde.laws.Gaussian(0, 1, k), got {law!r}."
        )
    if law.n_params != problem.k:
        raise ValueError(
            f"`law` must have the k = {problem.k} parameters of the block, "
            f"got {law.n_params}."
        )
    atoms = getattr(law, "atoms", None)
    if law.n_random == 0 or (atoms is not None and len(atoms) <= max_particles):
        return Provenance(law, 1 if atoms is None else len(atoms), seed=seed)
    is_product = base_variables_of(law) is not None
    if method == "quadrature":
        _check_product(law, is_product, max_particles)
    is_smooth = not problem.has_kinks
    is_tensor = is_product and is_smooth and law.n_random <= MOST_NUMBERS
    if method == "quadrature" or (method == "auto" and is_tensor):
        nodes = (START_NODES,) * law.n_random
        tensor = _tensor(quadrature_rule(law, nodes=nodes, block=problem.block), tol)
        return Provenance(law, method="quadrature", seed=seed, rule=tensor)
    n = min(START_PARTICLES, max_particles)
    return Provenance(law, n, method="sobol", seed=seed)


def _tensor(rule: TensorRule, tol: float) -> TensorRule:
    """The rule with nodes close at the origin, and without its improbable corners."""
    kinds = tuple("sinh" if kind == "trapezoid" else kind for kind in rule.kinds)
    radius = math.sqrt(2.0 * (CORNER_MARGIN - math.log(tol)))
    return replace(rule, kinds=kinds, radius=radius)


def _check_product(law: Any, is_product: bool, max_particles: int) -> None:
    if not is_product:
        raise ValueError(
            '`method` = "quadrature" needs a law of independent numbers (a product), '
            f'got {type(law).__name__}; use method "sobol".'
        )
    n_start = START_NODES**law.n_random
    if n_start > 2 * max_particles:
        raise ValueError(
            f'`method` = "quadrature" starts with {START_NODES} nodes for each of the '
            f"{law.n_random} random numbers of the law, {n_start:,} particles and more "
            f'than `max_particles` = {max_particles} allows; use method "sobol".'
        )
