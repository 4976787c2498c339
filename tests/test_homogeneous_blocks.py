"""Homogeneous blocks as users meet them; their formulas are tested with the kernels."""

import numpy as np
import pytest
import reference
from test_kernels import run_kernels

import mfpde
from mfpde import DepthGrid, MeanFieldProblem, ParticleEnsemble, blocks, evaluate
from mfpde.config import parse
from mfpde.config.assembly import build
from mfpde.describe import described, make, rebuilt

DAMPED = [blocks.SquaredReLU(2), blocks.SignedSquaredReLU(2)]
CAPPED = [blocks.Capped(2, "regularised_relu"), blocks.Capped(2)]
ALL = DAMPED + CAPPED


@pytest.mark.parametrize(
    ("block", "k", "names"),
    [
        (blocks.SquaredReLU(1), 2, ["W", "b"]),
        (blocks.SignedSquaredReLU(1), 4, ["W1", "b1", "W2", "b2"]),
        (blocks.Capped(1), 3, ["c", "W", "b"]),
        (
            blocks.Capped(2),
            7,
            ["c", "W[0,0]", "W[0,1]", "W[1,0]", "W[1,1]", "b[0]", "b[1]"],
        ),
    ],
)
def test_sizes_and_names(block, k, names):
    assert (block.k, block.param_names) == (k, names)
    edges = [0]
    for part in block.param_groups.values():
        assert part.start == edges[-1]
        edges.append(part.stop)
    assert edges[-1] == k


@pytest.mark.parametrize("block", ALL, ids=repr)
def test_description_rebuilds_the_block(block):
    other = rebuilt("block", described(block))
    assert other == block
    assert hash(other) == hash(block)


def fields(block, theta, z):
    weights = np.full(len(theta), 1.0 / len(theta))
    return run_kernels(block, theta, weights, z, np.ones_like(z))[0]


@pytest.mark.parametrize("c", [0.0, 0.3, 2.0])
def test_scaling(rng, c):
    """(H2) of all parameters for c >= 0, (H1) of the factor for every c."""
    z = rng.normal(size=(9, 2))
    for block in ALL:
        theta = rng.normal(size=(5, block.k))
        scaled = theta.copy()
        group = block.homogeneous_group
        part = slice(None) if group is None else block.param_groups[group]
        scaled[:, part] *= c
        expected = c**block.homogeneous_degree * fields(block, theta, z)
        np.testing.assert_allclose(
            fields(block, scaled, z), expected, rtol=1e-13, atol=1e-14
        )


def test_the_capped_block_is_bounded(rng):
    """|fhat| <= |W z| / |W| + 1, however large W and b are (sigma is 1-Lipschitz)."""
    theta = np.concatenate([np.ones((5, 1)), 1e6 * rng.normal(size=(5, 6))], axis=1)
    z = rng.normal(size=(9, 2))
    found = np.linalg.norm(fields(blocks.Capped(2, "relu"), theta, z), axis=1)
    assert (found <= np.linalg.norm(z, axis=1) + 1.0).all()


def test_the_unsigned_block_only_increases(rng):
    theta, z = rng.normal(size=(7, 6)), rng.normal(size=(9, 2))
    assert (fields(blocks.SquaredReLU(2), theta, z) >= 0.0).all()
    both = np.concatenate([theta, np.zeros((7, 6))], axis=1)
    one, other = fields(DAMPED[0], theta, z), fields(DAMPED[1], both, z)
    np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-15)
    swapped = fields(DAMPED[1], np.roll(both, 6, axis=1), z)
    np.testing.assert_allclose(swapped, -one, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("grid", [DepthGrid.euler(3), DepthGrid.rk4(2)], ids=repr)
@pytest.mark.parametrize("block", ALL, ids=repr)
def test_duality(rng, block, grid):
    """T0, with unequal weights, by complex steps and by central differences."""
    x, y = rng.normal(size=(2, 4, 2))
    problem = MeanFieldProblem(x, y, block)
    theta = 0.7 * rng.normal(size=(grid.n_nodes, 5, block.k))
    ensemble = ParticleEnsemble(theta, rng.dirichlet(np.ones(5)))
    direction = rng.normal(size=theta.shape)
    masses = np.multiply.outer(grid.weights, ensemble.weights)
    velocity = evaluate(problem, grid, ensemble).velocity
    found = -np.einsum("jm,jmk,jmk->", masses, velocity, direction)

    def twin(value):
        return reference.objective(problem, grid, ensemble, theta=value)

    # No kink lies within the complex step.
    assert found == pytest.approx(
        reference.slope(twin, theta, direction), rel=1e-11, abs=1e-13
    )
    ends = [
        evaluate(
            problem,
            grid,
            ParticleEnsemble(theta + e * direction, ensemble.weights),
        ).loss
        for e in (1e-5, -1e-5)
    ]
    assert found == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-9)


def configuration(block):
    groups = {name: 0.5 for name in make("block", block["kind"], d=1).param_groups}
    return {
        "data": {"source": "gaussian", "n_samples": 3, "n_features": 2, "n_outputs": 2},
        "problem": {"block": block, "readout": {"kind": "identity"}},
        "law": {"kind": "gaussian", "std": groups},
        "grid": {"scheme": "euler", "n": 3},
        "ensemble": {"n_particles": 4},
        "flow": {"s_end": 0.2, "rtol": 1e-3},
    }


@pytest.mark.parametrize(
    "block",
    [
        {"kind": "squared_relu"},
        {"kind": "signed_squared_relu"},
        {"kind": "capped", "activation": "regularised_relu"},
    ],
    ids=lambda block: block["kind"],
)
def test_configured_run_is_resumed_from_its_file(tmp_path, block):
    """TOML in, rebuilt from the file, the same bits as without a stop."""
    made = build(parse(configuration(block)))
    options = {"stepper": "rk4", "ds": 0.05}
    path = tmp_path / "run.h5"
    mfpde.solve(
        made.problem, made.grid, made.ensemble, s_end=0.1, output=path, **options
    )
    resumed = mfpde.resume(path, s_end=0.2)
    whole = mfpde.solve(made.problem, made.grid, made.ensemble, s_end=0.2, **options)
    np.testing.assert_array_equal(resumed.ensemble.theta, whole.ensemble.theta)
    assert resumed.problem.block == made.problem.block


def test_configuration_messages():
    wrong = configuration({"kind": "squared_relu"})
    wrong["law"]["std"] = {"u": 1.0}
    with pytest.raises(mfpde.errors.ConfigurationError, match="has W, b"):
        parse(wrong)
    wrong = configuration({"kind": "squared_relu", "activation": "tanh"})
    with pytest.raises(
        mfpde.errors.ConfigurationError, match=r"problem\.block\.activation"
    ):
        parse(wrong)
    with pytest.raises(ValueError, match="`activation` must be one of"):
        blocks.Capped(2, "thanh")
