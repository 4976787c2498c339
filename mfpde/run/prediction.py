"""Predictions of a run from its file, in the units of the raw data."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde import data
from mfpde.arrays import a_path, checked, having, number, optional
from mfpde.evaluation import predict
from mfpde.run.limits import limit_of
from mfpde.storage import open_run
from mfpde.storage.reader import Run


def _run(name: str, value: Any) -> Any:
    """A path, or an open run."""
    if isinstance(value, str | os.PathLike):
        return a_path(name, value)
    what = "a path or a run of mfpde.open_run"
    return having("snapshot_s", "theta", "data", what=what)(name, value)


@checked(run=_run, s=optional(number(least=0.0)))
def predict_run(
    run: Any, x: ArrayLike, *, s: float | None = None
) -> NDArray[np.float64]:
    """Outputs of a recorded run for raw inputs, in the units of the raw targets.

    The inputs are prepared as the samples were (standardisation, principal components,
    missing values), and a standardisation of the targets is undone.

    Parameters
    ----------
    run : path or Run
    x : array_like, shape (n, d_raw)
        Inputs as the source of the data has them. If the file does not say how its
        inputs were prepared, those of the problem.
    s : float, optional
        Training time of a snapshot; default the last.

    Returns
    -------
    output : ndarray, shape (n, q)
        For classes, one column for each of `run.class_names` (or one, above 0 for the
        second class).

    Raises
    ------
    ValueError
        If the inputs do not fit, the run has no snapshot (at `s`), or parts of the
        user's own.
    """
    is_path = not isinstance(run, Run)
    with open_run(run) if is_path else nullcontext(run) as opened:
        snapshot = -1 if s is None else _snapshot_at(opened.snapshot_s, s)
        limit = limit_of(opened, snapshot)
        arrays = opened.data
    if "n_padding" in arrays:
        x = data.transform(arrays, x)
    output = predict(*limit, x)
    return data.inverse_transform_targets(arrays, output)


def _snapshot_at(times: NDArray[np.float64], s: float) -> int:
    """Index of the snapshot at training time s, to rounding."""
    found = np.flatnonzero(np.isclose(times, s, rtol=1e-12, atol=0.0))
    if not len(found):
        shown = ", ".join(f"{time:g}" for time in times[:20])
        raise ValueError(f"`s` must be the time of a snapshot, {shown}, got {s!r}.")
    return int(found[-1])
