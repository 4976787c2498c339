"""The exceptions a caller may want to catch by type."""

from __future__ import annotations

from collections.abc import Sequence


class ConvergenceError(RuntimeError):
    """An iteration did not converge, or a step could not meet its tolerance."""


class NotFiniteError(ArithmeticError):
    """The state, the adjoint or the velocity is not finite (theory: T18)."""


class StorageFormatError(OSError):
    """A file is not an mfpde file, is damaged, or has a newer format version."""


class ConfigurationError(ValueError):
    """A configuration has problems; all of them are listed at once.

    Parameters
    ----------
    problems : sequence of str
        One sentence for each problem.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))
