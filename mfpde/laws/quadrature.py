"""Tensor rules over the germs of a law, and how a budget is shared among them.

Frozen weights on moving nodes keep the accuracy of a rule along the flow (theory,
section 2.3), as long as every weight is positive: rho stays a measure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.laws.germs import germ_paths, germs_of
from mfpde.laws.parameters import integer
from mfpde.laws.rules import RULES

SOBOL = "sobol"
WIDE = 0.6
"""Standard deviation from which on a normal germ wants nodes of "sinh": the poles of
an activation are then too near for Gauss-Hermite."""
FEWEST = 2  # nodes that keep mean and variance of a germ


@dataclass(frozen=True, slots=True)
class TensorRule:
    """A product of rules on a line, one for each germ of a law.

    Parameters
    ----------
    kinds : tuple of str
        For each germ "legendre", "hermite", "trapezoid", or another key of `RULES`.
    counts : tuple of int
        Nodes for each germ; 0 leaves a germ to the scrambled Sobol set.
    is_folded : bool
        Keep one node of every pair xi, -xi (u, 1 - u), with twice the weight. Exact
        where law and block do not change with the sign of theta.
    n_sobol : int
        Points of the Sobol set; each is combined with every node.
    """

    kinds: tuple[str, ...]
    counts: tuple[int, ...]
    is_folded: bool = False
    n_sobol: int = 1

    @property
    def is_mixed(self) -> bool:
        """Whether some germs are left to the Sobol set."""
        return 0 in self.counts

    @property
    def n_nodes(self) -> int:
        """Number of tensor nodes, after folding."""
        n_nodes = math.prod(count for count in self.counts if count)
        return (n_nodes + 1) // 2 if self.is_folded else n_nodes

    @property
    def n_particles(self) -> int:
        """Number of particles per depth node."""
        return self.n_nodes * self.n_sobol

    def with_count(self, germ: int, count: int) -> TensorRule:
        """Return the rule with another number of nodes for one germ."""
        counts = list(self.counts)
        counts[germ] = integer("count", count, minimum=1)
        return replace(self, counts=tuple(counts))

    def tensor(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Nodes (n_nodes, n_counted) of the germs that are counted, and weights."""
        pairs = zip(self.kinds, self.counts, strict=True)
        lines = [RULES[kind][1](count) for kind, count in pairs if count]
        axes = np.meshgrid(*(x for x, _ in lines), indexing="ij")
        nodes = np.array([axis.ravel() for axis in axes]).reshape(len(lines), -1).T
        weights = np.ones(1)
        for _, line_weights in lines:
            weights = np.multiply.outer(weights, line_weights).ravel()
        if not lines:
            nodes = np.empty((1, 0))
        if self.is_folded:
            # Every line is symmetric: the reflection reverses the order.
            half = self.n_nodes
            is_odd = len(weights) % 2
            nodes, weights = nodes[:half], 2.0 * weights[:half]
            if is_odd:
                weights[-1] *= 0.5
        return nodes, weights / weights.sum()


def quadrature_rule(
    law: Any,
    n_particles: int | None = None,
    *,
    nodes: Sequence[int | str] | TensorRule | None = None,
    block: Any = None,
) -> TensorRule:
    """Choose a tensor rule for a law of independent germs.

    Parameters
    ----------
    law : Law
    n_particles : int, optional
        Largest number of particles. Without `nodes` the best tensor that fits is
        taken; a mixed rule takes the largest power of two of Sobol points.
    nodes : sequence of int, optional
        Nodes for each random number of the law; 0 or "sobol" fills it by Sobol.
    block : block, optional
        Then parameters in which f is linear get few nodes, and where law and f do
        not change with the sign of theta, the rule is folded: half the particles.

    Returns
    -------
    rule : TensorRule

    Raises
    ------
    ValueError
        If the law has no independent germs, or the budget is too small.
    """
    germs = _checked_germs(law)
    is_linear = _linear_params(law, block)
    is_folded = _can_fold(law, block)
    sizes = germ_sizes(law, germs)
    kinds = tuple(
        _kind(germ, size, is_linear) for germ, size in zip(germs, sizes, strict=True)
    )
    if n_particles is not None:
        n_particles = integer("n_particles", n_particles, minimum=1)
    if nodes is not None:
        counts = _checked_nodes(nodes, len(germs))
        rule = TensorRule(kinds, counts, is_folded and any(counts))
        return _filled(rule, n_particles)
    if n_particles is None:
        raise ValueError("`n_particles` is needed where `nodes` is not given.")
    needs = [
        _need(germ, size, is_linear) for germ, size in zip(germs, sizes, strict=True)
    ]
    return _largest(TensorRule(kinds, (1,) * len(germs), is_folded), needs, n_particles)


def germ_sizes(law: Any, germs: Sequence[str]) -> NDArray[np.float64]:
    """How far a germ moves each parameter, at any depth: (n_random, k).

    By one standard deviation of a normal germ, by half the width of a uniform one.
    """
    is_normal = np.array([germ == "normal" for germ in germs], dtype=bool)
    middle = np.where(is_normal, 0.0, 0.5)
    step = np.where(is_normal, 1.0, 0.25)
    xi = np.vstack([middle, middle + np.diag(step)])
    theta = germ_paths(law, xi, np.linspace(0.0, 1.0, 9))
    moved = np.abs(theta[:, 1:] - theta[:, :1]).max(axis=0)
    return moved * np.where(is_normal, 1.0, 2.0)[:, np.newaxis]


def _checked_germs(law: Any) -> tuple[str, ...]:
    germs = germs_of(law)
    if germs is not None:
        return germs
    raise ValueError(
        '`method` = "quadrature" needs a law of independent germs, and '
        f'{type(law).__name__} declares none: use "sobol". A law whose paths are '
        'smooth in its n_random uniform numbers says so by `germs` = ("uniform",) * '
        "n_random."
    )


def _linear_params(law: Any, block: Any) -> NDArray[np.bool_]:
    """Which of the k parameters enter f linearly, (k,)."""
    is_linear = np.zeros(law.n_params, dtype=bool)
    if block is None:
        return is_linear
    if block.k != law.n_params:
        raise ValueError(
            f"`block` must have k = {law.n_params} parameters as the law has, got "
            f"{block.k}."
        )
    groups = block.param_groups
    for name in getattr(block, "linear_groups", ()):
        is_linear[groups[name]] = True
    return is_linear


def _can_fold(law: Any, block: Any) -> bool:
    is_even = getattr(block, "is_even_in_theta", False)
    return bool(is_even and getattr(law, "is_symmetric", False))


def _kind(germ: str, size: NDArray[np.float64], is_linear: NDArray[np.bool_]) -> str:
    if germ == "uniform":
        return "legendre"
    return "sinh" if size[~is_linear].max(initial=0.0) > WIDE else "hermite"


def _need(germ: str, size: NDArray[np.float64], is_linear: NDArray[np.bool_]) -> float:
    """Nodes of a germ relative to those of others; 0 if it moves nothing."""
    if not size.any():
        return 0.0
    return 1.0 if size[~is_linear].any() else 0.25


def _checked_nodes(nodes: Any, n_random: int) -> tuple[int, ...]:
    if isinstance(nodes, str) or not hasattr(nodes, "__len__"):
        raise TypeError(
            "`nodes` must be a sequence of numbers of nodes, one for each random "
            f"number of the law, got {nodes!r}."
        )
    if len(nodes) != n_random:
        raise ValueError(
            "`nodes` must have one entry for each random number of the law, "
            f"n_random = {n_random}, got {len(nodes)}."
        )
    return tuple(
        0
        if isinstance(each, str) and each == SOBOL
        else integer("nodes", each, minimum=0)
        for each in nodes
    )


def _filled(rule: TensorRule, n_particles: int | None) -> TensorRule:
    """The rule with as many Sobol points as the budget allows, if it is mixed."""
    if n_particles is None:
        if rule.is_mixed:
            raise ValueError("`n_particles` is needed where `nodes` has zeros.")
        return rule
    if rule.n_nodes > n_particles:
        raise ValueError(
            f"`nodes` makes {rule.n_nodes} particles, more than `n_particles` = "
            f"{n_particles}."
        )
    if not rule.is_mixed:
        return rule
    room = n_particles // rule.n_nodes
    return replace(rule, n_sobol=2 ** (room.bit_length() - 1))


def _largest(rule: TensorRule, needs: Sequence[float], n_particles: int) -> TensorRule:
    """The rule grown node by node while it fits, least served germ first."""
    counts = tuple(FEWEST if need else 1 for need in needs)
    rule = replace(rule, counts=counts)
    if rule.n_particles > n_particles:
        n_used = sum(need > 0 for need in needs)
        raise ValueError(
            f"`n_particles` = {n_particles} is too few for {FEWEST} quadrature nodes "
            f"in each of {n_used} random numbers, which makes {rule.n_particles}. "
            'Give `nodes` with 0 for Sobol in some, or use `method` = "sobol".'
        )
    open_germs = {germ for germ, need in enumerate(needs) if need}
    while open_germs:
        least = min(open_germs, key=lambda germ: rule.counts[germ] / needs[germ])
        larger = rule.with_count(least, rule.counts[least] + 1)
        if larger.n_particles <= n_particles:
            rule = larger
        else:
            open_germs.remove(least)
    return rule
