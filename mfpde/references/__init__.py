"""Independent solutions that the solver is checked against."""

from mfpde.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
