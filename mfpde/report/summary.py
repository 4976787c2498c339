"""The account of a run: what was solved, how it went, how far it can be trusted.

Plain text, made from the run's file; nothing here computes, so that `mfpde info FILE`
needs no kernels.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mfpde.describe import phrase
from mfpde.digits import number, with_error
from mfpde.progress import crawl, format_duration
from mfpde.storage import checkpoint_path
from mfpde.streams import one_line

WIDTH = 88
"""Columns of the text where no terminal is narrower."""
INDENT = 13
"""Columns of the names on the left."""

N_NAMES = 8
"""So many names of a kind are shown."""

Line = str | tuple[str, str]


def account(
    run: Any,
    *,
    compile_s: float | None = None,
    files: Iterable[Path] = (),
    width: int = WIDTH,
) -> str:
    """Return the account of a run as text that ends with a line break.

    Parameters
    ----------
    run : Run
        From `mfpde.open_run`.
    compile_s : float, optional
        Seconds of the first evaluation, which compiles or loads the kernels.
    files : iterable of Path
        Files written besides that of the run.
    width : int
        Columns of a terminal; more than `WIDTH` are left empty.
    """
    width = min(width, WIDTH)
    headline = [_headline(run)]
    if not len(run.s):
        return _text([*headline, "It holds no record yet."], width)
    sections = [
        headline,
        _what(run),
        _start_and_end(run),
        _trust(run),
        _work(run, compile_s),
        _written(run, files),
    ]
    return "\n".join(_text(section, width) for section in sections if section)


def _text(lines: Iterable[Line], width: int) -> str:
    """Join lines; a pair has a name on the left, and its text is wrapped."""
    indent = INDENT if width > 3 * INDENT else 2
    joined = []
    for line in lines:
        if isinstance(line, str):
            joined.append(line)
            continue
        name, text = line
        joined += textwrap.wrap(
            one_line(text),
            max(width, 2 * indent),
            initial_indent=f"{name:<{indent}} "[: max(indent, len(name) + 1)],
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "".join(f"{line.rstrip()}\n" for line in joined)


def _headline(run: Any) -> str:
    title = one_line(run.attrs.get("title") or run.path.name)
    return f"{title}: {run.status}. {run.message}".rstrip()


def _what(run: Any) -> list[Line]:
    """Problem, grid, particles and flow, one line each."""
    described = run.description
    n_nodes, n_particles, k = run.theta.shape[1:]
    place, particles = "node", f"{n_nodes * n_particles * k:,} parameters"
    if "training" in described:
        place = "layer"
        how = [("layers", _layers_text(described["grid"]))]
        motion = _training_lines(run, described["training"])
    else:
        grid = f"{_grid_text(described['grid'])}, {n_nodes} nodes in depth t"
        how = [("grid", grid)]
        motion = [("flow", _flow_text(described["flow"], run.s))]
    text = f"{n_particles} at each {place}, {particles}{_law_text(run)}"
    return [
        *_data_line(run),
        ("problem", _problem_text(run, described["problem"], k)),
        *how,
        ("particles", text),
        *motion,
    ]


def _data_line(run: Any) -> list[Line]:
    """Files, target and features by name, if the data came from files."""
    parts = [
        f"{name} (SHA-256 {sha[:12]}...)" for name, sha in run.source_sha256.items()
    ]
    if run.target_names:
        parts.append(f"target {_some(run.target_names)}")
    if run.class_names and parts:
        parts.append(f"classes {_some(run.class_names)}")
    if run.column_names:
        parts.append(f"features {_some(run.feature_names)}")
    if "y_std" in run.data:
        parts.append("target standardised (losses are in its units)")
    return [("data", "; ".join(parts))] if parts else []


def _some(names: list[str]) -> str:
    """The names, or the first of many."""
    shown = ", ".join(names[:N_NAMES])
    return shown if len(names) <= N_NAMES else f"{shown}, ... ({len(names)})"


def _problem_text(run: Any, problem: Mapping[str, Any], k: int) -> str:
    data = run.data
    n_samples, n_inputs = data["x"].shape
    n_test = f" and {len(data['x_test'])} test" if "x_test" in data else ""
    block = dict(problem["block"])
    details = [block.pop("kind", "custom block"), block.get("activation", "")]
    trained = [name for name in run.trainable]
    parts = [
        f"{n_samples}{n_test} samples",
        f"{n_inputs} inputs",
        f"d = {block.get('d', '?')}",
        f"{data['y'].shape[1]} outputs",
        f"{' '.join(filter(None, details))} (k = {k})",
        f"{phrase(problem['loss'])} loss".replace("_", "-"),
    ]
    if trained:
        parts.append(f"trained {' and '.join(trained)}")
    if problem.get("regulariser"):
        rule = problem["regulariser"]
        is_ours = rule["kind"] == "decaying_quadratic"
        ours = "lambda = {lambda0:g} exp(-{gamma:g} s)"
        parts.append(ours.format(**rule) if is_ours else phrase(rule))
    if problem.get("clipping"):
        rule = problem["clipping"]
        parts.append(f"velocities clipped at {rule['bound']:g} ({rule['form']})")
    return ", ".join(parts)


def _grid_text(grid: Mapping[str, Any]) -> str:
    if grid["scheme"] == "gauss":
        return f"gauss, {grid['n_nodes']} x {grid['n_elements']} elements"
    return f"{grid['scheme']}, {grid['n']} steps"


def _layers_text(grid: Mapping[str, Any]) -> str:
    scale = grid["residual_scale"]
    words = {"ode": "tau = 1/L", "sde": "tau = L^(-1/2)"}
    if isinstance(scale, str):
        text = words.get(scale, f"tau = {scale}")
    elif isinstance(scale, dict):
        text = f"tau = {phrase(scale)}"
    elif isinstance(scale, list):
        text = f"tau from {min(scale):g} to {max(scale):g}"
    else:
        text = f"tau = {scale:g}"
    outer = f", outer activation {grid['outer']}" if grid["outer"] else ""
    return f"{grid['n']} layers, residual scale {text}{outer}"


def _training_lines(run: Any, training: Mapping[str, Any]) -> list[Line]:
    n_samples = len(run.data["x"])
    batch = f"batches of at most {training['batch_size']}"
    if training["batch_size"] is None:
        batch = "all samples in every iteration"
    n_batches = -(-n_samples // (training["batch_size"] or n_samples))
    passes = run.step[-1] / n_batches
    text = (
        f"{int(run.step[-1])} of {training['n_iterations']} iterations, {batch} "
        f"({passes:.3g} passes), s = {run.s[-1]:g}"
    )
    return [("training", text), ("rate", training["rate_sentence"])]


def _law_text(run: Any) -> str:
    """Return how the particles were drawn, if a configuration tells."""
    if not run.config_toml.strip():
        return ""
    config = run.config
    law = config.get("law", {})
    ensemble = config.get("ensemble", config.get("network", {}))
    if not {"method", "coupling", "seed"} <= set(ensemble) or "kind" not in law:
        return ""
    return (
        f"; law {law['kind']}, {ensemble['method']}, coupling {ensemble['coupling']}, "
        f"seed {ensemble['seed']}"
    )


def _flow_text(flow: Mapping[str, Any], s: np.ndarray) -> str:
    name = phrase(flow["stepper"])
    return f"{name}, from s = {s[0]:g} to {s[-1]:g} of {flow['s_end']:g}"


def _start_and_end(run: Any) -> list[Line]:
    """Loss, objective and observers, at the first and the last record."""
    names = ["loss"]
    if run.description["problem"].get("regulariser"):
        names.append("objective")
    own = ("train_accuracy", "validation_loss", "validation_accuracy")
    names += [n for n in (*own, *run.description["observers"]) if n in run.scalars]
    names = list(dict.fromkeys(names))
    rows = [("", *(f"s = {run.s[i]:g}" for i in (0, -1)))]
    for name in names:
        column = run.scalars[name]
        start, end = (_value(name, column[i]) for i in (0, -1))
        if name == "loss" and (error := _error_of_loss(run)) is not None:
            end = with_error(float(column[-1]), error)
        rows.append((one_line(name.replace("_", " ")), start, end))
    return _columns(rows)


def _columns(rows: Sequence[tuple[str, ...]]) -> list[Line]:
    """Lines of a table: names on the left, numbers on the right, none touching."""
    least = (INDENT + 4, 12, 12)
    label, *others = (
        max(size, *map(len, cells))
        for size, cells in zip(least, zip(*rows, strict=True), strict=True)
    )
    return [
        f"{name:<{label}}{'  '.join(map(str.rjust, cells, others))}"
        for name, *cells in rows
    ]


def _value(name: str, value: float) -> str:
    if name.endswith("accuracy"):
        return f"{100 * value:.2f} %"
    return number(value)


def _error_of_loss(run: Any) -> float | None:
    """Estimated error of the last loss, None unless all of its parts are known."""
    parts = run.errors.get("loss_at_end", {"total": math.nan})
    return parts["total"] if all(map(math.isfinite, parts.values())) else None


def _trust(run: Any) -> list[Line]:
    """Estimated errors and the energy balance; nothing for a network."""
    if "energy_residual" not in run.scalars:
        return []
    return ["How far this can be trusted", *_errors(run), _energy(run)]


def _errors(run: Any) -> list[Line]:
    """Estimated errors by part, or how to get them."""
    lines: list[Line] = []
    for name, each in run.errors.items():
        parts = ", ".join(
            f"{part} {value:.1e}" if math.isfinite(value) else f"{part} unknown"
            for part, value in each.items()
            if part != "total"
        )
        label = "  errors" if not lines else ""
        lines.append((label, f"{name.replace('_', ' ')} {each['total']:.1e} ({parts})"))
    if lines:
        lines.append(("", "largest over samples and times, the flow solved again"))
        lines.append(("", run.error_notes))
        return lines
    text = (
        "none are estimated. `--estimate`, in Python "
        "`mfpde.estimate_error(solution)`, solves again coarser and finer, at a few "
        "times the work, and gives them"
    )
    return [("  errors", text)]


def _energy(run: Any) -> Line:
    """The balance of Eq. (28), which is no error of the loss."""
    change = float(run.objective[-1] - run.objective[0])
    residual = float(run.energy_residual[-1])
    if math.isnan(residual):
        return (
            "  energy",
            f"objective changed by {number(change)}; with noise the dissipation does "
            "not account for it, so there is no balance",
        )
    relative = abs(residual / change) if change else math.nan
    share = f" ({relative:.1e} of it)" if math.isfinite(relative) else ""
    rate = "dissipation"
    if run.description["problem"].get("regulariser"):
        rate = "dissipation and change of lambda"
    return (
        "  energy",
        f"objective changed by {number(change)}, and the integral of {rate} by the "
        f"same but for {abs(residual):.1e}{share}: a check of the steps in s, no error "
        "of the loss",
    )


def _work(run: Any, compile_s: float | None) -> list[Line]:
    n_steps = int(run.step[-1])
    n_evaluations = int(run.n_evaluations[-1])
    name = "iterations" if "batch_loss" in run.scalars else "steps"
    seconds = float(run.wall_time[-1])
    text = f"{n_steps} {name}, {n_evaluations} evaluations, {format_duration(seconds)}"
    if n_evaluations and seconds > 0:
        text += f" ({1e3 * seconds / n_evaluations:.3g} ms each, with records)"
    lines: list[Line] = [("work", text)]
    if compile_s is not None:
        text = f"{compile_s:.1f} s before that for the first evaluation, which "
        lines.append(("", text + "compiles or loads the kernels"))
    flow = run.description.get("flow")
    if flow is not None and run.status != "finished":
        last = float(run.s[-1]), float(flow["s_end"]), float(run.step_size[-1])
        crawling = crawl(*last, n_evaluations)
        lines += [("", crawling)] if crawling else []
    return lines


def _written(run: Any, files: Iterable[Path]) -> list[Line]:
    """Name, size and content of every file."""
    n_snapshots, *shape = run.theta.shape
    text = (
        f"{run.path} ({format_size(run.path)}): {len(run.s)} records, "
        f"{n_snapshots} snapshots of theta {tuple(shape)}"
    )
    if run.states is not None:
        text += f", {len(run.states.s)} of the states"
    lines: list[Line] = [("files", text)]
    checkpoint = checkpoint_path(run.path)
    others = [checkpoint] if checkpoint.exists() else []
    for path in (*others, *files):
        note = ", from which `mfpde resume` continues" if path is checkpoint else ""
        lines.append(("", f"{path} ({format_size(path)}){note}"))
    return lines


def format_size(path: Path) -> str:
    """Return the size of a file, for example "3.4 MB"."""
    size = float(path.stat().st_size)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
