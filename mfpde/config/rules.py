"""Rules that tie keys of different sections together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mfpde import data
from mfpde.config.values import meant
from mfpde.describe import names, rebuilt, thing_of
from mfpde.fields import fields_of

ROUGH_SCHEMES = ("euler", "midpoint", "layers")
"""Depth schemes that allow particles which are independent from node to node."""


@dataclass(frozen=True)
class Rule:
    """A check over several keys; it is left out if one of them is wrong already.

    Attributes
    ----------
    keys : tuple of str
        Beginnings of the paths of the keys it reads.
    check : callable
        From the configuration to sentences on what is wrong.
    """

    keys: tuple[str, ...]
    check: Callable[[Any], Iterator[str]]


def loss_of(config: Any) -> Any:
    """Return name or table of the loss, "auto" resolved by the kind of targets."""
    if config.problem.loss != "auto":
        return config.problem.loss
    encoding = data.encoding_of(config.data)
    fitting = [n for n in names("loss") if _encoding(n) == encoding]
    return fitting[0] if encoding is not None and fitting else "squared"


def _encoding(loss: Any) -> str | None:
    name = loss["kind"] if isinstance(loss, Mapping) else loss
    return getattr(thing_of("loss", name), "encoding", None)


def _target_fits_loss(config: Any) -> Iterator[str]:
    loss, target = config.problem.loss, data.encoding_of(config.data)
    needed = None if loss == "auto" else _encoding(loss)
    if needed is not None and target is not None and target != needed:
        name = loss["kind"] if isinstance(loss, Mapping) else loss
        yield (
            f'`problem.loss` = "{name}" needs `data.target` = "{needed}", but it is '
            f'"{target}"; leave the loss out and it follows from the target.'
        )


def _task_fits_data(config: Any) -> Iterator[str]:
    yield from data.task_problems(config.data)


def _drawn(config: Any) -> tuple[str, Any]:
    """Name and keys of the section that says how particles are drawn."""
    name = "ensemble" if "ensemble" in config else "network"
    return name, config[name]


def _coupling_fits(config: Any) -> Iterator[str]:
    section, drawn = _drawn(config)
    if drawn.coupling == "layer" and drawn.method == "quadrature":
        yield (
            f'`{section}.coupling` = "layer" draws afresh at every node, which '
            f'`{section}.method` = "quadrature" does not; use coupling = "path".'
        )
    scheme = config.grid.scheme if "grid" in config else "layers"
    if drawn.coupling == "layer" and scheme not in ROUGH_SCHEMES:
        yield (
            '`ensemble.coupling` = "layer" is rough in depth t and needs '
            f'`grid.scheme` to be "euler" or "midpoint", but it is "{scheme}".'
        )
    if drawn.coupling == "tied" and not _is_constant(config.law):
        yield (
            f'`{section}.coupling` = "tied" needs a law that is constant in depth t, '
            f'but `law.kind` is "{config.law.kind}"; use coupling = "path".'
        )


def _is_constant(law: Mapping[str, Any]) -> bool:
    """Whether a law is constant in t, as far as that is known without a file."""
    plain = {n: 1.0 if isinstance(v, Mapping) else v for n, v in law.items()}
    if "path" in plain:
        return True
    return bool(getattr(rebuilt("law", plain), "is_constant_in_t", False))


def group_names(config: Any) -> tuple[str, ...]:
    """Return the parameter groups of the block, in the order of theta."""
    block = make_block(config.problem.block, 1)
    return tuple(getattr(block, "param_groups", ()))


def make_block(table: Mapping[str, Any], d: int) -> Any:
    """Make the block of a configuration for a state of size d."""
    return rebuilt("block", {**table, "d": table.get("d") or d})


def _groups_exist(config: Any) -> Iterator[str]:
    """Look at every value that may be given by parameter group."""
    by_group = {"problem.metric": config.problem.metric}
    by_group |= {f"law.{name}": value for name, value in config.law.items()}
    by_group = {p: v for p, v in by_group.items() if isinstance(v, Mapping)}
    known = group_names(config) if by_group else ()
    for path, value in by_group.items():
        unknown = [name for name in value if name not in known]
        missing = [name for name in known if name not in value]
        for name in unknown:
            yield (
                f"`{path}.{name}` is not a parameter group of the block "
                f'"{config.problem.block.kind}"{meant(name, known)}'
            )
        if missing and not unknown and path != "problem.metric":
            quoted = ", ".join(f'"{each}"' for each in missing)
            yield f"`{path}` must also have {quoted}: one for each group."


def _pca_fits_padding(config: Any) -> Iterator[str]:
    pca, pad_to = config.data.get("pca"), config.data.get("pad_to")
    if pca and pad_to and pad_to < pca:
        yield f"`data.pad_to` must be at least `data.pca` = {pca}, got {pad_to}."


def _steady_without_noise(config: Any) -> Iterator[str]:
    if "flow" not in config or config.flow.steady_state is None:
        return
    stepper = config.flow.stepper
    name = stepper["kind"] if isinstance(stepper, Mapping) else stepper
    if getattr(thing_of("stepper", name), "has_noise", name == "langevin"):
        yield (
            f'`flow.steady_state` must be left out with `flow.stepper` = "{name}": '
            "the gradient of single particles does not vanish."
        )


def _ds_is_used(config: Any) -> Iterator[str]:
    if "flow" not in config or config.flow.ds is None:
        return
    stepper = config.flow.stepper
    name = stepper["kind"] if isinstance(stepper, Mapping) else stepper
    fixed = [n for n in names("stepper") if _has_ds(n)]
    if name not in fixed:
        known = ", ".join(f'"{each}"' for each in fixed)
        yield (
            f"`flow.ds` belongs to a stepper with fixed steps ({known}), but "
            f'`flow.stepper` is "{name}"; remove it.'
        )


def _has_ds(stepper: str) -> bool:
    return "ds" in fields_of(thing_of("stepper", stepper))


def _patience_needs_validation(config: Any) -> Iterator[str]:
    training = config.get("training")
    if training and training.patience is not None and not training.validation_fraction:
        yield (
            "`training.patience` needs validation samples: give "
            "`training.validation_fraction`, for example 0.1."
        )


def _one_scale_for_each_layer(config: Any) -> Iterator[str]:
    if "network" not in config:
        return
    scales, n_layers = config.network.residual_scale, config.network.n_layers
    if isinstance(scales, list) and len(scales) != n_layers:
        yield (
            "`network.residual_scale` must have one number for each of the "
            f"{n_layers} layers, got {len(scales)}."
        )


RULES = (
    Rule(("problem.loss", "data"), _target_fits_loss),
    Rule(("ensemble", "network", "grid", "law.kind"), _coupling_fits),
    Rule(("problem.block", "problem.metric", "law"), _groups_exist),
    Rule(("data",), _task_fits_data),
    Rule(("data",), _pca_fits_padding),
    Rule(("flow",), _steady_without_noise),
    Rule(("flow",), _ds_is_used),
    Rule(("training",), _patience_needs_validation),
    Rule(("network",), _one_scale_for_each_layer),
)
