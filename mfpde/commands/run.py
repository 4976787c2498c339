"""`mfpde run`: from a TOML file to an HDF5 file, an account and a picture."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfpde.commands.ending import ended, estimated, finish, refuse_estimate
from mfpde.commands.files import check_files, named_files
from mfpde.config import is_network, load
from mfpde.config.assembly import build, reported_as_configuration
from mfpde.config.training import build_network
from mfpde.data import Dataset
from mfpde.engine.mpi import all_or_none, shard_of, world
from mfpde.evaluation import evaluate
from mfpde.paths import Use, user_path
from mfpde.run.solution import Solution, quietly
from mfpde.run.solver import solve
from mfpde.run.training import train
from mfpde.run.training_dynamics import refuse_ranks
from mfpde.shipped import configuration_file
from mfpde.storage import check_writable
from mfpde.waiting import waiting


@dataclass(frozen=True)
class _Job:
    """What a configuration asks for.

    `warm_up` compiles or loads the kernels; `start` takes the keywords that `solve` and
    `train` share.
    """

    dataset: Dataset
    keywords: dict[str, Any]
    warm_up: Callable[[], Any]
    start: Callable[..., Solution]


def main(arguments: argparse.Namespace) -> int:
    """Solve what a configuration describes and return the exit status."""
    with all_or_none(world()) as communicator:
        return _run(arguments, communicator)


def _run(arguments: argparse.Namespace, communicator: Any) -> int:
    refuse_estimate(arguments.estimate, communicator)
    arguments.config = configuration_file(arguments.config)
    config = load(arguments.config, arguments.overrides)
    stem = Path(arguments.config).stem
    output = user_path(arguments.out or config.output.file or f"{stem}.h5")
    folder = Path(arguments.config).parent
    picture = config.plot.file or output.with_suffix(".png")
    picture = check_files(
        [Use("the configuration", arguments.config), *named_files(config, folder)],
        run=output,
        picture=None if arguments.no_plot else picture,
        is_default=not config.plot.file,
    )
    try:
        with reported_as_configuration():
            check_writable(output, arguments.overwrite)
    except FileExistsError as error:
        text = str(error).replace("another `output`", "another name with --out")
        how = "replace it with --overwrite"
        text = text.replace("set `overwrite` to replace it", how)
        raise FileExistsError(text) from error
    make = _network if is_network(config) else _flow
    job = make(config, folder, communicator)
    if not arguments.quiet:
        print(f"mfpde: {job.dataset.summary()}; preparing kernels", file=sys.stderr)
    started = time.perf_counter()
    with contextlib.nullcontext() if arguments.quiet else waiting("preparing kernels"):
        job.warm_up()
    compile_s = time.perf_counter() - started
    metadata = job.keywords["metadata"]
    metadata["title"] = config.title or stem
    metadata["command"] = shlex.join(["mfpde", *sys.argv[1:]])
    solution = ended(
        lambda: job.start(
            **job.keywords,
            output=output,
            overwrite=arguments.overwrite,
            progress=not arguments.quiet,
        )
    )
    if arguments.estimate:
        estimated(solution, is_quiet=arguments.quiet)
    return finish(
        solution,
        picture=picture,
        dpi=config.plot.dpi,
        is_quiet=arguments.quiet,
        compile_s=compile_s,
    )


def _flow(config: Any, folder: Path, communicator: Any) -> _Job:
    made = build(config, folder)
    parts = made.problem, made.grid, made.ensemble
    share = made.ensemble.share(shard_of(communicator, made.ensemble.n_particles))
    return _Job(
        dataset=made.dataset,
        keywords=made.keywords,
        warm_up=lambda: evaluate(made.problem, made.grid, share),
        start=lambda **keywords: quietly(solve)(
            *parts, **keywords, communicator=communicator
        ),
    )


def _network(config: Any, folder: Path, communicator: Any) -> _Job:
    refuse_ranks(communicator)
    made = build_network(config, folder)
    return _Job(
        dataset=made.dataset,
        keywords=made.keywords,
        warm_up=made.net.evaluate,
        start=lambda **keywords: quietly(train)(made.net, made.optimiser, **keywords),
    )
