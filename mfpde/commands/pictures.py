"""The picture of a run, or the page that holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mfpde import plotting
from mfpde.paths import PAGE
from mfpde.report.page import RunPage, write_page
from mfpde.report.summary import account

ORIGIN = ("created", "source", "command", "seed", "run_id", "config_sha256")
"""Attributes of a file that a page shows."""


def write_picture(run: Any, limit: tuple[Any, ...], path: Path, dpi: float) -> None:
    """Draw a run; a path that ends in .html becomes a page with its summary.

    Parameters
    ----------
    run : Run
    limit : tuple
        Problem, grid and ensemble, or empty: see `mfpde.plotting.summary`.
    path : Path
    dpi : float
        Of a bitmap.
    """
    figure = plotting.summary(run, *limit)
    if path.suffix[1:].lower() != PAGE:
        plotting.save(figure, path, dpi=dpi)
        return
    shown = RunPage(
        title=str(run.attrs.get("title") or run.path.name),
        summary=account(run),
        figure=figure,
        origin={n: str(run.attrs[n]) for n in ORIGIN if str(run.attrs.get(n, ""))},
        configuration=run.config_toml.strip(),
    )
    write_page(path, shown)
