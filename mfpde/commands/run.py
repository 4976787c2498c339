"""`mfpde run`: from a TOML file to an HDF5 file, an account and a picture."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from mfpde.commands.ending import finish
from mfpde.config import load
from mfpde.config.assembly import build
from mfpde.evaluation import evaluate
from mfpde.mpi import all_or_none, shard_of, world
from mfpde.solver import solve
from mfpde.storage import check_writable


def main(arguments: argparse.Namespace) -> int:
    """Solve what a configuration describes and return the exit status."""
    with all_or_none(world()) as communicator:
        return _run(arguments, communicator)


def _run(arguments: argparse.Namespace, communicator: Any) -> int:
    config = load(arguments.config, arguments.overrides)
    stem = Path(arguments.config).stem
    output = Path(arguments.out or config.output.file or f"{stem}.h5")
    try:
        check_writable(output, arguments.overwrite)
    except FileExistsError as error:
        raise FileExistsError(
            f"{output} exists. Choose another name with --out, or replace it with "
            "--overwrite."
        ) from error
    made = build(config, Path(arguments.config).parent)
    if not arguments.quiet:
        print(f"mfpde: {made.dataset.summary()}; preparing kernels", file=sys.stderr)
    started = time.perf_counter()
    shard = shard_of(communicator, made.ensemble.n_particles)
    evaluate(made.problem, made.grid, made.ensemble.share(shard))
    compile_s = time.perf_counter() - started
    metadata = made.keywords["metadata"]
    metadata["title"] = config.title or stem
    metadata["command"] = shlex.join(["mfpde", *sys.argv[1:]])
    solution = solve(
        made.problem,
        made.grid,
        made.ensemble,
        **made.keywords,
        output=output,
        overwrite=arguments.overwrite,
        progress=not arguments.quiet,
        communicator=communicator,
    )
    picture = Path(config.plot.file) if config.plot.file else output.with_suffix(".png")
    return finish(
        solution,
        picture=None if arguments.no_plot else picture,
        dpi=config.plot.dpi,
        is_quiet=arguments.quiet,
        is_smooth_in_depth=config.ensemble.coupling != "layer",
        is_random=config.ensemble.method != "quadrature",
        compile_s=compile_s,
    )
