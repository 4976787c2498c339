"""mfpde: the mean-field limit of deep residual networks.

Solves the forward ODE, its adjoint and the Wasserstein gradient flow of
rho(theta, t) with interacting particles. t in [0, 1] is depth, s >= 0 is
training time. Nothing heavy is imported until a name is used, so that the command line
answers at once; the names and their modules stand in `__init__.pyi`.
"""

from mfpde.lazy_names import lazy_names

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_names(__name__)
