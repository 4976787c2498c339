"""Time one loss and gradient: against PyTorch, JAX and the bound of the machine.

The same network (Euler in depth, equal particles, tanh perceptron with bias, squared
loss) on every peer; all gradients are compared before anything is timed. The variants
run in turn; medians are quoted. The bound is 14 d flop per (node, particle, sample) at
the rate of a matrix product plus two activations at the rate of the vectorised tanh on
a cache-resident array, divided by the threads; both rates are measured in turn with the
variants. Peers that are not installed are left out (`pip install 'mfpde[bench]'`).

    python benchmarks/bench_gradient.py [--quick] [--d 2 8] [--sizes 16 512 256]
        [--dtype float64 float32] [--output FILE]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from machine import activation_seconds, flop_seconds, header, interleaved, write

import mfpde
from mfpde.kernels.threads import n_threads

DIMENSIONS = [1, 2, 4, 8, 16, 32, 64, 128]
# Gradients agree to the rounding of sums over M N terms.
AGREEMENT = {"float64": 1e-10, "float32": 1e-3}


def make_case(
    d: int, n_nodes: int, n_particles: int, n_samples: int, dtype: str
) -> dict:
    rng = np.random.default_rng(d)
    theta = rng.normal(size=(n_nodes, n_particles, 2 * d + 1)) / np.sqrt(d)
    # For mfpde data and particles are float64 whatever the type of the states.
    return {
        "x": rng.normal(size=(n_samples, d)).astype(dtype),
        "y": rng.normal(size=(n_samples, d)).astype(dtype),
        "theta": theta.astype(dtype),
    }


def on_mfpde(case: dict):
    problem = mfpde.MeanFieldProblem(
        case["x"],
        case["y"],
        mfpde.blocks.Perceptron(case["x"].shape[1]),
        dtype=case["x"].dtype,
    )
    n_nodes, n_particles, _ = case["theta"].shape
    grid = mfpde.DepthGrid.euler(n_nodes)
    ensemble = mfpde.ParticleEnsemble(case["theta"])

    def call():
        return mfpde.evaluate(problem, grid, ensemble)

    def gradient():
        return -call().velocity / (n_nodes * n_particles)

    return call, gradient


def on_torch(case: dict, compiled: bool):
    import torch

    torch.set_num_threads(n_threads())
    x, y = torch.from_numpy(case["x"]), torch.from_numpy(case["y"])
    theta = torch.from_numpy(case["theta"].copy()).requires_grad_()
    d = x.shape[1]

    def loss(theta):
        z = x
        for layer in theta:
            u, v, b = layer[:, :d], layer[:, d : 2 * d], layer[:, 2 * d]
            field = torch.tanh(z @ u.T + b) @ v / theta.shape[1]
            z = z + field / theta.shape[0]
        return 0.5 * ((z - y) ** 2).sum(dim=1).mean()

    function = torch.compile(loss) if compiled else loss

    def call():
        return torch.autograd.grad(function(theta), theta)[0]

    return call, lambda: call().numpy()


def on_jax(case: dict):
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    x, y = jnp.asarray(case["x"]), jnp.asarray(case["y"])
    theta = jnp.asarray(case["theta"])
    d = x.shape[1]

    def loss(theta):
        def layer(z, one):
            u, v, b = one[:, :d], one[:, d : 2 * d], one[:, 2 * d]
            field = jnp.tanh(z @ u.T + b) @ v / theta.shape[1]
            return z + field / theta.shape[0], None

        z, _ = jax.lax.scan(layer, x, theta)
        return 0.5 * ((z - y) ** 2).sum(axis=1).mean()

    function = jax.jit(jax.value_and_grad(loss))

    def call():
        return jax.block_until_ready(function(theta))[1]

    return call, lambda: np.asarray(call())


def peers(case: dict, names: list[str]) -> dict:
    makers = {
        "mfpde": lambda: on_mfpde(case),
        "torch": lambda: on_torch(case, False),
        "torch.compile": lambda: on_torch(case, True),
        "jax": lambda: on_jax(case),
    }
    made = {}
    for name in names:
        try:
            made[name] = makers[name]()
        except ImportError:
            continue
    return made


def row(
    d: int, sizes: tuple[int, int, int], dtype: str, names: list[str], repeats: int
) -> dict:
    case = make_case(d, *sizes, dtype)
    made = peers(case, names)
    reference = made["mfpde"][1]()
    for name, (_, gradient) in made.items():
        error = np.abs(gradient() - reference).max() / np.abs(reference).max()
        if not error <= AGREEMENT[dtype]:
            raise RuntimeError(f"The gradient of {name} is off by {error:.1e}.")
    rates = {"flop": flop_seconds(dtype), "tanh": activation_seconds(dtype)}
    measured: dict[str, list[float]] = {name: [] for name in rates}

    def measure_rates() -> None:
        for name, measure in rates.items():
            measured[name].append(measure())

    variants = {name: call for name, (call, _) in made.items()}
    times = interleaved(variants | {"rates": measure_rates}, repeats)
    n_total = np.prod([float(size) for size in sizes])
    flop, tanh = (float(np.median(measured[name])) for name in rates)
    bound = (14 * d * flop + 2 * tanh) / n_threads()
    result = {name: float(np.median(times[name])) / n_total for name in made}
    return {"d": d, "sizes": sizes, "dtype": dtype, "bound": bound, **result}


def table(rows: list[dict], names: list[str]) -> str:
    shown = [name for name in names if any(name in row for row in rows)]
    head = ["d", "J, M, N", "type", *shown, "bound", "fraction"]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for each in rows:
        cells = []
        for name in shown:
            if name not in each:
                cells.append("")
                continue
            ratio = "" if name == "mfpde" else f" ({each[name] / each['mfpde']:.1f} x)"
            cells.append(f"{each[name] * 1e9:.2f}{ratio}")
        sizes = ", ".join(str(size) for size in each["sizes"])
        fraction = each["bound"] / each["mfpde"]
        cells += [f"{each['bound'] * 1e9:.2f}", f"{fraction:.2f}"]
        cells = [str(each["d"]), sizes, each["dtype"], *cells]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats")
    parser.add_argument("--d", type=int, nargs="+", default=DIMENSIONS)
    parser.add_argument(
        "--sizes", type=int, nargs=3, default=[16, 512, 256], metavar=("J", "M", "N")
    )
    parser.add_argument("--dtype", nargs="+", default=["float64"], choices=AGREEMENT)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--peers", nargs="*", default=["torch", "torch.compile", "jax"])
    parser.add_argument("--output")
    options = parser.parse_args()
    names = ["mfpde", *options.peers]
    sizes, repeats, list_of_d = tuple(options.sizes), options.repeats, options.d
    if options.quick:
        sizes, repeats, list_of_d = (4, 64, 64), 3, [2]
    rows = [
        row(d, sizes, dtype, names, repeats)
        for dtype in options.dtype
        for d in list_of_d
    ]
    title = "ns per (node, particle, sample), loss and gradient, medians"
    text = header(repeats=repeats)
    write(f"{text}\n\n{title}\n\n{table(rows, names)}", options.output)


if __name__ == "__main__":
    main()
