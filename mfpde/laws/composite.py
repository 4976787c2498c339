"""Laws made of other laws: mixtures, products, sums of functions of t."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import (
    checked,
    float_array,
    integer,
    is_function,
    is_iterable,
    number,
    optional,
    sequence,
    shown,
    whole,
)
from mfpde.depth import A_DEPTH_GRID, DepthGrid
from mfpde.describe import OfKind, register
from mfpde.ensemble import ParticleEnsemble, unit_sum
from mfpde.laws.base import Law
from mfpde.laws.elementary import Gaussian, plain_arguments, select, settle_fields
from mfpde.laws.parameters import Parameter
from mfpde.laws.sampling import sample
from mfpde.laws.variables import base_paths, base_variables_of

A_LAW = OfKind("law")
_FUNCTIONS = {"1": np.ones_like, "t": np.array}
_WAVES = {"cos": np.cos, "sin": np.sin}
_WAVE = re.compile(r"(cos|sin)\((\d+(?:\.\d+)?)?pit\)")


class _Composite(Law):
    """A law made of others, its `parts`."""

    __slots__ = ()

    @property
    def parts(self) -> Sequence[Any]:
        """The other laws."""
        raise NotImplementedError

    @property
    def n_params(self) -> int:
        """Number of parameters per particle k."""
        return self.parts[0].n_params

    @property
    def is_constant_in_t(self) -> bool:
        """Whether all parts are constant in t."""
        return all(getattr(law, "is_constant_in_t", False) for law in self.parts)


class _Independent(_Composite):
    """A law whose parts are independent: each has random numbers of its own."""

    __slots__ = ()

    def joined(
        self, values: Sequence[NDArray[np.float64]], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Paths from those of the parts."""
        raise NotImplementedError

    @property
    def n_random(self) -> int:
        """Random numbers per particle, the sum over the parts."""
        return sum(law.n_random for law in self.parts)

    @property
    def base_variables(self) -> tuple[str, ...] | None:
        """Those of the parts in turn; None where a part declares none."""
        groups = [base_variables_of(law) for law in self.parts]
        found = [group for group in groups if group is not None]
        is_known = len(found) == len(groups)
        return tuple(each for group in found for each in group) if is_known else None

    @property
    def is_symmetric(self) -> bool:
        """Whether all parts are symmetric."""
        return all(getattr(law, "is_symmetric", False) for law in self.parts)

    def paths(
        self, u: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Law.paths`."""
        pairs = zip(self.parts, self._split(u), strict=True)
        return self.joined([law.paths(each, t) for law, each in pairs], t)

    def base_paths(
        self, xi: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Paths from base random variables, see `Law`."""
        pairs = zip(self.parts, self._split(xi), strict=True)
        return self.joined([base_paths(law, each, t) for law, each in pairs], t)

    def _split(self, u: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Columns of u (M, r) for each part in turn."""
        stops = np.cumsum([law.n_random for law in self.parts])[:-1]
        return np.split(u, stops, axis=1)


@register(kind="law", name="mixture")
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Mixture(_Composite):
    """A particle follows law c with probability p_c, at all depths.

    One random number selects the component; the components share the others.
    Under Sobol sampling the selection is therefore stratified.

    Parameters
    ----------
    laws : sequence of Law
        Components, with the same `n_params`.
    probabilities : array_like, shape (len(laws),)
        Their probabilities, not negative, with sum 1.
    """

    laws: Annotated[Sequence[Any], sequence(A_LAW)]
    probabilities: NDArray[np.float64]

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
    def parts(self) -> Sequence[Any]:
        """The components."""
        return self.laws

    @property
    def n_random(self) -> int:
        """Random numbers per particle: the selection and the largest component."""
        return 1 + max(law.n_random for law in self.laws)

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

    @checked(grid=A_DEPTH_GRID, n_particles=optional(whole(1)))
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


@register(kind="law", name="product")
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Product(_Independent):
    """Independent groups of parameters, each with its own law, concatenated.

    Parameters
    ----------
    laws : sequence of Law
        Groups in the order of the parameters, for example of u, v and b.
    """

    laws: Annotated[Sequence[Any], sequence(A_LAW)]

    def __post_init__(self) -> None:
        laws = _laws("laws", self.laws, is_same_size=False)
        object.__setattr__(self, "laws", laws)

    @property
    def parts(self) -> Sequence[Any]:
        """The groups."""
        return self.laws

    @property
    def n_params(self) -> int:
        """Number of parameters per particle k, the sum over the groups."""
        return sum(law.n_params for law in self.laws)

    def joined(
        self, values: Sequence[NDArray[np.float64]], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The groups side by side."""
        return np.concatenate(values, axis=2)


@register(kind="law", name="series")
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Path(_Independent):
    """Smooth random paths theta(t) = sum_r c_r phi_r(t), c_r independent.

    Parameters
    ----------
    coefficients : sequence of Law
        Laws of c_1, c_2, ..., constant in t, with the same `n_params`.
    functions : sequence of str or callable
        phi_1, phi_2, ...: "1", "t", "cos(n pi t)", "sin(n pi t)" with a number n
        (left out: 1), or a callable of the depth t that returns a number.
    """

    coefficients: Annotated[Sequence[Any], sequence(A_LAW)]
    functions: Sequence[str | Callable[[float], float]]

    def __post_init__(self) -> None:
        coefficients = _laws("coefficients", self.coefficients, is_same_size=True)
        if not all(getattr(law, "is_constant_in_t", False) for law in coefficients):
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
    def parts(self) -> Sequence[Any]:
        """The laws of the coefficients."""
        return self.coefficients

    @property
    def is_constant_in_t(self) -> bool:
        """Whether all functions are "1"."""
        return all(function == "1" for function in self.functions)

    @checked(t=number())
    def function_values(self, t: float) -> list[float]:
        """phi_1(t), phi_2(t), ... at one depth."""
        depth = np.array([t], dtype=np.float64)
        return [float(_function_values(f, depth)[0]) for f in self.functions]

    def joined(
        self, values: Sequence[NDArray[np.float64]], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """sum_r c_r phi_r(t) from values of c_1, c_2, ..., each (n, M, k)."""
        theta = np.zeros((len(t), *values[0].shape[1:]))
        for coefficient, function in zip(values, self.functions, strict=True):
            phi = _function_values(function, t)[:, np.newaxis, np.newaxis]
            theta += phi * coefficient
        return theta


@register(kind="law", name="path")
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StandardPath(Path):
    """theta(t) = alpha + beta cos(pi t), alpha and beta normal and independent.

    The standard family of theory 1.3: with means 0 the marginals are
    N(0, std_alpha^2 + std_beta^2 cos^2(pi t)).

    Parameters
    ----------
    mean : number or array_like of shape (k,)
        Mean of alpha.
    std_alpha : number or array_like of shape (k,)
        Standard deviation of alpha.
    mean_beta : number or array_like of shape (k,)
        Mean of beta.
    std_beta : number or array_like of shape (k,)
        Standard deviation of beta.
    n_params : int, optional
        k, needed where no shape shows it; default 1.
    """

    coefficients: Sequence[Any] = field(init=False)
    functions: Sequence[Any] = field(init=False)
    mean: Parameter = 0.0
    std_alpha: Parameter = 1.0
    mean_beta: Parameter = 0.0
    std_beta: Parameter = 0.5
    n_params: int | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        names = "mean", "std_alpha", "mean_beta", "std_beta"
        settle_fields(self, *names)
        for name in ("std_alpha", "std_beta"):
            std = getattr(self, name)
            if callable(std) or std.min() < 0.0:
                raise ValueError(
                    f"`{name}` must be numbers and not negative, got {shown(std)}."
                )
        alpha = Gaussian(self.mean, self.std_alpha, self.n_params)
        beta = Gaussian(self.mean_beta, self.std_beta, self.n_params)
        object.__setattr__(self, "coefficients", [alpha, beta])
        object.__setattr__(self, "functions", ["1", "cos(pi t)"])
        Path.__post_init__(self)

    def arguments(self) -> dict[str, Any]:
        """The arguments of the constructor; equal numbers become one."""
        return plain_arguments(self)


def standard_path(n_params: int, std_alpha: Any, std_beta: Any) -> StandardPath:
    """`StandardPath` with means 0."""
    given = {"std_alpha": std_alpha, "std_beta": std_beta, "n_params": n_params}
    return StandardPath(**given)


def is_named(value: Any) -> bool:
    """Whether a thing is given by its name or its description."""
    return isinstance(value, str | Mapping)


def _laws(name: str, laws: Any, *, is_same_size: bool) -> tuple[Law, ...]:
    if isinstance(laws, Law) or not is_iterable(laws):
        raise TypeError(f"`{name}` must be a sequence of laws, got {shown(laws)}.")
    laws = tuple(laws)
    if not laws:
        raise ValueError(f"`{name}` must hold at least one law, got none.")
    laws = tuple(A_LAW(name, each) if is_named(each) else each for each in laws)
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
