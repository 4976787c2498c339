"""Laws rebuilt from plain JSON or TOML values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from mfpde.laws.base import Law
from mfpde.laws.composite import Mixture, Path, Product
from mfpde.laws.elementary import Dirac, Gaussian, PointCloud, Uniform
from mfpde.laws.parameters import choice
from mfpde.laws.process import GaussianProcess

KINDS = {
    law.kind: law
    for law in (
        Gaussian,
        Uniform,
        Dirac,
        PointCloud,
        Mixture,
        Product,
        Path,
        GaussianProcess,
    )
}
_NESTED = ("laws", "coefficients")


def from_description(description: Mapping[str, Any]) -> Law:
    """Rebuild a law from the dict that `Law.describe` returned.

    Parameters
    ----------
    description : mapping
        "kind" names the law; the other keys are the arguments of its class.

    Returns
    -------
    law : Law

    Raises
    ------
    TypeError, ValueError
        If the description is not a mapping, a key is unknown or missing, or a
        value is refused by the law itself.

    Examples
    --------
    >>> from_description({"kind": "uniform", "low": -1, "high": 1, "n_params": 5})
    Uniform(low=-1, high=1, n_params=5)
    """
    if not isinstance(description, Mapping):
        raise TypeError(
            "`description` of a law must be a mapping, got "
            f"{type(description).__name__}."
        )
    arguments = dict(description)
    law = KINDS[choice("kind", arguments.pop("kind", None), list(KINDS))]
    accepted = [f for f in fields(law) if f.init]
    for name in arguments:
        choice(f"key of law {law.kind}", name, [f.name for f in accepted])
    for f in accepted:
        if f.default is MISSING and f.name not in arguments:
            raise ValueError(f'The law "{law.kind}" needs a value for `{f.name}`.')
    for name in _NESTED:
        if isinstance(arguments.get(name), list | tuple):
            arguments[name] = [from_description(each) for each in arguments[name]]
    return law(**arguments)
