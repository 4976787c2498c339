"""Error of outputs and loss against kernel evaluations: four ways to one limit.

(a) networks by gradient descent: Euler in depth with L independent layers of M = L
    particles, explicit Euler in s;
(b) i.i.d. particles, (c) scrambled Sobol particles, (d) quadrature: the same particles
    at all depths, Runge-Kutta 4 in depth, Dormand-Prince in s.

A kernel evaluation is one block f(z_i, theta_m), with its pullback, at one stage of one
depth step in one right-hand side. Errors are the largest over the samples at s_end,
root mean square over draws, against a finer quadrature on another depth grid.

What (a) needs for an error eps is extrapolated by its measured rates,

    error^2 = (b (L M)^-beta)^2 + (c ds^gamma)^2,    evaluations = N L M s_end / ds:

what is drawn has zero mean, and so its square adds to that of the other. b, beta come
from networks L = M without error in s, c, gamma from Euler in s without error in depth
and particles; ds is the cheapest for each L M. That favours (a): layers are
independent, so that L M counts and not M alone, and the tuning is free. What (d) needs
is a run that was made, the error of the reference added to its own.

    python benchmarks/bench_cost_to_accuracy.py [--quick] [--output FILE] [--plot FILE]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from cost_cases import Case, Level, cases
from cost_picture import draw
from machine import header, write

import mfpde

SEEDS = 8
LARGEST_DS = 1.0  # Euler in s is stable on all three problems
TARGETS = {1e-4: 1e3, 1e-6: 1e6}  # eps, and how many times fewer (d) shall need
METHODS = {
    "a": "networks by gradient descent",
    "b": "i.i.d. particles",
    "c": "Sobol",
    "d": "quadrature",
}


@dataclass(frozen=True)
class Answer:
    """Outputs (N, q) and loss at s_end, and what they cost."""

    output: np.ndarray
    loss: float
    evaluations: float
    seconds: float


@dataclass(frozen=True)
class Reference:
    """The finest answer, and its distance from the second finest."""

    answer: Answer
    uncertainty: float


@dataclass(frozen=True)
class Row:
    """Errors of one method at one resolution."""

    method: str
    size: str
    error: float
    loss_error: float
    evaluations: float
    seconds: float


@dataclass(frozen=True)
class GradientDescent:
    """error^2 = (b P^-beta)^2 + (c ds^gamma)^2 of (a), P = L M.

    N P s_end / ds is least for a given error where the two parts, squared, are to each
    other as 1 / beta to 1 / gamma.
    """

    b: float
    beta: float
    c: float
    gamma: float
    n_samples: int
    s_end: float

    def error(self, n_particles: float, ds: float) -> float:
        """Largest error of the outputs, root mean square over draws."""
        return float(
            np.hypot(self.b * n_particles**-self.beta, self.c * ds**self.gamma)
        )

    def step(self, n_particles: float) -> float:
        """The ds that is cheapest beside P particles."""
        share = np.sqrt(self.beta / self.gamma) * self.b * n_particles**-self.beta
        return min(LARGEST_DS, float(share / self.c) ** (1.0 / self.gamma))

    def needs(self, eps: float) -> tuple[float, float, float]:
        """P, ds and kernel evaluations of the cheapest network with error eps."""
        share = eps * np.sqrt(self.beta / (self.beta + self.gamma))
        share = min(float(share), self.c * LARGEST_DS**self.gamma)
        rest = float(np.sqrt(eps**2 - share**2))
        n_particles = (self.b / rest) ** (1.0 / self.beta)
        ds = (share / self.c) ** (1.0 / self.gamma)
        return n_particles, ds, n_particles * self.n_samples * self.s_end / ds

    @property
    def rate(self) -> float:
        """Exponent of the error in the kernel evaluations, for small errors."""
        return 1.0 / (1.0 / self.beta + 1.0 / self.gamma)


def solved(
    case: Case,
    grid: mfpde.DepthGrid,
    draw_particles: Callable[[], mfpde.ParticleEnsemble],
    **flow: Any,
) -> Answer:
    start = time.perf_counter()
    ensemble = draw_particles()
    if "rtol" in flow:
        flow["atol"] = 0.01 * flow["rtol"]
    solution = mfpde.solve(case.problem, grid, ensemble, s_end=case.s_end, **flow)
    seconds = time.perf_counter() - start
    if not solution.converged:
        raise RuntimeError(f"{case.name}, {grid!r}: {solution.message}")
    final = mfpde.evaluate(solution.problem, grid, solution.ensemble)
    stages = grid.n_steps * grid.n_stages
    each = stages * ensemble.n_particles * case.problem.n_samples
    evaluations = float(each) * solution.n_evaluations
    return Answer(final.output, final.loss, evaluations, seconds)


def solved_by_quadrature(
    case: Case, level: Level, grid: mfpde.DepthGrid | None = None, **flow: Any
) -> Answer:
    grid = grid or mfpde.DepthGrid.rk4(level.n_steps)
    flow = flow or {"rtol": level.rtol}
    return solved(case, grid, lambda: case.quadrature(grid, level), **flow)


def solved_by_draws(
    case: Case, grid: mfpde.DepthGrid, n_particles: int, law_options: dict, **flow: Any
) -> list[Answer]:
    """One answer for each seed."""

    def draw_with(seed: int):
        return lambda: case.law.sample(grid, n_particles, seed=seed, **law_options)

    return [solved(case, grid, draw_with(seed), **flow) for seed in range(SEEDS)]


def reference_of(case: Case) -> Reference:
    """RK4 in depth, checked by fewer particles on Gauss nodes."""
    answer = solved_by_quadrature(case, case.reference)
    other = solved_by_quadrature(case, case.check, mfpde.DepthGrid.gauss(4))
    return Reference(answer, float(np.abs(answer.output - other.output).max()))


def row(method: str, size: str, answers: list[Answer], exact: Answer) -> Row:
    def rms(values: list[float]) -> float:
        return float(np.sqrt(np.mean(np.square(values))))

    return Row(
        method,
        size,
        rms([np.abs(each.output - exact.output).max() for each in answers]),
        rms([each.loss - exact.loss for each in answers]),
        float(np.mean([each.evaluations for each in answers])),
        float(np.mean([each.seconds for each in answers])),
    )


def power_law(
    x: list[float], y: list[float], exponent: float | None = None
) -> tuple[float, float]:
    """constant, exponent of the least-squares line y = constant x^exponent."""
    if exponent is None:
        exponent = float(np.polyfit(np.log(x), np.log(y), 1)[0])
    logarithm = np.mean(np.log(y)) - exponent * np.mean(np.log(x))
    return float(np.exp(logarithm)), exponent


def gradient_descent_laws(case: Case, exact: Answer) -> list[GradientDescent]:
    """Measure the two parts of the error of (a) one by one.

    The first law has measured exponents, the second those of theory: 1/2 and 1.
    """
    sampled = []
    for n in case.layers:
        grid, options = mfpde.DepthGrid.euler(n), {"coupling": "layer"}
        answers = solved_by_draws(case, grid, n, options, rtol=1e-4)
        sampled.append(row("a", "", answers, exact).error)
    steps = [LARGEST_DS * 2.0**-i for i in range(5)]
    level = case.levels[len(case.levels) // 2]
    limit = solved_by_quadrature(case, level, rtol=1e-8)
    in_s = []
    for ds in steps:
        answer = solved_by_quadrature(case, level, stepper="euler", ds=ds)
        in_s.append(row("a", "", [answer], limit).error)
    particles, laws = [n * n for n in case.layers], []
    for of_particles, of_s in ((None, None), (-0.5, 1.0)):
        b, exponent = power_law(particles, sampled, of_particles)
        c, gamma = power_law(steps, in_s, of_s)
        n_samples = case.problem.n_samples
        laws.append(GradientDescent(b, -exponent, c, gamma, n_samples, case.s_end))
    return laws


def network_rows(case: Case, law: GradientDescent, exact: Answer) -> list[Row]:
    rows = []
    for n in case.layers:
        ds, grid = law.step(n * n), mfpde.DepthGrid.euler(n)
        options = {"coupling": "layer"}
        answers = solved_by_draws(case, grid, n, options, stepper="euler", ds=ds)
        rows.append(row("a", f"L = M = {n}, ds = {ds:.2g}", answers, exact))
    return rows


def random_rows(case: Case, name: str, exact: Answer) -> list[Row]:
    grid = mfpde.DepthGrid.rk4(case.n_steps)
    options = {"method": {"b": "iid", "c": "sobol"}[name], "coupling": "tied"}
    rows = []
    for n in case.particles:
        answers = solved_by_draws(case, grid, n, options, rtol=1e-3)
        rows.append(row(name, f"M = {n}, {grid.n_nodes} nodes", answers, exact))
    return rows


def quadrature_rows(case: Case, exact: Answer) -> list[Row]:
    rows = []
    for level in case.levels:
        grid = mfpde.DepthGrid.rk4(level.n_steps)
        n = case.quadrature(grid, level).n_particles
        size = f"M = {n}, {grid.n_nodes} nodes, rtol = {level.rtol:.0e}"
        rows.append(row("d", size, [solved_by_quadrature(case, level)], exact))
    return rows


def fitted_rate(rows: list[Row]) -> tuple[float, float]:
    """constant, rate of error = constant evaluations^-rate."""
    constant, exponent = power_law(
        [each.evaluations for each in rows], [each.error for each in rows]
    )
    return constant, -exponent


def cheapest(rows: list[Row], eps: float) -> Row | None:
    """The cheapest of the runs made that is as right as eps."""
    good = [each for each in rows if each.error <= eps]
    return min(good, key=lambda each: each.evaluations) if good else None


def runs_table(rows: list[Row]) -> str:
    lines = [
        "| method | resolution | outputs | loss | evaluations | seconds | rate |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    previous = None
    for each in rows:
        rate = ""
        if previous is not None and previous.method == each.method:
            gain = np.log(previous.error / each.error)
            rate = f"{gain / np.log(each.evaluations / previous.evaluations):.2f}"
        lines.append(
            f"| ({each.method}) | {each.size} | {each.error:.1e} | "
            f"{each.loss_error:.1e} | {each.evaluations:.1e} | {each.seconds:.3f} | "
            f"{rate} |"
        )
        previous = each
    return "\n".join(lines)


def needs_table(
    rows: list[Row], laws: list[GradientDescent], uncertainty: float
) -> tuple[str, dict[float, tuple[float, ...]]]:
    """What every method needs for each target; (a) / (d) by both laws."""
    lines = [
        "| error | L M of (a) | ds of (a) | (a), extrapolated | (b), extrapolated | "
        "(c), extrapolated | (d), a run made | (a) / (d) | with rates 1/2 and 1 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    ratios = {}
    for eps in TARGETS:
        n_particles, ds, evaluations = laws[0].needs(eps)
        cells = [f"{eps:.0e}", f"{n_particles:.1e}", f"{ds:.1e}", f"{evaluations:.1e}"]
        for method in "bc":
            constant, rate = fitted_rate([r for r in rows if r.method == method])
            cells.append(f"{(constant / eps) ** (1.0 / rate):.1e}")
        of_d = [r for r in rows if r.method == "d"]
        best = cheapest(of_d, eps - uncertainty)
        if best is None:
            ratios[eps] = (0.0, 0.0)
            cells += ["not reached", "", ""]
        else:
            ratios[eps] = tuple(law.needs(eps)[2] / best.evaluations for law in laws)
            cells.append(f"{best.evaluations:.1e} ({best.size})")
            cells += [f"{ratio:.1e}" for ratio in ratios[eps]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines), ratios


def section(case: Case) -> tuple[str, list[Row], GradientDescent, dict]:
    """Text, rows, law of (a) and ratios of one problem."""
    reference = reference_of(case)
    exact = reference.answer
    laws = gradient_descent_laws(case, exact)
    rows = network_rows(case, laws[0], exact)
    rows += random_rows(case, "b", exact) + random_rows(case, "c", exact)
    rows += quadrature_rows(case, exact)
    table, ratios = needs_table(rows, laws, reference.uncertainty)
    rates = [f"(a) {laws[0].rate:.2f} for small errors"]
    for method in "bcd":
        rate = fitted_rate([each for each in rows if each.method == method])[1]
        rates.append(f"({method}) {rate:.2f}")
    text = (
        f"## {case.name}\n\nN = {case.problem.n_samples}, s_end = {case.s_end:g}, loss "
        f"{exact.loss:.6f}; the reference is right to {reference.uncertainty:.0e}.\n\n"
        f"{runs_table(rows)}\n\n"
        f"Rates: {', '.join(rates)}.\n{_extrapolation(case, rows, laws[0])}\n\n{table}"
    )
    return text, rows, laws[0], ratios


def _extrapolation(case: Case, rows: list[Row], law: GradientDescent) -> str:
    n_particles = case.layers[-1] ** 2
    expected = law.error(n_particles, law.step(n_particles))
    made = [each for each in rows if each.method == "a"][-1]
    return (
        "Extrapolated by measured rates: (a), the parts of its error being "
        f"{law.b:.3g} (L M)^-{law.beta:.3f} and {law.c:.3g} ds^{law.gamma:.3f} (for "
        f"the largest network made that gives {expected:.1e}, measured "
        f"{made.error:.1e}); (b), (c)."
    )


def verdict(ratios: list[dict[float, tuple[float, ...]]]) -> str:
    """One line for each target: the smallest ratio over the problems."""
    lines = []
    for eps, required in TARGETS.items():
        measured, theory = np.min([each[eps] for each in ratios], axis=0)
        lines.append(f"at {eps:.0e}: ratio (a) / (d) at least {measured:.1e} ")
        lines[-1] += f"(rates 1/2 and 1: {theory:.1e}), required {required:.0e}"
        if measured == 0.0:
            lines[-1] = f"at {eps:.0e}: no ratio, (d) does not reach it on all problems"
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, short s")
    parser.add_argument("--output")
    parser.add_argument("--plot", help="picture of error against kernel evaluations")
    options = parser.parse_args()
    chosen = cases(options.quick)
    text = header(draws=SEEDS)
    panels, ratios = [], []
    for case in chosen:
        part, rows, law, of_case = section(case)
        text += "\n\n" + part
        panels.append((case.name, rows, law))
        ratios.append(of_case)
    text += "\n\n" + verdict(ratios)
    write(text, options.output)
    if options.plot:
        draw(panels, METHODS, min(TARGETS), options.plot)


if __name__ == "__main__":
    main()
