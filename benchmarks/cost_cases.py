"""The problems and resolutions of `bench_cost_to_accuracy`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import mfpde
from mfpde.data import spirals


@dataclass(frozen=True)
class Level:
    """One resolution by quadrature: particles, steps of RK4 in depth, tolerance.

    particles is the largest number allowed, which the package shares among the
    parameters, or the nodes for each parameter.
    """

    particles: int | tuple[int, ...]
    n_steps: int
    rtol: float


@dataclass(frozen=True)
class Case:
    """A problem and the resolutions at which it is solved."""

    name: str
    problem: mfpde.MeanFieldProblem
    law: Any
    s_end: float
    layers: tuple[int, ...]
    particles: tuple[int, ...]
    n_steps: int  # in depth, for (b) and (c)
    levels: tuple[Level, ...]
    reference: Level
    check: Level  # of the reference, on Gauss nodes in depth

    def quadrature(self, grid: mfpde.DepthGrid, level: Level):
        """The particles of (d) and of the references."""
        is_number = isinstance(level.particles, int)
        options = {"n_particles" if is_number else "nodes": level.particles}
        options |= {"method": "quadrature", "block": self.problem.block}
        return self.law.sample(grid, **options)


def cases(is_quick: bool) -> list[Case]:
    root3 = 3.0**0.5
    x = np.linspace(-1.0, 1.0, 8)
    line = mfpde.MeanFieldProblem(x, np.sin(2.5 * x), mfpde.blocks.Perceptron(1))
    points, labels = spirals(32)
    plane = mfpde.MeanFieldProblem(
        points,
        2.0 * labels - 1.0,
        mfpde.blocks.Perceptron(2),
        readout=[[1.0, 0.0]],
        loss="logistic",
    )
    cube, normal = mfpde.laws.Uniform, mfpde.laws.Gaussian
    # The widths of `std_beta` in data/spirals.toml.
    ends = root3 * np.array([0.6, 0.6, 0.6, 0.6, 0.3])
    given = (
        ("1-D tanh, uniform law", line, cube(-root3, root3, n_params=3)),
        ("1-D tanh, Gaussian law", line, normal(0.0, 1.0, n_params=3)),
        ("Spirals, d = 2, uniform law", plane, cube(-ends, ends)),
    )
    sizes = QUICK_SIZES if is_quick else SIZES
    s_end = 1.0 if is_quick else 8.0
    return [
        Case(name, problem, law, s_end, **each)
        for (name, problem, law), each in zip(given, sizes, strict=True)
    ]


def _levels(*levels: tuple[int, int, float]) -> tuple[Level, ...]:
    return tuple(Level(*each) for each in levels)


# The levels of (d) keep the errors of depth and s below that of the particles.
SIZES = (
    {
        "layers": (16, 32, 64, 128, 256, 512),
        "particles": (64, 256, 1024, 4096, 16384),
        "n_steps": 1,
        "levels": _levels(
            (60, 1, 1e-2), (120, 1, 1e-2), (250, 1, 1e-2), (500, 1, 1e-4),
            (1000, 1, 1e-4), (1400, 1, 1e-5), (2000, 2, 1e-6), (3000, 4, 1e-7),
        ),
        "reference": Level(12000, 8, 1e-9),
        "check": Level(6000, 0, 1e-8),
    },
    {
        "layers": (16, 32, 64, 128, 256, 512),
        "particles": (64, 256, 1024, 4096, 16384),
        "n_steps": 1,
        "levels": _levels(
            (120, 1, 1e-2), (250, 1, 1e-2), (500, 1, 1e-2), (1000, 1, 1e-2),
            (2000, 1, 1e-3), (4000, 1, 1e-4), (8000, 1, 1e-4), (16000, 1, 1e-5),
            (24000, 1, 1e-5), (32000, 2, 1e-5),
        ),
        "reference": Level(160000, 4, 1e-8),
        "check": Level(80000, 0, 1e-7),
    },
    {
        "layers": (16, 32, 64, 128, 256),
        "particles": (64, 256, 1024, 4096, 16384),
        "n_steps": 2,
        "levels": _levels(
            (500, 1, 1e-2), (1000, 1, 1e-2), (2000, 1, 1e-2), (4000, 2, 1e-2),
            (8000, 2, 1e-3), (16000, 4, 1e-4), (40000, 4, 1e-5),
        ),
        "reference": Level((12, 12, 8, 8, 14), 8, 1e-7),
        "check": Level((10, 10, 7, 7, 12), 0, 1e-6),
    },
)  # fmt: skip
QUICK_SIZES = (
    {
        "layers": (4, 8),
        "particles": (16, 64),
        "n_steps": 1,
        "levels": _levels((60, 1, 1e-2), (120, 1, 1e-3), (240, 1, 1e-3)),
        "reference": Level(2000, 2, 1e-6),
        "check": Level(1000, 0, 1e-5),
    },
) * len(SIZES)
