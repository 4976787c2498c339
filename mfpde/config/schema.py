"""The configuration: every section and key, its default, check and description.

That of a network stands in `networks`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mfpde.config.checks import (
    AnyOf,
    Choice,
    Flag,
    Integer,
    ListOf,
    Matrix,
    Number,
    Text,
    by_group,
    schedule,
)
from mfpde.config.keys import Key, key, variants
from mfpde.data import SOURCES
from mfpde.kernels import ACTIVATIONS, DTYPES

BLOCK_GROUPS = {
    "perceptron": ("u", "v", "b"),
    "bilinear": ("u", "v"),
    "linear": ("Theta",),
    "bias": ("theta",),
    "squared_relu": ("W", "b"),
    "signed_squared_relu": ("W1", "b1", "W2", "b2"),
    "capped": ("c", "W", "b"),
}
"""Parameter groups of each kind of block, in the order of theta."""

STEP_SCHEMES = ("euler", "midpoint", "rk4")
FIXED_STEPPERS = ("euler", "heun", "rk4")
ADAPTIVE_STEPPERS = ("dopri5", "rkc2", "auto")
OBSERVERS = ("train_accuracy", "test_accuracy", "test_loss", "train_rmse", "test_rmse")

_POSITIVE = Number(above=0)
_COUNT = Integer(at_least=1)
_SEED = Integer(at_least=0)
_BY_GROUP = by_group(Number())
_SIZE_BY_GROUP = by_group(Number(at_least=0))

_PERCEPTRON = ("kind", ("perceptron",))
_ACTIVATED = ("kind", ("perceptron", "capped"))
_RANDOM = ("kind", ("random",))
_MATRIX = ("kind", ("matrix",))
_RANDOM_OR_MATRIX = ("kind", ("random", "matrix"))
_STEPS = ("scheme", STEP_SCHEMES)
_GAUSS = ("scheme", ("gauss",))
_WITH_DS = ("stepper", (*FIXED_STEPPERS, "langevin"))
_LANGEVIN = ("stepper", ("langevin",))

_CHECK_OF_KIND = {
    "boolean": Flag(),
    "integer": Integer(),
    "number": Number(),
    "string": Text(),
    "list of integers": ListOf(Integer(), "whole numbers"),
    "list of numbers": ListOf(Number(), "numbers"),
    "list of strings": ListOf(Text(), "strings"),
    "string or list of strings": AnyOf((Text(), ListOf(Text(), "strings"))),
}
_EXAMPLE_OF_KIND = {"integer": 3, "string": "data.csv"}


def _data_keys(source: str) -> dict[str, Key]:
    """Return the keys of one source of data, as `mfpde.data` describes them."""
    keys = {}
    for name, option in SOURCES[source].items():
        check = _CHECK_OF_KIND[option.kind]
        if option.choices:
            check = Choice(option.choices)
        default = None if option.is_required else option.default
        if isinstance(default, tuple):
            default = list(default)
        keys[name] = Key(
            check,
            option.description,
            example=_EXAMPLE_OF_KIND.get(option.kind),
            is_required=option.is_required,
            default=default,
        )
    return keys


@dataclass(frozen=True)
class Block:
    """The map f(z, theta)."""

    kind: str = field(
        default="perceptron",
        metadata=key(Choice(tuple(BLOCK_GROUPS)), "family of blocks"),
    )
    dimension: int | None = field(
        default=None,
        metadata=key(
            _COUNT, "size d of the state; default: that of the inputs", example=8
        ),
    )
    activation: str | None = field(
        default="tanh", metadata=key(Choice(ACTIVATIONS), "sigma", when=_ACTIVATED)
    )
    bias: bool | None = field(
        default=True,
        metadata=key(Flag(), "whether theta has a bias b", when=_PERCEPTRON),
    )
    scale: float | None = field(
        default=1.0, metadata=key(_POSITIVE, "factor of f", when=_PERCEPTRON)
    )


@dataclass(frozen=True)
class Embedding:
    """The matrix A of z(0) = A x."""

    kind: str = field(
        default="identity",
        metadata=key(
            Choice(("identity", "random", "matrix")),
            'A; "random" has entries N(0, scale^2 / d_in)',
        ),
    )
    trainable: bool | None = field(
        default=False,
        metadata=key(Flag(), "whether A moves, too", when=_RANDOM_OR_MATRIX),
    )
    rate: float | None = field(
        default=1.0,
        metadata=key(_POSITIVE, "factor of its velocity", when=_RANDOM_OR_MATRIX),
    )
    scale: float | None = field(
        default=1.0, metadata=key(_POSITIVE, "size of the entries", when=_RANDOM)
    )
    seed: int | None = field(
        default=0, metadata=key(_SEED, "seed of the entries", when=_RANDOM)
    )
    matrix: list[list[float]] | None = field(
        default=None,
        metadata=key(
            Matrix(),
            "A, of shape (d, d_in)",
            when=_MATRIX,
            example=[[1.0, 0.0], [0.0, 1.0]],
            is_required=True,
        ),
    )


@dataclass(frozen=True)
class Readout:
    """The matrix C of out = C z(1); the number of outputs is that of the targets."""

    kind: str = field(
        default="random",
        metadata=key(
            Choice(("random", "identity", "matrix")),
            'C; "random" has entries N(0, scale^2 / d)',
        ),
    )
    trainable: bool | None = field(
        default=True,
        metadata=key(Flag(), "whether C moves, too", when=_RANDOM_OR_MATRIX),
    )
    rate: float | None = field(
        default=1.0,
        metadata=key(_POSITIVE, "factor of its velocity", when=_RANDOM_OR_MATRIX),
    )
    scale: float | None = field(
        default=1.0,
        metadata=key(Number(at_least=0), "size of the entries", when=_RANDOM),
    )
    seed: int | None = field(
        default=0, metadata=key(_SEED, "seed of the entries", when=_RANDOM)
    )
    matrix: list[list[float]] | None = field(
        default=None,
        metadata=key(
            Matrix(),
            "C, of shape (q, d)",
            when=_MATRIX,
            example=[[1.0, 0.0]],
            is_required=True,
        ),
    )


@dataclass(frozen=True)
class Regulariser:
    """lambda0 exp(-gamma s) int int |theta|^2 drho dt, Eq. (12)."""

    lambda0: float = field(
        default=0.0, metadata=key(Number(at_least=0), "strength at s = 0")
    )
    gamma: float = field(
        default=0.0,
        metadata=key(Number(at_least=0), "rate of decay in training time s"),
    )


@dataclass(frozen=True)
class Clip:
    """pi of Eq. (10): a bound of the velocity of every parameter."""

    bound: float | None = field(
        default=None,
        metadata=key(_POSITIVE, "largest |pi|; default: no clipping", example=1.0),
    )
    form: str = field(
        default="hard",
        metadata=key(
            Choice(("hard", "smooth")),
            "hard: cut off; smooth: g / sqrt(1 + (g/bound)^2)",
        ),
    )


@dataclass(frozen=True)
class Problem:
    """Loss, block, embedding, readout, regulariser, clipping."""

    loss: str = field(
        default="auto",
        metadata=key(
            Choice(("auto", "squared", "logistic", "cross_entropy")),
            "loss; auto goes by data.target: one_hot cross_entropy, signs logistic, "
            "value squared",
        ),
    )
    metric: Any = field(
        default=None,
        metadata=key(
            _SIZE_BY_GROUP,
            "factor of the velocity per parameter, 0 freezes it; default 1",
            example={"u": 1.0, "v": 1.0, "b": 1.0},
        ),
    )
    dtype: str = field(
        default="float64",
        metadata=key(Choice(DTYPES), "numbers of states and fields; float32 is faster"),
    )
    block: Block = field(default_factory=Block)
    embedding: Embedding = field(default_factory=Embedding)
    readout: Readout = field(default_factory=Readout)
    regulariser: Regulariser = field(default_factory=Regulariser)
    clipping: Clip = field(default_factory=Clip)


@dataclass(frozen=True)
class Grid:
    """The grid on depth t in [0, 1]."""

    scheme: str = field(
        default="rk4",
        metadata=key(
            Choice((*STEP_SCHEMES, "gauss")), "orders 1, 2, 4; gauss is spectral"
        ),
    )
    n: int | None = field(default=4, metadata=key(_COUNT, "depth steps", when=_STEPS))
    n_nodes: int | None = field(
        default=4, metadata=key(_COUNT, "Gauss nodes in each element", when=_GAUSS)
    )
    n_elements: int | None = field(
        default=1, metadata=key(_COUNT, "elements", when=_GAUSS)
    )


@dataclass(frozen=True)
class Law:
    """The initial law rho_ini(theta, t)."""

    kind: str = field(
        default="gaussian",
        metadata=key(
            Choice(
                (
                    "gaussian",
                    "uniform",
                    "path",
                    "gaussian_process",
                    "dirac",
                    "point_cloud",
                )
            ),
            "law; path is alpha + beta cos(pi t) with normal alpha, beta",
        ),
    )
    mean: Any = field(
        default=0.0,
        metadata=key(
            _BY_GROUP, "mean", when=("kind", ("gaussian", "path", "gaussian_process"))
        ),
    )
    std: Any = field(
        default=1.0,
        metadata=key(
            _SIZE_BY_GROUP,
            "standard deviation",
            when=("kind", ("gaussian", "gaussian_process")),
        ),
    )
    std_alpha: Any = field(
        default=1.0,
        metadata=key(
            _SIZE_BY_GROUP, "standard deviation of alpha", when=("kind", ("path",))
        ),
    )
    mean_beta: Any = field(
        default=0.0, metadata=key(_BY_GROUP, "mean of beta", when=("kind", ("path",)))
    )
    std_beta: Any = field(
        default=0.5,
        metadata=key(
            _SIZE_BY_GROUP, "standard deviation of beta", when=("kind", ("path",))
        ),
    )
    length: float | None = field(
        default=0.5,
        metadata=key(
            Number(at_least=0.01),
            "correlation length in depth t",
            when=("kind", ("gaussian_process",)),
        ),
    )
    low: Any = field(
        default=-1.0,
        metadata=key(_BY_GROUP, "lower bound", when=("kind", ("uniform",))),
    )
    high: Any = field(
        default=1.0, metadata=key(_BY_GROUP, "upper bound", when=("kind", ("uniform",)))
    )
    theta: Any = field(
        default=0.0, metadata=key(_BY_GROUP, "the one theta", when=("kind", ("dirac",)))
    )
    path: str | None = field(
        default=None,
        metadata=key(
            Text(),
            "NPZ file with theta (n, k) and perhaps weights (n,)",
            when=("kind", ("point_cloud",)),
            example="cloud.npz",
            is_required=True,
        ),
    )


@dataclass(frozen=True)
class Ensemble:
    """Particles at every depth node."""

    n_particles: int = field(
        default=256,
        metadata=key(_COUNT, "particles M at every node; for quadrature at most"),
    )
    method: str = field(
        default="sobol",
        metadata=key(Choice(("iid", "sobol", "quadrature")), "sampling rule in theta"),
    )
    coupling: str = field(
        default="path",
        metadata=key(
            Choice(("path", "tied", "layer")),
            "one path theta(t) a particle, one draw for all t, or fresh draws per node",
        ),
    )
    seed: int = field(default=0, metadata=key(_SEED, "seed of the sampling rule"))
    nodes: list[int] | None = field(
        default=None,
        metadata=key(
            ListOf(_SEED, "whole numbers of at least 0"),
            "nodes for each random number of the law, 0: by Sobol; default: chosen",
            when=("method", ("quadrature",)),
            example=[24, 8, 24],
        ),
    )


@dataclass(frozen=True)
class Flow:
    """The flow in training time s, and when it stops."""

    s_end: float = field(
        default=10.0, metadata=key(Number(at_least=0), "end of training time")
    )
    stepper: str = field(
        default="dopri5",
        metadata=key(
            Choice((*FIXED_STEPPERS, *ADAPTIVE_STEPPERS, "langevin")),
            "dopri5, rkc2 (stiff) and auto control their error; langevin adds noise",
        ),
    )
    rtol: float = field(
        default=1e-6,
        metadata=key(_POSITIVE, "relative tolerance of an adaptive stepper"),
    )
    atol: float = field(
        default=1e-9,
        metadata=key(_POSITIVE, "absolute tolerance of an adaptive stepper"),
    )
    ds: float | None = field(
        default=None,
        metadata=key(
            _POSITIVE, "size of a step", when=_WITH_DS, example=0.01, is_required=True
        ),
    )
    temperature: float | None = field(
        default=None,
        metadata=key(
            Number(at_least=0),
            "temperature nu of the noise, Eq. (16)",
            when=_LANGEVIN,
            example=0.01,
            is_required=True,
        ),
    )
    seed: int | None = field(
        default=0, metadata=key(_SEED, "seed of the noise", when=_LANGEVIN)
    )
    loss_below: float | None = field(
        default=None,
        metadata=key(_POSITIVE, "stop once the loss is below", example=1e-3),
    )
    gradient_norm_below: float | None = field(
        default=None,
        metadata=key(_POSITIVE, "stop once the gradient norm is below", example=1e-6),
    )
    steady_state: float | None = field(
        default=None,
        metadata=key(
            _POSITIVE,
            "stop once the objective would change, up to s_end at the present rate, by "
            "less than this fraction of that at the start",
            example=1e-3,
        ),
    )
    wall_time_s: float | None = field(
        default=None,
        metadata=key(_POSITIVE, "stop after so many seconds", example=600.0),
    )


# Keys that a run and the training of a network share.
SNAPSHOTS_KEY = key(schedule(), "theta; default start and end", example={"every": 0.5})
OBSERVERS_KEY = key(
    ListOf(Choice(OBSERVERS), f"names out of {', '.join(OBSERVERS)}", at_least=0),
    "further scalars; default all that the data allow",
    example=["test_accuracy"],
)


@dataclass(frozen=True)
class Record:
    """What is recorded, and at which training times s; the end always is."""

    scalars: Any = field(
        default_factory=lambda: {"steps": 1}, metadata=key(schedule(), "scalars")
    )
    snapshots: Any = field(
        default=None,
        metadata=SNAPSHOTS_KEY,
    )
    states: Any = field(
        default=None, metadata=key(schedule(), "states z and p", example=[0.0, 10.0])
    )
    observers: list[str] | None = field(
        default=None,
        metadata=OBSERVERS_KEY,
    )


@dataclass(frozen=True)
class Output:
    """The HDF5 file."""

    file: str | None = field(
        default=None,
        metadata=key(Text(), "default: name of the configuration", example="run.h5"),
    )
    theta_dtype: str = field(
        default="float64",
        metadata=key(Choice(("float64", "float32")), "type of the snapshots of theta"),
    )
    swmr: bool = field(
        default=True,
        metadata=key(Flag(), "whether others may read while it grows (false for NFS)"),
    )
    checkpoint_every_s: float = field(
        default=10.0, metadata=key(_POSITIVE, "seconds between two checkpoints")
    )


@dataclass(frozen=True)
class Plot:
    """The picture."""

    file: str | None = field(
        default=None,
        metadata=key(Text(), "default: name of the HDF5 file", example="run.png"),
    )
    dpi: int = field(
        default=150, metadata=key(Integer(at_least=20, at_most=2400), "dots per inch")
    )


@dataclass(frozen=True)
class Described:
    """What every kind of run begins with."""

    title: str = field(
        default="",
        metadata=key(Text(), "a line for the account, the file and the picture"),
    )
    data: dict[str, Any] = field(
        default_factory=dict,
        metadata=variants(
            "Samples: inputs x and targets y.",
            "source",
            {source: _data_keys(source) for source in SOURCES},
        ),
    )
    problem: Problem = field(default_factory=Problem)


@dataclass(frozen=True)
class Configuration(Described):
    """A run, from data to picture."""

    grid: Grid = field(default_factory=Grid)
    law: Law = field(default_factory=Law)
    ensemble: Ensemble = field(default_factory=Ensemble)
    flow: Flow = field(default_factory=Flow)
    record: Record = field(default_factory=Record)
    output: Output = field(default_factory=Output)
    plot: Plot = field(default_factory=Plot)
