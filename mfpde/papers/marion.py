"""The networks of Marion, Wu, Sander, Biau 2023 as settings of Eqs. (9) and (10).

The paper has h[k+1] = h[k] + (1 / (L sqrt(m))) V sigma(W h / sqrt(d)), the loss
l = (1/N) sum |out - y|^2 and the flow dZ/ds' = -L dl/dZ, Z = (V, W). In our terms
v = sqrt(m) V, u = W / sqrt(d), w = 1/m, eta_v = 1, eta_u = 1 / (m d), l = 2 E. The
scripts released with it have no roots: there f = m v sigma(u.z), u = W, v = V, eta = 1,
and the loss is a mean over all N q entries of the outputs (q = d).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde import laws
from mfpde.blocks import Perceptron
from mfpde.clipping import Clipping
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import did_you_mean
from mfpde.evaluation import Evaluation
from mfpde.papers.ends import finished
from mfpde.problem import MeanFieldProblem
from mfpde.readouts import Linear
from mfpde.run.solution import Solution
from mfpde.run.solver import solve
from mfpde.studies.experiment import Experiment

Array = NDArray[np.float64]

STARTS = ("tied", "lipschitz", "layer", "clipped", "trained")
"""How a training starts: the same draw at all depths (the paper), smooth paths, fresh
draws per layer; and tied with the clipped flow, tied with A and B trained."""


@dataclass(frozen=True)
class Setting:
    """Sizes, scaling and descent of one experiment.

    Attributes
    ----------
    d, n_particles, n_samples : int
        State size (input and output, too), m of the paper, and N.
    learning_rate : float
        r: the learning rate is r L at depth L.
    iterations : int
    depths : tuple of int
        Depths L of the paper.
    has_roots : bool
        With 1/sqrt(m) and 1/sqrt(d), as printed; without, as in the scripts.
    activation : str
    n_outputs : int or None
        None: A and B are the identity, d inputs and d outputs. Else the state has
        d - n_outputs places for the inputs, A = (I, 0), and B = (0, I) reads the
        others: the outputs are zero at s = 0, as the theorem on long times has it.
    """

    d: int
    n_particles: int
    n_samples: int
    learning_rate: float
    iterations: int
    depths: tuple[int, ...]
    has_roots: bool = True
    activation: str = "gelu"
    n_outputs: int | None = None

    @property
    def q(self) -> int:
        """Output size."""
        return self.n_outputs or self.d

    @property
    def s_end(self) -> float:
        """Training time after all iterations."""
        return self.ds * self.iterations

    @property
    def ds(self) -> float:
        """Step in training time of one iteration, Eq. (30), the same for all depths.

        ds = lr c tau w / (a^2 eta) with lr = r L, tau w = 1 / (L m). As printed c = 2,
        a^2 eta = 1/m for V and for W; in the scripts, whose loss is a mean over all
        N q entries, c = 2 / q and a^2 eta = 1.
        """
        c = 2.0 if self.has_roots else 2.0 / self.q
        a2_eta = 1.0 / self.n_particles if self.has_roots else 1.0
        return self.learning_rate * c / (self.n_particles * a2_eta)

    @property
    def time_map(self) -> str:
        """Eq. (30) in words, with the parametrisation."""
        net, loss, rule = "V sigma(W h) / L", "(1/(N q)) sum |out - y|^2", "eta = 1"
        ours, c = "f = m v sigma(u.z), v = V, u = W", f"2/q = {2 / self.q:g}"
        if self.has_roots:
            net = "V sigma(W h / sqrt(d)) / (L sqrt(m))"
            loss, c = "(1/N) sum |out - y|^2", "2"
            ours = "f = v sigma(u.z), v = sqrt(m) V, u = W / sqrt(d)"
            rule = "eta_v = 1, eta_u = 1/(m d)"
        return (
            f"h + {net}, d = {self.d}, q = {self.q}, m = {self.n_particles}, "
            f"N = {self.n_samples}, {self.activation}, loss {loss}: {ours}, w = 1/m, "
            f"{rule}. Learning rate {self.learning_rate:g} L is ds = lr c tau w / "
            f"(a^2 eta) = {self.ds:g} (c = {c}); {self.iterations} iterations end at "
            f"s = {self.s_end:g}, Eq. (30)."
        )

    @property
    def metric(self) -> Array:
        """eta of u and v, shape (2 d,)."""
        u = 1.0 / (self.n_particles * self.d) if self.has_roots else 1.0
        return np.repeat([u, 1.0], self.d)

    def problem(
        self,
        seed: int,
        *,
        labels: float = 1.0,
        clip: float = math.inf,
        has_trained_maps: bool = False,
    ) -> MeanFieldProblem:
        """Inputs from N(0, I) and labels from N(0, labels^2 I).

        With `n_outputs` the inputs are scaled to |x| = sqrt(d).

        Parameters
        ----------
        seed : int
            Of the data.
        labels : float
            Size of the labels.
        clip : float
            Bound of the smooth pi, times m in the scaling of the scripts; inf for none.
        has_trained_maps : bool
            Whether A and B are trained, too.
        """
        n_inputs = self.d - (self.n_outputs or 0)
        normal = np.random.default_rng(seed).normal
        x = normal(size=(self.n_samples, n_inputs))
        y = normal(size=(self.n_samples, self.q))
        if self.n_outputs:
            x *= np.sqrt(self.d) / np.linalg.norm(x, axis=1, keepdims=True)
        scale = 1.0 if self.has_roots else float(self.n_particles)
        maps = {
            "embedding": Linear(np.eye(self.d, n_inputs), has_trained_maps),
            "readout": Linear(np.eye(self.d)[-self.q :], has_trained_maps),
        }
        return MeanFieldProblem(
            x,
            labels * y,
            Perceptron(self.d, self.activation, bias=False, scale=scale),
            metric=self.metric,
            clipping=None if math.isinf(clip) else Clipping(clip * scale, "smooth"),
            **maps,
        )

    def start(self, grid: DepthGrid, kind: str, seed: int) -> ParticleEnsemble:
        """Particles at s = 0 on any grid, by one of `STARTS`.

        W has entries N(0, 1) and V = 0; for lipschitz W and V move along
        alpha + beta cos(pi t), V about half as large as W in its effect.
        """
        if kind not in STARTS:
            raise ValueError(
                f"`kind` must be one of {', '.join(STARTS)}, got {kind!r}."
                + did_you_mean(kind, STARTS)
            )
        d, k = self.d, 2 * self.d
        size = d**-0.5 if self.has_roots else 1.0
        std = np.repeat([size, 0.0], d)
        if kind != "lipschitz":
            law = laws.Gaussian(0.0, std, k)
            coupling = "layer" if kind == "layer" else "tied"
        else:
            v = 0.5 if self.has_roots else 0.5 / self.n_particles
            beta = np.repeat([0.5 * size, v], d)
            alpha = np.repeat([size, v], d)
            terms = [laws.Gaussian(0.0, each, k) for each in (alpha, beta)]
            law, coupling = laws.Path(terms, ["1", "cos(pi t)"]), "path"
        return law.sample(grid, self.n_particles, coupling=coupling, seed=seed)

    def train(
        self, grid: DepthGrid, kind: str, seed: int, clip: float, **options: Any
    ) -> Solution:
        """Full-batch gradient descent of the paper, Eq. (30), on any grid in depth.

        Parameters
        ----------
        grid : DepthGrid
            Euler's is a network; a Gauss element stands for the limit of large depth.
        kind : str
            One of `STARTS`.
        seed : int
            Of data and start.
        clip : float
            Bound of pi for the clipped start.
        **options
            record, snapshots and observers of `solve`.

        Raises
        ------
        ValueError
            If `kind` is none of them.
        NotFiniteError
            If it diverged.
        """
        problem = self.problem(
            seed,
            clip=clip if kind == "clipped" else math.inf,
            has_trained_maps=kind == "trained",
        )
        start = self.start(grid, kind, seed)
        descent = {"stepper": "euler", "ds": self.ds, "s_end": self.s_end}
        return finished(solve.quietly(problem, grid, start, **descent, **options))


def _powers(last: int) -> tuple[int, ...]:
    return tuple(2**i for i in range(1, last + 1))


PRESETS = {
    "large-depth": Setting(16, 32, 100, 0.01, 500, _powers(10)),
    "large-depth-script": Setting(16, 32, 100, 0.01, 50, _powers(10), has_roots=False),
    "smoothness": Setting(16, 32, 100, 0.01, 500, _powers(10)),
    "smoothness-script": Setting(16, 32, 100, 0.01, 50, _powers(10), has_roots=False),
    "long-time": Setting(16, 64, 50, 0.005, 80_000, (64,)),
    "long-time-script": Setting(16, 64, 50, 0.005, 10_000, (64,), has_roots=False),
    "zero-loss": Setting(17, 32, 8, 0.05, 4000, _powers(6), n_outputs=1),
    "small": Setting(4, 8, 8, 0.05, 30, _powers(6)),
    "small-script": Setting(4, 8, 8, 0.02, 30, _powers(6), has_roots=False),
}
"""Settings of the paper and of its scripts by name; the last three are our own."""


def layer_steps(evaluation: Evaluation) -> Array:
    """Distances of neighbouring layers, an observer: three numbers.

    The largest max_l |theta[l+1] - theta[l]| over layers and particles (times L it is
    the recorded `depth_roughness`), the root of the mean over layers and particles,
    and the root of the sum over layers of the mean over particles: what the released
    scripts plot, which falls like L^-1/2 where the largest falls like 1/L.
    """
    squares = np.sum(np.diff(evaluation.ensemble.theta, axis=0) ** 2, axis=2)
    if squares.size == 0:
        return np.zeros(3)
    means = squares.mean(axis=1)
    return np.sqrt([squares.max(), means.mean(), means.sum()])


COMMON = {"seeds": 3, "first_seed": 0, "confidence": 0.99, "tolerance": 0.05}
"""Keys of all experiments with presets."""


class Preset(Experiment):
    """What the experiments with presets share."""

    positive = ("depths",)

    def problems(self, config):
        """Return a sentence for everything that is wrong with the configuration."""
        found = super().problems(config)
        for key, known in (("presets", tuple(PRESETS)), ("starts", STARTS)):
            for name in sorted(set(config.get(key, [])) - set(known)):
                found.append(f"`{key}` must be of {', '.join(known)}, got {name!r}.")
        return found

    def setting(self, at, **changes):
        """Return the preset of a cell, with its activation."""
        changes |= {"activation": at["activation"]} if "activation" in at else {}
        return dataclasses.replace(PRESETS[at["preset"]], **changes)

    def time_maps(self, config):
        """Return the time map (30) of every preset."""
        return [f"{name}: {PRESETS[name].time_map}" for name in config["presets"]]

    def lines(self, table, *axes):
        """Yield the label and the part of the table for combinations of some axes."""
        for values in itertools.product(*(table.axes[axis] for axis in axes)):
            at = dict(zip(axes, values, strict=True))
            yield ", ".join(map(str, values)), at, table.select(**at)

    def cost(self, at, config):
        """Return layers times the size of a layer."""
        setting = PRESETS[at["preset"]]
        return at["depth"] * setting.n_particles * setting.n_samples
