"""Early stopping, derived from the records alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mfpde.arrays import check_fields, number, whole

Row = dict[str, float]


@dataclass(frozen=True)
class EarlyStopping:
    """End when the validation loss has not improved for some records.

    Parameters
    ----------
    patience : int
        Records without improvement that are borne.
    min_delta : float
        An improvement is a fall by more than this below the best so far.

    Notes
    -----
    What is best follows from the records, so that a continued training decides as one
    that never stopped. Every record that is the best so far is also a snapshot.
    """

    patience: int = 10
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self, patience=whole(1), min_delta=number(least=0.0))

    def best(self, rows: Sequence[Row]) -> int | None:
        """Place of the best record, None if no validation loss is a number."""
        lowest, place = math.inf, None
        for i, row in enumerate(rows):
            if row["validation_loss"] < lowest - self.min_delta:
                lowest, place = row["validation_loss"], i
        return place

    def is_best(self, rows: Sequence[Row]) -> bool:
        """Whether the last record is the best."""
        return self.best(rows) == len(rows) - 1

    def ending(self, rows: Sequence[Row]) -> tuple[str, str] | None:
        """(status, sentence) if the last record is one too many."""
        place = self.best(rows)
        waited = len(rows) - 1 - (0 if place is None else place)
        if waited < self.patience:
            return None
        if place is None:
            return "finished", "Stopped early: no validation loss was a number."
        best = rows[place]
        return "finished", (
            f"Stopped early at iteration {rows[-1]['step']:.0f}: for {waited} records "
            f"the validation loss has not fallen below {best['validation_loss']:.5g}, "
            f"that of iteration {best['step']:.0f} (s = {best['s']:g}), whose "
            "parameters are kept as a snapshot."
        )
