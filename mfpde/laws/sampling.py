"""From a law to particles: sampling rules in theta, couplings in depth t.

A law is a transport map: `n_random` independent numbers, uniform on (0, 1), make
one particle, that is one path theta(t). A rule supplies the numbers and the
weights, and a coupling says which depth nodes share them (theory, section 1.3).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import (
    check_size,
    checked,
    choice,
    float_array,
    integer,
    seed_number,
    whole,
)
from mfpde.depth import A_DEPTH_GRID, DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.laws.parameters import A_LAW
from mfpde.laws.provenance import Provenance
from mfpde.laws.quadrature import TensorRule, quadrature_rule
from mfpde.laws.variables import base_paths, base_variables_of, from_uniform

METHODS = ("iid", "sobol", "quadrature")
COUPLINGS = ("path", "tied", "layer")

# Sets these draws apart from others that a user makes from the same seed.
STREAM = 0x6C6177
REPLICATES = 0x726570
SOBOL_BITS = 52  # with the shift by half a cell every number is exact in float64


@checked(law=A_LAW, grid=A_DEPTH_GRID)
def sample(
    law: Any,
    grid: DepthGrid,
    n_particles: int | None = None,
    *,
    method: str = "iid",
    coupling: str = "path",
    seed: int = 0,
    nodes: Sequence[int | str] | TensorRule | None = None,
    block: Any = None,
) -> ParticleEnsemble:
    """Draw particles from a law at the nodes of a depth grid.

    Parameters
    ----------
    law : Law
        Any object with `n_params`, `n_random` and `paths(u, t)`; for quadrature
        also `base_variables`.
    grid : DepthGrid
    n_particles : int
        Number of particles M at every node. For "quadrature" the largest number
        allowed, not needed where `nodes` says all.
    method : {"iid", "sobol", "quadrature"}
        Independent draws, a scrambled Sobol set (any M works, powers of two are
        balanced and best), or a tensor rule: see `quadrature_rule`.
    coupling : {"path", "tied", "layer"}
        "path": a particle is one path theta(t) of the law through all nodes.
        "tied": one draw, constant in t; needs a law with constant paths.
        "layer": fresh draws at every node (for "sobol": another scrambling);
        rough in t, so for Euler and midpoint grids only.
    seed : int
        Non-negative. The first particles of a larger ensemble with the same seed
        are those of a smaller one, and under "layer" the draws of node j depend
        on `seed` and j alone: common random numbers for studies in J and M.
    nodes : sequence of int, or TensorRule, optional
        For "quadrature": the number of nodes for each random number of the law, 0
        or "sobol" to fill the rest by a scrambled Sobol set; or the rule itself.
    block : block, optional
        For "quadrature": lets the rule follow the dependence of f on theta.

    Returns
    -------
    ensemble : ParticleEnsemble
        theta of shape (J, M, k); equal weights but for "quadrature".

    Raises
    ------
    ValueError
        If an option is unknown or does not fit the law or the grid.
    """
    seed = checked_options(law, grid, method, coupling, seed)
    t = np.asarray(grid.nodes, dtype=np.float64)
    stream = np.random.SeedSequence(seed, spawn_key=(STREAM,))
    if method == "quadrature":
        rule = quadrature_rule(law, n_particles, nodes=nodes, block=block)
        xi, weights = base_points(rule, base_variables_of(law), stream)
        theta = _checked(law, base_paths(law, xi, t), xi, t)
        origin = Provenance(law, None, method, coupling, seed, rule)
        return ParticleEnsemble(theta, weights, origin)
    if nodes is not None:
        raise ValueError(f'`nodes` is for `method` = "quadrature", got "{method}".')
    n_particles = integer("n_particles", n_particles, minimum=1)
    check_size("n_particles", len(t), n_particles, max(law.n_params, law.n_random))
    origin = Provenance(law, n_particles, method, coupling, seed)
    if coupling == "layer":
        theta = np.empty((len(t), n_particles, law.n_params))
        for j in range(len(t)):
            stream = np.random.SeedSequence(seed, spawn_key=(STREAM, j))
            u = uniform_points(law.n_random, n_particles, method, stream)
            theta[j] = _paths(law, u, t[j : j + 1])[0]
        return ParticleEnsemble(theta, provenance=origin)
    u = uniform_points(law.n_random, n_particles, method, stream)
    # "tied" asks for constant paths, checked above, and is then the same.
    return ParticleEnsemble(_paths(law, u, t), provenance=origin)


@checked(law=A_LAW, grid=A_DEPTH_GRID, n_particles=whole(1), n_replicates=whole(2))
def replicates(
    law: Any,
    grid: DepthGrid,
    n_particles: int,
    n_replicates: int,
    *,
    method: str = "sobol",
    seed: int = 0,
    **options: Any,
) -> list[ParticleEnsemble]:
    """Draw the same number of particles several times, independently.

    The spread of a result over the replicates is an error bar of its sampling error,
    also for scrambled Sobol sets, whose own points are not independent: see
    `replicate_mean`.

    Parameters
    ----------
    law, grid, n_particles, method, **options
        As for `sample`. "quadrature" needs `nodes` that leave something to Sobol.
    n_replicates : int
        At least 2. The first of a longer list are those of a shorter one.
    seed : int
        Non-negative; each replicate has a seed of its own, made from this one.

    Returns
    -------
    ensembles : list of ParticleEnsemble
    """
    seed = seed_number("seed", seed)
    choice(*METHODS)("method", method)
    if method == "quadrature":
        nodes = options.get("nodes")
        counts = nodes.counts if isinstance(nodes, TensorRule) else nodes
        if counts is None or not {0, "sobol"} & set(counts):
            raise ValueError(
                '`method` = "quadrature" makes the same particles every time: '
                "replicates need `nodes` with 0 for Sobol in some. Refine the rule "
                "instead for an error estimate."
            )
    stream = np.random.SeedSequence(seed, spawn_key=(REPLICATES,))
    seeds = stream.generate_state(n_replicates, np.uint64)
    draw = getattr(law, "sample", partial(sample, law))
    return [
        draw(grid, n_particles, method=method, seed=int(each), **options)
        for each in seeds
    ]


def replicate_mean(
    values: ArrayLike,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard error of a result over replicates.

    Parameters
    ----------
    values : array_like, shape (n_replicates, ...)
        For example the outputs of the solution from each of `replicates`.

    Returns
    -------
    mean, standard_error : ndarray, shape (...)
        The standard error is that of the mean; one replicate has sqrt(n_replicates)
        times as much.
    """
    array = float_array("values", values)
    if array.ndim == 0 or len(array) < 2:
        raise ValueError(
            "`values` must hold at least 2 replicates on its first axis, got shape "
            f"{array.shape}."
        )
    return array.mean(axis=0), array.std(axis=0, ddof=1) / np.sqrt(len(array))


def uniform_points(
    n_random: int, n_particles: int, method: str, stream: np.random.SeedSequence
) -> NDArray[np.float64]:
    """Points of equal weight in the open unit cube, shape (M, n_random)."""
    if method == "sobol":
        return _sobol(n_random, n_particles, stream)
    u = np.random.default_rng(stream).random((n_particles, n_random))
    return np.maximum(u, 2.0**-54, out=u)  # random() may return 0, quantile -inf


def base_points(
    rule: TensorRule, variables: Sequence[str], stream: np.random.SeedSequence
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Base variables at the particles of a tensor rule, Sobol points where it has room.

    Returns
    -------
    xi : ndarray, shape (M, n_random)
    weights : ndarray, shape (M,)
    """
    nodes, weights = rule.tensor()
    if not rule.is_mixed:
        return nodes, weights
    is_counted = np.array(rule.counts) > 0
    rest = [
        variable
        for variable, counted in zip(variables, is_counted, strict=True)
        if not counted
    ]
    u = _sobol(len(rest), rule.n_sobol, stream)
    xi = np.empty((len(nodes), len(u), len(variables)))
    xi[..., is_counted] = nodes[:, np.newaxis]
    xi[..., ~is_counted] = from_uniform(u, rest)
    return xi.reshape(-1, len(variables)), np.repeat(weights, len(u)) / len(u)


def _sobol(
    n_random: int, n_particles: int, stream: np.random.SeedSequence
) -> NDArray[np.float64]:
    if n_random == 0:
        return np.empty((n_particles, 0))
    # Late: scipy.stats takes half a second and 50 MB, which most runs do not need.
    from scipy.stats import qmc

    if n_random > qmc.Sobol.MAXDIM:
        raise ValueError(
            f'`method` = "sobol" allows {qmc.Sobol.MAXDIM} random numbers per '
            f'particle, this law needs {n_random}. Use "iid".'
        )
    # SciPy renamed the keyword in 1.15.
    keyword = "rng" if "rng" in inspect.signature(qmc.Sobol).parameters else "seed"
    options = {keyword: np.random.default_rng(stream)}
    engine = qmc.Sobol(n_random, scramble=True, bits=SOBOL_BITS, **options)
    # The next power of two, cut: random(M) would warn for every other M.
    u = engine.random_base2((n_particles - 1).bit_length())[:n_particles]
    return u + 2.0 ** -(SOBOL_BITS + 1)


def _paths(
    law: Any, u: NDArray[np.float64], t: NDArray[np.float64]
) -> NDArray[np.float64]:
    return _checked(law, law.paths(u, t), u, t)


def _checked(
    law: Any,
    theta: NDArray[np.float64],
    points: NDArray[np.float64],
    t: NDArray[np.float64],
) -> NDArray[np.float64]:
    expected = (len(t), len(points), law.n_params)
    if np.shape(theta) != expected:
        raise ValueError(
            f"`paths` of {type(law).__name__} must return shape (n_nodes, "
            f"n_particles, n_params) = {expected}, got {np.shape(theta)}."
        )
    return theta


def checked_options(
    law: Any, grid: DepthGrid, method: str, coupling: str, seed: Any
) -> int:
    """Check the options of `sample` but the sizes; return `seed` as int."""
    seed = seed_number("seed", seed)
    if isinstance(method, str) and method == "sparse":
        raise ValueError(
            '`method` = "sparse": sparse grids have negative weights, and an ensemble '
            'is a measure with positive ones. Use "quadrature", or "sobol".'
        )
    choice(*METHODS)("method", method)
    choice(*COUPLINGS)("coupling", coupling)
    if coupling == "layer" and method == "quadrature":
        raise ValueError(
            '`coupling` = "layer" wants fresh draws at every node, but `method` = '
            '"quadrature" draws none. Use coupling "path", or method "sobol".'
        )
    if coupling == "layer" and not grid.has_separate_nodes:
        raise ValueError(
            '`coupling` = "layer" is rough in t (depth) and needs an "euler", '
            f'"layers" or "midpoint" grid, got "{grid.scheme}". Use coupling "path".'
        )
    if coupling == "tied" and not getattr(law, "is_constant_in_t", False):
        raise ValueError(
            '`coupling` = "tied" needs a law whose paths are constant in t (depth), '
            f'but {type(law).__name__} depends on t. Use coupling "path".'
        )
    return seed
