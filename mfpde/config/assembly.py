"""From a checked configuration to the objects that `solve` takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde import data, laws
from mfpde.clipping import Clipping
from mfpde.config.parsing import resolved_toml
from mfpde.config.rules import loss_of, make_block
from mfpde.data import Dataset
from mfpde.depth import DepthGrid
from mfpde.describe import make, rebuilt, thing_of
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import ConfigurationError, sentence
from mfpde.fields import fields_of
from mfpde.paths import user_path
from mfpde.problem import MeanFieldProblem
from mfpde.readouts import Linear
from mfpde.run.observers import Samples, make_observers
from mfpde.sizes import warn_of_sizes


@dataclass(frozen=True, eq=False)
class Assembly:
    """What a configuration describes.

    Attributes
    ----------
    problem : MeanFieldProblem
    grid : DepthGrid
    law : Law
    ensemble : ParticleEnsemble
        At s = 0.
    keywords : dict
        For `mfpde.solve`, output and progress excepted.
    dataset : Dataset
    """

    problem: MeanFieldProblem
    grid: DepthGrid
    law: Any
    ensemble: ParticleEnsemble
    keywords: dict[str, Any]
    dataset: Dataset


def build(config: Any, folder: str | Path = ".") -> Assembly:
    """Make problem, grid, ensemble and the keywords of `solve`.

    Parameters
    ----------
    config : Values
        From `mfpde.config.load`.
    folder : path
        Where relative paths of input files start.

    Raises
    ------
    ConfigurationError
        If the parts do not fit each other or the data.
    FileNotFoundError
        If an input file is missing.
    """
    with reported_as_configuration():
        dataset = data.load(config.data, folder)
        problem = build_problem(config, dataset)
        grid = _build_grid(config.grid)
        law = build_law(config, problem.block, Path(folder))
        ensemble = law.sample(
            grid,
            config.ensemble.n_particles,
            method=config.ensemble.method,
            coupling=config.ensemble.coupling,
            seed=config.ensemble.seed,
            nodes=config.ensemble.nodes,
            block=problem.block,
        )
        keywords = _solve_keywords(config, dataset)
    return Assembly(problem, grid, law, ensemble, keywords, dataset)


@contextmanager
def reported_as_configuration() -> Iterator[None]:
    """Turn what a part refuses into a problem of the configuration."""
    try:
        yield
    except ConfigurationError:
        raise
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ConfigurationError([str(error)]) from error
    except MemoryError as error:
        raise ConfigurationError([sentence(error)]) from error
    except OverflowError as error:
        text = f"A number of the configuration is too large ({error})."
        raise ConfigurationError([text]) from error


def build_problem(config: Any, dataset: Dataset) -> MeanFieldProblem:
    """Make the problem of a configuration from its samples."""
    section = config.problem
    d_in, q = dataset.x.shape[1], dataset.y.shape[1]
    d = section.block.get("d") or d_in
    if d != d_in and section.embedding.kind == "identity":
        raise ValueError(
            f"`problem.block.d` = {d} differs from the {d_in} columns of the "
            f'inputs. Set data.pad_to = {d}, or problem.embedding.kind = "random".'
        )
    block = make_block(section.block, d)
    clipping = section.clipping
    problem = MeanFieldProblem(
        dataset.x,
        dataset.y,
        block,
        embedding=_linear_map(section.embedding, d, d_in),
        readout=_linear_map(section.readout, q, d),
        loss=loss_of(config),
        regulariser=rebuilt("regulariser", section.regulariser),
        metric=None
        if section.metric is None
        else _per_parameter(section.metric, block, default=1.0),
        clipping=None if clipping is None else Clipping(**clipping),
        dtype=section.dtype,
    )
    warn_of_sizes(problem)
    return problem


def _linear_map(table: Any, n_rows: int, n_columns: int) -> Linear | None:
    """Return an embedding or readout; None is the identity."""
    return rebuilt("linear map", table, n_rows=n_rows, n_columns=n_columns)


def _build_grid(table: Any) -> DepthGrid:
    options = {name: value for name, value in table.items() if name != "scheme"}
    return make("depth scheme", table.scheme, **options)


def build_law(config: Any, block: Any, folder: Path) -> laws.Law:
    """Make the initial law of a configuration."""
    table = dict(config.law)
    fields = fields_of(thing_of("law", table["kind"]))
    for name, value in table.items():
        if isinstance(value, dict) and fields[name].check is None:
            table[name] = _per_parameter(value, block)
        elif name == "path":
            table[name] = folder / user_path(value)
    given = {"n_params": block.k} if "n_params" in fields else {}
    return rebuilt("law", table, **given)


def _per_parameter(
    value: Any, block: Any, default: float = 0.0
) -> NDArray[np.float64] | float:
    """Return a number, or one per parameter (k,) from a list or a table by group."""
    if not isinstance(value, dict):
        return value if isinstance(value, float) else np.array(value)
    each = np.full(block.k, default)
    for group, number in value.items():
        each[block.param_groups[group]] = number
    return each


def options_of_run(config: Any, moving: Any, dataset: Dataset) -> dict[str, Any]:
    """The options of runs that a configuration gives: what and when to record.

    Parameters
    ----------
    config : Values
    moving : Values
        The section [flow] or [training].
    dataset : Dataset
    """
    record = {n: v for n, v in config.record.items() if n != "observers"}
    schedules = {
        {"scalars": "record"}.get(name, name): rebuilt("output schedule", value)
        for name, value in record.items()
    }
    output = {name: value for name, value in config.output.items() if name != "file"}
    return {
        **moving,
        **output,
        **schedules,
        "observers": make_observers(samples_of(dataset), config.record.observers),
        "metadata": {
            "config_toml": resolved_toml(config),
            "extra_data": dataset.extra_data(),
        },
    }


def _solve_keywords(config: Any, dataset: Dataset) -> dict[str, Any]:
    options = options_of_run(config, config.flow, dataset)
    options["metadata"]["seed"] = config.ensemble.seed
    stepper = config.flow.stepper
    if isinstance(stepper, dict):
        shared = {name: options.pop(name) for name in ("ds", "rtol", "atol")}
        keys = fields_of(thing_of("stepper", stepper["kind"]))
        given = {name: value for name, value in shared.items() if name in keys}
        options["stepper"] = rebuilt("stepper", stepper, **given)
        # They are also those of the ledger and of where limits are crossed.
        options |= {name: shared[name] for name in ("rtol", "atol")}
    return options


def samples_of(dataset: Dataset) -> Samples:
    """What observers may use of a data set."""
    has_classes = dataset.labels is not None
    return Samples(has_classes, dataset.x_test, dataset.y_test, dataset.y_std)
