"""Options that are declared once: what functions take, check and say of them."""

from __future__ import annotations

import inspect
from typing import Annotated, TypedDict, Unpack

import numpy as np
import pytest

import mfpde
from mfpde.arrays import positive, whole
from mfpde.options import Option, accepting, options_of
from mfpde.run.options import FlowOptions, TrainingOptions


class Base(TypedDict, total=False):
    """Options of anything.

    Attributes
    ----------
    seconds : float, optional
        How long. More
        words.
    """

    seconds: Annotated[float | None, Option(None, positive)]


class Derived(Base, total=False):
    """Options of something.

    Attributes
    ----------
    first, second : int
        A number.
    """

    first: Annotated[int, Option(3, whole(1))]
    second: Annotated[int, Option(4, whole(1))]


@accepting(Derived)
def call(x: float, **options: Unpack[Derived]) -> dict:
    """Return the options.

    Parameters
    ----------
    x : float
    **options
        See `Derived`.

    Returns
    -------
    options : dict
    """
    return dict(options)


def test_a_function_gets_all_options_checked():
    assert call(1.0) == {"seconds": None, "first": 3, "second": 4}
    found = call(1.0, seconds=np.float64(2.0), second=np.int64(5))
    assert found == {"seconds": 2.0, "first": 3, "second": 5}
    assert type(found["seconds"]) is float
    assert call(x=1.0, seconds=None)["seconds"] is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seconds": -1.0}, ValueError, "`seconds` must be"),
        ({"first": 0}, ValueError, "`first` must be"),
        ({"first": None}, TypeError, "`first` must be"),
        (
            {"secnd": 3},
            TypeError,
            r"call\(\) has no argument `secnd`. Did you mean 'sec",
        ),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        call(1.0, **options)


def test_signature_and_docstring_show_the_options():
    parameters = inspect.signature(call).parameters
    assert list(parameters) == ["x", "seconds", "first", "second"]
    assert parameters["first"].default == 3
    entries = inspect.getdoc(call).partition("Returns\n")[0]
    assert "**options" not in entries
    assert (
        "seconds : float, optional, default None\n    How long. More words." in entries
    )
    assert "second : int, default 4\n    A number." in entries
    assert options_of(Derived)["seconds"].help == "How long. More words."


@pytest.mark.parametrize("function", [mfpde.solve, mfpde.train, mfpde.solve_limit])
def test_every_option_has_words(function):
    parameters = inspect.signature(function).parameters
    document = inspect.getdoc(function)
    for name, parameter in parameters.items():
        assert parameter.kind is not parameter.VAR_KEYWORD
        assert f"\n{name} : " in document


def test_what_solve_and_train_share_is_one_thing():
    flow, training = options_of(FlowOptions), options_of(TrainingOptions)
    shared = flow.keys() & training.keys()
    assert {"checkpoint_every_s", "loss_below", "wall_time_s", "theta_dtype"} <= shared
    assert all(flow[name].help == training[name].help for name in shared)
    assert all(flow[name].check is training[name].check for name in ("swmr", "output"))


def test_a_misspelt_keyword_is_named():
    with pytest.raises(
        TypeError, match=r"`checkpoint_evry_s`. Did you mean 'checkpoint_"
    ):
        mfpde.solve(None, None, None, s_end=1.0, checkpoint_evry_s=1.0)
