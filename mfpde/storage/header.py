"""What a file says of itself: a run before its first record, a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from numpy.typing import ArrayLike

from mfpde.storage.hdf5.access import KINDS


@dataclass(frozen=True, kw_only=True, slots=True)
class RunHeader:
    """All that a run file says before its first record.

    Attributes
    ----------
    kind : {"run", "network", "study"}
    title, command : str
    source : str
        Program and version, for example "mfpde 0.1.0".
    seed : int, optional
    config_toml : str
        The resolved configuration; its SHA-256 is recorded with it.
    description, software : str
        JSON: how the solver rebuilds the problem; versions and threads.
    x, y : ndarray, shapes (N, d_in) and (N, q)
    sample_weight : ndarray, shape (N,), optional
        Default 1 / N.
    extra_data : dict
        Name to (array, names of its dimensions), stored in /data. A dimension that
        bears the name of its array makes that array a coordinate.
    t, t_weight : ndarray, shape (J,)
        Depth nodes and weights.
    particle_weight : ndarray, shape (M,)
    param_names : sequence of str, length k
    theta_dtype : {"f8", "f4"}
        Type of the snapshots of theta, (J, M, k).
    scalar_names : tuple of str
        The columns of /scalars in order, without "s".
    observation_shapes : dict
        Name to shape of every array recorded together with the scalars.
    trainable : dict
        Name to (shape, names of the dimensions) of further arrays per snapshot.
    states : (ndarray of shape (P,), int, int), optional
        Depth of the recorded states, number of samples n and state size d; None
        if states and adjoints are not recorded.
    """

    x: ArrayLike
    y: ArrayLike
    t: ArrayLike
    t_weight: ArrayLike
    particle_weight: ArrayLike
    param_names: Sequence[str]
    scalar_names: Sequence[str]
    config_toml: str
    kind: str = "run"
    title: str = ""
    source: str = "mfpde"
    command: str = ""
    seed: int | None = None
    description: str = "{}"
    software: str = "{}"
    sample_weight: ArrayLike | None = None
    extra_data: Mapping[str, tuple[ArrayLike, Sequence[str]]] = field(
        default_factory=dict
    )
    theta_dtype: str = "f8"
    observation_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    trainable: Mapping[str, tuple[tuple[int, ...], Sequence[str]]] = field(
        default_factory=dict
    )
    states: tuple[ArrayLike, int, int] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"`kind` must be one of {', '.join(KINDS)}, got {self.kind!r}."
            )
        if self.theta_dtype not in ("f8", "f4"):
            raise ValueError(
                f"`theta_dtype` must be 'f8' or 'f4', got {self.theta_dtype!r}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyHeader:
    """All that the file of a study says besides its table; see `RunHeader`."""

    config_toml: str
    title: str = ""
    source: str = "mfpde"
    command: str = ""
    seed: int | None = None
    software: str = "{}"
    kind: str = "study"
