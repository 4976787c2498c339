"""DepthGrid: tableaus, nodes, weights, order conditions, descriptions, messages."""

import dataclasses

import numpy as np
import pytest

from mfpde import DepthGrid
from mfpde.depth import gauss_collocation, node_weights
from mfpde.describe import names

GRIDS = [
    DepthGrid.euler(1),
    DepthGrid.euler(5),
    DepthGrid.midpoint(4),
    DepthGrid.rk4(1),
    DepthGrid.rk4(3),
    DepthGrid.gauss(1),
    DepthGrid.gauss(4),
    DepthGrid.gauss(3, 2),
]
# Sums of a few numbers of size one.
ROUNDING = 1e-15


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_weights_and_nodes(grid):
    assert grid.weights.shape == grid.nodes.shape == (grid.n_nodes,)
    assert (grid.weights > 0).all()
    assert grid.weights.sum() == pytest.approx(1.0, abs=ROUNDING)
    assert grid.step_size.sum() == pytest.approx(1.0, abs=ROUNDING)
    assert (np.diff(grid.nodes) > 0).all()
    assert grid.nodes[0] >= 0.0
    assert grid.nodes[-1] <= 1.0
    assert grid.stage_node.shape == (grid.n_steps, grid.n_stages)
    assert np.array_equal(np.unique(grid.stage_node), np.arange(grid.n_nodes))


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_every_stage_lies_at_its_node(grid):
    """Stage depths left + c dt are the depths of the nodes whose particles they use."""
    left = np.concatenate([[0.0], np.cumsum(grid.step_size)[:-1]])
    stages = left[:, np.newaxis] + grid.step_size[:, np.newaxis] * grid.a.sum(axis=1)
    if grid.scheme == "midpoint":
        # Both stages use the cell's midpoint: the left end would have weight zero.
        stages = np.repeat(left + 0.5 * grid.step_size, 2).reshape(-1, 2)
    np.testing.assert_allclose(grid.nodes[grid.stage_node], stages, atol=ROUNDING)


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_node_weights_are_quadrature_weights(grid):
    # Euler sums at left ends, the others integrate at least linear functions.
    degree = {"euler": 0, "midpoint": 1, "rk4": 3, "gauss": grid.order - 1}[grid.scheme]
    for power in range(degree + 1):
        integral = grid.weights @ grid.nodes**power
        assert integral == pytest.approx(1 / (power + 1), abs=ROUNDING)
    beyond = grid.weights @ grid.nodes ** (degree + 1)
    assert abs(beyond - 1 / (degree + 2)) > 1e-8


def test_euler_and_midpoint_numbers():
    euler = DepthGrid.euler(4)
    np.testing.assert_array_equal(euler.nodes, [0.0, 0.25, 0.5, 0.75])
    np.testing.assert_array_equal(euler.weights, np.full(4, 0.25))
    midpoint = DepthGrid.midpoint(2)
    np.testing.assert_array_equal(midpoint.nodes, [0.25, 0.75])
    np.testing.assert_array_equal(midpoint.weights, [0.5, 0.5])


def test_rk4_shares_nodes_with_simpson_weights():
    grid = DepthGrid.rk4(2)
    np.testing.assert_array_equal(grid.nodes, [0.0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(
        grid.weights, np.array([1, 4, 2, 4, 1]) / 12, rtol=ROUNDING
    )
    np.testing.assert_array_equal(grid.stage_node, [[0, 1, 1, 2], [2, 3, 3, 4]])


def test_gauss_elements_follow_each_other():
    grid, one = DepthGrid.gauss(3, 2), DepthGrid.gauss(3)
    np.testing.assert_allclose(grid.nodes[:3], one.nodes / 2, atol=ROUNDING)
    np.testing.assert_allclose(grid.nodes[3:], 0.5 + one.nodes / 2, atol=ROUNDING)
    np.testing.assert_allclose(grid.weights[3:], one.weights / 2, atol=ROUNDING)
    np.testing.assert_array_equal(grid.stage_node, [[0, 1, 2], [3, 4, 5]])


# ---- order conditions of the theory, section 2.1, for state and adjoint together


def defects(a, b, order):
    """Largest defect of the conditions of orders up to `order`, d = b A, Hager 2000."""
    c = a.sum(axis=1)
    d = b @ a
    found = {1: [b.sum() - 1], 2: [d.sum() - 1 / 2]}
    found[3] = [c @ d - 1 / 6, b @ c**2 - 1 / 3]
    found[4] = [
        b @ c**3 - 1 / 4,
        (b * c) @ a @ c - 1 / 8,
        d @ c**2 - 1 / 12,
        d @ a @ c - 1 / 24,
    ]
    if order >= 3:
        # The conditions of the adjoint, which divide by b.
        found[3].append(np.sum(d**2 / b) - 1 / 3)
        found[4] += [
            np.sum(c * d**2 / b) - 1 / 12,
            np.sum(d**3 / b**2) - 1 / 4,
            (b * c) @ a @ (d / b) - 5 / 24,
            d @ a @ (d / b) - 1 / 8,
        ]
    return max(abs(value) for p in range(1, order + 1) for value in found[p])


@pytest.mark.parametrize(
    ("grid", "order"),
    [
        (DepthGrid.euler(1), 1),
        (DepthGrid.midpoint(1), 2),
        (DepthGrid.rk4(1), 4),
        (DepthGrid.gauss(1), 2),
        (DepthGrid.gauss(2), 4),
        (DepthGrid.gauss(5), 4),
    ],
    ids=repr,
)
def test_order_conditions(grid, order):
    assert defects(grid.a, grid.b, order) < 10 * ROUNDING
    assert grid.order == order or (grid.n_stages, order) == (5, 4)


def test_orders_are_not_higher():
    assert defects(DepthGrid.euler(1).a, DepthGrid.euler(1).b, 2) > 0.1
    # With b = 0 the adjoint's conditions of order 3 do not exist: the state's fail.
    midpoint = DepthGrid.midpoint(1)
    c = midpoint.a.sum(axis=1)
    assert abs(midpoint.b @ c**2 - 1 / 3) > 0.05
    assert defects(DepthGrid.gauss(1).a, DepthGrid.gauss(1).b, 3) > 0.05


# ---- Gauss collocation


@pytest.mark.parametrize("n", [1, 2, 3, 8, 16, 24])
def test_collocation_integrates_polynomials(n):
    """a c^(p-1) = c^p / p and b c^(p-1) = 1 / p, to rounding also for many nodes."""
    c, a, b = gauss_collocation(n)
    for power in range(1, n + 1):
        np.testing.assert_allclose(
            a @ c ** (power - 1), c**power / power, atol=2 * ROUNDING
        )
    for power in range(1, 2 * n + 1):
        assert b @ c ** (power - 1) == pytest.approx(1 / power, abs=ROUNDING)


@pytest.mark.parametrize("n", [1, 2, 5, 16])
def test_collocation_is_symplectic_and_symmetric(n):
    """b_i a_ij + b_j a_ji = b_i b_j: the adjoint is a collocation, too, Eq. (26)."""
    c, a, b = gauss_collocation(n)
    scaled = b[:, np.newaxis] * a
    np.testing.assert_allclose(scaled + scaled.T, np.outer(b, b), atol=ROUNDING)
    np.testing.assert_allclose(c + c[::-1], 1.0, atol=ROUNDING)
    assert DepthGrid.gauss(n).is_implicit


# ---- descriptions


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_description_rebuilds_the_grid(grid):
    other = DepthGrid.from_description(grid.describe())
    for field in dataclasses.fields(grid):
        np.testing.assert_array_equal(
            getattr(other, field.name), getattr(grid, field.name)
        )
    # A copy: changing it changes no grid.
    grid.describe()["scheme"] = "other"
    assert grid.describe()["scheme"] in names("depth scheme")


def test_repr_builds_the_grid():
    assert repr(DepthGrid.rk4(3)) == "DepthGrid.rk4(3)"
    assert repr(DepthGrid.gauss(3, 2)) == "DepthGrid.gauss(3, 2)"


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_refined_halves_the_steps(grid):
    finer = grid.refined()
    assert finer.scheme == grid.scheme
    assert finer.n_stages == grid.n_stages
    np.testing.assert_allclose(
        finer.step_size, np.repeat(grid.step_size, 2) / 2, rtol=ROUNDING
    )


def test_depths_of_the_states():
    np.testing.assert_allclose(DepthGrid.rk4(2).state_depths(), [0.0, 0.5, 1.0])
    np.testing.assert_allclose(DepthGrid.euler(3).state_depths(), [0, 1 / 3, 2 / 3, 1])
    grid = DepthGrid.gauss(2, 2)
    np.testing.assert_array_equal(
        grid.state_depths(), np.concatenate([[0.0], grid.nodes, [1.0]])
    )
    # The end is exact, whatever the rounding of the steps.
    assert all(DepthGrid.euler(n).state_depths()[-1] == 1.0 for n in range(1, 60))


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_grids_are_read_only(grid):
    for name in ("nodes", "weights", "step_size", "a", "b", "stage_node"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(grid, name)[...] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        grid.order = 7


# ---- messages


@pytest.mark.parametrize("build", [DepthGrid.euler, DepthGrid.midpoint, DepthGrid.rk4])
@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (0, ValueError, "`n` must be at least 1, got 0"),
        (-3, ValueError, "`n` must be at least 1, got -3"),
        (2.0, TypeError, "`n` must be an integer, got 2.0"),
        (True, TypeError, "`n` must be an integer, got True"),
        ("4", TypeError, "`n` must be an integer, got '4'"),
    ],
)
def test_wrong_counts(build, n, error, message):
    with pytest.raises(error, match=message):
        build(n)


def test_wrong_counts_of_gauss():
    with pytest.raises(ValueError, match="`n_nodes` must be at least 1, got 0"):
        DepthGrid.gauss(0)
    with pytest.raises(TypeError, match=r"`n_elements` must be an integer, got 1\.5"):
        DepthGrid.gauss(3, 1.5)


def test_numpy_integers_are_counts():
    assert repr(DepthGrid.gauss(np.int64(2), np.int32(3))) == "DepthGrid.gauss(2, 3)"


@pytest.mark.parametrize("description", [{"scheme": "heun", "n": 2}, {"n": 2}, {}])
def test_unknown_scheme(description):
    with pytest.raises((TypeError, ValueError), match="`scheme` must be"):
        DepthGrid.from_description(description)


def test_a_node_without_weight_is_refused():
    """The textbook midpoint rule, whose left stage would own a node."""
    with pytest.raises(
        ValueError, match=r"must have a positive weight, got 0; Eq\. \(7"
    ):
        node_weights(np.ones(1), np.array([0.0, 1.0]), np.array([[0, 1]]), 2)


@pytest.mark.parametrize(
    "grid",
    [
        DepthGrid.euler(4),
        DepthGrid.midpoint(3),
        DepthGrid.rk4(3),
        DepthGrid.gauss(3, 2),
    ],
    ids=repr,
)
def test_stages_that_share_a_node_follow_each_other(grid):
    """The adjoint sweep gives the sums of a node away once, at the last of them."""
    nodes = grid.stage_node.ravel()
    runs = 1 + np.count_nonzero(np.diff(nodes))
    assert runs == len(np.unique(nodes)) == grid.n_nodes
