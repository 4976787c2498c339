"""Kernels: activations, the three kernels of every block, layout, threads."""

import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from types import ModuleType, SimpleNamespace

import llvmlite.binding as llvm
import numpy as np
import pytest
import reference

from mfpde import (
    DepthGrid,
    MeanFieldProblem,
    ParticleEnsemble,
    evaluate,
    evaluation,
    predict,
)
from mfpde.blocks import (
    Bias,
    Bilinear,
    Capped,
    Custom,
    Linear,
    Perceptron,
    SignedSquaredReLU,
    SquaredReLU,
)
from mfpde.engine import distributed as lockstep
from mfpde.errors import ConvergenceError
from mfpde.kernels import assembly, build, families, samples, sweep, threads, vectors
from mfpde.kernels import queue as turns

# ---- the kernels of every block

BLOCKS = [
    Perceptron(1, "softplus", scale=-0.4),
    Perceptron(2),
    Perceptron(3, "sigmoid", bias=False, scale=1.7),
    Perceptron(5, "leaky_relu"),
    # Tiles of equal and of unequal width, with and without a bias.
    Perceptron(6, "gelu"),
    Perceptron(17, "leaky_relu", bias=False, scale=-0.4),
    Perceptron(2, "sin"),
    Bilinear(2),
    Linear(3),
    Bias(2),
    SquaredReLU(1),
    SquaredReLU(3),
    SignedSquaredReLU(2),
    Capped(1),
    Capped(2, "regularised_relu"),
    Capped(3, "gelu"),
]
SIZES = [(1, 1), (7, 2), (8, 3), (9, 5), (129, 4), (300, 33)]


def run_kernels(block, theta, weights, z, q, dtype="float64"):
    """field, pullback_state (twice) and gradient, by the three kernels of a block."""
    layout = samples.sample_layout(len(z))
    kernels = block.kernels(dtype).addresses
    theta, weights = theta.astype(dtype), weights.astype(dtype)
    # Scratch must be written before it is read.
    scratch = np.full(kernels[3], np.nan, dtype)
    packed_z, packed_q = (layout.empty(block.d, dtype) for _ in range(2))
    layout.pack(z, packed_z)
    layout.pack(q, packed_q, fill_own_only=True)
    # Kernels add to what is there.
    out = np.full((3, *packed_z.shape), 2.0, dtype)
    gradient = np.full(theta.shape, 3.0)
    for i, n in enumerate(layout.lanes):
        at_block = packed_z[i], packed_q[i]
        sweep.field(kernels, theta, weights, n, packed_z[i], out[0, i], scratch)
        scratch[:] = np.nan
        sweep.pullback_state(kernels, theta, weights, n, *at_block, out[1, i], scratch)
        scratch[:] = np.nan
        sweep.pullback(
            kernels, theta, weights, n, *at_block, out[2, i], gradient, scratch
        )
        unused = out[:, i].reshape(3, block.d, sweep.STRIDE)[:, :, n:]
        np.testing.assert_array_equal(unused, 2.0)
    field, pulled, pulled_again = (layout.unpack(each) - 2.0 for each in out)
    return field, pulled, pulled_again, gradient - 3.0


# Sums of some thousand terms of size one, and the 2 and 3 that were there.
CLOSE = {
    "float64": {"rtol": 1e-12, "atol": 1e-12},
    "float32": {"rtol": 1e-5, "atol": 1e-5},
}


# The text of the kernels is the same in both precisions: the longest to compile in one.
CASES = [(b, t) for b in BLOCKS for t in CLOSE if b.d not in (5, 17) or t == "float64"]


@pytest.mark.parametrize(("n_samples", "n_particles"), SIZES)
@pytest.mark.parametrize(("block", "dtype"), CASES, ids=repr)
def test_kernels_equal_their_twins(rng, block, n_samples, n_particles, dtype):
    # Moderate pre-activations, so that every particle matters.
    theta = rng.normal(size=(n_particles, block.k)) / np.sqrt(block.d)
    weights = rng.dirichlet(np.full(n_particles, 2.0))
    z, q = rng.normal(size=(2, n_samples, block.d))
    found = run_kernels(block, theta, weights, z, q, dtype)
    field, pulled, pulled_again, gradient = found
    close = CLOSE[dtype]
    np.testing.assert_allclose(
        field, reference.field(block, theta, weights, z), **close
    )
    twin = reference.pullback_state(block, theta, weights, z, q)
    np.testing.assert_allclose(pulled, twin, **close)
    np.testing.assert_allclose(pulled_again, twin, **close)
    twin = reference.vjp_theta(block, z, theta, q).sum(axis=0)
    np.testing.assert_allclose(gradient, twin, **close)


@pytest.mark.parametrize("lane", [0, 8])
def test_sine_of_huge_arguments(rng, lane):
    """Whole numbers, so that u.z + b is exact: every turn of the sine counts."""
    block = Perceptron(2, "sin")
    theta = rng.integers(-3, 4, size=(6, block.k)).astype(float)
    weights = rng.dirichlet(np.ones(6))
    z, q = rng.integers(-9, 10, size=(2, 9, 2)).astype(float)
    z[lane] *= 2.0**90
    theta[:, 4] = 0.0
    found = run_kernels(block, theta, weights, z, q)
    np.testing.assert_allclose(
        found[0], reference.field(block, theta, weights, z), rtol=1e-13, atol=1e-13
    )
    # Terms of size 27 * 2**90 in the gradient come from one lane: relative to them.
    gradient = reference.vjp_theta(block, z, theta, q).sum(axis=0)
    scale = np.abs(gradient).max(axis=0)
    assert (np.abs(found[3] - gradient) <= 1e-13 * scale + 1e-13).all()


# The twins of the others differentiate f themselves.
@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if not isinstance(b, reference.COMPONENTWISE)], ids=repr
)
def test_twins_are_derivatives_of_f(rng, block):
    """The oracle above: its products against complex steps through f itself."""
    theta = rng.normal(size=(3, block.k)) / np.sqrt(block.d)
    z, q, direction = rng.normal(size=(3, 4, block.d))
    step = 1e-30

    def along(z, theta):
        values = np.imag(reference.f_values(block, z, theta)) / step
        return np.einsum("imc,ic->im", values, q)

    in_z = np.einsum("imc,ic->im", reference.vjp_z(block, z, theta, q), direction)
    np.testing.assert_allclose(
        in_z, along(z + 1j * step * direction, theta), rtol=1e-12, atol=1e-13
    )
    change = rng.normal(size=theta.shape)
    in_theta = np.einsum("imk,mk->im", reference.vjp_theta(block, z, theta, q), change)
    np.testing.assert_allclose(
        in_theta, along(z, theta + 1j * step * change), rtol=1e-12, atol=1e-13
    )


def _f(z, theta, out):
    a = theta[4] + theta[0] * z[0] + theta[1] * z[1]
    for c in range(2):
        out[c] = 0.7 * theta[2 + c] * np.tanh(a)


def _vjp_z(z, theta, p, out):
    a = theta[4] + theta[0] * z[0] + theta[1] * z[1]
    e = 0.7 * (p[0] * theta[2] + p[1] * theta[3]) * (1.0 - np.tanh(a) ** 2)
    for c in range(2):
        out[c] = e * theta[c]


def _vjp_theta(z, theta, p, out):
    a = theta[4] + theta[0] * z[0] + theta[1] * z[1]
    e = 0.7 * (p[0] * theta[2] + p[1] * theta[3]) * (1.0 - np.tanh(a) ** 2)
    for c in range(2):
        out[c] = e * z[c]
        out[2 + c] = 0.7 * np.tanh(a) * p[c]
    out[4] = e


def test_custom_block_equals_the_built_in_one(rng):
    custom, built_in = Custom(2, 5, _f, _vjp_z, _vjp_theta), Perceptron(2, scale=0.7)
    theta, weights = rng.normal(size=(5, 5)), rng.dirichlet(np.ones(5))
    z, q = rng.normal(size=(2, 9, 2))
    found = run_kernels(custom, theta, weights, z, q)
    twins = (
        reference.field(built_in, theta, weights, z),
        reference.pullback_state(built_in, theta, weights, z, q),
        reference.pullback_state(built_in, theta, weights, z, q),
        reference.vjp_theta(built_in, z, theta, q).sum(axis=0),
    )
    for each, twin in zip(found, twins, strict=True):
        np.testing.assert_allclose(each, twin, rtol=1e-13, atol=1e-14)
    # Compiled once for the same functions.
    again = Custom(2, 5, _f, _vjp_z, _vjp_theta)
    assert again.kernels() is custom.kernels()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_scales_share_their_machine_code(rng, dtype):
    """f is linear in the scale."""
    blocks = [Perceptron(2, "tanh", scale=scale) for scale in (1.0, 2.0, 0.25)]
    kernels = [each.kernels(dtype) for each in blocks]
    assert len({each.module for each in kernels}) == 1
    assert len({each.addresses for each in kernels}) == 3
    assert Perceptron(2, "tanh", scale=2.0).kernels(dtype) is kernels[1]
    theta, weights = rng.normal(size=(7, 5)), np.full(7, 1.0 / 7.0)
    z, q = rng.normal(size=(2, 9, 2))
    found = [run_kernels(each, theta, weights, z, q, dtype) for each in blocks]
    tolerance = 1e-13 if dtype == "float64" else 1e-5
    for each, factor in zip(found, (1.0, 2.0, 0.25), strict=True):
        for one, other in zip(found[0], each, strict=True):
            wanted = factor * one
            np.testing.assert_allclose(other, wanted, rtol=tolerance, atol=tolerance)


# ---- vectorisation


def _uncached_kernels(block_text, activation, dtype):
    """A module compiled now: numba cannot show the machine code of cached functions."""
    text = build.HEADER.format(stride=sweep.STRIDE, dtype=dtype)
    if activation:
        names = f"{activation}, {activation}_pair"
        text += f"from mfpde.kernels.{build.MATHEMATICS[dtype]} import {names}\n"
    module = ModuleType("uncached")
    exec(compile(text + block_text, "<uncached>", "exec"), module.__dict__)
    return module


def _packed_multiply_adds(function, dtype):
    """Fused multiply-adds on whole vector registers in the machine code."""
    assembly_text = function._library.get_asm_str()
    suffix = {"float64": "pd", "float32": "ps"}[dtype]
    pattern = rf"\bvfn?m(?:add|sub)\d+{suffix}\b.*%[yz]mm"
    return len(re.findall(pattern, assembly_text))


def _has_vector_registers():
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    features = llvm.get_host_cpu_features()
    return bool(features.get("avx2") and features.get("fma"))


NEEDS_VECTORS = pytest.mark.skipif(
    not _has_vector_registers(), reason="looks for AVX instructions, which are not here"
)


@NEEDS_VECTORS
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("text", "activation", "degree"),
    [
        pytest.param(families.perceptron(2, "tanh", True), "tanh", 13, id="d2"),
        pytest.param(
            families.perceptron(5, "gelu", True),
            "gelu",
            13 + 22,
            id="d5",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            families.perceptron(17, "softplus", False),
            "softplus",
            13 + 10,
            id="d17",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_hot_loops_of_dyadic_blocks_are_vectorised(text, activation, degree, dtype):
    module = _uncached_kernels(text, activation, dtype)
    # The polynomials of the activation, in both kernels. Loops are written for a group
    # of at least four particles and for one.
    group = 4
    degree = degree if dtype == "float64" else 5
    in_field = _packed_multiply_adds(module.field, dtype)
    assert in_field >= (group + 1) * degree
    in_state = _packed_multiply_adds(module.pullback_state, dtype)
    assert in_state >= (group + 1) * degree
    # The sums over samples of the gradient: at least one tile in u and one in v.
    in_sums = _packed_multiply_adds(module.pullback, dtype) - in_state
    assert in_sums >= 2 * group * 2


@NEEDS_VECTORS
def test_products_of_the_linear_block_are_vectorised():
    module = _uncached_kernels(families.linear(3), None, "float64")
    for name in ("field", "pullback_state", "pullback"):
        assert _packed_multiply_adds(getattr(module, name), "float64") >= 9, name


# ---- layout of the samples


def check_layout(n_samples, layout):
    used = np.concatenate([layout.index[layout.is_own]])
    np.testing.assert_array_equal(np.sort(used), np.arange(n_samples))
    assert layout.lanes.min() >= samples.VECTOR
    assert layout.lanes.max() <= samples.BLOCK < sweep.STRIDE
    assert not (layout.lanes % samples.VECTOR).any()
    # No lane beyond those in use has a sample, and no empty vector is worked on.
    lane = np.arange(sweep.STRIDE)
    assert not layout.is_own[lane >= layout.lanes[:, np.newaxis]].any()
    assert layout.lanes.sum() - n_samples < samples.VECTOR
    assert np.ptp(layout.lanes) <= samples.VECTOR


def test_layout_holds_every_sample_once():
    for n_samples in range(1, 601):
        check_layout(n_samples, samples.sample_layout(n_samples))


@pytest.mark.parametrize("n_samples", [1, 7, 8, 9, 127, 128, 129, 300, 600, 5000])
def test_pack_and_unpack(n_samples, rng):
    layout = samples.sample_layout(n_samples)
    values = rng.normal(size=(n_samples, 3))
    packed, adjoint = (layout.empty(3, "float64") for _ in range(2))
    layout.pack(values, packed)
    assert packed.shape == (len(layout.lanes), 3 * sweep.STRIDE)
    assert packed.flags.c_contiguous
    np.testing.assert_array_equal(layout.unpack(packed), values)
    # Component c of lane i stands at c * STRIDE + i; other lanes repeat a sample.
    np.testing.assert_array_equal(packed[0, [0, sweep.STRIDE]], values[0, :2])
    assert np.isin(packed, values).all()
    layout.pack(values, adjoint, fill_own_only=True)
    np.testing.assert_array_equal(layout.unpack(adjoint), values)
    assert np.count_nonzero(adjoint) == values.size
    # Axes between those of blocks and lanes, as in the states of a sweep.
    stages = np.stack([packed, 2 * packed], axis=1)
    np.testing.assert_array_equal(layout.unpack(stages), [values, 2 * values])


def test_blocks_share_the_work(monkeypatch):
    for n_threads in ("1", "3"):
        monkeypatch.setenv("MFPDE_NUM_THREADS", n_threads)
        layout = samples.sample_layout(1000)
        np.testing.assert_array_equal(layout.lanes, [128] * 5 + [120] * 3)
    # Two blocks, for two cores, as soon as there are two vectors; an even number.
    assert [samples.sample_layout(n).n_blocks for n in (1, 8, 9, 256, 257)] == [
        1,
        1,
        2,
        2,
        4,
    ]


# ---- threads


@pytest.mark.parametrize(
    ("block", "grid"),
    [
        (Perceptron(2), DepthGrid.rk4(1)),
        (Perceptron(17, "leaky_relu", bias=False, scale=-0.4), DepthGrid.euler(2)),
        (Linear(3), DepthGrid.gauss(2, 2)),
    ],
    ids=repr,
)
def test_same_bits_for_every_number_of_threads(rng, monkeypatch, block, grid):
    monkeypatch.setattr(threads, "SERIAL_BELOW", 0)
    x, y = rng.normal(size=(2, 2001, block.d))
    problem = MeanFieldProblem(x, y, block)
    theta = 0.3 * rng.normal(size=(grid.n_nodes, 70, block.k))
    ensemble = ParticleEnsemble(theta, rng.dirichlet(np.ones(70)))
    found = []
    # More threads than cores, too, and several times: who waits for whom varies.
    for n_threads in ("1", "2", "3", "16", "16", "16"):
        monkeypatch.setenv("MFPDE_NUM_THREADS", n_threads)
        found.append(evaluate(problem, grid, ensemble))
    for other in found[1:]:
        assert other.velocity.tobytes() == found[0].velocity.tobytes()
        assert other.z.tobytes() == found[0].z.tobytes()
        assert other.p.tobytes() == found[0].p.tobytes()
        assert other.loss == found[0].loss
        assert other.dissipation == found[0].dissipation


def test_a_block_that_fails_holds_nobody_up(rng, monkeypatch):
    """The adjoint of the first block does not converge; the others wait for it."""
    monkeypatch.setenv("MFPDE_NUM_THREADS", "3")
    monkeypatch.setattr(threads, "SERIAL_BELOW", 0)
    grid = DepthGrid.gauss(2)
    # f = v tanh(u z) is steep at z = 0, where the state stays, and flat away from it.
    theta = np.tile([40.0, 4.0], (2, 30, 1))
    x = np.full((1000, 1), 30.0)
    ensemble = ParticleEnsemble(theta)
    x[:8] = 0.0
    block = Perceptron(1, bias=False)
    with pytest.raises(ConvergenceError, match="did not converge"):
        evaluate(MeanFieldProblem(x, x + 1, block), grid, ensemble)
    evaluate(MeanFieldProblem(x[8:], x[8:] + 1, block), grid, ensemble)


def test_a_failed_evaluation_writes_nothing_afterwards(monkeypatch):
    """The caller may use its `out` again, however late the helpers are."""
    monkeypatch.setenv("MFPDE_NUM_THREADS", "2")
    monkeypatch.setattr(threads, "SERIAL_BELOW", 0)
    grid, x = DepthGrid.gauss(2), np.zeros((300, 1))
    # f is steep at z = 0, where the state stays; the adjoint does not converge.
    problem = MeanFieldProblem(x, x + 1, Perceptron(1, bias=False))
    ensemble = ParticleEnsemble(np.tile([40.0, 4.0], (2, 2_000, 1)))
    out = np.empty(ensemble.theta.shape)
    for _ in range(5):
        with pytest.raises(ConvergenceError, match="did not converge"):
            evaluate(problem, grid, ensemble, out=out)
        out[:] = 7.0
        time.sleep(0.02)
        assert (out == 7.0).all()


class Interpreted:
    """A kernel that needs no compiler."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        return self.function(*arguments)

    def compile(self, signature):
        pass


def test_helpers_run_at_the_same_time(monkeypatch):
    monkeypatch.setenv("MFPDE_NUM_THREADS", "3")
    # Nobody passes alone; a broken barrier raises after the timeout.
    barrier = threading.Barrier(3, timeout=20)
    names = []

    def work():
        barrier.wait()
        names.append(threading.current_thread().name)
        barrier.wait()

    threads.start_helpers(Interpreted(work), (), None, 5, threads.SERIAL_BELOW)
    work()
    assert len(set(names)) == len(names) == 3
    # No more of them than pieces.
    barrier = threading.Barrier(2, timeout=20)
    names.clear()
    threads.start_helpers(Interpreted(work), (), None, 2, threads.SERIAL_BELOW)
    work()
    assert len(names) == 2


def test_little_work_wakes_no_threads(monkeypatch):
    monkeypatch.setenv("MFPDE_NUM_THREADS", "3")
    found = []
    threads.start_helpers(
        Interpreted(found.append), (1,), None, 4, threads.SERIAL_BELOW - 1
    )
    threads.start_helpers(
        Interpreted(found.append), (1,), None, 1, threads.SERIAL_BELOW
    )
    # As many as there are now would have come before these.
    barrier = threading.Barrier(3, timeout=20)
    threads.start_helpers(Interpreted(barrier.wait), (), None, 4, threads.SERIAL_BELOW)
    barrier.wait()
    assert not found


def test_a_helper_survives_an_error(monkeypatch):
    monkeypatch.setenv("MFPDE_NUM_THREADS", "2")

    def fail():
        raise ArithmeticError("in a helper")

    threads.start_helpers(Interpreted(fail), (), None, 2, threads.SERIAL_BELOW)
    barrier = threading.Barrier(2, timeout=20)
    threads.start_helpers(Interpreted(barrier.wait), (), None, 2, threads.SERIAL_BELOW)
    barrier.wait()


COMPILED = """
import numpy as np
from mfpde import DepthGrid, MeanFieldProblem, ParticleEnsemble, evaluate, predict
from mfpde.blocks import Perceptron
from mfpde.kernels import threads

def put(task, n_helpers):
    print(task[0].__name__, len(task[0].signatures))

threads._pool.put = put
x, theta = np.ones((300, 2)), np.ones((3, 100, 5))
for dtype in ("float64", "float32", "float64"):
    problem = MeanFieldProblem(x, x, Perceptron(2), dtype=dtype)
    ensemble = ParticleEnsemble(theta)
    evaluate(problem, DepthGrid.euler(3), ensemble)
    predict(problem, DepthGrid.gauss(3), ensemble, x)
"""


def test_helpers_find_their_kernels_compiled():
    """Only the calling thread compiles: the others would be cut off at the end."""
    found = subprocess.run(
        [sys.executable, "-c", COMPILED],
        env={**os.environ, "MFPDE_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    kernels = ("follow", "forward")
    expected = [f"{name} {n}" for n in (1, 2, 2) for name in kernels]
    assert found.stdout.splitlines() == expected


def test_helpers_are_let_go_when_the_loss_fails(rng, monkeypatch):
    """They wait at the gate; the next evaluation needs them again."""
    monkeypatch.setenv("MFPDE_NUM_THREADS", "2")
    monkeypatch.setattr(threads, "SERIAL_BELOW", 0)

    class Broken:
        name = "broken"

        def values(self, output, y):
            raise ArithmeticError("broken loss")

        gradients = values

    x, y = rng.normal(size=(2, 300, 2))
    ensemble = ParticleEnsemble(rng.normal(size=(3, 9, 5)))
    for _ in range(3):
        with pytest.raises(ArithmeticError, match="broken loss"):
            evaluate(
                MeanFieldProblem(x, y, Perceptron(2), loss=Broken()),
                DepthGrid.euler(3),
                ensemble,
            )
    assert_helpers_are_free(1)


def assert_helpers_are_free(n_helpers):
    """All of them come at the same time, and there are no more."""
    barrier = threading.Barrier(n_helpers + 1, timeout=20)
    kernel = Interpreted(barrier.wait)
    threads.start_helpers(kernel, (), None, n_helpers + 1, threads.SERIAL_BELOW)
    barrier.wait()
    assert len(helpers()) >= n_helpers


def helpers():
    return [t for t in threading.enumerate() if t.name.startswith("mfpde_")]


def threaded_case(rng, n_samples=600):
    """Problem, grid and ensemble of which an evaluation takes some milliseconds."""
    x, y = rng.normal(size=(2, n_samples, 2))
    ensemble = ParticleEnsemble(rng.normal(size=(8, 64, 5)))
    return MeanFieldProblem(x, y, Perceptron(2)), DepthGrid.euler(8), ensemble


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize(
    "n_interrupts", [40, pytest.param(500, marks=pytest.mark.slow)]
)
def test_interrupts_at_any_moment(rng, monkeypatch, n_threads, n_interrupts):
    """No helper is lost, and nobody writes to `out` when `evaluate` has ended."""
    monkeypatch.setenv("MFPDE_NUM_THREADS", str(n_threads))
    monkeypatch.setattr(threads, "SERIAL_BELOW", 0)
    case = threaded_case(rng)
    problem, grid, ensemble = case
    expected = evaluate(*case).velocity.tobytes()
    predict(problem, grid, ensemble, problem.x)
    start = time.perf_counter()
    evaluate(*case)
    seconds = time.perf_counter() - start
    out = np.empty(ensemble.theta.shape)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for moment in seconds * rng.uniform(0.01, 2.0, size=n_interrupts):
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012
                signal.setitimer(signal.ITIMER_REAL, moment)
                while True:
                    evaluate(*case, out=out)
                    predict(problem, grid, ensemble, problem.x)
            out[:] = 7.0
            time.sleep(0.2 * seconds)
            assert (out == 7.0).all()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert_helpers_are_free(n_threads - 1)
    assert threads._pool.tasks.qsize() == 0
    assert evaluate(*case).velocity.tobytes() == expected


def test_an_interrupt_just_after_the_hand_over(rng, monkeypatch):
    monkeypatch.setenv("MFPDE_NUM_THREADS", "3")
    monkeypatch.setattr(threads, "SERIAL_BELOW", 0)
    case = threaded_case(rng)
    expected = evaluate(*case).velocity.tobytes()

    def interrupted(*arguments):
        threads.start_helpers(*arguments)
        raise KeyboardInterrupt

    out = np.full(case[2].theta.shape, 7.0)
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "start_helpers", interrupted)
        for _ in range(5):
            with pytest.raises(KeyboardInterrupt):
                evaluate(*case, out=out)
            with pytest.raises(KeyboardInterrupt):
                predict(*case, case[0].x)
    assert_helpers_are_free(2)
    assert (out == 7.0).all()
    assert evaluate(*case).velocity.tobytes() == expected


def test_an_exception_waits_for_pieces_that_are_taken(monkeypatch):
    """As in the stages of `lockstep`: the caller may use the arrays again."""
    monkeypatch.setenv("MFPDE_NUM_THREADS", "2")
    is_taken, written = threading.Event(), []

    def work(counts):
        if threading.current_thread() is threading.main_thread():
            assert is_taken.wait(20)
            raise KeyboardInterrupt
        turns.take(counts)
        is_taken.set()
        time.sleep(0.05)
        written.append(True)
        turns.finish(counts)

    shard = SimpleNamespace(sum_=lambda part: None)
    # So much that it is shared with other threads.
    stages = lockstep._Stages(shard, 3, np.zeros((3, 10)), threads.SERIAL_BELOW)
    with pytest.raises(KeyboardInterrupt):
        stages.run(Interpreted(work))
    assert written


def test_a_slow_loss_does_not_lose_the_helpers(rng, monkeypatch):
    """They leave the gate after a while, and are called again."""
    monkeypatch.setenv("MFPDE_NUM_THREADS", "2")
    monkeypatch.setattr(threads, "SERIAL_BELOW", 0)
    monkeypatch.setattr(threads, "_pool", threads._Pool())
    problem, grid, ensemble = threaded_case(rng)
    expected = evaluate(problem, grid, ensemble).velocity.tobytes()
    calls = []

    def counted(*arguments):
        calls.append(arguments[0])
        threads.start_helpers(*arguments)

    class Slow:
        name = "slow"
        gradients = staticmethod(problem.loss.gradients)

        def values(self, output, y):
            # Until the helper is free for others: it does not wait for the loss.
            assert_helpers_are_free(1)
            return problem.loss.values(output, y)

    monkeypatch.setattr(evaluation, "start_helpers", counted)
    slow = problem.with_changes(loss=Slow())
    assert evaluate(slow, grid, ensemble).velocity.tobytes() == expected
    assert len(calls) == 2


def test_there_is_one_pool_of_threads(monkeypatch):
    """It grows to the largest number that is needed, and no further."""
    monkeypatch.setattr(threads, "_pool", threads._Pool())
    others, present = len(helpers()), 0
    work = Interpreted(lambda: None)
    for n_threads in (4, 21, 2, 12, 21, 3):
        monkeypatch.setenv("MFPDE_NUM_THREADS", str(n_threads))
        for n_pieces in (2, 30, 5, 16, 8, 10, 12, 1):
            threads.start_helpers(work, (), None, n_pieces, threads.SERIAL_BELOW)
            largest = n_threads - 1 if n_pieces == 30 else 0
            present = max(present, largest, min(n_threads, n_pieces) - 1)
            assert len(helpers()) == others + present
    assert present == 20


def test_a_lost_helper_is_replaced(monkeypatch):
    monkeypatch.setenv("MFPDE_NUM_THREADS", "3")
    assert_helpers_are_free(2)
    before = helpers()

    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def leave():
        raise SystemExit

    threads.start_helpers(Interpreted(leave), (), None, 3, threads.SERIAL_BELOW)
    deadline = time.monotonic() + 20
    while len(helpers()) > len(before) - 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert_helpers_are_free(2)


def test_threads_that_cannot_start_are_not_missed(rng, monkeypatch):
    """A container may allow no more of them."""

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setenv("MFPDE_NUM_THREADS", str(len(helpers()) + 4))
    monkeypatch.setattr(threads, "SERIAL_BELOW", 0)
    monkeypatch.setattr(threads, "_pool", threads._Pool())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    case = threaded_case(rng)
    found = [evaluate(*case).velocity.tobytes() for _ in range(2)]
    assert found[0] == found[1]
    assert threads._pool.tasks.qsize() == 0
    assert not threads._pool.threads


def test_the_queue_does_not_grow(monkeypatch):
    """However late the helpers are: it keeps the arrays of its tasks."""
    monkeypatch.setenv("MFPDE_NUM_THREADS", "2")
    pool, release = threads._Pool(), threading.Event()
    monkeypatch.setattr(threads, "_pool", pool)
    for _ in range(30):
        wait = Interpreted(release.wait)
        threads.start_helpers(wait, (20,), None, 2, threads.SERIAL_BELOW)
    assert pool.tasks.qsize() <= threads.MOST_WAITING
    release.set()


def test_several_threads_of_the_user_evaluate_at_once(rng, monkeypatch):
    monkeypatch.setenv("MFPDE_NUM_THREADS", "3")
    monkeypatch.setattr(threads, "SERIAL_BELOW", 0)
    cases = [threaded_case(rng, n) for n in (600, 300, 900)]
    expected = [evaluate(*case).velocity.tobytes() for case in cases]
    found = [[] for _ in cases]

    def work(i):
        for _ in range(8):
            found[i].append(evaluate(*cases[i]).velocity.tobytes())

    callers = [threading.Thread(target=work, args=(i,)) for i in range(len(cases))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == [[each] * 8 for each in expected]


FORK = """
import os, signal
import numpy as np
from mfpde import DepthGrid, MeanFieldProblem, ParticleEnsemble, evaluate
from mfpde.blocks import Perceptron
rng = np.random.default_rng(0)
x, theta = rng.normal(size=(600, 2)), rng.normal(size=(8, 64, 5))
problem = MeanFieldProblem(x, x, Perceptron(2))
case = problem, DepthGrid.euler(8), ParticleEnsemble(theta)
expected = evaluate(*case).velocity.tobytes()
child = os.fork()
if child == 0:
    os._exit(0 if evaluate(*case).velocity.tobytes() == expected else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
signal.setitimer(signal.ITIMER_REAL, 0.05)
signal.signal(signal.SIGALRM, signal.default_int_handler)
while True:
    evaluate(*case)
"""


def test_a_forked_process_has_helpers_and_the_end_may_come_at_any_moment():
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK],
        env={**os.environ, "MFPDE_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.stdout == "0\n", found.stderr
    # How Python ends after a KeyboardInterrupt; no crash.
    assert found.returncode == -signal.SIGINT


@pytest.mark.parametrize(
    ("mfpde", "numba", "expected"),
    [("3", "5", 3), ("", "5", 5), ("none", "2", 2), ("0", "2", 2), ("-1", "2", 2)],
)
def test_number_of_threads(monkeypatch, mfpde, numba, expected):
    monkeypatch.setenv("MFPDE_NUM_THREADS", mfpde)
    monkeypatch.setenv("NUMBA_NUM_THREADS", numba)
    assert threads.n_threads() == expected


def test_number_of_threads_without_a_wish(monkeypatch):
    monkeypatch.delenv("MFPDE_NUM_THREADS", raising=False)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    assert threads.n_threads() == len(os.sched_getaffinity(0))


# ---- vectors and assembly


@pytest.mark.parametrize("n", [1, 7, 1023, 1024, 1025, 3000])
def test_combine(rng, n):
    y, rates = rng.normal(size=n), rng.normal(size=(4, n))
    coefficients = np.array([0.5, 0.0, -2.0])
    out = np.full(n, np.nan)
    vectors.combine(y, rates, coefficients, 0.3, out)
    # Three products of numbers of size one; the fourth rate does not count.
    twin = y + 0.3 * coefficients @ rates[:3]
    np.testing.assert_allclose(out, twin, rtol=1e-14, atol=1e-14)


def test_combine_does_not_read_rates_with_factor_zero(rng):
    rates = np.array([[1.0, 2.0], [np.nan, np.nan]])
    out = np.empty(2)
    vectors.combine(np.zeros(2), rates, np.array([1.0, 0.0]), 0.5, out)
    np.testing.assert_array_equal(out, [0.5, 1.0])


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 10), (3, 10), (9, 10)])
def test_scaled_error(rng, first, last):
    y, new = rng.normal(size=(2, 10))
    rates, coefficients = rng.normal(size=(3, 10)), np.array([0.2, -0.5, 0.4])
    total, worst = vectors.scaled_error(
        y, new, rates, coefficients, 0.1, 1e-3, 1e-4, first, last
    )
    scale = 1e-4 + 1e-3 * np.maximum(np.abs(y), np.abs(new))
    squares = ((0.1 * coefficients @ rates / scale) ** 2)[first:last]
    assert total == pytest.approx(squares.sum(), rel=1e-13)
    assert worst == first + squares.argmax()


def test_scaled_error_notices_what_is_not_finite():
    rates = np.array([[1.0, np.nan, 1.0]])
    ones = np.ones(3)
    total, _ = vectors.scaled_error(
        ones, ones, rates, np.ones(1), 0.1, 1e-3, 1e-3, 0, 3
    )
    assert np.isnan(total)


@pytest.mark.parametrize(
    ("n_particles", "k"),
    [(1, 1), (5, 7), (assembly.CHUNK, 2), (2 * assembly.CHUNK + 3, 5)],
)
@pytest.mark.parametrize(
    ("bound", "is_smooth"), [(np.inf, False), (0.7, False), (0.7, True)]
)
def test_assemble(rng, n_particles, k, bound, is_smooth):
    gradient, theta = rng.normal(size=(2, 2, n_particles, k))
    weights, metric = rng.dirichlet(np.ones(n_particles)), rng.random(k)
    node_weights = np.array([0.75, 0.25])
    n_chunks = -(-n_particles // assembly.CHUNK)
    velocity = gradient.reshape(2, -1).copy()
    integrands = np.full((2, n_chunks, 3), 9.0)
    assembly.assemble(
        node_weights,
        np.repeat(weights, k),
        theta.reshape(2, -1),
        0.3,
        np.tile(metric, assembly.CHUNK),
        bound,
        is_smooth,
        np.zeros(2, dtype=np.int64),
        velocity,
        integrands,
    )
    gradient = gradient / node_weights[:, None, None] + 0.6 * theta
    pi = gradient
    if is_smooth:
        pi = bound * gradient / np.sqrt(bound**2 + gradient**2)
    elif np.isfinite(bound):
        pi = np.clip(gradient, -bound, bound)
    # Sums of a few terms of size one.
    np.testing.assert_allclose(
        velocity.reshape(2, -1, k), -metric * pi, rtol=1e-13, atol=1e-13
    )
    expected = [(gradient * pi) @ metric @ weights]
    expected.append((gradient**2).sum(axis=2) @ weights)
    expected.append((theta**2).sum(axis=2) @ weights)
    found = integrands.sum(axis=1).T
    np.testing.assert_allclose(found, expected, rtol=1e-13)
