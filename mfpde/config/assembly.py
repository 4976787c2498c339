"""From a checked configuration to the objects that `solve` takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde import data, laws, recording
from mfpde.clipping import Clipping
from mfpde.config.rules import loss_of
from mfpde.config.schema import (
    Configuration,
    Described,
    Embedding,
    Flow,
    Readout,
)
from mfpde.config.validation import resolved_toml
from mfpde.data import Dataset
from mfpde.depth import DepthGrid
from mfpde.describe import make
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import ConfigurationError, sentence
from mfpde.losses import DecayingQuadratic
from mfpde.paths import user_path
from mfpde.problem import MeanFieldProblem
from mfpde.readouts import Linear
from mfpde.run.observers import Samples, make_observers
from mfpde.sizes import warn_of_sizes
from mfpde.steppers import Langevin

THETA_DTYPES = {"float64": "f8", "float32": "f4"}


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


def build(config: Configuration, folder: str | Path = ".") -> Assembly:
    """Make problem, grid, ensemble and the keywords of `solve`.

    Parameters
    ----------
    config : Configuration
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
        grid = _build_grid(config)
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


def build_problem(config: Described, dataset: Dataset) -> MeanFieldProblem:
    """Make the problem of a configuration from its samples."""
    section = config.problem
    d_in, q = dataset.x.shape[1], dataset.y.shape[1]
    d = section.block.dimension or d_in
    if d != d_in and section.embedding.kind == "identity":
        raise ValueError(
            f"`problem.block.dimension` = {d} differs from the {d_in} columns of the "
            f'inputs. Set data.pad_to = {d}, or problem.embedding.kind = "random".'
        )
    block = _build_block(config, d)
    strength = section.regulariser
    has_regulariser = strength.lambda0 > 0
    problem = MeanFieldProblem(
        dataset.x,
        dataset.y,
        block,
        embedding=_linear_map(section.embedding, d, d_in),
        readout=_linear_map(section.readout, q, d),
        loss=loss_of(config),
        regulariser=DecayingQuadratic(strength.lambda0, strength.gamma)
        if has_regulariser
        else None,
        metric=None
        if section.metric is None
        else _per_parameter(section.metric, block, default=1.0),
        clipping=None
        if section.clipping.bound is None
        else Clipping(section.clipping.bound, section.clipping.form),
        dtype=section.dtype,
    )
    warn_of_sizes(problem)
    return problem


def _build_block(config: Described, d: int) -> Any:
    section = config.problem.block
    names = ("activation", "bias", "scale")
    # Keys without a meaning for this kind are absent.
    given = {name: getattr(section, name) for name in names}
    options = {name: value for name, value in given.items() if value is not None}
    return make("block", section.kind, d=d, **options)


def _linear_map(
    section: Embedding | Readout, n_rows: int, n_columns: int
) -> Linear | None:
    """Return an embedding or readout; None is the identity."""
    if section.kind == "identity":
        return None
    if section.kind == "matrix":
        matrix = np.array(section.matrix)
    else:
        normal = np.random.default_rng(section.seed).standard_normal
        matrix = section.scale / np.sqrt(n_columns) * normal((n_rows, n_columns))
    return Linear(matrix, trainable=section.trainable, rate=section.rate)


def _build_grid(config: Configuration) -> DepthGrid:
    section = config.grid
    if section.scheme == "gauss":
        return DepthGrid.gauss(section.n_nodes, section.n_elements)
    return getattr(DepthGrid, section.scheme)(section.n)


def build_law(config: Described, block: Any, folder: Path) -> laws.Law:
    """Make the initial law of a configuration."""
    section, k = config.law, block.k

    def each(value: Any) -> NDArray[np.float64]:
        return _per_parameter(value, block)

    if section.kind == "gaussian":
        return laws.Gaussian(each(section.mean), each(section.std), k)
    if section.kind == "uniform":
        return laws.Uniform(each(section.low), each(section.high), k)
    if section.kind == "dirac":
        return laws.Dirac(each(section.theta), k)
    if section.kind == "gaussian_process":
        mean, std = each(section.mean), each(section.std)
        return laws.GaussianProcess(mean, std, section.length, k)
    if section.kind == "path":
        names = "mean", "std_alpha", "mean_beta", "std_beta"
        values = {name: each(getattr(section, name)) for name in names}
        return laws.StandardPath(**values, n_params=k)
    return laws.point_cloud_of(folder / user_path(section.path))


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


def recording_schedule(value: Any) -> Any:
    """Return what `mfpde.recording` offers for a schedule of the configuration."""
    if value is None or isinstance(value, list):
        return value
    ((kind, setting),) = value.items()
    if kind == "logarithmic":
        return recording.Logarithmic(setting["start"], setting["per_decade"])
    return {"every": recording.Every, "steps": recording.Steps}[kind](setting)


def _stepper(flow: Flow) -> Any:
    """Return the name of the stepper, or the one that adds noise."""
    if flow.stepper != "langevin":
        return flow.stepper
    return Langevin(flow.temperature, flow.ds, seed=flow.seed)


def _solve_keywords(config: Configuration, dataset: Dataset) -> dict[str, Any]:
    flow, record = config.flow, config.record
    return {
        "s_end": flow.s_end,
        "stepper": _stepper(flow),
        "rtol": flow.rtol,
        "atol": flow.atol,
        "ds": None if flow.stepper == "langevin" else flow.ds,
        "loss_below": flow.loss_below,
        "gradient_norm_below": flow.gradient_norm_below,
        "steady_state": flow.steady_state,
        "wall_time_s": flow.wall_time_s,
        "checkpoint_every_s": config.output.checkpoint_every_s,
        "theta_dtype": THETA_DTYPES[config.output.theta_dtype],
        "swmr": config.output.swmr,
        "record": recording_schedule(record.scalars),
        "snapshots": recording_schedule(record.snapshots),
        "states": recording_schedule(record.states),
        "observers": make_observers(samples_of(dataset), record.observers),
        "metadata": {
            "seed": config.ensemble.seed,
            "config_toml": resolved_toml(config),
            "extra_data": dataset.extra_data(),
        },
    }


def samples_of(dataset: Dataset) -> Samples:
    """What observers may use of a data set."""
    has_classes = dataset.labels is not None
    return Samples(has_classes, dataset.x_test, dataset.y_test, dataset.y_std)
