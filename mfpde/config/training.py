"""From the checked configuration of a network to what `train` takes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from inspect import isclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde import data, networks
from mfpde.config.assembly import (
    build_law,
    build_problem,
    options_of_run,
    reported_as_configuration,
)
from mfpde.config.rules import loss_of
from mfpde.data import Dataset
from mfpde.describe import rebuilt, thing_of
from mfpde.losses import has_classes, loss_from_name

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


def build_network(config: Any, folder: str | Path = ".") -> NetworkAssembly:
    """Make network, optimiser and the keywords of `train`.

    Parameters and errors as for `assembly.build`.
    """
    section = config.network
    with reported_as_configuration():
        dataset = data.load(config.data, folder)
        training_set, validation = _validation(dataset, config.training)
        problem = build_problem(config, training_set)
        net = networks.ResNet.from_law(
            problem,
            build_law(config, problem.block, Path(folder)),
            section.n_layers,
            section.n_particles,
            coupling=section.coupling,
            method=section.method,
            seed=section.seed,
            residual_scale=_scale(section.residual_scale),
            outer=section.outer,
        )
        keywords = _keywords(config, training_set, validation)
        optimiser = rebuilt("optimiser", config.training.optimiser)
        # What does not fit the network shall be told as a problem of the file.
        optimiser.bound(net, config.training.n_iterations)
        networks.Batches(problem.n_samples, config.training.batch_size)
    return NetworkAssembly(net, optimiser, keywords, training_set)


def _scale(value: Any) -> Any:
    """A residual scale: an object where its class is named, else as it is."""
    is_table = isinstance(value, dict)
    is_class = is_table and isclass(thing_of("residual scale", value["kind"]))
    return rebuilt("residual scale", value) if is_class else value


def _validation(
    dataset: Dataset, training: Any
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


def _keywords(
    config: Any, dataset: Dataset, validation: tuple[Array, Array] | None
) -> dict[str, Any]:
    training = config.training
    options = options_of_run(config, training, dataset)
    options["metadata"]["seed"] = config.network.seed
    if has_classes(loss_from_name(loss_of(config))):
        # A training with such a loss records it by itself.
        options["observers"].pop("train_accuracy", None)
    del options["optimiser"], options["validation_fraction"]
    patience, min_delta = options.pop("patience"), options.pop("min_delta")
    stopping = None
    if patience is not None:
        stopping = networks.EarlyStopping(patience, min_delta)
    return options | {"validation": validation, "early_stopping": stopping}
