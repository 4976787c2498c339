"""Synthetic samples: two-dimensional classes, a curve, a teacher network, noise.

Every generator returns raw samples: `x` of shape (N, d) and either integer labels of
shape (N,) or targets of shape (N, q). The random streams of inputs, noise and teacher
are apart, so `noise` never moves the inputs, and the first samples stay the same when
more are drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import (
    checked,
    flag,
    is_function,
    number,
    numbers,
    optional,
    positive,
    seed_number,
    shown,
    whole,
)
from mfpde.data.checks import integer, real_array, suggestion
from mfpde.data.kinds import source

Samples = tuple[NDArray[np.float64], NDArray[np.int64]]
Pairs = tuple[NDArray[np.float64], NDArray[np.float64]]

CURVES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "sine": lambda x: np.sin(2.5 * x),
    "absolute": np.abs,
    "bump": lambda x: np.exp(-4.0 * x**2),
    "cubic": lambda x: x**3 - x,
    "step": np.sign,
}

CurveName = Literal["sine", "absolute", "bump", "cubic", "step"]
_SAMPLES = {"n_samples": whole(1), "seed": seed_number}
_NOISY = _SAMPLES | {"noise": number(0.0)}
_CLASSES = _NOISY | {"n_classes": whole(2)}


def _streams(seed: int, count: int) -> list[np.random.Generator]:
    return np.random.default_rng(seed).spawn(count)


def _interval(name: str, value: Any) -> tuple[float, float]:
    """Two numbers, the smaller first."""
    low, high = numbers(2)(name, value)
    if not low < high:
        raise ValueError(
            f"`{name}` must be two finite numbers, low < high, got {shown(value)}."
        )
    return float(low), float(high)


def _with_noise(
    points: NDArray[np.float64], noise: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    return points + noise * rng.standard_normal(points.shape)


def _balanced_labels(n_samples: int, n_classes: int) -> NDArray[np.int64]:
    """Return 0, 1, ..., n_classes - 1, 0, 1, ...: class sizes differ by one at most."""
    return np.arange(integer("n_samples", n_samples, n_classes)) % n_classes


def _polar(
    radius: NDArray[np.float64], angle: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


@source("spirals", task="classification")
@checked(**_CLASSES, turns=positive)
def spirals(
    n_samples: int = 400,
    *,
    noise: float = 0.02,
    seed: int = 0,
    turns: float = 1.5,
    n_classes: int = 2,
) -> Samples:
    """Intertwined spirals in the unit disc, one arm for each class.

    Arm c is r (cos a, sin a) with a = 2 pi (turns r + c / n_classes); r runs from 0.1
    to 1 with density proportional to r, nearly uniform in arc length.

    Parameters
    ----------
    n_samples : int
        Number of samples; the classes alternate.
    noise : float
        Standard deviation of the normal noise added to both coordinates.
    seed : int
        Seed of samples and split.
    turns : float
        Turns of an arm about the origin per unit of radius.
    n_classes : int
        Number of classes, the arms.

    Returns
    -------
    x : ndarray, shape (N, 2)
    labels : ndarray of int, shape (N,)
    """
    labels = _balanced_labels(n_samples, n_classes)
    radius_rng, noise_rng = _streams(seed, 2)
    r_min = 0.1
    radius = np.sqrt(r_min**2 + (1 - r_min**2) * radius_rng.random(len(labels)))
    angle = 2 * np.pi * (turns * radius + labels / n_classes)
    return _with_noise(_polar(radius, angle), noise, noise_rng), labels


@source("rings", task="classification")
@checked(**_CLASSES)
def rings(
    n_samples: int = 400, *, noise: float = 0.05, seed: int = 0, n_classes: int = 2
) -> Samples:
    """Concentric rings, class c on the circle of radius (c + 1) / n_classes.

    Rings cannot be separated by a flow of the plane: an ODE needs a third dimension
    (`pad_to=3` in `prepare`) or moves them far apart.

    Parameters
    ----------
    n_samples : int
        Number of samples; the classes alternate.
    noise : float
        Standard deviation of the normal noise added to both coordinates.
    seed : int
        Seed of samples and split.
    n_classes : int
        Number of classes, the rings.

    Returns
    -------
    x : ndarray, shape (N, 2)
    labels : ndarray of int, shape (N,)
    """
    labels = _balanced_labels(n_samples, n_classes)
    angle_rng, noise_rng = _streams(seed, 2)
    angle = 2 * np.pi * angle_rng.random(len(labels))
    return _with_noise(
        _polar((labels + 1) / n_classes, angle), noise, noise_rng
    ), labels


@source("moons", task="classification")
@checked(**_NOISY)
def moons(n_samples: int = 400, *, noise: float = 0.1, seed: int = 0) -> Samples:
    """Two interleaved half circles of radius 1, centred as a pair.

    Class 0 is the upper half of the circle about (-1/2, -1/4), class 1 the lower half
    of the circle about (1/2, 1/4).

    Parameters
    ----------
    n_samples : int
        Number of samples; the classes alternate.
    noise : float
        Standard deviation of the normal noise added to both coordinates.
    seed : int
        Seed of samples and split.

    Returns
    -------
    x : ndarray, shape (N, 2)
    labels : ndarray of int, shape (N,)
    """
    labels = _balanced_labels(n_samples, 2)
    angle_rng, noise_rng = _streams(seed, 2)
    side = 2 * labels - 1
    angle = np.pi * (angle_rng.random(len(labels)) + labels)
    centre = np.stack([0.5 * side, 0.25 * side], axis=1)
    circle = _polar(np.ones(len(labels)), angle)
    return _with_noise(centre + circle, noise, noise_rng), labels


@source("curve", task="regression")
@checked(**_NOISY, interval=_interval, equispaced=flag)
def curve(
    n_samples: int = 400,
    *,
    noise: float = 0.0,
    seed: int = 0,
    function: CurveName | Callable[[NDArray[np.float64]], NDArray[np.float64]] = "sine",
    interval: tuple[float, float] = (-2.0, 2.0),
    equispaced: bool = True,
) -> Pairs:
    """Points (x, function(x)) of a curve on an interval.

    Parameters
    ----------
    n_samples : int
        Number of samples.
    noise : float
        Standard deviation of the normal noise added to the targets.
    seed : int
        Seed of the noise, of the inputs unless they are equispaced, and of the split.
    function : str or callable
        The curve; "sine" is sin(2.5 x), "absolute" abs(x), "bump" exp(-4 x^2), "cubic"
        x^3 - x, "step" sign(x); or a vectorised function.
    interval : (float, float)
        The inputs lie in it; equispaced ones include both ends.
    equispaced : bool
        Whether the inputs are equispaced; else they are uniformly random.

    Returns
    -------
    x, y : ndarray, shape (N, 1)

    Raises
    ------
    ValueError
        If `function` is unknown, `interval` is empty or `n_samples` < 2.
    """
    n_samples = integer("n_samples", n_samples, 2)
    low, high = interval
    function = _curve(function)
    x_rng, noise_rng = _streams(seed, 2)
    if equispaced:
        x = np.linspace(low, high, n_samples)
    else:
        x = low + (high - low) * x_rng.random(n_samples)
    x = x[:, None]
    y = real_array("function", function(x))
    if y.shape != x.shape:
        raise ValueError(
            "`function` must return an array of the shape of its argument, "
            f"{x.shape}, got {y.shape}."
        )
    return x, _with_noise(y, noise, noise_rng)


def _curve(function: Any) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """A function by its name, or as it is."""
    if is_function(function):
        return function
    if not isinstance(function, str):
        raise TypeError(
            "`function` must be a function or the name of a curve, got "
            f"{shown(function)}."
        )
    if function not in CURVES:
        raise ValueError(
            f"`function` must name a curve, got {function!r}. "
            + suggestion(function, CURVES)
        )
    return CURVES[function]


@source("teacher", task="regression")
@checked(
    **_NOISY,
    n_features=whole(1),
    n_outputs=optional(whole(1)),
    n_layers=whole(1),
    width=whole(1),
    teacher_scale=number(0.0),
)
def teacher(
    n_samples: int = 400,
    *,
    noise: float = 0.0,
    seed: int = 0,
    n_features: int = 2,
    n_outputs: int | None = None,
    n_layers: int = 16,
    width: int = 8,
    teacher_scale: float = 3.0,
) -> Pairs:
    """Targets from a random ResNet of tanh perceptrons, inputs from N(0, I).

    The network is the Euler scheme (2) for f = v tanh(u.z + b) with `width` particles
    of equal weight at each layer. Each particle follows the smooth path
    theta(t) = alpha + beta cos(pi t), with alpha and beta from N(0, 1), times
    `teacher_scale` for v. So the targets are reachable for a path-coupled ensemble of
    the same block.
    One layer gives x plus a random perceptron field.

    Parameters
    ----------
    n_samples : int
        Number of samples.
    noise : float
        Standard deviation of the normal noise added to the targets.
    seed : int
        Seed of teacher, inputs and noise; the teacher does not depend on `n_samples`.
    n_features : int
        Dimension d of the inputs and of the state of the teacher.
    n_outputs : int, optional
        How many coordinates of z(1) are the targets, the first; default all.
    n_layers : int
        Layers of the teacher.
    width : int
        Particles in each layer of the teacher.
    teacher_scale : float
        Size of the teacher's output weights v.

    Returns
    -------
    x : ndarray, shape (N, d)
    y : ndarray, shape (N, n_outputs)
    """
    n_outputs = n_features if n_outputs is None else n_outputs
    if n_outputs > n_features:
        raise ValueError(
            f"`n_outputs` must be at most `n_features` = {n_features}, got {n_outputs}."
        )
    teacher_rng, x_rng, noise_rng = _streams(seed, 3)
    alpha, beta = teacher_rng.standard_normal((2, width, 2 * n_features + 1))
    z = x = x_rng.standard_normal((n_samples, n_features))
    for layer in range(n_layers):
        theta = alpha + beta * np.cos(np.pi * layer / n_layers)
        u, v, b = theta[:, :n_features], theta[:, n_features:-1], theta[:, -1]
        field = np.tanh(z @ u.T + b) @ (teacher_scale * v) / width
        z = z + field / n_layers
    return x, _with_noise(z[:, :n_outputs], noise, noise_rng)


@source("gaussian", task="regression")
@checked(**_SAMPLES, n_features=whole(1), n_outputs=whole(1))
def gaussian(
    n_samples: int = 400, *, seed: int = 0, n_features: int = 2, n_outputs: int = 1
) -> Pairs:
    """Independent inputs and targets, both from N(0, I): nothing generalises.

    Parameters
    ----------
    n_samples : int
        Number of samples.
    seed : int
        Seed of samples and split.
    n_features : int
        Dimension d of the inputs.
    n_outputs : int
        Dimension q of the targets.

    Returns
    -------
    x : ndarray, shape (N, d)
    y : ndarray, shape (N, q)

    References
    ----------
    Marion, Wu, Sander, Biau, Implicit regularization of deep residual networks towards
    neural ODEs (2023), arXiv:2309.01213, the experiments on synthetic data.
    """
    x_rng, y_rng = _streams(seed, 2)
    return (
        x_rng.standard_normal((n_samples, n_features)),
        y_rng.standard_normal((n_samples, n_outputs)),
    )
