"""Tensor rules over the base random variables of a law; sharing of a budget.

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

from mfpde.arrays import (
    a_float,
    check_fields,
    check_size,
    checked,
    choice,
    flag,
    optional,
    sequence,
    shown,
    whole,
)
from mfpde.laws.parameters import A_BLOCK, A_LAW, integer
from mfpde.laws.rules import RULES, trapezoid_end
from mfpde.laws.variables import base_paths, base_variables_of

SOBOL = "sobol"
MOST_NODES = 1000  # of one variable
FEWEST = 2  # nodes that keep mean and variance of a variable
# Distance from the real line to which the flow is taken to be analytic in a parameter,
# where the block says nothing.
USUAL_REACH = 0.5
# From this reach on, in units of the variable, a Gauss rule needs the fewest nodes.
LONG_REACH = 1.4
# A ball instead of a cube saves nodes once the corners are this improbable, exp(-8);
# the mass outside it is exp(-4) times the error expected of the rule, or less.
CUT_FROM, CUT_MARGIN = 8.0, 4.0
CHUNK = 64  # variables looked at together


@dataclass(frozen=True, slots=True)
class TensorRule:
    """A product of rules on a line, one for each variable of a law.

    Parameters
    ----------
    kinds : tuple of str
        For each variable "legendre" or "transplanted" (uniform), "hermite" or
        "trapezoid" (normal): see `mfpde.laws.rules`.
    counts : tuple of int
        Nodes for each variable; 0 leaves a variable to the scrambled Sobol set.
    is_folded : bool
        Keep one node of every pair xi, -xi (u, 1 - u), with twice the weight. Exact
        where law and block do not change with the sign of theta.
    n_sobol : int
        Points of the Sobol set; each is combined with every node.
    radius : float
        Leave out the nodes whose normal variables lie outside a ball of this radius.
    """

    kinds: tuple[str, ...]
    counts: tuple[int, ...]
    is_folded: bool = False
    n_sobol: int = 1
    radius: float = math.inf

    def __post_init__(self) -> None:
        names = sequence(choice(*RULES))
        check_fields(
            self,
            kinds=names,
            counts=sequence(whole(0, MOST_NODES)),
            is_folded=flag,
            n_sobol=whole(1),
            radius=_radius,
        )
        if len(self.kinds) != len(self.counts):
            raise ValueError(
                "`kinds` and `counts` must have one entry for each variable, got "
                f"{len(self.kinds)} kinds and {len(self.counts)} counts."
            )

    @property
    def base_variables(self) -> tuple[str, ...]:
        """Kind of variable that each rule is for."""
        return tuple(RULES[kind][0] for kind in self.kinds)

    @property
    def is_mixed(self) -> bool:
        """Whether some variables are left to the Sobol set."""
        return 0 in self.counts

    @property
    def n_nodes(self) -> int:
        """Number of tensor nodes, those left out not counted."""
        if self.radius == math.inf:
            n_nodes = math.prod(count for count in self.counts if count)
        else:
            n_nodes = int(np.count_nonzero(self._is_inside()))
        return (n_nodes + 1) // 2 if self.is_folded else n_nodes

    @property
    def n_particles(self) -> int:
        """Number of particles per depth node."""
        return self.n_nodes * self.n_sobol

    @checked(count=whole(1, MOST_NODES))
    def with_count(self, variable: int, count: int) -> TensorRule:
        """Return the rule with another number of nodes for one variable."""
        counts = list(self.counts)
        variable = integer("variable", variable, -len(counts), len(counts) - 1)
        counts[variable] = count
        return replace(self, counts=tuple(counts))

    def tensor(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Nodes of the counted variables and their weights.

        Returns
        -------
        nodes : ndarray, shape (n_nodes, number of counted variables)
        weights : ndarray, shape (n_nodes,)
            Positive, with sum one.
        """
        lines = self._lines()
        shape = [len(x) for _, x, _ in lines]
        weights = _outer(np.multiply, [w for _, _, w in lines], 1.0)
        index = np.flatnonzero(self._is_inside())
        if self.is_folded:
            # Lines are symmetric, so the reflection reverses the order of the nodes.
            index = index[: (len(index) + 1) // 2]
        places = np.unravel_index(index, shape) if lines else ()
        nodes = np.empty((len(index), len(lines)))
        for column, (place, (_, x, _)) in enumerate(zip(places, lines, strict=True)):
            nodes[:, column] = x[place]
        is_middle = 2 * index == len(weights) - 1
        kept = weights[index] * np.where(is_middle & self.is_folded, 0.5, 1.0)
        return nodes, kept / kept.sum()

    def _lines(self) -> list[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
        """Base variable, nodes and weights of every counted variable."""
        pairs = zip(self.kinds, self.counts, strict=True)
        return [
            (RULES[kind][0], *RULES[kind][1](count)) for kind, count in pairs if count
        ]

    def _is_inside(self) -> NDArray[np.bool_]:
        """Which nodes of the full tensor are inside the ball, in C order."""
        squares = [x**2 * (variable == "normal") for variable, x, _ in self._lines()]
        return _outer(np.add, squares, 0.0) <= self.radius**2


def _radius(name: str, value: Any) -> float:
    """A positive number, which may be infinite."""
    found = a_float(name, value)
    if not found > 0.0:
        raise ValueError(f"`{name}` must be positive, got {found!r}.")
    return found


def _outer(
    operation: np.ufunc, lines: Sequence[NDArray[np.float64]], start: float
) -> NDArray[np.float64]:
    """Combine one entry of each line in all ways, in C order."""
    values = np.array([start])
    for line in lines:
        values = operation.outer(values, line).ravel()
    return values


@checked(law=A_LAW, block=optional(A_BLOCK))
def quadrature_rule(
    law: Any,
    n_particles: int | None = None,
    *,
    nodes: Sequence[int | str] | TensorRule | None = None,
    block: Any = None,
) -> TensorRule:
    """Choose a tensor rule for a law of independent base random variables.

    Parameters
    ----------
    law : Law
    n_particles : int, optional
        Largest number of particles. Without `nodes` the best tensor that fits is
        taken; a mixed rule takes the largest power of two of Sobol points.
    nodes : sequence of int, or TensorRule, optional
        Nodes for each random number of the law; 0 or "sobol" fills it by Sobol. A
        rule is checked and returned as it is.
    block : block, optional
        Then the budget follows its `param_reach` (few nodes where f is linear), and
        where law and f do not change with the sign of theta, the rule is folded:
        half the particles.

    Returns
    -------
    rule : TensorRule

    Raises
    ------
    ValueError
        If the law has no independent variables, or the budget is too small.
    """
    variables = _checked_variables(law)
    if isinstance(nodes, TensorRule):
        return _checked_rule(nodes, variables, n_particles)
    reaches = _reaches(law, variables, block)
    kinds = tuple(map(_kind, variables, reaches))
    if n_particles is not None:
        n_particles = integer("n_particles", n_particles, minimum=1)
        check_size("n_particles", n_particles, len(variables))
    elif nodes is None:
        raise ValueError(
            "`n_particles`, the largest number allowed, is needed for `method` = "
            '"quadrature" where `nodes` is not given.'
        )
    is_even = getattr(block, "is_even_in_theta", False)
    is_folded = bool(is_even and getattr(law, "is_symmetric", False))
    if nodes is None:
        rule = TensorRule(kinds, (1,) * len(variables), is_folded)
        return _largest(rule, reaches, n_particles)
    counts = _checked_nodes(nodes, len(variables))
    return _filled(TensorRule(kinds, counts, is_folded and any(counts)), n_particles)


def _checked_variables(law: Any) -> tuple[str, ...]:
    variables = base_variables_of(law)
    if variables is not None:
        return variables
    raise ValueError(
        '`method` = "quadrature" needs a law of independent random numbers on which '
        f"theta depends smoothly, and {type(law).__name__} does not declare any. Use "
        '"sobol", or, for a law of your own that is smooth in its uniform numbers, set '
        '`base_variables` = ("uniform",) * n_random.'
    )


def _reaches(law: Any, variables: Sequence[str], block: Any) -> NDArray[np.float64]:
    """Reach of the flow in every variable, in units of its size, (n_random,).

    A parameter moves by its size at most, at any depth, when a normal variable moves by
    one standard deviation, a uniform one by half its width. The reach of a variable is
    infinite if nothing moves.
    """
    reach = _param_reaches(law, block)
    is_constant = getattr(law, "is_constant_in_t", False)
    t = np.linspace(0.0, 1.0, 1 if is_constant else 9)
    is_normal = np.array([variable == "normal" for variable in variables], dtype=bool)
    middle = np.where(is_normal, 0.0, 0.5)
    centre = base_paths(law, middle[np.newaxis], t)
    nearness = np.empty(len(variables))
    for start in range(0, len(variables), CHUNK):
        part = np.arange(start, min(start + CHUNK, len(variables)))
        xi = np.tile(middle, (len(part), 1))
        xi[np.arange(len(part)), part] += np.where(is_normal[part], 1.0, 0.25)
        sizes = np.abs(base_paths(law, xi, t) - centre).max(axis=0)
        nearness[part] = (sizes / reach).max(axis=1)
    nearness[~is_normal] *= 2.0
    return np.divide(
        1.0, nearness, out=np.full(len(variables), np.inf), where=nearness > 0.0
    )


def _param_reaches(law: Any, block: Any) -> NDArray[np.float64]:
    """Reach of the flow in every parameter, (k,): the block's, or the usual one."""
    reach = np.full(law.n_params, USUAL_REACH)
    if block is None:
        return reach
    if block.k != law.n_params:
        raise ValueError(
            f"`block` must have as many parameters as the law, k = {law.n_params}, "
            f"got {block.k}."
        )
    for group, value in getattr(block, "param_reach", {}).items():
        reach[block.param_groups[group]] = value
    return reach


def _kind(variable: str, reach: float) -> str:
    is_easy = reach >= LONG_REACH
    if variable == "normal":
        return "hermite" if is_easy else "trapezoid"
    return "legendre" if is_easy else "transplanted"


def _accuracy(kind: str, reach: float, n: int) -> float:
    """Rough -log(error) of n nodes, by the distance of the nearest singularity."""
    if kind == "legendre":
        return 2.0 * n * math.asinh(reach)
    if kind == "transplanted":
        return 2.6 * n * math.asinh(reach)
    if kind == "hermite":
        return 0.5 * n * min(math.pi, reach)
    return math.pi * reach * n / trapezoid_end(n)


def _checked_rule(
    rule: TensorRule, variables: Sequence[str], n_particles: int | None
) -> TensorRule:
    if rule.base_variables != variables:
        raise ValueError(
            "`nodes` must have one kind of rule for each random number of the law: "
            f"{', '.join(variables)}, got a rule for {', '.join(rule.base_variables)}."
        )
    _check_budget(rule, n_particles)
    return rule


def _check_budget(rule: TensorRule, n_particles: int | None) -> None:
    if n_particles is not None and rule.n_particles > n_particles:
        raise ValueError(
            f"`nodes` makes {rule.n_particles} particles, more than `n_particles` = "
            f"{n_particles}."
        )


def _checked_nodes(nodes: Any, n_random: int) -> tuple[int, ...]:
    is_array = isinstance(nodes, np.ndarray) and nodes.ndim > 0
    if not isinstance(nodes, list | tuple) and not is_array:
        raise TypeError(
            "`nodes` must be a sequence of numbers of nodes, one for each random "
            f"number of the law, got {shown(nodes)}."
        )
    if len(nodes) != n_random:
        raise ValueError(
            "`nodes` must have one entry for each random number of the law, "
            f"n_random = {n_random}, got {len(nodes)}."
        )
    return tuple(
        0
        if isinstance(each, str) and each == SOBOL
        else integer("nodes", each, 0, MOST_NODES)
        for each in nodes
    )


def _filled(rule: TensorRule, n_particles: int | None) -> TensorRule:
    """The rule with as many Sobol points as the budget allows, if it is mixed."""
    _check_budget(rule, n_particles)
    if not rule.is_mixed:
        return rule
    if n_particles is None:
        raise ValueError("`n_particles` is needed where `nodes` has zeros.")
    room = n_particles // rule.n_nodes
    return replace(rule, n_sobol=2 ** (room.bit_length() - 1))


def _largest(
    rule: TensorRule, reaches: NDArray[np.float64], n_particles: int
) -> TensorRule:
    """The most accurate rule that fits, all variables served alike."""
    used = [variable for variable, reach in enumerate(reaches) if reach < math.inf]
    counts = tuple(FEWEST if reach < math.inf else 1 for reach in reaches)
    best = replace(rule, counts=counts)
    if best.n_particles > n_particles:
        n_fewest = best.n_particles if len(used) < 30 else f"{FEWEST}^{len(used)}"
        raise ValueError(
            f"`n_particles` = {n_particles} is too few for a tensor rule over "
            f"{len(used)} random numbers: {FEWEST} nodes in each make "
            f"{n_fewest} particles. Give `nodes` with 0 for Sobol in some, or "
            'use `method` = "sobol".'
        )

    has_corners = rule.base_variables.count("normal") > 1

    def served(variable: int, n: int) -> float:
        return _accuracy(rule.kinds[variable], reaches[variable], n)

    open_variables = set(used)
    while open_variables:
        least = min(
            open_variables, key=lambda variable: served(variable, best.counts[variable])
        )
        larger = best.with_count(least, best.counts[least] + 1)
        accuracy = min(served(variable, larger.counts[variable]) for variable in used)
        if has_corners and accuracy >= CUT_FROM:
            larger = replace(larger, radius=math.sqrt(2.0 * (accuracy + CUT_MARGIN)))
        if larger.n_particles <= n_particles:
            best = larger
        else:
            open_variables.remove(least)
    return best
