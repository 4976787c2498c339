"""The configuration of a network: [network] and [training] in place of a flow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mfpde.config import checks
from mfpde.config.checks import AnyOf, Choice, Flag, Integer, ListOf, Number
from mfpde.config.keys import key
from mfpde.config.schema import (
    OBSERVERS_KEY,
    SNAPSHOTS_KEY,
    Described,
    Law,
    Output,
    Plot,
)
from mfpde.kernels import OUTER_ACTIVATIONS

_POSITIVE = Number(above=0)
_COUNT = Integer(at_least=1)
_SEED = Integer(at_least=0)
_SHARE = Number(at_least=0, below=1)
_SGD = ("optimiser", ("sgd",))
_ADAM = ("optimiser", ("adam",))
_DROPS = ("schedule", ("drops",))
_COSINE = ("schedule", ("cosine",))
_POWER_LAW = checks.Record((("tau0", _POSITIVE), ("exponent", Number())))

REPLACED = {
    "grid": "the layers stand in [network]",
    "ensemble": "the particles stand in [network]",
    "flow": "[training] says how it moves",
}
"""Tables of a flow that a network has not, and what to use."""


@dataclass(frozen=True)
class Network:
    """The network z[l+1] = psi(z[l] + tau sum_m w_m f(z[l], theta[l, m])), Eq. (9)."""

    n_layers: int = field(default=16, metadata=key(_COUNT, "layers L"))
    n_particles: int = field(default=64, metadata=key(_COUNT, "particles M of a layer"))
    residual_scale: Any = field(
        default="ode",
        metadata=key(
            AnyOf(
                (
                    Choice(("ode", "sde")),
                    _POSITIVE,
                    _POWER_LAW,
                    ListOf(_POSITIVE, "numbers"),
                ),
                '"ode", "sde", a number above 0, { tau0 = 1.0, exponent = -0.5 } or a '
                "list with one number per layer",
            ),
            "tau: ode 1/L, sde L^(-1/2), tau0 L^exponent, or numbers",
        ),
    )
    outer: str = field(
        default="identity",
        metadata=key(Choice(OUTER_ACTIVATIONS), "outer activation psi"),
    )
    coupling: str = field(
        default="path",
        metadata=key(
            Choice(("path", "tied", "layer")),
            "one path theta(t) a particle, one draw for all layers, or fresh draws",
        ),
    )
    method: str = field(
        default="iid",
        metadata=key(Choice(("iid", "sobol", "quadrature")), "sampling rule in theta"),
    )
    seed: int = field(default=0, metadata=key(_SEED, "seed of the parameters"))


@dataclass(frozen=True)
class Training:
    """The optimiser, its batches, and when it stops."""

    n_iterations: int = field(
        default=1000, metadata=key(_COUNT, "updates of the parameters")
    )
    optimiser: str = field(
        default="sgd", metadata=key(Choice(("sgd", "adam")), "gradient descent or Adam")
    )
    learning_rate: float | None = field(
        default=None,
        metadata=key(
            _POSITIVE, "lr of theta <- theta - lr dE/dtheta, or Adam's", example=10.0
        ),
    )
    ds: float | None = field(
        default=None,
        metadata=key(
            _POSITIVE,
            "instead of learning_rate: the step in training time, lr tau / M",
            when=_SGD,
            example=0.05,
        ),
    )
    momentum: float | None = field(
        default=0.0, metadata=key(_SHARE, "momentum", when=_SGD)
    )
    nesterov: bool | None = field(
        default=False, metadata=key(Flag(), "whether momentum looks ahead", when=_SGD)
    )
    beta1: float | None = field(
        default=0.9, metadata=key(_SHARE, "memory of the mean", when=_ADAM)
    )
    beta2: float | None = field(
        default=0.999, metadata=key(_SHARE, "memory of the square", when=_ADAM)
    )
    epsilon: float | None = field(
        default=1e-8, metadata=key(_POSITIVE, "added to the root", when=_ADAM)
    )
    schedule: str = field(
        default="constant",
        metadata=key(Choice(("constant", "drops", "cosine")), "of the learning rate"),
    )
    drop_at: list[int] | None = field(
        default=None,
        metadata=key(
            ListOf(_COUNT, "whole numbers of at least 1"),
            "iterations at which it drops",
            when=_DROPS,
            example=[500, 800],
            is_required=True,
        ),
    )
    drop_factor: float | None = field(
        default=0.1, metadata=key(_POSITIVE, "factor of each drop", when=_DROPS)
    )
    final: float | None = field(
        default=0.0,
        metadata=key(Number(at_least=0, at_most=1), "factor at the end", when=_COSINE),
    )
    warm_up: int = field(
        default=0, metadata=key(_SEED, "iterations in which it rises at the start")
    )
    batch_size: int | None = field(
        default=None,
        metadata=key(_COUNT, "samples in a mini-batch; default all", example=64),
    )
    seed: int = field(default=0, metadata=key(_SEED, "seed of the shuffles"))
    validation_fraction: float = field(
        default=0.0,
        metadata=key(_SHARE, "share of the training samples set apart for validation"),
    )
    patience: int | None = field(
        default=None,
        metadata=key(
            _COUNT, "stop after so many records without improvement", example=10
        ),
    )
    min_delta: float = field(
        default=0.0,
        metadata=key(Number(at_least=0), "fall of the loss that is an improvement"),
    )
    loss_below: float | None = field(
        default=None,
        metadata=key(_POSITIVE, "stop once a recorded loss is below", example=1e-3),
    )
    wall_time_s: float | None = field(
        default=None,
        metadata=key(_POSITIVE, "stop after so many seconds", example=600.0),
    )


@dataclass(frozen=True)
class NetworkRecord:
    """What is recorded, and when; the end always is."""

    scalars: Any = field(
        default_factory=lambda: {"steps": 100},
        metadata=key(checks.schedule(), "scalars, on all data; a step is an iteration"),
    )
    snapshots: Any = field(
        default=None,
        metadata=SNAPSHOTS_KEY,
    )
    observers: list[str] | None = field(
        default=None,
        metadata=OBSERVERS_KEY,
    )


@dataclass(frozen=True)
class NetworkConfiguration(Described):
    """The training of a network, from data to picture."""

    network: Network = field(default_factory=Network)
    law: Law = field(default_factory=Law)
    training: Training = field(default_factory=Training)
    record: NetworkRecord = field(default_factory=NetworkRecord)
    output: Output = field(default_factory=Output)
    plot: Plot = field(default_factory=Plot)
