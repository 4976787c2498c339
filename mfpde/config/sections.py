"""The sections of a configuration: which keys and which things each holds.

Nothing is described here that has a constructor: the keys of a block, a law or a
stepper are the arguments of its class, those of a run its options
(`mfpde.run.options`). A section says where they stand, and their defaults there.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from mfpde import data
from mfpde.arrays import Check, choice, number, optional, positive, text, whole
from mfpde.clipping import Clipping
from mfpde.config.values import by_group, observer_names, one_or_each
from mfpde.describe import KINDS, names, thing_of
from mfpde.fields import REQUIRED, Field, fields_of, summary
from mfpde.kernels import OUTER_ACTIVATIONS
from mfpde.options import options_of
from mfpde.run.options import FlowOptions, OutputOptions, TrainingOptions

Count = Annotated[int, whole(1)]
Seed = Annotated[int, whole(0, 2**63 - 1)]
Coupling = Literal["path", "tied", "layer"]
Method = Literal["iid", "sobol", "quadrature"]


@dataclass(frozen=True)
class Thing:
    """A key, or a section, that holds a thing of the registry.

    Attributes
    ----------
    kind : str
    default : str or dict or None
        As a configuration would say it; None if there is none, `REQUIRED` if one has
        to be named.
    text : str
        What it is.
    selector : str
        The key of its table that has the name.
    usual : str, optional
        The name where a table does not say one.
    is_section : bool
        Whether it is always a table of its own.
    is_flat : bool
        Whether its keys may stand beside it.
    suggested : mapping
        Values of its keys, where they are absent, in place of their defaults.
    shared : tuple of str
        Keys that it takes from the section around it.
    others : callable, optional
        Check of values that are no things.
    """

    kind: str
    default: Any
    text: str
    selector: str = "kind"
    usual: str | None = None
    is_section: bool = False
    is_flat: bool = False
    suggested: Mapping[str, Any] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
    others: Check | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What can be named."""
        return names(self.kind)

    def keys(self, name: str) -> dict[str, Field]:
        """The keys of a thing, without the arguments that a run supplies."""
        if self.kind == "data source":
            return data_keys(name)
        thing = thing_of(self.kind, name)
        given = KINDS[self.kind].given
        keys, fields = {}, dict(fields_of(thing))
        if self.kind == "residual scale" and not inspect.isclass(thing):
            del fields[next(iter(fields))]  # the number of layers
        for key, each in fields.items():
            if each.kind or key not in given or key == "d":
                keys[key] = self._key(each)
        return keys

    def _key(self, each: Field) -> Field:
        check, default = each.check, each.default
        if each.name in self.suggested:
            default = self.suggested[each.name]
        if each.name == "d":
            check, default = optional(whole(1)), None
        if check is None and self.kind == "law":
            check = by_group
        return dataclasses.replace(each, check=check, default=default)


@dataclass(frozen=True)
class Section:
    """A table: its keys, its things, and the tables within."""

    text: str
    keys: Mapping[str, Field] = field(default_factory=dict)
    things: Mapping[str, Thing] = field(default_factory=dict)
    sections: Mapping[str, Section] = field(default_factory=dict)
    is_optional: bool = False

    @property
    def all_names(self) -> list[str]:
        """Everything that may stand in it."""
        return [*self.keys, *self.things, *self.sections]


def data_keys(source: str) -> dict[str, Field]:
    """The keys of a source of data and of the preparation of its samples."""
    keys = {}
    for name, option in data.SOURCES[source].items():
        default = option.default
        check = data.check_of(option)
        keys[name] = Field(name, default, check, None, text=option.description)
    return keys


def _described(section: type, **changes: Any) -> Section:
    """The keys of a class, in which nothing is described twice."""
    return Section(summary(section), dict(fields_of(section)), **changes)


def _options(kind: type, *left_out: str, **defaults: Any) -> dict[str, Field]:
    """Plain options of a run as keys."""
    keys = {}
    for name, option in options_of(kind).items():
        if name in left_out:
            continue
        default = defaults.get(name, option.default)
        check: Any = option.check
        if option.check is not None and option.default is None:
            check = optional(option.check)
        keys[name] = Field(name, default, check, None, text=option.help)
    return keys


@dataclass(frozen=True)
class Ensemble:
    """Particles at every depth node.

    Parameters
    ----------
    n_particles : int
        Particles M at every node; for quadrature at most.
    method : str
        Sampling rule in theta.
    coupling : str
        One path theta(t) a particle, one draw for all t, or fresh draws per node.
    seed : int
        Seed of the sampling rule.
    nodes : list of int, optional
        Nodes for each random number of the law, 0: by Sobol.
    """

    n_particles: Count = 256
    method: Method = "sobol"
    coupling: Coupling = "path"
    seed: Seed = 0
    nodes: list[Seed] | None = None


@dataclass(frozen=True)
class Network:
    """The network z[l+1] = psi(z[l] + tau sum_m w_m f(z[l], theta[l, m])), Eq. (9).

    Parameters
    ----------
    n_layers : int
        Layers L.
    n_particles : int
        Particles M of a layer.
    outer : str
        Outer activation psi.
    coupling : str
        One path theta(t) a particle, one draw for all layers, or fresh draws.
    method : str
        Sampling rule in theta.
    seed : int
        Seed of the parameters.
    """

    n_layers: Count = 16
    n_particles: Count = 64
    outer: Literal[OUTER_ACTIVATIONS] = "identity"  # type: ignore[valid-type]
    coupling: Coupling = "path"
    method: Method = "iid"
    seed: Seed = 0


@dataclass(frozen=True)
class Validation:
    """Samples set apart, and when a training stops by them.

    Parameters
    ----------
    n_iterations : int
        Updates of the parameters.
    validation_fraction : float
        Share of the training samples set apart for validation.
    patience : int, optional
        Stop after so many records without improvement.
    min_delta : float
        Fall of the loss that is an improvement.
    """

    n_iterations: Count = 1000
    validation_fraction: Annotated[float, number(0.0, below=1.0)] = 0.0
    patience: Count | None = None
    min_delta: Annotated[float, number(0.0)] = 0.0


@dataclass(frozen=True)
class Plot:
    """The picture.

    Parameters
    ----------
    file : str, optional
        By default the name of the HDF5 file.
    dpi : int
        Dots per inch.
    """

    file: str | None = None
    dpi: Annotated[int, whole(20, 2400)] = 150


def _key(name: str, default: Any, check: Check, text: str) -> dict[str, Field]:
    return {name: Field(name, default, check, None, text=text)}


_WRITTEN = ("snapshots", "output", "overwrite", "progress", "metadata")
_RECORDED = ("record", "observers", "states", "communicator", "stepper")
_OUTPUT = tuple(options_of(OutputOptions))


def _record(scalars: Any, **others: Thing) -> Section:
    return Section(
        "What is recorded, and when; the end always is.",
        _key(
            "observers",
            None,
            optional(observer_names),
            "further scalars; default all that the data allow",
        ),
        {
            "scalars": _schedule(scalars, "scalars"),
            "snapshots": _schedule(None, "theta; default start and end"),
            **others,
        },
    )


def _schedule(default: Any, text: str) -> Thing:
    return Thing("output schedule", default, text)


_TITLE = _key("title", "", text, "a line for the summary, the file and the picture")
_DATA = Thing(
    "data source",
    REQUIRED,
    "Samples: inputs x and targets y.",
    selector="source",
    is_section=True,
)
_MAPS = {
    "embedding": Thing(
        "linear map",
        {"kind": "identity"},
        "The matrix A of z(0) = A x.",
        is_section=True,
        usual="identity",
    ),
    "readout": Thing(
        "linear map",
        {"kind": "random"},
        "The matrix C of out = C z(1); as many outputs as targets.",
        is_section=True,
        suggested={"trainable": True},
        usual="random",
    ),
}
_PROBLEM = Section(
    "Loss, block, embedding, readout, regulariser, clipping.",
    _key(
        "metric",
        None,
        optional(by_group),
        "factor of the velocity per parameter, 0 freezes it; default 1",
    )
    | _key(
        "dtype",
        "float64",
        choice("float64", "float32"),
        "numbers of states and fields; float32 is faster",
    ),
    {
        "loss": Thing("loss", "auto", "loss; auto goes by the targets"),
        "block": Thing(
            "block",
            {"kind": "perceptron"},
            "The map f(z, theta).",
            usual="perceptron",
            is_section=True,
        ),
        **_MAPS,
        "regulariser": Thing(
            "regulariser",
            None,
            "Added to the loss, Eq. (12).",
            usual="decaying_quadratic",
            is_section=True,
        ),
    },
    {"clipping": _described(Clipping, is_optional=True)},
)
_LAW = Thing(
    "law",
    {"kind": "gaussian"},
    "The initial law rho_ini(theta, t).",
    usual="gaussian",
    is_section=True,
)
_OUTPUT_SECTION = Section(
    "The HDF5 file.",
    _key("file", None, optional(text), "default: name of the configuration")
    | _options(OutputOptions, *_WRITTEN),
)
FLOW = Section(
    "A run, from data to picture.",
    _TITLE,
    {
        "data": _DATA,
        "grid": Thing(
            "depth scheme",
            {"scheme": "rk4"},
            "The grid on depth t in [0, 1].",
            selector="scheme",
            usual="rk4",
            is_section=True,
            suggested={"n": 4, "n_nodes": 4},
        ),
        "law": _LAW,
    },
    {
        "problem": _PROBLEM,
        "ensemble": _described(Ensemble),
        "flow": Section(
            "The flow in training time s, and when it stops.",
            _key("s_end", 10.0, number(0.0), "end of training time")
            | _options(FlowOptions, *_OUTPUT, *_RECORDED),
            {
                "stepper": Thing(
                    "stepper",
                    "dopri5",
                    "dopri5, rkc2 (stiff) and auto control their error",
                    is_flat=True,
                    shared=("rtol", "atol", "ds"),
                )
            },
        ),
        "record": _record({"steps": 1}, states=_schedule(None, "states z and p")),
        "output": _OUTPUT_SECTION,
        "plot": _described(Plot),
    },
)
NETWORK = Section(
    "The training of a network, from data to picture.",
    _TITLE,
    {"data": _DATA, "law": _LAW},
    {
        "problem": _PROBLEM,
        "network": _described(
            Network,
            things={
                "residual_scale": Thing(
                    "residual scale",
                    "ode",
                    "tau: ode 1/L, sde L^(-1/2), a number, or one per layer",
                    usual="power_law",
                    others=one_or_each(positive),
                )
            },
        ),
        "training": Section(
            "The optimiser, its batches, and when it stops.",
            dict(fields_of(Validation))
            | _options(
                TrainingOptions, *_OUTPUT, *_RECORDED, "validation", "early_stopping"
            ),
            {"optimiser": Thing("optimiser", "sgd", "optimiser", is_flat=True)},
        ),
        "record": _record({"steps": 100}),
        "output": _OUTPUT_SECTION,
        "plot": _described(Plot),
    },
)
REPLACED = {
    "grid": "the layers stand in [network]",
    "ensemble": "the particles stand in [network]",
    "flow": "[training] says how it moves",
}
"""Tables of a flow that a network has not, and what to use."""
