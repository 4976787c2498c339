"""Laws made of other laws: mixtures, products, sums of functions of t."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import (
    checked,
    float_array,
    is_function,
    is_iterable,
    number,
    optional,
    shown,
    whole,
)
from mfpde.ensemble import ParticleEnsemble, unit_sum
from mfpde.laws.base import Law
from mfpde.laws.elementary import Gaussian, select
from mfpde.laws.germs import germ_paths, germs_of
from mfpde.laws.parameters import A_GRID, integer, settle
from mfpde.laws.sampling import sample

if TYPE_CHECKING:
    from mfpde.depth import DepthGrid

_DEPTH_ZERO = np.zeros(1)
_FUNCTIONS = {"1": np.ones_like, "t": np.array}
_WAVES = {"cos": np.cos, "sin": np.sin}
_WAVE = re.compile(r"(cos|sin)\((\d+(?:\.\d+)?)?pit\)")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Mixture(Law):
    """A particle follows law c with probability p_c, at all depths.

    One random number selects the component; the components share the others.
    Under Sobol sampling the selection is therefore stratified.

    Parameters
    ----------
    laws : sequence of Law
        With the same `n_params`.
    probabilities : array_like, shape (len(laws),)
        Not negative, with sum 1.
    """

    kind: ClassVar[str] = "mixture"

    laws: Sequence[Law]
    probabilities: ArrayLike

    def __post_init__(self) -> None:
        laws = _laws("laws", self.laws, is_same_size=True)
        probabilities = float_array("probabilities", self.probabilities)
        if probabilities.shape != (len(laws),):
            raise ValueError(
                f"`probabilities` must have shape (n_laws,) = ({len(laws)},), got "
                f"{probabilities.shape}."
            )
        if probabilities.min() < 0.0:
            raise ValueError(
                f"`probabilities` must not be negative, got {probabilities.min():g}."
            )
        unit_sum("probabilities", probabilities)
        object.__setattr__(self, "laws", laws)
        object.__setattr__(self, "probabilities", probabilities)

    @property
    def n_params(self) -> int:
        """Number of parameters per particle k."""
        return self.laws[0].n_params

    @property
    def n_random(self) -> int:
        """Random numbers per particle: the selection and the largest component."""
        return 1 + max(law.n_random for law in self.laws)

    @property
    def is_constant_in_t(self) -> bool:
        """Whether all components are constant in t."""
        return _are_constant(self.laws)

    def paths(
        self, u: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Law.paths`."""
        component = select(u[:, 0], self.probabilities)
        theta = np.empty((len(t), len(u), self.n_params))
        for c, law in enumerate(self.laws):
            mine = component == c
            theta[:, mine] = law.paths(u[mine, 1 : 1 + law.n_random], t)
        return theta

    @checked(grid=A_GRID, n_particles=optional(whole(1)))
    def sample(
        self,
        grid: DepthGrid,
        n_particles: int | None = None,
        *,
        method: str = "iid",
        **options: Any,
    ) -> ParticleEnsemble:
        """Draw particles at the nodes of a depth grid: see `mfpde.laws.sample`.

        With "quadrature" the particles are those of a rule for each component, its
        weights times the probability; the components share `n_particles` equally.
        """
        if not isinstance(method, str) or method != "quadrature":
            return sample(self, grid, n_particles, method=method, **options)
        if options.get("nodes") is not None:
            raise ValueError(
                "`nodes` has no meaning for a mixture, whose components have random "
                "numbers of their own. Give `n_particles`."
            )
        used = np.flatnonzero(self.probabilities)
        share = integer("n_particles", n_particles, minimum=len(used)) // len(used)
        parts = [
            getattr(self.laws[c], "sample", partial(sample, self.laws[c]))(
                grid, share, method=method, **options
            )
            for c in used
        ]
        weights = [
            self.probabilities[c] * part.weights
            for c, part in zip(used, parts, strict=True)
        ]
        theta = np.concatenate([part.theta for part in parts], axis=1)
        return ParticleEnsemble(theta, np.concatenate(weights))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Product(Law):
    """Independent groups of parameters, each with its own law, concatenated.

    Parameters
    ----------
    laws : sequence of Law
        In the order of the parameters, for example of u, v and b.
    """

    kind: ClassVar[str] = "product"

    laws: Sequence[Law]

    def __post_init__(self) -> None:
        laws = _laws("laws", self.laws, is_same_size=False)
        object.__setattr__(self, "laws", laws)

    @property
    def n_params(self) -> int:
        """Number of parameters per particle k, the sum over the groups."""
        return sum(law.n_params for law in self.laws)

    @property
    def n_random(self) -> int:
        """Random numbers per particle, the sum over the groups."""
        return sum(law.n_random for law in self.laws)

    @property
    def is_constant_in_t(self) -> bool:
        """Whether all groups are constant in t."""
        return _are_constant(self.laws)

    @property
    def germs(self) -> tuple[str, ...] | None:
        """Those of the groups in turn; None where a group declares none."""
        return _joined_germs(self.laws)

    @property
    def is_symmetric(self) -> bool:
        """Whether all groups are symmetric."""
        return _are_symmetric(self.laws)

    def paths(
        self, u: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Law.paths`."""
        groups = zip(self.laws, _split(u, self.laws), strict=True)
        return np.concatenate([law.paths(each, t) for law, each in groups], axis=2)

    def germ_paths(
        self, xi: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Law.germ_paths`."""
        groups = zip(self.laws, _split(xi, self.laws), strict=True)
        return np.concatenate([germ_paths(law, each, t) for law, each in groups], 2)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Path(Law):
    """Smooth random paths theta(t) = sum_r c_r phi_r(t), c_r independent.

    Parameters
    ----------
    coefficients : sequence of Law
        Laws of c_1, c_2, ..., constant in t, with the same `n_params`.
    functions : sequence of str or callable
        phi_1, phi_2, ...: "1", "t", "cos(n pi t)", "sin(n pi t)" with a number n
        (left out: 1), or a callable of the depth t that returns a number.
    """

    kind: ClassVar[str] = "path"

    coefficients: Sequence[Law]
    functions: Sequence[str | Callable[[float], float]]

    def __post_init__(self) -> None:
        coefficients = _laws("coefficients", self.coefficients, is_same_size=True)
        if not _are_constant(coefficients):
            raise ValueError(
                "`coefficients` must hold laws that are constant in t (depth); "
                "`functions` carry the dependence on t."
            )
        if isinstance(self.functions, str) or not is_iterable(self.functions):
            raise TypeError("`functions` must be a sequence of names or callables.")
        functions = tuple(self.functions)
        if len(functions) != len(coefficients):
            raise ValueError(
                f"`functions` must have one entry per law in `coefficients` = "
                f"{len(coefficients)}, got {len(functions)}."
            )
        for function in functions:
            _function_values(function, np.zeros(1))
        object.__setattr__(self, "coefficients", coefficients)
        object.__setattr__(self, "functions", functions)

    @property
    def n_params(self) -> int:
        """Number of parameters per particle k."""
        return self.coefficients[0].n_params

    @property
    def n_random(self) -> int:
        """Random numbers per particle, the sum over the coefficients."""
        return sum(law.n_random for law in self.coefficients)

    @property
    def is_constant_in_t(self) -> bool:
        """Whether all functions are "1"."""
        return all(function == "1" for function in self.functions)

    @property
    def germs(self) -> tuple[str, ...] | None:
        """Those of the coefficients in turn; None where one declares none."""
        return _joined_germs(self.coefficients)

    @property
    def is_symmetric(self) -> bool:
        """Whether all coefficients are symmetric."""
        return _are_symmetric(self.coefficients)

    def paths(
        self, u: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Law.paths`."""
        parts = zip(self.coefficients, _split(u, self.coefficients), strict=True)
        return self._sum([law.paths(each, _DEPTH_ZERO) for law, each in parts], t)

    def germ_paths(
        self, xi: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Law.germ_paths`."""
        parts = zip(self.coefficients, _split(xi, self.coefficients), strict=True)
        return self._sum([germ_paths(law, each, _DEPTH_ZERO) for law, each in parts], t)

    @checked(t=number())
    def function_values(self, t: float) -> list[float]:
        """phi_1(t), phi_2(t), ... at one depth."""
        depth = np.array([t], dtype=np.float64)
        return [float(_function_values(f, depth)[0]) for f in self.functions]

    def _sum(
        self, values: Sequence[NDArray[np.float64]], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """sum_r c_r phi_r(t) from values of c_1, c_2, ..., each (1, M, k)."""
        theta = np.zeros((len(t), *values[0].shape[1:]))
        for coefficient, function in zip(values, self.functions, strict=True):
            phi = _function_values(function, t)[:, np.newaxis, np.newaxis]
            theta += phi * coefficient
        return theta


def standard_path(n_params: int, std_alpha: ArrayLike, std_beta: ArrayLike) -> Path:
    """Return theta(t) = alpha + beta cos(pi t), the standard family of theory 1.3.

    alpha ~ N(0, std_alpha^2) and beta ~ N(0, std_beta^2) are independent, so the
    marginals are N(0, std_alpha^2 + std_beta^2 cos^2(pi t)).

    Parameters
    ----------
    n_params : int
        Number of parameters per particle k.
    std_alpha, std_beta : number or array_like of shape (k,)
    """
    stds = {"std_alpha": std_alpha, "std_beta": std_beta}
    n_params, settled = settle(n_params, **stds)
    for name, std in settled.items():
        if std.min() < 0.0:
            raise ValueError(f"`{name}` must not be negative, got {std.min():g}.")
    coefficients = [Gaussian(0.0, std, n_params) for std in settled.values()]
    return Path(coefficients, ["1", "cos(pi t)"])


def _laws(name: str, laws: Any, *, is_same_size: bool) -> tuple[Law, ...]:
    if isinstance(laws, Law) or not is_iterable(laws):
        raise TypeError(f"`{name}` must be a sequence of laws, got {shown(laws)}.")
    laws = tuple(laws)
    if not laws:
        raise ValueError(f"`{name}` must hold at least one law, got none.")
    for law in laws:
        is_law = all(hasattr(law, each) for each in ("n_params", "n_random", "paths"))
        if isinstance(law, type) or not is_law:
            raise TypeError(
                f"`{name}` must hold laws (objects with n_params, n_random and "
                f"paths), got {shown(law)}."
            )
    sizes = sorted({law.n_params for law in laws})
    if is_same_size and len(sizes) > 1:
        raise ValueError(f"`{name}` must agree in n_params, got {sizes}.")
    return laws


def _are_constant(laws: Sequence[Law]) -> bool:
    return all(getattr(law, "is_constant_in_t", False) for law in laws)


def _are_symmetric(laws: Sequence[Law]) -> bool:
    return all(getattr(law, "is_symmetric", False) for law in laws)


def _joined_germs(laws: Sequence[Law]) -> tuple[str, ...] | None:
    groups = [germs_of(law) for law in laws]
    if None in groups:
        return None
    return tuple(germ for group in groups for germ in group)


def _split(u: NDArray[np.float64], laws: Sequence[Law]) -> list[NDArray[np.float64]]:
    """Columns of u (M, r) for each law in turn."""
    return np.split(u, np.cumsum([law.n_random for law in laws])[:-1], axis=1)


def _function_values(
    function: str | Callable[[float], float], t: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values phi(t), shape (len(t),), of a named function or a callable."""
    if is_function(function):
        values = float_array("functions", [function(float(depth)) for depth in t])
        if values.shape != t.shape:
            raise ValueError(
                "`functions` must return one number for a depth t, got shape "
                f"{values.shape[1:]}."
            )
        return values
    name = str(function).replace(" ", "").replace("*", "")
    if name in _FUNCTIONS:
        return _FUNCTIONS[name](t)
    wave = _WAVE.fullmatch(name)
    if wave is None:
        raise ValueError(
            '`functions` must hold callables of t or names like "1", "t", '
            f'"cos(pi t)", "sin(2 pi t)", got {shown(function)}.'
        )
    return _WAVES[wave[1]](float(wave[2] or 1) * np.pi * t)
