"""Rules that tie keys of different sections together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mfpde import data
from mfpde.config.checks import quoted, suggest
from mfpde.config.networks import NetworkConfiguration
from mfpde.config.schema import BLOCK_GROUPS, Configuration, Described

LAYER_SCHEMES = ("euler", "midpoint")
TARGET_OF_LOSS = {"cross_entropy": "one_hot", "logistic": "signs"}
PATH_LAWS = ("path", "gaussian_process")


@dataclass(frozen=True)
class Rule:
    """A check over several keys; it is left out if one of them is wrong already.

    Attributes
    ----------
    keys : tuple of str
        Full paths of the keys it reads.
    check : callable
        From the configuration to sentences on what is wrong. A configuration that
        lacks a key is not of the kind that the rule is for.
    """

    keys: tuple[str, ...]
    check: Callable[[Any], Iterator[str]]


def loss_of(config: Described) -> str:
    """Return the name of the loss, "auto" resolved by the kind of targets."""
    if config.problem.loss != "auto":
        return config.problem.loss
    by_target = {target: loss for loss, target in TARGET_OF_LOSS.items()}
    return by_target.get(data.encoding_of(config.data), "squared")


def group_names(config: Described) -> tuple[str, ...]:
    """Return the parameter groups of the block, in the order of theta."""
    block = config.problem.block
    groups = BLOCK_GROUPS[block.kind]
    return tuple(g for g in groups if g != "b" or block.bias is not False)


def _target_fits_loss(config: Described) -> Iterator[str]:
    loss, target = config.problem.loss, data.encoding_of(config.data)
    needed = TARGET_OF_LOSS.get(loss)
    if needed is not None and target is not None and target != needed:
        yield (
            f'`problem.loss` = "{loss}" needs `data.target` = "{needed}", but it is '
            f'"{target}"; leave the loss out and it follows from the target.'
        )


def _task_fits_data(config: Described) -> Iterator[str]:
    yield from data.task_problems(config.data)


def _coupling_fits_grid(config: Configuration) -> Iterator[str]:
    if config.ensemble.coupling == "layer" and config.grid.scheme not in LAYER_SCHEMES:
        yield (
            '`ensemble.coupling` = "layer" is rough in depth t and needs '
            f"`grid.scheme` to be {' or '.join(map(_q, LAYER_SCHEMES))}, but it is "
            f'"{config.grid.scheme}".'
        )


def _coupling_fits_law(config: Described) -> Iterator[str]:
    section, drawn = _drawn(config)
    if drawn.coupling == "tied" and config.law.kind in PATH_LAWS:
        yield (
            f'`{section}.coupling` = "tied" needs a law that is constant in depth t, '
            f'but `law.kind` is "{config.law.kind}"; use coupling = "path".'
        )


def _groups_exist(config: Described) -> Iterator[str]:
    """Look at every value that may be given by parameter group."""
    known = group_names(config)
    by_group = {"problem.metric": config.problem.metric}
    by_group |= {f"law.{n}": v for n, v in vars(config.law).items() if n != "kind"}
    for path, value in by_group.items():
        if not isinstance(value, dict):
            continue
        unknown = [name for name in value if name not in known]
        missing = [name for name in known if name not in value]
        for name in unknown:
            yield (
                f"`{path}.{name}` is not a parameter group of the block "
                f'"{config.problem.block.kind}", which has {", ".join(known)}'
                f"{suggest(name, known) or '.'}"
            )
        if missing and not unknown and path != "problem.metric":
            yield f"`{path}` must also have {quoted(missing)}: one for each group."


def _pca_fits_padding(config: Described) -> Iterator[str]:
    pca, pad_to = config.data.get("pca"), config.data.get("pad_to")
    if pca and pad_to and pad_to < pca:
        yield f"`data.pad_to` must be at least `data.pca` = {pca}, got {pad_to}."


def _steady_without_noise(config: Configuration) -> Iterator[str]:
    if config.flow.steady_state is not None and config.flow.stepper == "langevin":
        yield (
            '`flow.steady_state` must be left out with `flow.stepper` = "langevin": '
            "the gradient of single particles does not vanish."
        )


def _q(value: Any) -> str:
    return f'"{value}"'


def _drawn(config: Described) -> tuple[str, Any]:
    """Name and keys of the section that says how particles are drawn."""
    name = "ensemble" if isinstance(config, Configuration) else "network"
    return name, getattr(config, name)


def _quadrature_draws_no_layers(config: Described) -> Iterator[str]:
    section, drawn = _drawn(config)
    if drawn.coupling == "layer" and drawn.method == "quadrature":
        yield (
            f'`{section}.coupling` = "layer" wants fresh draws at every node, which '
            f'`{section}.method` = "quadrature" does not make; use coupling = "path".'
        )


def _one_learning_rate(config: NetworkConfiguration) -> Iterator[str]:
    training = config.training
    n_given = (training.learning_rate is not None) + (training.ds is not None)
    if n_given != 1:
        both = "neither" if n_given == 0 else "both"
        names = "`training.learning_rate`"
        if training.optimiser == "sgd":
            names = f"One of {names} and `training.ds`"
        yield f"{names} is required for the {training.optimiser}, got {both}."


def _nesterov_needs_momentum(config: NetworkConfiguration) -> Iterator[str]:
    if config.training.nesterov and not config.training.momentum:
        yield "`training.nesterov` = true needs `training.momentum` above 0, got 0."


def _patience_needs_validation(config: NetworkConfiguration) -> Iterator[str]:
    training = config.training
    if training.patience is not None and not training.validation_fraction:
        yield (
            "`training.patience` needs validation samples: give "
            "`training.validation_fraction`, for example 0.1."
        )


def _one_scale_for_each_layer(config: NetworkConfiguration) -> Iterator[str]:
    scales, n_layers = config.network.residual_scale, config.network.n_layers
    if isinstance(scales, list) and len(scales) != n_layers:
        yield (
            "`network.residual_scale` must have one number for each of the "
            f"{n_layers} layers, got {len(scales)}."
        )


_LAW_KEYS = (
    *("mean", "mean_beta", "std", "std_alpha", "std_beta"),
    *("low", "high", "theta"),
)

RULES = (
    Rule(("problem.loss", "data.source", "data.target"), _target_fits_loss),
    Rule(("ensemble.coupling", "grid.scheme"), _coupling_fits_grid),
    Rule(("ensemble.coupling", "law.kind"), _coupling_fits_law),
    Rule(("network.coupling", "law.kind"), _coupling_fits_law),
    Rule(("ensemble.coupling", "ensemble.method"), _quadrature_draws_no_layers),
    Rule(("network.coupling", "network.method"), _quadrature_draws_no_layers),
    Rule(
        (
            "problem.block.kind",
            "problem.block.bias",
            "problem.metric",
            *(f"law.{name}" for name in _LAW_KEYS),
        ),
        _groups_exist,
    ),
    Rule(
        ("data.source", "data.task", "data.target", "data.standardise_target"),
        _task_fits_data,
    ),
    Rule(("data.pca", "data.pad_to"), _pca_fits_padding),
    Rule(("flow.stepper", "flow.steady_state"), _steady_without_noise),
    Rule(
        ("training.optimiser", "training.learning_rate", "training.ds"),
        _one_learning_rate,
    ),
    Rule(("training.momentum", "training.nesterov"), _nesterov_needs_momentum),
    Rule(
        ("training.patience", "training.validation_fraction"),
        _patience_needs_validation,
    ),
    Rule(("network.residual_scale", "network.n_layers"), _one_scale_for_each_layer),
)
