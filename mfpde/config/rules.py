"""Rules that tie keys of different sections together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mfpde.config.checks import quoted, suggest
from mfpde.config.schema import BLOCK_GROUPS, Configuration

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
        From the configuration to sentences on what is wrong.
    """

    keys: tuple[str, ...]
    check: Callable[[Configuration], Iterator[str]]


def loss_of(config: Configuration) -> str:
    """Return the name of the loss, "auto" resolved by the kind of targets."""
    if config.problem.loss != "auto":
        return config.problem.loss
    by_target = {target: loss for loss, target in TARGET_OF_LOSS.items()}
    return by_target.get(config.data.get("target", "value"), "squared")


def group_names(config: Configuration) -> tuple[str, ...]:
    """Return the parameter groups of the block, in the order of theta."""
    block = config.problem.block
    groups = BLOCK_GROUPS[block.kind]
    return tuple(g for g in groups if g != "b" or block.bias)


def _target_fits_loss(config: Configuration) -> Iterator[str]:
    loss, target = config.problem.loss, config.data.get("target")
    needed = TARGET_OF_LOSS.get(loss)
    if needed is not None and target is not None and target != needed:
        yield (
            f'`problem.loss` = "{loss}" needs `data.target` = "{needed}", but it is '
            f'"{target}"; leave the loss out and it follows from the target.'
        )


def _coupling_fits_grid(config: Configuration) -> Iterator[str]:
    if config.ensemble.coupling == "layer" and config.grid.scheme not in LAYER_SCHEMES:
        yield (
            '`ensemble.coupling` = "layer" is rough in depth t and needs '
            f"`grid.scheme` to be {' or '.join(map(_q, LAYER_SCHEMES))}, but it is "
            f'"{config.grid.scheme}".'
        )


def _coupling_fits_law(config: Configuration) -> Iterator[str]:
    if config.ensemble.coupling == "tied" and config.law.kind in PATH_LAWS:
        yield (
            '`ensemble.coupling` = "tied" needs a law that is constant in depth t, but '
            f'`law.kind` is "{config.law.kind}"; use coupling = "path".'
        )


def _groups_exist(config: Configuration) -> Iterator[str]:
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


def _pca_fits_padding(config: Configuration) -> Iterator[str]:
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


def _quadrature_draws_no_layers(config: Configuration) -> Iterator[str]:
    if config.ensemble.coupling == "layer" and config.ensemble.method == "quadrature":
        yield (
            '`ensemble.coupling` = "layer" wants fresh draws at every node, which '
            '`ensemble.method` = "quadrature" does not make; use coupling = "path".'
        )


_LAW_KEYS = (
    *("mean", "mean_beta", "std", "std_alpha", "std_beta"),
    *("low", "high", "theta"),
)

RULES = (
    Rule(("problem.loss", "data.source", "data.target"), _target_fits_loss),
    Rule(("ensemble.coupling", "grid.scheme"), _coupling_fits_grid),
    Rule(("ensemble.coupling", "law.kind"), _coupling_fits_law),
    Rule(("ensemble.coupling", "ensemble.method"), _quadrature_draws_no_layers),
    Rule(
        (
            "problem.block.kind",
            "problem.block.bias",
            "problem.metric",
            *(f"law.{name}" for name in _LAW_KEYS),
        ),
        _groups_exist,
    ),
    Rule(("data.pca", "data.pad_to"), _pca_fits_padding),
    Rule(("flow.stepper", "flow.steady_state"), _steady_without_noise),
)
