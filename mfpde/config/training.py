"""From the checked configuration of a network to what `train` takes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde import data, networks
from mfpde.config.assembly import (
    THETA_DTYPES,
    build_law,
    build_problem,
    recording_schedule,
    reported_as_configuration,
    samples_of,
)
from mfpde.config.networks import NetworkConfiguration, Training
from mfpde.config.rules import loss_of
from mfpde.config.validation import resolved_toml
from mfpde.data import Dataset
from mfpde.losses import has_classes, loss_from_name
from mfpde.run.observers import make_observers
from mfpde.scales import PowerLaw

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NetworkAssembly:
    """What the configuration of a network describes.

    Attributes
    ----------
    net : ResNet
    optimiser : SGD or Adam
    keywords : dict
        For `mfpde.train`, output and progress excepted.
    dataset : Dataset
    """

    net: networks.ResNet
    optimiser: Any
    keywords: dict[str, Any]
    dataset: Dataset


def build_network(
    config: NetworkConfiguration, folder: str | Path = "."
) -> NetworkAssembly:
    """Make network, optimiser and the keywords of `train`.

    Parameters and errors as for `assembly.build`.
    """
    section = config.network
    with reported_as_configuration():
        dataset = data.load(config.data, folder)
        training_set, validation = _validation(dataset, config.training)
        problem = build_problem(config, training_set)
        scale = section.residual_scale
        net = networks.ResNet.from_law(
            problem,
            build_law(config, problem.block, Path(folder)),
            section.n_layers,
            section.n_particles,
            coupling=section.coupling,
            method=section.method,
            seed=section.seed,
            residual_scale=PowerLaw(**scale) if isinstance(scale, dict) else scale,
            outer=section.outer,
        )
        keywords = _keywords(config, training_set, validation)
        optimiser = _optimiser(config.training)
        # What does not fit the network shall be told as a problem of the file.
        optimiser.bound(net, config.training.n_iterations)
        networks.Batches(problem.n_samples, config.training.batch_size)
    return NetworkAssembly(net, optimiser, keywords, training_set)


def _validation(
    dataset: Dataset, training: Training
) -> tuple[Dataset, tuple[Array, Array] | None]:
    """The data set without its validation samples, and these."""
    if not training.validation_fraction:
        return dataset, None
    kept, apart = data.split(
        len(dataset.x), training.validation_fraction, training.seed, dataset.labels
    )
    validation = dataset.x[apart], dataset.y[apart]
    arrays = dict(dataset.preprocessing or {})
    if "train_index" in arrays:
        arrays["train_index"] = arrays["train_index"][kept]
    rest = dataclasses.replace(
        dataset,
        x=dataset.x[kept],
        y=dataset.y[kept],
        labels=None if dataset.labels is None else dataset.labels[kept],
        preprocessing=arrays,
    )
    return rest, validation


def _optimiser(training: Training) -> Any:
    schedule: Any = networks.Constant()
    if training.schedule == "drops":
        schedule = networks.Drops(tuple(training.drop_at), training.drop_factor)
    elif training.schedule == "cosine":
        schedule = networks.Cosine(final=training.final)
    if training.warm_up:
        schedule = networks.WarmUp(training.warm_up, schedule)
    if training.optimiser == "adam":
        names = ("learning_rate", "beta1", "beta2", "epsilon")
        options = {name: getattr(training, name) for name in names}
        return networks.Adam(**options, schedule=schedule)
    names = ("learning_rate", "ds", "momentum", "nesterov")
    options = {name: getattr(training, name) for name in names}
    return networks.SGD(**options, schedule=schedule)


def _keywords(
    config: NetworkConfiguration,
    dataset: Dataset,
    validation: tuple[Array, Array] | None,
) -> dict[str, Any]:
    training, record = config.training, config.record
    observers = make_observers(samples_of(dataset), record.observers)
    if has_classes(loss_from_name(loss_of(config))):
        # A training with such a loss records it by itself.
        observers.pop("train_accuracy", None)
    stopping = None
    if training.patience is not None:
        stopping = networks.EarlyStopping(training.patience, training.min_delta)
    return {
        "n_iterations": training.n_iterations,
        "batch_size": training.batch_size,
        "seed": training.seed,
        "validation": validation,
        "early_stopping": stopping,
        "loss_below": training.loss_below,
        "wall_time_s": training.wall_time_s,
        "checkpoint_every_s": config.output.checkpoint_every_s,
        "theta_dtype": THETA_DTYPES[config.output.theta_dtype],
        "swmr": config.output.swmr,
        "record": recording_schedule(record.scalars),
        "snapshots": recording_schedule(record.snapshots),
        "observers": observers,
        "metadata": {
            "seed": config.network.seed,
            "config_toml": resolved_toml(config),
            "extra_data": dataset.extra_data(),
        },
    }
