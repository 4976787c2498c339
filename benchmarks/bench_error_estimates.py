"""Are the error estimates honest? Estimates against true errors on random problems.

Data, block, law, horizon, grid, sampling and tolerances of every problem are drawn at
random from its number, none is left out but flows that blow up. Two solutions of each:
`solve` with `estimate_error`, and `solve_limit` with its own estimate. The true error
is the largest over samples and times against a much finer solve: more nodes in every
direction or 2^13 Sobol points, half as many Gauss nodes again, tighter tolerances.

    python benchmarks/bench_error_estimates.py [--quick] [--problems 50] [--output FILE]
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from machine import header, write

import mfpde
from mfpde.errors import ConvergenceError, NotFiniteError

SAFETY = 3.0
WITHIN = 30.0
ACTIVATIONS = ("tanh", "tanh", "gelu", "sigmoid", "sin", "relu")
# A reference that differs by its own sampling error says nothing below that.
N_REFERENCE = 2**13


@dataclass
class Case:
    """One random problem and what is drawn beside it."""

    problem: Any
    law: Any
    s: np.ndarray
    rng: np.random.Generator
    words: str
    found: dict[str, tuple[float, float, float]] = field(default_factory=dict)


def random_case(number: int) -> Case:
    rng = np.random.default_rng([20250701, number])
    d = int(rng.integers(1, 3))
    block = random_block(rng, d)
    n = int(rng.integers(2, 9))
    x, y = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    law = random_law(rng, block.k)
    s_end = float(np.exp(rng.uniform(np.log(0.3), np.log(8.0))))
    words = f"{number}: {block!r}, {law!r}, N={n}, s={s_end:.2g}"
    s = np.array([0.0, 0.5 * s_end, s_end])
    return Case(mfpde.MeanFieldProblem(x, y, block), law, s, rng, words)


def random_block(rng: np.random.Generator, d: int) -> Any:
    kind = rng.choice(["perceptron"] * 5 + ["bilinear", "linear", "bias"])
    if kind == "perceptron":
        name = str(rng.choice(ACTIVATIONS))
        return mfpde.blocks.Perceptron(d, name, bias=bool(rng.integers(2)))
    return {
        "bilinear": mfpde.blocks.Bilinear,
        "linear": mfpde.blocks.Linear,
        "bias": mfpde.blocks.Bias,
    }[kind](d)


def random_law(rng: np.random.Generator, k: int) -> Any:
    size = float(rng.uniform(0.3, 1.3))
    mean = rng.normal(size=k) * 0.2
    kind = rng.choice(["gaussian", "uniform", "path"])
    if kind == "gaussian":
        return mfpde.laws.Gaussian(mean, size, k)
    if kind == "uniform":
        return mfpde.laws.Uniform(mean - 1.7 * size, mean + 1.7 * size, k)
    return mfpde.laws.standard_path(k, size, 0.5 * size)


def values(solution: Any) -> np.ndarray:
    return solution.observations["output"]


def with_outputs(case: Case, grid: Any, ensemble: Any, **options: Any) -> Any:
    solution = mfpde.solve(
        case.problem,
        grid,
        ensemble,
        s_end=float(case.s[-1]),
        record=case.s,
        observers={"output": lambda evaluation: evaluation.output},
        **options,
    )
    if not solution.converged:
        raise ConvergenceError(solution.message)
    return solution


def direct(case: Case) -> tuple[Any, float]:
    """A plain solution with everything drawn at random, and its estimate."""
    rng = case.rng
    grids = {
        "euler": mfpde.DepthGrid.euler(int(rng.integers(4, 40))),
        "midpoint": mfpde.DepthGrid.midpoint(int(rng.integers(2, 20))),
        "rk4": mfpde.DepthGrid.rk4(int(rng.integers(1, 4))),
        "gauss": mfpde.DepthGrid.gauss(int(rng.integers(1, 5)), 2),
    }
    grid = grids[str(rng.choice(list(grids)))]
    methods = ["iid", "sobol"]
    if is_tensor(case):
        methods.append("quadrature")
    method = str(rng.choice(methods))
    ensemble = case.law.sample(
        grid,
        int(rng.choice([64, 128, 256, 512])),
        method=method,
        seed=int(rng.integers(1000)),
        **({"block": case.problem.block} if method == "quadrature" else {}),
    )
    rtol = float(10.0 ** rng.uniform(-8 if is_smooth(case) else -4, -2))
    if rng.random() < 0.3:
        # As if the law were unknown.
        ensemble = mfpde.ParticleEnsemble(ensemble.theta, ensemble.weights)
    solution = with_outputs(case, grid, ensemble, rtol=rtol, atol=0.1 * rtol)
    estimate = mfpde.estimate_error(solution)
    case.words += f" | {grid!r}, {method}, rtol={rtol:.0e}"
    complete = not np.isnan(estimate.parts["output"]["particles"])
    return solution, estimate.output if complete else np.nan


def is_tensor(case: Case) -> bool:
    return is_smooth(case) and case.law.n_random <= 4


def is_smooth(case: Case) -> bool:
    return getattr(case.problem.block, "is_smooth", True)


def to_tolerance(case: Case) -> tuple[Any, float]:
    """A solution by `solve_limit`, and its estimate."""
    tol = float(10.0 ** case.rng.uniform(-7 if is_tensor(case) else -3, -1.5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mfpde.errors.ToleranceWarning)
        solution = mfpde.solve_limit(
            case.problem,
            case.law,
            s_end=float(case.s[-1]),
            record=case.s,
            tol=tol,
            max_particles=4096 if is_tensor(case) else 1024,
            max_nodes=12,
            max_cost=1e9,
            seed=int(case.rng.integers(1000)),
        )
    case.words += f" | tol={tol:.0e}, {solution.error!r}"
    return solution, solution.estimated_error


def reference(case: Case, limit: Any, plain: Any) -> np.ndarray:
    """Outputs of a level much finer than both solutions."""
    n_stages = max(limit.grid.n_stages * 3 // 2, 6)
    grid = mfpde.DepthGrid.gauss(n_stages, limit.grid.n_steps)
    rule = limit.initial.ensemble.provenance
    # Sobol points leave a larger error; with a kink, more digits cost as many steps.
    rtol = 1e-6 if is_smooth(case) else 1e-4
    if rule.is_tensor or rule.is_exact:
        rtol = max(
            1e-11, 0.03 * min(limit.initial.method.rtol, plain.initial.method.rtol)
        )
    if rule.is_tensor:
        counts = np.array(rule.rule.counts)
        other = plain.initial.ensemble.provenance
        if other is not None and other.is_tensor:
            counts = np.maximum(counts, other.rule.counts)
        counts += 2 * np.maximum(1, counts // 4)
        rule = rule.with_counts(tuple(int(n) for n in counts))
    elif not rule.is_exact:
        rule = rule.with_draws(N_REFERENCE).replaced(seed=123456)
    options = {"rtol": rtol, "atol": 0.1 * rtol}
    return values(with_outputs(case, grid, rule.ensemble(grid), **options))


def run(number: int) -> Case | None:
    case = random_case(number)
    try:
        limit, estimate = to_tolerance(case)
        plain, claim = direct(case)
        exact = reference(case, limit, plain)
        size = 1e-15 * max(1.0, float(np.abs(exact).max()))
        for name, (solution, claimed) in {
            "solve_limit": (limit, estimate),
            "estimate_error": (plain, claim),
        }.items():
            true = max(float(np.abs(values(solution) - exact).max()), size)
            case.found[name] = (claimed, true, claimed / true)
    except (NotFiniteError, ConvergenceError) as failure:
        print(f"left out, the flow fails: {case.words}: {failure}")
        return None
    return case


def table(cases: list[Case]) -> str:
    lines = [
        "| estimate | problems | true < 3 x estimate | within a factor 30 "
        "| estimate / true: least | median | most |",
        "| --- " * 7 + "|",
    ]
    for name in ("solve_limit", "estimate_error"):
        ratios = np.array([case.found[name][2] for case in cases])
        ratios = ratios[np.isfinite(ratios)]
        safe = np.mean(ratios > 1.0 / SAFETY)
        near = np.mean((ratios > 1.0 / WITHIN) & (ratios < WITHIN))
        lines.append(
            f"| `{name}` | {len(ratios)} | {100 * safe:.0f} % | {100 * near:.0f} % "
            f"| {ratios.min():.2g} | {np.median(ratios):.2g} | {ratios.max():.2g} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two problems")
    parser.add_argument("--problems", type=int, default=50)
    parser.add_argument("--verbose", action="store_true", help="a line per problem")
    parser.add_argument("--output")
    options = parser.parse_args()
    n = 2 if options.quick else options.problems
    began = time.process_time()
    cases = []
    for number in range(n):
        case = run(number)
        if case is None:
            continue
        cases.append(case)
        if options.verbose:
            for name, (claimed, true, ratio) in case.found.items():
                print(f"{name:<15}{claimed:9.1e}{true:9.1e}{ratio:9.2g}", end=" ")
                print(case.words, flush=True)
    seconds = round(time.process_time() - began)
    text = header(problems=len(cases), cpu_s=seconds)
    write(f"{text}\n\n{table(cases)}", options.output)


if __name__ == "__main__":
    main()
