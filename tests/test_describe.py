"""The registry: names, descriptions, rebuilding, fields, modules from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from mfpde import describe, fields, plugins
from mfpde.arrays import positive
from mfpde.describe import described, is_described, make, rebuilt, register, thing_of
from mfpde.errors import ConfigurationError


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """What a test registers and imports is forgotten at its end."""
    for kind in describe.KINDS:
        describe.names(kind)
    things = {kind: dict(named) for kind, named in describe._THINGS.items()}
    monkeypatch.setattr(describe, "_THINGS", things)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv(plugins.VARIABLE, "")


class Flat:
    """A loss without arguments."""

    def values(self, output, y):
        return np.zeros(len(y))

    def gradients(self, output, y):
        return np.zeros_like(y)


@dataclass(frozen=True)
class Power(Flat):
    """A loss with arguments of several kinds.

    Parameters
    ----------
    exponent : float
        Of the distance; two is the square. More is not said here.
    mode, name_of_it : str
        How it is taken.
    count : int, optional
    """

    exponent: Annotated[float, positive]
    mode: Literal["sum", "mean"] = "sum"
    count: int | None = None
    flags: tuple[float, ...] = field(default_factory=lambda: (0.5,))

    def __post_init__(self) -> None:
        fields.check(self)


# Names and kinds --------------------------------------------------------------


def test_a_thing_is_known_by_a_name_once_it_is_registered():
    assert register(Flat) is Flat
    assert "flat" in describe.names("loss")
    assert thing_of("loss", "flat") is Flat
    assert register(name="power_of", kind="loss")(Power) is Power
    assert describe.name_of(Power) == ("loss", "power_of")
    # The same again is harmless; another of that name is not.
    register(Flat)
    other = type("Flat", (Flat,), {"values": lambda self, output, y: 1.0})
    with pytest.raises(
        ValueError, match=r"'flat' of a loss is taken already, by .*Flat"
    ):
        register(other)
    assert thing_of("loss", "flat") is Flat


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        (("values", "gradients"), "loss"),
        (("kernels",), "block"),
        (("strength", "rate"), "regulariser"),
        (("paths",), "law"),
        (("step",), "stepper"),
        (("update",), "optimiser"),
        (("factor",), "schedule"),
        (("times", "is_due"), "output schedule"),
        (("tasks", "measure", "analyse"), "study"),
    ],
)
def test_methods_tell_the_kind(parts, kind):
    thing = type("HTTPThing2x", (), dict.fromkeys(parts, lambda self: None))
    register(thing)
    assert describe.name_of(thing) == (kind, "http_thing2x")


@pytest.mark.parametrize("part", ["values", "strength", "times", "tasks"])
def test_some_of_the_methods_tell_no_kind(part):
    with pytest.raises(TypeError, match="say it with `kind`"):
        register(type("Half", (), {part: lambda self: None}))


def test_arguments_tell_the_kind_of_a_function():
    def rough(n_layers: int, tau0: float = 1.0):
        return tau0

    def size(evaluation):
        return 0.0

    register(rough)
    register(size)
    assert describe.name_of(rough) == ("residual scale", "rough")
    assert describe.name_of(size) == ("observer", "size")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((3,), {}, TypeError, "`thing` must be an Activation or a class of one of"),
        ((object,), {}, TypeError, "say it with `kind`"),
        ((Flat(),), {}, TypeError, "class of a loss, got an object .* Flat itself"),
        ((Flat,), {"kind": "los"}, ValueError, "`kind` must be .*mean 'loss'"),
        ((Flat,), {"name": "my loss"}, ValueError, "letters, digits and underscores"),
        ((Flat,), {"name": 3}, ValueError, "`name` of a loss must be"),
    ],
)
def test_what_cannot_be_registered(arguments, options, error, message):
    with pytest.raises(error, match=message):
        register(*arguments, **options)


def test_arguments_must_have_names():
    class Any_(Flat):
        def __init__(self, *values):
            self.values_ = values

    with pytest.raises(TypeError, match=r"must name its arguments .*`\*values`"):
        register(Any_)
    assert describe.name_of(Any_) is None


def test_unknown_names_get_the_nearest_one():
    with pytest.raises(ValueError, match=r"`loss` must be one of squared, .*'squared'"):
        thing_of("loss", "sqared", argument="loss")
    with pytest.raises(ValueError, match="your own, --import its module"):
        thing_of("loss", "wxyzq")
    with pytest.raises(TypeError, match="must be the name of an optimiser, got 3"):
        thing_of("optimiser", 3)


# Descriptions -----------------------------------------------------------------


def built_in():
    """Kind and name of what is ours and has no argument that is required."""
    for kind in describe.KINDS:
        if kind in ("activation", "data source", "observer", "study"):
            continue
        for name in describe.names(kind):
            thing = thing_of(kind, name)
            if isinstance(thing, type) and describe._is_ours(thing):
                needed = [f for f in fields.fields_of(thing).values() if f.is_required]
                if not needed:
                    yield kind, name


@pytest.mark.parametrize(("kind", "name"), list(built_in()))
def test_built_in_things_are_rebuilt_from_plain_values(kind, name):
    thing = make(kind, name, **({"ds": 0.1} if name == "sgd" else {}))
    description = described(thing)
    assert is_described(description)
    assert describe.is_built_in(thing)
    again = rebuilt(kind, description)
    assert type(again) is type(thing)
    assert described(again) == description
    is_plain = isinstance(description, str)
    assert (description if is_plain else description["kind"]) == name
    assert is_plain or describe.MODULE not in description


def test_a_description_holds_the_arguments_and_the_module():
    register(Power, name="power_of")
    register(Flat)
    thing = Power(1.5, count=np.int64(3), flags=(1, 2.5))
    assert described(thing) == {
        "kind": "power_of",
        "exponent": 1.5,
        "mode": "sum",
        "count": 3,
        "flags": [1.0, 2.5],
        "module": __name__,
    }
    assert rebuilt("loss", described(thing)) == thing
    assert not describe.is_built_in(thing)
    assert described(Flat()) == {"kind": "flat", "module": __name__}
    assert described(None) is None
    assert rebuilt("loss", None) is None
    assert describe.phrase(described(thing)).startswith(
        "power_of (exponent = 1.5, mode"
    )
    assert describe.phrase("squared") == "squared"


def test_what_is_not_registered_is_described_but_not_rebuilt():
    description = described(Flat())
    assert description == {"kind": "own Flat"}
    assert not is_described(description)
    assert not is_described({"kind": "warm_up", "after": description})
    assert not is_described([1.0, description])
    with pytest.raises(ValueError, match="loss Flat is the user's own and was not reg"):
        rebuilt("loss", description)


def test_a_module_that_is_missing_is_named():
    description = {"kind": "wavy", "size": 2, "module": "their_module"}
    with pytest.raises(ValueError, match=r"'wavy' comes from .* --import their_module"):
        rebuilt("loss", description)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"exponent": 1.0}, "`loss` must say its `kind`"),
        ({"kind": "power_of"}, "needs a value for `exponent`"),
        ({"kind": "power_of", "exponent": -1.0}, "`exponent` must be positive"),
        ({"kind": "power_of", "exponent": 1.0, "mod": "sum"}, "`mod` is not .*'mode'"),
        ({"kind": "power_of", "exponent": 1.0, "mode": "men"}, "Did you mean 'mean'"),
        ({"kind": "power_of", "exponent": 1.0, "count": 1.5}, "`count` must be an int"),
        ({"kind": "power_of", "exponent": 1.0, "flags": ["a"]}, "`flags"),
    ],
)
def test_wrong_tables_get_a_sentence(table, message):
    register(Power, name="power_of")
    with pytest.raises((TypeError, ValueError), match=message):
        rebuilt("loss", table, name="loss")


def test_annotations_check_where_the_class_itself_does_not():
    class Unchecked(Flat):
        def __init__(self, width: float = 1.0):
            self.width = width

    register(Unchecked)
    with pytest.raises(TypeError, match="`width` must be a number, got 'wide'"):
        rebuilt("loss", {"kind": "unchecked", "width": "wide"})
    assert make("loss", "unchecked", width=2).width == 2.0


def test_values_that_a_file_cannot_hold():
    assert describe.plain("a", {"b": (np.float64(1.5), Path("c"), None)}) == {
        "b": [1.5, "c", None]
    }
    with pytest.raises(TypeError, match="`a` is a function, which a file cannot hold"):
        describe.plain("a", len)

    class Forgets(Flat):
        def __init__(self, width: float = 1.0):
            pass

    register(Forgets)
    with pytest.raises(TypeError, match="Forgets must keep its argument `width`"):
        described(Forgets())


def test_a_field_may_hold_another_thing():
    check = describe.OfKind("loss")
    assert type(check("loss", "squared")) is thing_of("loss", "squared")
    own = Flat()
    assert check("loss", own) is own
    for wrong in (3, Flat, object()):
        with pytest.raises(TypeError, match="`loss` must be a loss or its name, got"):
            check("loss", wrong)


# Fields -----------------------------------------------------------------------


def test_fields_are_those_of_the_constructor():
    found = fields.fields_of(Power)
    assert list(found) == ["exponent", "mode", "count", "flags"]
    assert found["exponent"].is_required
    assert not found["mode"].is_required
    assert (found["mode"].default, found["count"].default) == ("sum", None)
    assert found["flags"].default == (0.5,)
    assert found["exponent"].help == "Of the distance"
    assert found["mode"].help == "How it is taken"
    assert found["flags"].help == ""
    assert fields.summary(Power) == "A loss with arguments of several kinds."
    assert found["count"].checked(None) is None


@pytest.mark.parametrize(
    ("annotation", "good", "wrong"),
    [
        (bool, True, 1),
        (int, 3, 2.5),
        (float, 2.5, "a"),
        (str, "a", 3),
        (list[float], (1.0, 2.0), ["a"]),
        (dict, {"a": 1}, [1]),
        (Literal["a", "b"], "b", "c"),
        (int | None, None, 0.5),
        (Annotated[float, positive], 1.0, 0.0),
        (Annotated[float | None, "a note"], None, "a"),
    ],
)
def test_an_annotation_is_a_check(annotation, good, wrong):
    check: Any = fields.check_of(annotation)
    assert check("value", good) == good
    with pytest.raises((TypeError, ValueError), match="`value"):
        check("value", wrong)


def test_annotations_without_a_check():
    for annotation in (Any, fields.REQUIRED, object, int | str):
        assert fields.check_of(annotation) is None


# Modules from outside ---------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a module that registers a loss."""
    text = Path(__file__).with_name("stranger").joinpath("stranger_loss.py").read_text()
    (tmp_path / "their_loss.py").write_text(text.replace("PseudoHuber", "TheirLoss"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("their_loss", None)


@pytest.mark.parametrize("name", ["their_loss", "./their_loss.py"])
def test_modules_of_the_current_folder_and_files(folder, name):
    plugins.import_modules([name])
    assert thing_of("loss", "their_loss").__module__ == "their_loss"
    # What it imports when it is used is found from then on, after all others.
    assert str(folder) in sys.path[1:]
    # Again is harmless, and processes that are started do the same.
    plugins.import_modules([name])
    code = "from mfpde import describe; print('their_loss' in describe.names('loss'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\n", done.stderr
    assert os.environ[plugins.VARIABLE].count("their_loss") == 1


def test_modules_that_cannot_be_imported_are_sentences(folder):
    (folder / "failing.py").write_text("raise RuntimeError('not today')\n")
    (folder / "leaving.py").write_text("raise SystemExit(3)\n")
    names = ["no_such_module", "failing", "leaving", "absent.py"]
    with pytest.raises(ConfigurationError) as caught:
        plugins.import_modules([*names, "their_loss"])
    problems = caught.value.problems
    assert len(problems) == len(names)
    for name, problem in zip(names, problems, strict=True):
        assert name in problem
    assert "not today" in problems[1]
    assert "no_such_module" not in os.environ[plugins.VARIABLE]


def test_entry_points_are_loaded_and_a_broken_one_warns(monkeypatch):
    class Entry:
        def __init__(self, name, load):
            self.name, self.value, self.load = name, f"{name}.plugins", load

    def broken():
        raise ImportError("no module")

    entries = [Entry("broken", broken), Entry("whole", lambda: register(Flat))]
    monkeypatch.setattr(
        plugins.importlib.metadata, "entry_points", lambda group: entries
    )
    monkeypatch.setattr(plugins, "_state", {"entry_points": False, "variable": True})
    with pytest.warns(UserWarning, match="plugin broken .* could not be imported"):
        assert "flat" in describe.names("loss")
