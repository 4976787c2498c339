"""What is solved: data, block, readout, loss, regulariser. No discretisation here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import float_array, having, instance, mapping, optional
from mfpde.clipping import Clipping
from mfpde.describe import described, rebuilt
from mfpde.errors import did_you_mean
from mfpde.kernels import DTYPES
from mfpde.losses import loss_from_name
from mfpde.readouts import Linear

if TYPE_CHECKING:
    from mfpde.kernels.build import Kernels

Array = NDArray[np.float64]
ARRAYS = ("x", "y", "metric", "sample_weights")
MAPS = ("embedding", "readout")
DESCRIBED = ("block", "loss", "regulariser", "clipping", *MAPS, "dtype")


@dataclass(frozen=True, eq=False, init=False)
class MeanFieldProblem:
    """Training problem of Eqs. (1)-(6).

    Parameters
    ----------
    x : array_like, shape (N, d_in)
        Inputs; shape (N,) is taken as (N, 1).
    y : array_like, shape (N, q)
        Targets; shape (N,) is taken as (N, 1). -1 or 1 for "logistic", one-hot rows
        for "cross_entropy".
    block : object
        The map f, see `mfpde.blocks`.
    embedding : array_like, shape (d, d_in), or readouts.Linear, optional
        z(0) = A x; None is the identity.
    readout : array_like, shape (q, d), or readouts.Linear, optional
        out = C z(1); None is the identity.
    loss : str or object
        "squared", "logistic", "cross_entropy", the name of a registered loss, or an
        object, see `mfpde.losses`.
    regulariser : DecayingQuadratic or object, optional
        Added to the loss to give the objective E_s, Eq. (12).
    metric : array_like, shape (k,), optional
        Multipliers eta_c >= 0 of the velocity, Eq. (10); 0 freezes a parameter.
    clipping : Clipping, optional
        pi of Eq. (10), which bounds the velocity; default the identity.
    sample_weights : array_like, shape (N,), optional
        c_i >= 0 with sum 1; the default is 1 / N.
    dtype : {"float64", "float32"}
        Type of the numbers in which states, adjoints and fields are computed.
        "float32" is about twice as fast and right to about 1e-6: for networks and
        exploration. Gradients are summed over samples in float64, and data,
        particles and files are float64 always.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, values that are not finite, and targets outside the
        domain of the loss.
    """

    x: Array
    y: Array
    block: Any
    embedding: Linear | None
    readout: Linear | None
    loss: Any
    regulariser: Any
    metric: Array
    clipping: Clipping | None
    sample_weights: Array
    dtype: str
    z0: Array

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        block: Any,
        *,
        embedding: Any = None,
        readout: Any = None,
        loss: Any = "squared",
        regulariser: Any = None,
        metric: ArrayLike | None = None,
        clipping: Clipping | None = None,
        sample_weights: ArrayLike | None = None,
        dtype: str = "float64",
    ) -> None:
        block = _A_BLOCK("block", block)
        x = _table("x", x)
        y = _table("y", y)
        if len(x) != len(y):
            raise ValueError(
                f"`x` and `y` must have the same number of rows, got {len(x)} "
                f"and {len(y)}."
            )
        loss = loss_from_name(loss)
        if hasattr(loss, "check"):
            loss.check(y)
        q, d = y.shape[1], block.d
        values = {
            "x": x,
            "y": y,
            "block": block,
            "embedding": _linear_map("embedding", embedding, d, x.shape[1], "x"),
            "readout": _linear_map("readout", readout, q, d, "the state"),
            "loss": loss,
            "regulariser": _A_REGULARISER("regulariser", regulariser),
            "metric": _metric(metric, block),
            "clipping": _A_CLIPPING("clipping", clipping),
            "sample_weights": _sample_weights(sample_weights, len(x)),
            "dtype": _dtype(dtype),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "z0", self.embed(x))
        object.__setattr__(self, "_kernels", [])

    @property
    def kernels(self) -> Kernels:
        """The compiled kernels of the block.

        Made once for this problem and what follows from it with the same block: a block
        of the user's own may compile them anew whenever it is called.
        """
        if not self._kernels:
            self._kernels.append(self.block.kernels(self.dtype))
        return self._kernels[0]

    def __getstate__(self) -> dict[str, Any]:
        # Machine code stays in its process.
        return vars(self) | {"_kernels": []}

    @property
    def d(self) -> int:
        """State size."""
        return self.block.d

    @property
    def k(self) -> int:
        """Parameters per particle."""
        return self.block.k

    @property
    def n_samples(self) -> int:
        """Number N of samples."""
        return len(self.x)

    @property
    def q(self) -> int:
        """Output size."""
        return self.y.shape[1]

    @property
    def trained_maps(self) -> dict[str, Linear]:
        """The maps that move with s: "embedding" and "readout" where trainable."""
        maps = {"embedding": self.embedding, "readout": self.readout}
        return {name: m for name, m in maps.items() if m is not None and m.trainable}

    def embed(self, x: Array) -> Array:
        """z(0) = A x for inputs x (n, d_in); returns (n, d)."""
        return x if self.embedding is None else self.embedding(x)

    def read(self, z: Array) -> Array:
        """Output g(z) for states z (n, d); returns (n, q)."""
        return z if self.readout is None else self.readout(z)

    def with_changes(self, **changes: Any) -> MeanFieldProblem:
        """The same problem with other arguments, checked like those of a new one.

        All that is not named stays as it is; None gives back a default.
        """
        names = [field.name for field in dataclasses.fields(self)]
        # The start of the states follows from x and the embedding.
        arguments = {name: getattr(self, name) for name in names if name != "z0"}
        changed = MeanFieldProblem(**(arguments | changes))
        if changed.block is self.block and changed.dtype == self.dtype:
            object.__setattr__(changed, "_kernels", self._kernels)
        return changed

    def with_parameters(self, **matrices: Array) -> MeanFieldProblem:
        """The same problem with other matrices of its embedding or readout."""
        maps = {}
        for name, matrix in matrices.items():
            present = getattr(self, name, None)
            if name not in ("embedding", "readout") or present is None:
                raise ValueError(f"`{name}` must be an embedding or readout in use.")
            matrix = float_array(name, matrix)
            if matrix.shape != present.matrix.shape:
                raise ValueError(
                    f"`{name}` must have shape {present.matrix.shape}, "
                    f"got {matrix.shape}."
                )
            maps[name] = present.with_matrix(matrix)
        copy = self._with(maps)
        if "embedding" in maps:
            object.__setattr__(copy, "z0", copy.embed(copy.x))
        return copy

    def on_samples(
        self, index: NDArray[np.int64] | slice, sample_weights: Array
    ) -> MeanFieldProblem:
        """The same problem on some of its samples, without any check.

        For the inside of trainings: their weights (n,) may have any sum.
        """
        rows = {name: getattr(self, name)[index] for name in ("x", "y")}
        # A map that is trained is applied when its present matrix is put in.
        z0 = rows["x"] if "embedding" in self.trained_maps else self.z0[index]
        return self._with(rows | {"z0": z0, "sample_weights": sample_weights})

    def with_plain_velocity(self) -> MeanFieldProblem:
        """The same problem with the plain gradient of the loss as its velocity."""
        plain = {"metric": np.ones(self.k), "clipping": None, "regulariser": None}
        return self._with(plain)

    @property
    def clip_arguments(self) -> tuple[float, bool]:
        """Bound of pi, Eq. (10), inf for none, and whether pi is smooth."""
        if self.clipping is None:
            return np.inf, False
        return self.clipping.bound, self.clipping.is_smooth

    @property
    def has_kinks(self) -> bool:
        """Whether f or pi is not smooth; then the velocity is not smooth in s."""
        is_smooth = self.clipping is None or self.clipping.is_smooth
        return not (is_smooth and getattr(self.block, "is_smooth", True))

    def velocity_of(self, gradient: Array) -> Array:
        """-eta_c pi(g_c), Eq. (10), of gradients of the first variation (..., k)."""
        gradient = float_array("gradient", gradient, is_finite=False)
        if gradient.shape[-1:] != (self.k,):
            raise ValueError(
                f"`gradient` must have shape (..., {self.k}), got {gradient.shape}."
            )
        step = gradient if self.clipping is None else self.clipping(gradient)
        return -self.metric * step

    def _with(self, values: dict[str, Any]) -> MeanFieldProblem:
        """A copy with other values of some fields, not checked."""
        copy = object.__new__(MeanFieldProblem)
        vars(copy).update(vars(self) | values)
        return copy

    def describe(self) -> dict[str, Any]:
        """Plain values; with `arrays` enough for `from_description`."""
        maps = {name: getattr(self, name) for name in MAPS}
        return {
            "block": described(self.block),
            "loss": described(self.loss),
            "regulariser": described(self.regulariser),
            "clipping": self.clipping and dataclasses.asdict(self.clipping),
            **{name: each and each.options for name, each in maps.items()},
            "dtype": self.dtype,
        }

    def arrays(self) -> dict[str, Array]:
        """The arrays of the problem, by name."""
        maps = {name: getattr(self, name) for name in MAPS}
        arrays = {name: getattr(self, name) for name in ARRAYS}
        return arrays | {name: m.matrix for name, m in maps.items() if m is not None}

    @classmethod
    def from_description(
        cls, description: dict[str, Any], arrays: dict[str, Array]
    ) -> MeanFieldProblem:
        """Rebuild a problem from the output of `describe` and `arrays`."""
        description = mapping("description", description)
        arrays = mapping("arrays", arrays)
        for name, given, needed in (
            ("description", description, DESCRIBED),
            ("arrays", arrays, ARRAYS),
        ):
            missing = [each for each in needed if each not in given]
            if missing:
                raise ValueError(f"`{name}` must hold {missing[0]!r}, got {given!r}.")
        parts: dict[str, Any] = {
            name: rebuilt(name, description[name], name=name)
            for name in ("block", "loss", "regulariser")
        }
        for name in MAPS:
            if description[name] is not None:
                parts[name] = Linear(arrays[name], **description[name])
        if description["clipping"] is not None:
            parts["clipping"] = Clipping(**description["clipping"])
        parts |= {name: arrays[name] for name in ARRAYS}
        return cls(**parts, dtype=description["dtype"])

    def __repr__(self) -> str:
        return (
            f"MeanFieldProblem(n_samples={self.n_samples}, d={self.d}, q={self.q}, "
            f"block={self.block!r}, loss={getattr(self.loss, 'name', self.loss)!r})"
        )


A_PROBLEM = instance(MeanFieldProblem)
_A_BLOCK = having(
    *("d", "k", "param_names", "kernels"),
    what="a block such as mfpde.blocks.Perceptron(d)",
)
_A_REGULARISER = optional(
    having(
        *("strength", "rate"),
        what="mfpde.DecayingQuadratic(lambda0, gamma) or None",
    )
)
_A_CLIPPING = optional(instance(Clipping, what="mfpde.Clipping(bound) or None"))


def _table(name: str, values: ArrayLike) -> Array:
    array = float_array(name, values)
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"`{name}` must have shape (n_samples, columns), got {array.shape}."
        )
    return array


def _dtype(dtype: Any) -> str:
    """The name of a supported type; NumPy's own objects are understood, too."""
    try:
        name = np.dtype(dtype).name if dtype is not None else None
    except TypeError:
        name = None
    if name not in DTYPES:
        raise ValueError(
            f"`dtype` must be one of {', '.join(DTYPES)}, got {dtype!r}."
            + did_you_mean(str(dtype), DTYPES)
        )
    return name


def _linear_map(
    name: str, value: Any, n_rows: int, n_columns: int, source: str
) -> Linear | None:
    if value is None:
        if n_rows != n_columns:
            raise ValueError(
                f"`{name}` is needed: without it {source} of size {n_columns} must "
                f"have size {n_rows}."
            )
        return None
    linear = value if isinstance(value, Linear) else Linear(value)
    if linear.matrix.shape != (n_rows, n_columns):
        raise ValueError(
            f"`{name}` must have shape {(n_rows, n_columns)}, "
            f"got {linear.matrix.shape}."
        )
    return linear


def _metric(metric: ArrayLike | None, block: Any) -> Array:
    array = float_array("metric", np.ones(block.k) if metric is None else metric)
    if array.shape != (block.k,) or (array < 0).any():
        raise ValueError(
            f"`metric` must hold k = {block.k} numbers, none negative, "
            f"got {array.tolist()}."
        )
    return array


def _sample_weights(weights: ArrayLike | None, n_samples: int) -> Array:
    if weights is None:
        weights = np.full(n_samples, 1.0 / n_samples)
    array = float_array("sample_weights", weights)
    if array.shape != (n_samples,) or (array < 0).any():
        raise ValueError(
            f"`sample_weights` must hold N = {n_samples} numbers, none negative, "
            f"got shape {array.shape}, minimum {array.min(initial=0.0):g}."
        )
    # Rounding of N additions stays far below this.
    if abs(array.sum() - 1.0) > 1e-9:
        raise ValueError(
            f"`sample_weights` must have sum 1, got {array.sum():g}; divide by the sum."
        )
    return array
