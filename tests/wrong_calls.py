"""Calls of the whole public surface with one argument that is wrong.

Every public function, class and method has a valid call, tiny, in `surface`. Each of
its arguments in turn is replaced by each of the values of `wrong_values`. Such a call
either succeeds, or raises an error of ours: one of `KINDS`, raised by a statement of
mfpde, whose message is a sentence that names the argument in backticks.

    python wrong_calls.py [PART NUMBER [AREA...]]

makes the calls of one part of so many (all without), in a folder of its own and with
little memory, and prints the failures as JSON.
"""

from __future__ import annotations

import ast
import collections
import functools
import importlib
import inspect
import io
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import mfpde
from mfpde import figures as panels

PACKAGE = Path(mfpde.__file__).parent
KINDS = (
    ValueError,
    TypeError,
    OSError,
    mfpde.errors.ConvergenceError,
    mfpde.errors.NotFiniteError,
)
# Of these the cause need not be one argument.
OF_THE_WHOLE = (OSError, mfpde.errors.ConvergenceError, mfpde.errors.NotFiniteError)
MOST_BYTES = 6 << 30
MOST_SECONDS = 5


@dataclass(frozen=True)
class Make:
    """An argument that is made anew for each call."""

    function: Any

    def __call__(self) -> Any:
        return self.function()


@dataclass
class Entry:
    """A function and a valid call of it.

    `omit` has arguments that are not replaced, and `names` the names that a message
    may use besides those of the arguments.
    """

    name: str
    function: Any
    arguments: dict[str, Any]
    omit: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    positional: tuple[Any, ...] = ()
    # Errors of the whole call beside those below: they need no name.
    whole: tuple[type, ...] = ()
    may_be_nan: bool = False
    integrates: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        signature = inspect.signature(self.function)
        kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        known = [p for p in signature.parameters.values() if p.kind not in kinds]
        has_more = len(known) < len(signature.parameters)
        names = [p.name for p in known]
        unknown = set(self.arguments) - set(names)
        assert has_more or not unknown, f"{self.name} has no {sorted(unknown)}"
        missing = {
            p.name
            for p in known
            if p.default is p.empty and p.name not in self.arguments
        }
        assert not missing, f"{self.name} needs {sorted(missing)}"
        names += [name for name in self.arguments if name not in names]
        self.parameters = [name for name in names if name not in self.omit]

    def call(self, name: str | None = None, value: Any = None) -> Any:
        """Call it, with one argument replaced."""
        given = {
            key: each() if isinstance(each, Make) else each
            for key, each in self.arguments.items()
            if key != name
        }
        if name is not None:
            given[name] = value
        return self.function(**given)


class Text(str):
    """A text of a class of its own."""


def nothing(*arguments: Any, **options: Any) -> None:
    """A function that returns None, whatever it is called with."""


def wrong_values() -> dict[str, Any]:
    """Name to value; made anew for each call."""
    return {
        "None": None,
        "()": (),
        "[]": [],
        "{}": {},
        "{'a': 1}": {"a": 1},
        "''": "",
        "'abc'": "abc",
        "b'x'": b"x",
        "-1": -1,
        "0": 0,
        "1.5": 1.5,
        "-0.5": -0.5,
        "nan": float("nan"),
        "inf": float("inf"),
        "-inf": -float("inf"),
        "1e300": 1e300,
        "1e-300": 1e-300,
        "10**30": 10**30,
        "10**12": 10**12,
        "True": True,
        "3+4j": 3 + 4j,
        "object()": object(),
        "object": object,
        "ragged": [[1.0, 2.0], [3.0]],
        "empty array": np.empty(0),
        "empty rows": np.empty((2, 0)),
        "four axes": np.ones((1, 1, 1, 1)),
        "[nan, 1.0]": [float("nan"), 1.0],
        "[None, 1]": [None, 1],
        "array of text": np.array(["a", "b"]),
        "complex array": np.array([1.0 + 2.0j, 3.0]),
        "array of objects": np.array([object(), None]),
        "0-d array": np.array(2.5),
        "masked array": np.ma.masked_array([1.0, 2.0], [False, True]),
        "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
        "function": nothing,
        "missing file": "no folder/no file",
        "set": {1.0, 2.0},
        "generator": (n for n in range(2)),
        "text of its own": Text("abc"),
        "an exception": ValueError("abc"),
    }


# The valid calls.


def make_surface(folder: Path, areas: list[str]) -> list[Entry]:
    """The entries of some areas, of all without, once."""
    surface = Surface(folder)
    for name in dir(surface):
        if name.startswith("of_") and (not areas or name[3:] in areas):
            getattr(surface, name)()
    return surface.entries


class Surface:
    """Collects entries; the objects they share are made when first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[Entry] = []

    def add(
        self, name: str, function: Any, /, omit: Any = (), **arguments: Any
    ) -> None:
        """An entry."""
        names, whole = arguments.pop("_names", ()), arguments.pop("_whole", ())
        nan = arguments.pop("_may_be_nan", False)
        entry = Entry(name, function, arguments, tuple(omit), tuple(names))
        entry.whole = tuple(whole)
        entry.may_be_nan = nan
        entry.integrates = bool({"s_end", "n_steps"} & set(arguments))
        self.entries.append(entry)

    @functools.cached_property
    def x(self):
        return [[0.3], [-0.7], [1.1]]

    @functools.cached_property
    def y(self):
        return [[0.5], [-0.2], [0.9]]

    @functools.cached_property
    def block(self):
        return mfpde.blocks.Perceptron(1)

    @functools.cached_property
    def problem(self):
        return mfpde.MeanFieldProblem(self.x, self.y, self.block)

    @functools.cached_property
    def trained(self):
        linear = mfpde.readouts.Linear([[1.0]], trainable=True)
        return mfpde.MeanFieldProblem(
            self.x, self.y, self.block, embedding=linear, readout=linear
        )

    @functools.cached_property
    def grid(self):
        return mfpde.DepthGrid.euler(2)

    @functools.cached_property
    def theta(self):
        return np.random.default_rng(0).normal(size=(2, 4, 3))

    @functools.cached_property
    def ensemble(self):
        return mfpde.ParticleEnsemble(self.theta)

    @functools.cached_property
    def law(self):
        return mfpde.laws.Gaussian(0.0, 1.0, 3)

    @functools.cached_property
    def evaluation(self):
        return mfpde.evaluate(self.problem, self.grid, self.ensemble)

    @functools.cached_property
    def solution(self):
        return mfpde.solve(
            self.problem, self.grid, self.ensemble, s_end=0.1, snapshots=[0.0, 0.1]
        )

    @functools.cached_property
    def net(self):
        return mfpde.ResNet(self.problem, self.ensemble)

    @functools.cached_property
    def training(self):
        return mfpde.train(self.net, mfpde.networks.SGD(ds=0.1), n_iterations=2)

    @functools.cached_property
    def density(self):
        return mfpde.references.density.solve_density(
            mfpde.MeanFieldProblem(self.x, self.y, mfpde.blocks.Bias(1)),
            mfpde.laws.Gaussian(0.0, 0.5, 1), low=-5.0, high=5.0, n_cells=64,
            s_end=0.01, n_depth=4, rtol=1e-3, estimate=False)  # fmt: skip

    @functools.cached_property
    def joint(self):
        return mfpde.theory.joint.JointEnsemble(self.theta[0], [0.1, 0.3, 0.5, 0.8])

    @functools.cached_property
    def joint_evaluation(self):
        return mfpde.theory.joint.evaluate_joint(self.problem, self.joint)

    @functools.cached_property
    def run_bytes(self):
        path = self.folder / "made.h5"
        mfpde.solve(
            self.problem,
            self.grid,
            self.ensemble,
            s_end=0.1,
            output=path,
            snapshots=[0.0, 0.1],
        )
        checkpoint = mfpde.storage.checkpoint_path(path)
        return path.read_bytes(), checkpoint.read_bytes()

    def run_file(self):
        """A fresh run file."""
        path = self.folder / "valid.h5"
        run, checkpoint = self.run_bytes
        path.write_bytes(run)
        mfpde.storage.checkpoint_path(path).write_bytes(checkpoint)
        return path

    @functools.cached_property
    def run(self):
        path = self.folder / "open.h5"
        path.write_bytes(self.run_bytes[0])
        return mfpde.open_run(path)

    def new_path(self, suffix=".out"):
        """A path without a file."""
        path = self.folder / f"new{suffix}"
        path.unlink(missing_ok=True)
        return path

    def parts(self):
        """Problem, grid and ensemble."""
        return {"problem": self.problem, "grid": self.grid, "ensemble": self.ensemble}

    def of_the_top(self):
        add, parts = self.add, self.parts()
        add("Clipping", mfpde.Clipping, bound=1.0)
        add("Clipping()", mfpde.Clipping(1.0).__call__, values=[1.0],
            _may_be_nan=True)  # fmt: skip
        add(
            "ConfigurationError",
            mfpde.errors.ConfigurationError,
            problems=["A sentence."],
        )
        ridge = mfpde.DecayingQuadratic(0.1, 0.2)
        add("DecayingQuadratic", mfpde.DecayingQuadratic, lambda0=0.1)
        add("DecayingQuadratic.rate", ridge.rate, s=0.1)
        add("DecayingQuadratic.strength", ridge.strength, s=0.1)
        grid = mfpde.DepthGrid
        for name in ("euler", "midpoint", "rk4", "layers"):
            add(f"DepthGrid.{name}", getattr(grid, name), n=2)
        add("DepthGrid.gauss", grid.gauss, n_nodes=2)
        description = self.grid.describe()
        add("DepthGrid.from_description", grid.from_description,
            description=description, _names=("scheme",))  # fmt: skip
        add("Langevin", mfpde.steppers.Langevin, temperature=0.1, ds=0.1)
        add("MeanFieldProblem", mfpde.MeanFieldProblem, x=self.x, y=self.y,
            block=self.block, _names=("matrix",))  # fmt: skip
        add("MeanFieldProblem.with_changes", self.problem.with_changes, x=self.x,
            y=self.y, block=self.block, loss="squared", metric=None, dtype="float64",
            clipping=None, regulariser=None, sample_weights=None, embedding=None,
            readout=None, _names=("matrix",))  # fmt: skip
        add("MeanFieldProblem.with_parameters", self.trained.with_parameters,
            embedding=[[2.0]], readout=[[2.0]], _names=("matrix",))  # fmt: skip
        add("MeanFieldProblem.from_description",
            mfpde.MeanFieldProblem.from_description,
            description=self.problem.describe(),
            arrays=self.problem.arrays())  # fmt: skip
        for name, argument in (("embed", "x"), ("read", "z")):
            add(f"MeanFieldProblem.{name}", getattr(self.trained, name),
                **{argument: self.x}, _names=("values",))  # fmt: skip
        add("MeanFieldProblem.velocity_of", self.problem.velocity_of,
            gradient=self.theta, _names=("values",))  # fmt: skip
        add("ParticleEnsemble", mfpde.ParticleEnsemble, theta=self.theta)
        ensemble = self.ensemble
        add("ParticleEnsemble.duplicated", ensemble.duplicated, n_copies=2)
        add("ParticleEnsemble.permuted", ensemble.permuted, order=[1, 0, 2, 3])
        add("ParticleEnsemble.second_moment", ensemble.second_moment,
            t_weights=[0.5, 0.5])  # fmt: skip
        add("ParticleEnsemble.with_theta", ensemble.with_theta, theta=self.theta)
        add("ResNet", mfpde.ResNet, problem=self.problem, ensemble=ensemble)
        net = self.net
        add("ResNet.ds", net.ds, learning_rate=0.1)
        add("ResNet.learning_rate", net.learning_rate, ds=0.1)
        add("ResNet.rate_sentence", net.rate_sentence, ds=0.1)
        add("ResNet.evaluate", net.evaluate)
        add("ResNet.predict", net.predict, x=self.x)
        add("ResNet.with_parameters", net.with_parameters, ensemble=ensemble)
        add("ResNet.from_law", mfpde.ResNet.from_law, problem=self.problem,
            law=self.law, n_layers=2, n_particles=4, _names=("theta",))  # fmt: skip
        add("estimate_error", mfpde.estimate_error, solution=self.solution)
        add("evaluate", mfpde.evaluate, **parts)
        add("field", mfpde.evaluation.field, **parts, z=self.x)
        add("predict", mfpde.predict, **parts, x=self.x)
        add("trajectories", mfpde.evaluation.trajectories, **parts, x=self.x)
        states = {"z": [self.x, self.x], "p": [self.x, self.x]}
        for name in ("first_variation", "first_variation_gradient"):
            function = getattr(mfpde.evaluation, name)
            add(name, function, problem=self.problem, theta=self.theta,
                **states)  # fmt: skip
        add("check_gradient", mfpde.check_gradient, **parts)
        add("iterate", lambda **o: next(mfpde.iterate(**o)), omit=["checkpoint"],
            **parts, s_end=0.1, stepper="dopri5", rtol=1e-6, atol=1e-9, ds=None,
            tstops=())  # fmt: skip
        add(
            "linearised",
            mfpde.theory.lazy.linearised,
            problem=self.problem,
            ensemble=ensemble,
        )
        add("check_gradient", mfpde.check_gradient, problem=self.problem,
            grid=self.grid, ensemble=ensemble)  # fmt: skip
        add("Run.predict", lambda path, **o: mfpde.open_run(path).predict(**o),
            path=Make(self.run_file), x=self.x)  # fmt: skip
        add("Solution.predict", self.solution.predict, x=self.x)
        add("late_rate", mfpde.theory.tangent.late_rate, kernel=np.eye(2))
        add("tangent_kernel", mfpde.theory.tangent.tangent_kernel, **parts)
        add("open_run", lambda path: mfpde.open_run(path).close(),
            path=Make(self.run_file))  # fmt: skip
        add("recover", mfpde.recover, path=Make(self.run_file))
        add("resume", mfpde.resume, path=Make(self.run_file), s_end=0.11)
        add("solve", mfpde.solve, problem=self.problem, grid=self.grid,
            ens=ensemble, s_end=0.1, _names=("ensemble", "theta"))  # fmt: skip
        add("solve to a file", mfpde.solve, problem=self.problem, grid=self.grid,
            ens=ensemble, s_end=0.1, _names=("ensemble", "theta"),
            output=Make(lambda: self.new_path(".h5")))  # fmt: skip
        add("solve_density", mfpde.references.density.solve_density,
            problem=mfpde.MeanFieldProblem(self.x, self.y, mfpde.blocks.Bias(1)),
            law=mfpde.laws.Gaussian(0.0, 0.5, 1), low=-5.0, high=5.0, n_cells=64,
            s_end=0.01, n_depth=6, rtol=1e-3)  # fmt: skip
        add("solve_limit", mfpde.solve_limit, problem=self.problem, law=self.law,
            s_end=0.01, tol=0.1)  # fmt: skip
        add("train", mfpde.train, net=net, optimiser=mfpde.networks.SGD(ds=0.1),
            n_iterations=2)  # fmt: skip
        add("train to a file", mfpde.train, net=net,
            optimiser=mfpde.networks.SGD(ds=0.1), n_iterations=2,
            output=Make(lambda: self.new_path(".h5")))  # fmt: skip
        add("ErrorEstimate.total",
            mfpde.run.error_estimate.ErrorEstimate({"output": {"time": 0.1}},
                                np.zeros(1)).total)  # fmt: skip
        add("DensitySolution.marginal", self.density.marginal)

    def of_analysis(self):
        module = mfpde.analysis
        rng = np.random.default_rng(1)
        a, b = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
        deep = rng.normal(size=(2, 6, 2))
        errors = (1.0 + 0.1 * rng.random((3, 4, 5))) / np.arange(2, 5)[:, None, None]
        errors = errors + 1.0 / np.arange(2, 6)[:, None] ** 0.5
        draws = {"n_bootstrap": 20}

        def add(name, /, **arguments):
            self.add(f"analysis.{name}", getattr(module, name), **arguments)

        # The interval of a single run is NaN.
        add("bootstrap", statistic=np.mean, values=[1.0, 2.0, 4.0], **draws,
            _may_be_nan=True)  # fmt: skip
        cov = np.eye(2)
        add("bures", mean_a=[0.0, 0.0], cov_a=cov, mean_b=[1.0, 0.0], cov_b=cov)
        add("common_nodes", t_a=[0.0, 0.5], t_b=[0.0, 0.25, 0.5])
        add("compare", a=self.solution, b=self.solution, _may_be_nan=True)
        add("coupled_distance", theta_a=deep, theta_b=deep + 1)
        add("error_quantiles", errors=errors[0], eta=[0.1, 0.5])
        add(
            "export_csv",
            path=Make(self.run_file),
            output=Make(lambda: self.new_path(".csv")),
        )
        add(
            "export_npz",
            path=Make(self.run_file),
            output=Make(lambda: self.new_path(".npz")),
        )
        sizes = {"depths": [2, 3, 4], "widths": [2, 3, 4, 5], "errors": errors}
        add("fit_asymptotic", **sizes, a=1.0, **draws)
        add("fit_asymptotic_power", n=[2, 3, 4], errors=errors[:, 0], **draws)
        add("fit_eta", errors=errors[0], eta=[0.3, 0.5], **draws)
        draws4 = sizes | {"errors": np.repeat(errors[..., None], 2, axis=3)}
        add("fit_fluctuation", **draws4, **draws)
        paired = 1.0 + 0.1 * rng.random((5, 4, 2))
        paired = paired / np.arange(2, 7)[:, None, None]
        add("fit_paired", depths=[2, 3, 4, 5, 6], errors=paired, **draws)
        add("fit_power", n=[2, 3, 4], errors=errors[:, 0], **draws)
        add("fit_rates", **sizes, a=1.0, **draws)
        x = np.linspace(-2.0, 2.0, 9)
        valley = (x[None, :, None] - 0.1) ** 2 / np.arange(1, 4)[:, None, None] + 0.1
        valley = valley * np.exp(0.01 * rng.normal(size=(3, 9, 4)))
        add("fit_valley", sizes=[2.0, 4.0, 8.0], x=np.exp(x), errors=valley, **draws)
        add("pairwise_orders", n=[2, 4, 8], errors=[0.4, 0.2, 0.1])
        add("power_limit", values=2 - 0.5 ** np.arange(6.0))
        add("refinement_interval", fine=1.0, coarse=1.1)
        add("same_law_baseline", theta=a, n_splits=3)
        add("w2", a=a, b=b)
        add("w2_depth", theta_a=deep, theta_b=deep + 1)
        add("w2_estimate", a=a, b=b)
        add("w2_integrated", theta_a=deep, theta_b=deep + 1)
        add("w2_sup", theta_a=deep, theta_b=deep + 1)
        baseline = module.same_law_baseline(a, n_splits=3)
        self.add("Baseline.p_value", baseline.p_value, distance=0.1)
        self.add("Baseline.quantile", baseline.quantile, level=0.5)
        power = module.fit_power([2, 3, 4], errors[:, 0], **draws)
        self.add("PowerFit.predict", power.predict, n=[2, 3])
        rates = module.fit_rates(**sizes, a=1.0, **draws)
        for name in ("band", "predict", "terms"):
            self.add(f"RateFit.{name}", getattr(rates, name), depths=[2], widths=[3])
        fit = module.fit_valley([2.0, 4.0, 8.0], np.exp(x), valley, **draws)
        self.add("ValleyFit.predict", fit.predict, x=[0.5])

    def of_blocks(self):
        module = mfpde.blocks
        for name in ("Bias", "Bilinear", "Capped", "Linear", "Perceptron",
                     "SignedSquaredReLU", "SquaredReLU"):  # fmt: skip
            self.add(f"blocks.{name}", getattr(module, name), d=1)
        for block in (self.block, module.Bias(1), module.Bilinear(1)):
            self.add(f"blocks.{type(block).__name__}.kernels", block.kernels,
                     dtype="float64")  # fmt: skip
        self.add("blocks.Custom", module.Custom, d=1, k=1, f=nothing, vjp_z=nothing,
                 vjp_theta=nothing)  # fmt: skip

    def of_data(self):
        module = mfpde.data
        labels = [0, 1, 0, 1]
        x = [[0.0, 1.0], [1.0, 0.5], [2.0, 0.0], [0.5, 3.0]]
        for name in ("curve", "gaussian", "moons", "rings", "spirals", "teacher"):
            self.add(f"data.{name}", getattr(module, name), n_samples=4)
        table = self.folder / "table.csv"
        table.write_text("a,b,c\n1,2,3\n2,3,4\n3,5,5\n")
        arrays = self.folder / "arrays.npz"
        np.savez(arrays, x=x, y=x)
        self.add("data.digits", module.digits)
        self.add("data.from_csv", module.from_csv, path=table, target_columns="c",
                 task="regression")  # fmt: skip
        np.save(self.folder / "array.npy", x)
        self.add("data.from_npy", module.from_npy, path=self.folder / "array.npy",
                 target_columns="1", task="regression")  # fmt: skip
        self.add("data.from_npz", module.from_npz, path=arrays, task="regression")
        self.add("data.check_description", module.check_description,
                 description={"source": "moons", "n_samples": 4})  # fmt: skip
        for name in ("encoding_of", "task_problems"):
            self.add(f"data.{name}", getattr(module, name),
                     description={"source": "moons"})  # fmt: skip
        self.add("data.load", module.load,
                 description={"source": "moons", "n_samples": 4},
                 _names=("source",))  # fmt: skip
        self.add("data.prepare", module.prepare, x=x, labels_or_y=labels)
        self.add("data.one_hot", module.one_hot, labels=labels, n_classes=2)
        self.add("data.signs", module.signs, labels=labels)
        self.add("data.split", module.split, n_samples=4, test_fraction=0.5)
        self.add("data.standardisation", module.standardisation, x=x)
        self.add("data.principal_components", module.principal_components, x=x,
                 n_components=1)  # fmt: skip
        dataset = module.prepare(x, labels, standardise=True)
        self.add("data.transform", module.transform,
                 preprocessing=dataset.preprocessing, x_raw=x)  # fmt: skip
        self.add("data.inverse_transform", module.inverse_transform,
                 preprocessing=dataset.preprocessing, x=x)  # fmt: skip
        fit = module.prepare(x, x, target="value", standardise_target=True)
        self.add("data.inverse_transform_targets", module.inverse_transform_targets,
                 preprocessing=fit.preprocessing, y=x)  # fmt: skip
        self.add("Dataset.inverse_transform_targets", fit.inverse_transform_targets,
                 y=x)  # fmt: skip
        self.add("Dataset.transform", dataset.transform, x_raw=x)
        self.add("Dataset.inverse_transform", dataset.inverse_transform, x=x)

    def of_entropy(self):
        self.add(
            "entropy.entropy",
            mfpde.theory.entropy.entropy,
            theta=np.random.default_rng(2).normal(size=(8, 2)),
        )
        free = mfpde.theory.entropy.FreeEnergy(0.1, 2)
        self.add("entropy.FreeEnergy", mfpde.theory.entropy.FreeEnergy, temperature=0.1)
        self.add("entropy.FreeEnergy()", free.__call__, evaluation=self.evaluation)

    def of_exact(self):
        module = mfpde.references.exact
        data = {"x": [0.3, -0.7], "y": [0.5, -0.2]}
        rows = {"x": [[0.3], [-0.7]], "y": [[0.5], [-0.2]]}
        cases = {
            "Bias": (rows, {"mean": [0.1]}),
            "BilinearMoments": (rows, {"covariance": np.eye(2)}),
            "MatrixLinear": (rows, {}),
            "ScalarBilinear": (data, {"a": 1.0}),
            "ScalarLinear": (data, {}),
            "ScalarQuadratic": (data, {}),
            "TwoLayer": ({"y": 0.5}, {"r": 0.1, "a": 1.0}),
            "WhitenedLinear": ({"target": np.eye(2)}, {}),
        }
        of_s = ("dissipation", "loss", "mean_at", "objective", "output", "flow",
                "second_moment", "variance_at", "gradient", "mean", "moments",
                "width_constant", "depth_coefficient", "correlation", "eigenvalues",
                "end_map")  # fmt: skip
        for name, (samples, more) in cases.items():
            kind = getattr(module, name)
            self.add(f"exact.{name}", kind, **samples, **more)
            case = kind(**samples, **more)
            for method in of_s:
                if callable(getattr(case, method, None)):
                    self.add(f"exact.{name}.{method}", getattr(case, method),
                             s=[0.0, 0.1])  # fmt: skip
            if hasattr(case, "finite_depth"):
                self.add(f"exact.{name}.finite_depth", case.finite_depth, n_layers=2)
        moments = module.BilinearMoments(**rows, covariance=np.eye(2))
        self.add("exact.BilinearMoments.descend", moments.descend, ds=0.1, n_steps=2)
        flow = moments.flow([0.0, 0.1])
        self.add("exact.Moments.certified_dissipation", flow.certified_dissipation,
                 sigma=1.0)  # fmt: skip
        self.add("exact.Moments.covariance_at", flow.covariance_at, t=0.5)
        scheme = module.DepthScheme
        self.add("exact.DepthScheme.euler", scheme.euler, n_layers=2)
        self.add("exact.DepthScheme.midpoint", scheme.midpoint, n_steps=2)
        self.add("exact.DepthScheme.rk4", scheme.rk4, n_steps=2)
        self.add("exact.DepthScheme.gauss", scheme.gauss, n_nodes=2)
        self.add("exact.DepthScheme.at_depth", scheme.gauss(2).at_depth,
                 values=[1.0, 2.0], t=[0.5])  # fmt: skip
        self.add("exact.ScalarBilinear.gaussian", module.ScalarBilinear.gaussian,
                 **data, sigma=1.0)  # fmt: skip
        for case in (module.ScalarBilinear(**data, a=[1.0] * 2, n_layers=2),
                     module.ScalarLinear(**data, a=[0.1] * 2, n_layers=2)):  # fmt: skip
            kind = type(case).__name__
            means = np.zeros((2, 2)) if kind == "ScalarBilinear" else np.zeros(2)
            for method in ("descent", "end_states"):
                self.add(f"exact.{kind}.{method}", getattr(case, method), means=means)
        for name, arguments in {
            "bilinear_displacement": {"d": 1, "std_u": 1.0, "std_v": 1.0,
                                      "n_layers": 2, "n_particles": 3},
            "blow_up_depth": {"x": [0.3], "a": 1.0},
            "bures_distance": {"first": np.eye(2), "second": np.eye(2)},
            "certified_rate": {"sigma": 1.0, "kappa": 1.0, "largest_a": 1.0},
            "left_position_coefficient": {"x": 1.0, "path": np.cos},
            "near_two_layer_bound": {"largest_field": 1.0, "largest_slope": 1.0},
            "near_two_layer_limit": {"field": [1.0, 2.0], "slope": np.eye(2)},
            "order_reversal_infimum": {"delta": 0.1},
            "orientation_infimum": {"target": np.eye(2)},
            "scalar_sampling": {"x": 1.0, "mean": 0.1, "std": 1.0, "n_particles": 3},
            "second_moment_bound": {"start": 1.0, "loss_drop": 0.1, "s": 1.0},
            "tau_growth": {"n_layers": 2, "tau": 0.1},
            "tau_log_law": {"width": 10, "tau0": 1.0},
            "tau_perceptron_growth": {"n_layers": 2, "exponent": -0.5},
            "tau_relu_bounds": {"n_layers": 2, "tau": 0.1},
        }.items():  # fmt: skip
            self.add(f"exact.{name}", getattr(module, name), **arguments)

    def of_executors(self):
        module = mfpde.executors
        self.add("executors.Processes", module.Processes, n_workers=1)
        self.add("executors.Dask", module.Dask, address="tcp://no.where:1")
        self.add("executors.Call", module.Call, omit=["argument"], name="a", argument=1)
        self.add("executors.Serial.run", lambda **o: list(module.Serial().run(**o)),
                 function=max_of, calls=[module.Call("a", 1)], shared={})  # fmt: skip

    def of_homogeneity(self):
        module = mfpde.theory.homogeneity
        linear = mfpde.blocks.Bilinear(1)
        problem = mfpde.MeanFieldProblem(self.x, self.y, linear)
        ensemble = mfpde.ParticleEnsemble(self.theta[:, :, :2])
        evaluation = mfpde.evaluate(problem, self.grid, ensemble)
        for name in ("balances", "group_moment_rates", "group_moments",
                     "predicted_moment_rates"):  # fmt: skip
            self.add(f"homogeneity.{name}", getattr(module, name),
                     evaluation=evaluation)  # fmt: skip

    def of_joint(self):
        module = mfpde.theory.joint

        def add(name, /, **arguments):
            self.add(f"joint.{name}", getattr(module, name), **arguments)

        theta, found = self.theta[0], self.joint_evaluation
        parts = {"problem": self.problem, "ensemble": self.joint}
        add("JointEnsemble", theta=theta, t=[0.1, 0.3, 0.5, 0.8])
        add("JointScheme")
        add("block_check", **parts)
        states = [self.x] * 4
        add("brackets", problem=self.problem, theta=theta, z=states, p=states,
            ranges=[[0, 0, 0, 0], [1, 2, 3, 4]])  # fmt: skip
        add("count_swaps", before=[0, 1, 2], after=[1, 0, 2])
        add("divided", ensemble=self.joint, n_parts=2)
        add("evaluate_joint", **parts)
        add("exchanged", ensemble=self.joint, layers=[0])
        add("lesion_losses", evaluation=found, layers=[0])
        add("lesion_slopes", evaluation=found)
        add("pair_slopes", evaluation=found)
        add("reordered", ensemble=self.joint, order=[1, 0, 2, 3])
        add("sample_joint", law=self.law, n_particles=4)
        add("shuffle_slopes", evaluation=found, orders=[[1, 0, 2, 3]])
        add("solve_joint", **parts, s_end=0.1, ds=0.05)
        add("swap_slopes", evaluation=found)
        self.add("JointEvaluation.change_along", found.change_along,
                 t_change=np.zeros(4))  # fmt: skip
        scheme = module.JointScheme()
        for name in ("inside", "neighbours", "residual_scale"):
            self.add(f"JointScheme.{name}", getattr(scheme, name),
                     t=np.array([0.1, 0.5]))  # fmt: skip

    def of_landscape(self):
        module = mfpde.theory.landscape

        def add(name, /, **arguments):
            self.add(f"landscape.{name}", getattr(module, name), **arguments)

        cloud = self.theta[0]
        add("descent_changes", evaluation=self.evaluation, directions=cloud[:2],
            masses=[0.1])  # fmt: skip
        add("descent_directions", evaluation=self.evaluation, candidates=cloud)
        add("perturbed", ensemble=self.ensemble, cloud=cloud, mass=0.1)
        add("escape", **self.parts(), cloud=cloud, mass=0.1, s_end=0.05)

    def of_laws(self):
        module, law = mfpde.laws, self.law

        def add(name, /, **arguments):
            self.add(f"laws.{name}", getattr(module, name), **arguments)

        add("Dirac", theta=[0.0, 1.0])
        add("Gaussian", mean=[0.0, 1.0], std=1.0)
        add("GaussianProcess", mean=0.0, std=1.0, length=0.5)
        add("Mixture", laws=[law, law], probabilities=[0.5, 0.5])
        add("Path", coefficients=[law, law], functions=["1", "t"])
        add("PointCloud", theta=[[0.0], [1.0]])
        add("Product", laws=[law, law])
        add("StandardPath", mean=0.0, std_alpha=1.0, mean_beta=0.0, std_beta=1.0)
        cloud = self.folder / "cloud.npz"
        np.savez(cloud, theta=[[0.0], [1.0]])
        add("point_cloud_of", path=cloud)
        add("Uniform", low=0.0, high=1.0)
        add("TensorRule", kinds=("hermite",), counts=(3,))
        add("marginal", law=law)
        add("quadrature_rule", law=law, n_particles=27)
        add("replicate_mean", values=[[1.0], [2.0]])
        add("replicates", law=law, grid=self.grid, n_particles=4, n_replicates=2)
        add("sample", law=law, grid=self.grid, n_particles=4)
        add("standard_path", n_params=2, std_alpha=1.0, std_beta=1.0)
        rule = module.quadrature_rule(law, 27)
        self.add("TensorRule.with_count", rule.with_count, variable=0, count=2)
        path = module.Path([law, law], ["1", "t"])
        self.add("Path.function_values", path.function_values, t=0.5)
        for each in (law, path, module.Mixture([law, law], [0.5, 0.5]),
                     module.PointCloud([[0.0], [1.0]])):  # fmt: skip
            self.add(f"{type(each).__name__}.sample", each.sample, grid=self.grid,
                     n_particles=4, method="iid", coupling="path", seed=0)  # fmt: skip

    def of_lazy(self):
        module = mfpde.theory.lazy
        self.add("lazy.lazy_law", module.lazy_law, d=1, share=0.5, size=1.0, spread=1.0)
        self.add("lazy.lazy_order", module.lazy_order, activation="tanh", share=0.5)
        self.add("lazy.lazy_problem", module.lazy_problem, problem=self.problem,
                 alpha=2.0)  # fmt: skip
        self.add("lazy.linearised_block", module.linearised_block, block=self.block)

    def of_networks(self):
        module = mfpde.networks

        def add(name, /, **arguments):
            self.add(f"networks.{name}", getattr(module, name), **arguments)

        add("SGD", ds=0.1)
        add("SGD", learning_rate=0.1, momentum=0.5)
        add("Adam")
        add("Batches", n_samples=4)
        add("Cosine")
        add("Drops", at=(1, 2))
        add("EarlyStopping")
        add("PowerLaw")
        add("WarmUp", n_iterations=2)
        self.add("Batches.index", module.Batches(4, 2).index, iteration=1)
        self.add("PowerLaw()", module.PowerLaw().__call__, n_layers=2)
        for each in (module.Constant(), module.Cosine(3), module.Drops((1, 2)),
                     module.WarmUp(2)):  # fmt: skip
            kind = type(each).__name__
            self.add(f"{kind}.factor", each.factor, iteration=1)
            self.add(f"{kind}.over", each.over, n_iterations=3)

    def of_plotting(self):
        module, solution = mfpde.plotting, self.solution
        parts = self.parts()

        def add(name, /, **arguments):
            self.add(f"plotting.{name}", getattr(module, name), **arguments)

        signs = mfpde.MeanFieldProblem(
            self.x, [1.0, -1.0, 1.0], self.block, loss="logistic"
        )
        trained = mfpde.train(
            mfpde.ResNet(signs, self.ensemble),
            mfpde.networks.SGD(ds=0.1),
            n_iterations=2,
        )
        wide = {
            "problem": mfpde.MeanFieldProblem(
                [[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]],
                mfpde.blocks.Bias(2), loss="cross_entropy"),
            "grid": self.grid,
            "ensemble": mfpde.ParticleEnsemble(self.theta[:, :, :2]),
        }  # fmt: skip
        add("accuracy", run=trained)
        add("confusion", labels=[0, 1, 1], predicted=[0, 1, 0])
        add("decision_regions", **wide, resolution=8)
        add("density", solution=self.density)
        add("depth_profile", run=solution)
        add("fit", **parts)
        for name in ("ledger", "loss", "marginals", "particle_paths"):
            add(name, run=solution)
        from matplotlib.figure import Figure

        add("save", figure=Figure(), path=Make(lambda: self.new_path(".png")))
        add("summary", run=solution)
        add("trajectories", **parts)
        pages = importlib.import_module("mfpde.plotting.panels")
        curve = panels.Series([1.0, 2.0], [0.1, 0.2])
        self.add("plotting.panels.draw", pages.draw, panel=Make(
            lambda: panels.Panel("title", "x", "y", [curve])))  # fmt: skip
        self.add("plotting.panels.page", pages.page, panels=Make(
            lambda: [panels.Panel("title", "x", "y", [curve])]), title="a")  # fmt: skip

    def of_panels(self):
        numbers = {name: [1.0, 2.0] for name in ("x", "y", "low", "high")}
        self.add("panels.Series", panels.Series, **numbers)
        self.add("panels.Image", panels.Image, values=[[1.0, 2.0]], x=[1, 2], y=["a"])
        image = panels.Image([[1.0, 2.0]], [1, 2], ["a"])
        self.add("panels.Panel", panels.Panel, title="a", xlabel="x", ylabel="y",
                 kind="heat", image=image)  # fmt: skip

    def of_readouts(self):
        linear = mfpde.readouts.Linear([[1.0, 2.0]])
        self.add("readouts.Linear", mfpde.readouts.Linear, matrix=[[1.0]])
        self.add("readouts.Linear()", linear.__call__, values=np.ones((2, 2)))
        self.add("readouts.Linear.transposed", linear.transposed,
                 values=np.ones((2, 1)))  # fmt: skip
        self.add("readouts.Linear.with_matrix", linear.with_matrix, matrix=[[1.0]])

    def of_recording(self):
        module = mfpde.recording
        self.add("recording.At", module.At, s=[0.1], _names=("record",))
        self.add("recording.Every", module.Every, ds=0.1)
        self.add("recording.Logarithmic", module.Logarithmic)
        self.add("recording.Steps", module.Steps)
        for each in (module.At([0.1]), module.Every(0.1), module.Logarithmic(),
                     module.Steps(2)):  # fmt: skip
            kind = type(each).__name__
            self.add(f"{kind}.times", each.times, s_end=0.3)
            self.add(f"{kind}.is_due", each.is_due, step=3)
        for name in ("observe", "depth_roughness", "invariant_spread",
                     "hamiltonian_spread"):  # fmt: skip
            self.add(f"recording.{name}", getattr(module, name),
                     evaluation=self.evaluation, _may_be_nan=True)  # fmt: skip
        self.add("recording.make_schedule", module.make_schedule, omit=["name"],
                 name="record", value=[0.1], _names=("record",))  # fmt: skip
        self.add("recording.check_observers", module.check_observers,
                 observers={"a": np.mean})  # fmt: skip

    def of_shallow(self):
        module = mfpde.theory.shallow

        def add(name, /, **arguments):
            self.add(f"shallow.{name}", getattr(module, name), **arguments)

        add("compare_flows", **self.parts(), times=[0.05])
        add("scaled", problem=self.problem, factor=0.5)
        add("shallow", problem=self.problem, ensemble=self.ensemble)
        add("shallow_gap", **self.parts())

    def of_steppers(self):
        module = mfpde.steppers
        for name in ("Euler", "Heun", "ClassicalRungeKutta"):
            self.add(f"steppers.{name}", getattr(module, name), ds=0.1)
        self.add("steppers.RungeKutta", module.RungeKutta, order=1, a=((),), b=(1.0,),
                 ds=0.1)  # fmt: skip
        for name in ("Automatic", "DormandPrince", "RungeKuttaChebyshev"):
            self.add(f"steppers.{name}", getattr(module, name), rtol=1e-6)
        self.add("steppers.make_stepper", module.make_stepper, stepper="dopri5",
                 ds=None)  # fmt: skip

    def of_storage(self):
        module = mfpde.storage
        self.add("Run", lambda path: module.Run(path).close(),
                 path=Make(self.run_file))  # fmt: skip
        # A KeyError with a sentence, as a mapping has it.
        for name in ("arrays", "to_xarray"):
            self.add(f"Run.{name}", getattr(self.run, name), group="scalars",
                     _whole=[KeyError])  # fmt: skip
        self.add("storage.check_writable", module.check_writable,
                 path=Make(self.new_path))  # fmt: skip
        self.add("storage.checkpoint_path", module.checkpoint_path, path="a.h5")
        self.add("storage.read_checkpoint", module.read_checkpoint,
                 path=Make(self.run_file))  # fmt: skip

    def of_studies(self):
        from study_cases import STUDY

        module = mfpde.studies
        self.add("studies.Panel", module.Panel, title="a", xlabel="b", ylabel="c")
        self.add("studies.Series", module.Series, x=[1.0], y=[2.0])
        self.add("studies.Image", module.Image, values=[[1.0]], x=[1.0], y=[1.0])
        self.add("studies.Report", module.Report)
        self.add("studies.Task", module.Task, coordinates={"a": 1})
        self.add("studies.Variable", module.Variable, dims=("a",))
        verdict = {"claim": "a", "expected": 1.0, "value": 1.0, "interval": None,
                   "verdict": "confirmed", "rule": "b"}  # fmt: skip
        self.add("studies.Verdict", module.Verdict, **verdict)
        self.add("studies.verdict_table", module.verdict_table,
                 verdicts=[module.Verdict(**verdict)])  # fmt: skip
        table = module.Table({"a": [1, 2]}, {"b": (("a",), np.ones(2))})
        self.add("studies.Table", module.Table, axes={"a": [1, 2]},
                 variables={"b": (("a",), np.ones(2))})  # fmt: skip
        # A KeyError with a sentence, as a mapping has it.
        self.add("Table.dims", table.dims, name="b", _whole=[KeyError])
        self.add("Table.select", table.select, a=1, _whole=[KeyError])
        self.add("Table[]", table.__getitem__, name="b", _whole=[KeyError])
        # The problems of a configuration are named by its keys, not by the argument;
        # those of `problems` are the caller's own words.
        configured = {"_whole": [mfpde.errors.ConfigurationError]}
        self.add("studies.resolve", module.resolve, omit=["problems"], study=STUDY,
                 given={}, **configured)  # fmt: skip
        self.add("studies.load_study", module.load_study, source="exact",
                 **configured)  # fmt: skip
        config = module.resolve(STUDY, {})
        self.add("studies.resolved_text", module.resolved_text, study=STUDY,
                 config=config)  # fmt: skip
        small = {"depths": [2, 4], "widths": [1], "n_seeds": 2, "rules": ["left"]}
        self.add("studies.run_study", module.run_study, study=STUDY, config=small,
                 folder=Make(lambda: tempfile.mkdtemp(dir=self.folder)),
                 **configured)  # fmt: skip
        folder = self.folder / "study"
        outcome = module.run_study(STUDY, small, folder)
        self.add("studies.open_study", module.open_study, path=outcome.path)

    def of_supports(self):
        module = mfpde.theory.supports
        self.add("supports.circle", module.circle, n=4)
        self.add("supports.joined_circles", module.joined_circles, n=4, n_ratios=2)
        self.add("supports.square_sheet", module.square_sheet, n=3, half_width=1.0)
        self.add("supports.winding", module.winding, loops=module.circle(4))
        self.add("supports.edge_winding", module.edge_winding,
                 sheets=module.square_sheet(3, 1.0), points=[[0.1, 0.2]])  # fmt: skip


def max_of(argument, shared):
    """A function for executors."""
    return argument


# What is not called, and why.
NOT_CALLED = {
    "errors": "helpers that make sentences",
    "data.source": "a decorator of sources",
    "register": "tested with the registry",
    "kernels": "compiled code, which trusts its arguments",
    **dict.fromkeys(
        (
            "exact.ExactCase",
            "executors.Failure",
            "executors.Serial",
            "shallow.Shallow",
            "steppers.Point",
            "steppers.Step",
        ),
        "made by us, or without arguments",
    ),
    **dict.fromkeys(
        (
            "recording.Clock",
            "recording.Schedule",
            "recording.apply_observers",
            "recording.collective",
            "recording.flow_row",
            "recording.make_clocks",
            "recording.scalar_names",
            "steppers.AdaptiveStepper",
            "steppers.FixedStepper",
            "steppers.StateVector",
            "steppers.Stepper",
            "steppers.check_steps",
            "steppers.method_options",
            "storage.RunWriter",
            "storage.StudyHeader",
            "storage.write_errors",
        ),
        "called by the solver, which has checked what it passes on",
    ),
    "data.Option": "an entry of SOURCES, made by us",
    "data.digits_path": "without arguments",
    "data.mnist5000": "reads for seconds; as data.digits",
}


AREAS = [name[3:] for name in dir(Surface) if name.startswith("of_")]


def is_result(thing: Any) -> bool:
    """Whether a class is what functions return, an error, or a protocol: made by us."""
    if not isinstance(thing, type):
        return False
    if issubclass(thing, (Exception, Warning)) or getattr(thing, "_is_protocol", False):
        return True
    text = thing.__doc__ or ""
    return "Attributes\n" in inspect.cleandoc(text) and "Parameters\n" not in text


# The calls, and what is wrong with them.


class Hangs(BaseException):
    """A call that took too long."""


# Right arguments, with which a run may take as long as it likes.
LONG = {("s_end", label) for label in ("1e300", "10**30", "10**12")}
LONG |= {(n, "10**12") for n in ("n_iterations", "n_steps", "temperature")}
LONG |= {("tol", "1e-300")}


def calls(entries: list[Entry]):
    """(entry, argument, name of the value) of every call."""
    for entry in entries:
        for name in entry.parameters:
            for label in wrong_values():
                if entry.integrates and (name, label) in LONG:
                    continue
                yield entry, name, label


def in_part(entry: Entry, name: str, label: str, n_parts: int) -> int:
    """Which part a call belongs to: a digest, so that parts are alike."""
    return zlib.crc32(f"{entry.name} {name} {label}".encode()) % n_parts


@functools.cache
def _raises(path: str) -> list[tuple[int, int]]:
    """First and last lines of the raise statements of a module."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return [
        (node.lineno, node.end_lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
    ]


def fault_of_error(entry: Entry, name: str, error: BaseException) -> str | None:
    """What is wrong with an error, None if it is a sentence of ours."""
    if not isinstance(error, (*KINDS, *entry.whole)):
        return "kind"
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__
    ]
    if not frames:
        # Python's own words for a missing or unknown argument.
        return "signature"
    last = frames[-1]
    if not last.filename.startswith(str(PACKAGE)):
        return "raised elsewhere"
    if not any(a <= last.lineno <= b for a, b in _raises(last.filename)):
        return "no raise"
    text = error.args[0] if isinstance(error, KeyError) else str(error)
    if not re.search(r"[.?]$", text):
        return "no sentence"
    if isinstance(error, (*OF_THE_WHOLE, *entry.whole)):
        return None
    named = {w for w in re.findall(r"`([A-Za-z_]\w*)", text)}
    if not named & {name, *entry.parameters, *entry.names, *entry.omit}:
        return "no name"
    return None


def has_nan(value: Any) -> bool:
    """Whether a number or an array holds a NaN."""
    if isinstance(value, (tuple, list)):
        return any(has_nan(each) for each in value)
    if isinstance(value, (float, np.ndarray)):
        array = np.asarray(value)
        return array.dtype.kind == "f" and bool(np.isnan(array).any())
    return False


def fault_of_call(entry: Entry, name: str, label: str) -> tuple[str, str] | None:
    """Make a call; (fault, text), or None where all is well."""
    value = wrong_values()[label]
    before = set(os.listdir())
    close_figures()
    try:
        signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
        found = entry.call(name, value)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    except Hangs:
        return "hangs", ""
    except (Exception, SystemExit) as error:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        fault = fault_of_error(entry, name, error)
        left = set(os.listdir()) - before
        if fault is None and left:
            fault = f"left {sorted(left)}"
        if fault is None and close_figures():
            fault = "left a figure open"
        if fault is None:
            return None
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
        return fault, f"{type(error).__name__}: {str(error)[:200]} [{where}]"
    if not entry.may_be_nan and has_nan(found):
        return "nan", repr(found)[:80]
    return None


def close_figures() -> int:
    """Close what pyplot has open, return how many that were."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    n_open = len(pyplot.get_fignums()) if pyplot else 0
    if n_open:
        pyplot.close("all")
    return n_open


def _alarm(*_: Any) -> None:
    raise Hangs


def quick_folder() -> str | None:
    """A folder in memory, where files are written in no time; None if there is none."""
    folder = "/dev/shm"
    return folder if os.access(folder, os.W_OK) else None


def main() -> None:
    """Make the calls of a part, print the failures."""
    part, n_parts = (int(each) for each in (sys.argv[1:] or ["0", "1"])[:2])
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    signal.signal(signal.SIGALRM, _alarm)
    import matplotlib

    matplotlib.use("Agg")
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    failures, n, seconds = [], 0, collections.Counter()
    with tempfile.TemporaryDirectory(dir=quick_folder()) as folder:
        os.chdir(folder)
        Path("calls").mkdir()
        entries = make_surface(Path(folder), sys.argv[3:])
        os.chdir("calls")
        out = io.StringIO()
        for entry in entries:
            try:
                with redirect_stdout(out), redirect_stderr(out):
                    entry.call()
            except Exception as error:
                failures.append([entry.name, "", "", "valid", repr(error)[:300]])
        for entry, name, label in calls(entries):
            if in_part(entry, name, label, n_parts) != part:
                continue
            n += 1
            start = time.perf_counter()
            with redirect_stdout(out), redirect_stderr(out):
                fault = fault_of_call(entry, name, label)
            seconds[entry.name] += time.perf_counter() - start
            for left in os.listdir():
                remove = shutil.rmtree if os.path.isdir(left) else os.remove
                remove(left)
            if fault:
                failures.append([entry.name, name, label, *fault])
        os.chdir("/")
    slowest = seconds.most_common(10)
    json.dump({"n_calls": n, "failures": failures, "slowest": slowest}, sys.stdout)


if __name__ == "__main__":
    main()
