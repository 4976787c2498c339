"""From run files to a plot of the rate: `rate_from_two_files.py REFERENCE RUN RUN ...`.

A worked example of `mfpde.analysis`, to be read as a notebook and changed. Given a
reference and runs of the same problem with different numbers of layers (or, with
`--axis particles`, of particles), it compares the outputs of every run with those of
the reference at their last common snapshot, prints the pairwise orders and the fitted
power, and draws errors and fit. Without files it makes small runs of its own first.
"""

# %% Preparation: names, and runs to look at if there are none
from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import mfpde
from mfpde import analysis, plotting


def small_runs(folder: Path, depths: list[int]) -> list[Path]:
    """A reference on Gauss nodes and networks of some depths, from the same draws."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 2))
    problem = mfpde.MeanFieldProblem(x, x[:, ::-1], mfpde.blocks.Perceptron(2))
    law = mfpde.laws.standard_path(problem.k, 0.8, 0.2)
    grids = [mfpde.DepthGrid.gauss(16), *(mfpde.DepthGrid.euler(n) for n in depths)]
    paths = [folder / name for name in ["reference.h5", *(f"L{n}.h5" for n in depths)]]
    for path, grid in zip(paths, grids, strict=True):
        ensemble = law.sample(grid, 32, seed=1)
        mfpde.solve(problem, grid, ensemble, s_end=1.0, rtol=1e-8, output=path)
    return paths


# %% The analysis: from files to a picture
def rate_plot(reference: Path, files: list[Path], axis: str, picture: Path) -> None:
    """Print the observed rate of `files` against `reference` and draw it."""
    n, errors = [], []
    for file in files:
        comparison = analysis.compare(reference, file, at="last")
        with mfpde.open_run(file) as run:
            n.append(len(run.t) if axis == "layers" else len(run.weights))
        errors.append(comparison.output_rms[-1])
        print(f"{comparison}\n")
    order = np.argsort(n)
    n, errors = np.array(n)[order], np.array(errors)[order]
    fit = analysis.fit_power(n, errors)
    print(f"{axis}: {n}\nerrors: {errors}")
    print(f"pairwise orders: {analysis.pairwise_orders(n, errors)}\n{fit}")

    figure = Figure(figsize=(4.8, 3.6), layout="constrained")
    ax = figure.subplots()
    ax.loglog(n, errors, "o", label="output, rms over samples")
    ax.loglog(n, fit.predict(n), label=f"$n^{{-{fit.exponent:.2f}}}$")
    ax.set(xlabel=axis, ylabel="error", xticks=n, xticklabels=n)
    ax.minorticks_off()
    ax.legend()
    plotting.save(figure, picture)


# %% The command line
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="REFERENCE RUN RUN ...")
    parser.add_argument("--axis", choices=["layers", "particles"], default="layers")
    parser.add_argument("--quick", action="store_true", help="two small runs")
    parser.add_argument("--output", type=Path, default=Path("rate.png"))
    options = parser.parse_args()
    if options.files and len(options.files) < 3:
        parser.error("give a reference and at least two runs, or no file at all")
    with tempfile.TemporaryDirectory() as folder:
        depths = [4, 8] if options.quick else [4, 8, 16, 32, 64]
        files = options.files or small_runs(Path(folder), depths)
        rate_plot(files[0], files[1:], options.axis, options.output)
    print(f"Wrote {options.output}.")


if __name__ == "__main__":
    main()
