"""W2 between two weighted clouds of particles: exact, or from projections."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from mfpde.arrays import checked, choice, float_array, seed_number, whole
from mfpde.ensemble import particle_weights

Array = NDArray[np.float64]

METHODS = ("auto", "exact", "sliced")
# Largest cloud that "auto" matches exactly; see the notes of `w2`.
EXACT_SIZE = 1024
N_PROJECTIONS = 256
# A plan is found again if its largest cost is below this part of where they were cut.
CUT = 1e-2


@dataclass(frozen=True, slots=True)
class Distance:
    """A distance of two clouds, and how it was found.

    Attributes
    ----------
    value : float
    method : {"quantiles", "assignment", "transport", "sliced"}
    standard_error : float
        Of the value, from the random directions; 0 for exact methods, NaN if all
        directions fit into one frame.
    """

    value: float
    method: str
    standard_error: float = 0.0


def w2(
    a: ArrayLike,
    b: ArrayLike,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
    *,
    method: str = "auto",
    n_projections: int = N_PROJECTIONS,
    seed: int = 0,
) -> float:
    """2-Wasserstein distance between two weighted clouds of particles.

    Parameters
    ----------
    a, b : array_like, shapes (M_a, k) and (M_b, k)
        Shape (M,) means k = 1.
    a_weights, b_weights : array_like, shapes (M_a,) and (M_b,), optional
        Positive with sum 1; default equal.
    method : {"auto", "exact", "sliced"}
        "exact": quantiles for k = 1, assignment for equal weights, linear programming
        (POT, the extra `ot`) for others. "sliced": from projections on random
        directions. "auto": sliced for k > 1 and clouds above 1,024 particles, exact
        otherwise.
    n_projections : int
        Directions of "sliced", rounded up to whole orthogonal frames.
    seed : int
        Of the directions.

    Returns
    -------
    distance : float

    Raises
    ------
    ValueError
        If shapes, weights or the method are wrong.
    ImportError
        If weights are unequal, k > 1, and POT is not installed.

    See Also
    --------
    w2_estimate : the same with the method used and its standard error.

    Notes
    -----
    The sliced value is sqrt(k) times what is usually called so, hence on the scale of
    W2: a lower bound of it (up to its Monte Carlo error), and equal to it for
    translations. Equal weights with different numbers of particles are matched after
    duplication if their least common multiple is at most 1,024. A matching of M
    particles takes a matrix of M^2 distances and a time of order M^3.

    Examples
    --------
    >>> float(w2([[0.0, 0.0], [1.0, 0.0]], [[3.0, 4.0], [4.0, 4.0]]))
    5.0
    """
    return w2_estimate(
        a,
        b,
        a_weights,
        b_weights,
        method=method,
        n_projections=n_projections,
        seed=seed,
    ).value


@checked(method=choice(*METHODS), n_projections=whole(1, 10**6), seed=seed_number)
def w2_estimate(
    a: ArrayLike,
    b: ArrayLike,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
    *,
    method: str = "auto",
    n_projections: int = N_PROJECTIONS,
    seed: int = 0,
) -> Distance:
    """The distance of `w2` with the method used and its standard error."""
    a, b = _cloud("a", a), _cloud("b", b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            "`a` and `b` must have the same number of parameters per particle, got "
            f"{a.shape[1]} and {b.shape[1]}."
        )
    w_a = particle_weights(a_weights, len(a), "a_weights")
    w_b = particle_weights(b_weights, len(b), "b_weights")
    # Numbers of size one, exactly: no square overflows or vanishes.
    e = exponent(a, b)
    found = _in_unit_box(
        np.ldexp(a, -e), np.ldexp(b, -e), w_a, w_b, method, int(n_projections), seed
    )
    value, error = (math.ldexp(x, e) for x in (found.value, found.standard_error))
    return Distance(value, found.method, error)


def exponent(*arrays: Array) -> int:
    """Least e such that no entry of finite arrays is above 2^e in size; 0 for zeros."""
    return math.frexp(max(float(np.abs(each).max()) for each in arrays))[1]


def _in_unit_box(
    a: Array,
    b: Array,
    w_a: Array,
    w_b: Array,
    method: str,
    n_projections: int,
    seed: int,
) -> Distance:
    """`w2_estimate` for entries of at most one."""
    are_equal = np.ptp(w_a) == 0.0 and np.ptp(w_b) == 0.0
    if a.shape[1] == 1:
        squared = _squared_on_lines(a, b, w_a, w_b, are_equal)[0]
        return Distance(math.sqrt(squared), "quantiles")
    # Duplicates up to the least common multiple; beyond, programming is cheaper.
    size = math.lcm(len(a), len(b))
    can_assign = are_equal and (len(a) == len(b) or size <= EXACT_SIZE)
    is_large = max(len(a), len(b)) > EXACT_SIZE
    if method == "sliced" or (method == "auto" and is_large):
        rng = np.random.default_rng(seed)
        return _sliced(a, b, w_a, w_b, are_equal, n_projections, rng)
    if can_assign:
        return Distance(_by_assignment(a, b, size), "assignment")
    return Distance(_by_programming(a, b, w_a, w_b), "transport")


def _cloud(name: str, values: ArrayLike) -> Array:
    array = float_array(name, values)
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"`{name}` must have shape (n_particles, n_params), got {array.shape}."
        )
    return array


def _by_assignment(a: Array, b: Array, size: int) -> float:
    """Root of the mean squared distance in the best matching of equal masses."""
    a = np.repeat(a, size // len(a), axis=0)
    b = np.repeat(b, size // len(b), axis=0)
    cost = cdist(a, b, "sqeuclidean")
    rows, columns = linear_sum_assignment(cost)
    return math.sqrt(cost[rows, columns].mean())


def _by_programming(a: Array, b: Array, w_a: Array, w_b: Array) -> float:
    try:
        import ot
    except ImportError:
        raise ImportError(
            "W2 between clouds of unequal weights needs POT. Install it with "
            "`pip install 'mfpde[ot]'`, or use `method='sliced'`."
        ) from None
    cost = cdist(a, b, "sqeuclidean")
    # Masses must agree to rounding for the network simplex, whose tolerance is a
    # part of 1e-15 M of the largest cost. A plan that is best for costs cut off above
    # all that it uses is best; cutting off leaves more digits to the small ones.
    masses = w_a / w_a.sum(), w_b / w_b.sum()
    cap, best = float(cost.max()), np.inf
    if cap == 0.0:
        return 0.0
    while cap > 0.0:
        cut = np.minimum(cost / cap, 1.0)
        plan = ot.emd(*masses, cut, numItermax=10_000_000)
        plan = _without_rounding(plan, w_a[:, np.newaxis], w_b)
        best = min(best, float(np.sum(plan * cost)))
        used = 2.0 * float(cost[plan > 0.0].max())
        cap = used if used < CUT * cap else 0.0
    return math.sqrt(best)


def _without_rounding(mass: Array, w_a: Array, w_b: Array) -> Array:
    """Masses that go from a to b, 0 where they are only rounding of sums of weights.

    `w_a` and `w_b`, the weights of the particles that a mass belongs to, broadcast.
    """
    rounding = np.finfo(float).eps * (w_a.size + w_b.size)
    return np.where((mass < rounding) & (mass < 0.5 * np.minimum(w_a, w_b)), 0.0, mass)


def _sliced(
    a: Array,
    b: Array,
    w_a: Array,
    w_b: Array,
    are_equal: bool,
    n_projections: int,
    rng: np.random.Generator,
) -> Distance:
    """Root of k times the mean of W2^2 over projections, from orthogonal frames.

    In a frame the k squares of a translation add up exactly; the spread between frames
    gives the standard error.
    """
    # Far from the origin a product with a direction would lose digits.
    a, b = a - a[0], b - a[0]
    k = a.shape[1]
    n_frames = -(-n_projections // k)
    squares = np.empty(n_frames)
    for i in range(n_frames):
        frame, _ = np.linalg.qr(rng.normal(size=(k, k)))
        squares[i] = _squared_on_lines(a @ frame, b @ frame, w_a, w_b, are_equal).sum()
    value = math.sqrt(squares.mean())
    if n_frames == 1:
        return Distance(value, "sliced", math.nan)
    deviation = math.sqrt(squares.var(ddof=1) / n_frames)
    error = deviation / (2.0 * value) if value > 0.0 else 0.0
    return Distance(value, "sliced", error)


def _squared_on_lines(
    a: Array, b: Array, w_a: Array, w_b: Array, are_equal: bool
) -> Array:
    """W2^2 (k,) between the columns of (M_a, k) and (M_b, k), by quantiles."""
    if are_equal:
        a, b = np.sort(a, axis=0), np.sort(b, axis=0)
        if len(a) == len(b):
            return np.mean((a - b) ** 2, axis=0)
        mass, rows_a, rows_b = _common_steps(w_a, w_b)
        return mass @ (a[rows_a] - b[rows_b]) ** 2
    squares = np.empty(a.shape[1])
    for column in range(a.shape[1]):
        order_a, order_b = np.argsort(a[:, column]), np.argsort(b[:, column])
        mass, rows_a, rows_b = _common_steps(w_a[order_a], w_b[order_b])
        gap = a[order_a[rows_a], column] - b[order_b[rows_b], column]
        squares[column] = np.dot(mass, gap**2)
    return squares


def _common_steps(w_a: Array, w_b: Array) -> tuple[Array, Any, Any]:
    """Masses of the steps on which both quantile functions are constant, and where.

    Returns
    -------
    mass : ndarray, shape (M_a + M_b,)
    rows_a, rows_b : ndarray of int, shape (M_a + M_b,)
        The particle, in the order of the weights, that carries each step.
    """
    steps_a, steps_b = np.cumsum(w_a), np.cumsum(w_b)
    ends = np.sort(np.concatenate([steps_a / steps_a[-1], steps_b / steps_b[-1]]))
    mass = np.diff(ends, prepend=0.0)
    middle = ends - 0.5 * mass
    rows_a = np.searchsorted(steps_a / steps_a[-1], middle)
    rows_b = np.searchsorted(steps_b / steps_b[-1], middle)
    rows_a = np.minimum(rows_a, len(w_a) - 1)
    rows_b = np.minimum(rows_b, len(w_b) - 1)
    return _without_rounding(mass, w_a[rows_a], w_b[rows_b]), rows_a, rows_b
