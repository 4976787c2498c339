"""mfpde: the mean-field limit of deep residual networks.

Solves the forward ODE, its adjoint and the Wasserstein gradient flow of
rho(theta, t) with interacting particles. t in [0, 1] is depth, s >= 0 is
training time. Nothing heavy is imported until a name is used (PEP 562), so that
the command line answers at once.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = (
    "analysis",
    "blocks",
    "data",
    "density",
    "entropy",
    "errors",
    "exact",
    "executors",
    "homogeneity",
    "joint",
    "kernels",
    "landscape",
    "laws",
    "lazy",
    "networks",
    "plotting",
    "readouts",
    "recording",
    "shallow",
    "steppers",
    "storage",
    "studies",
    "supports",
)
_NAMES = {
    "Clipping": "clipping",
    "ConfigurationError": "errors",
    "ConvergenceError": "errors",
    "DecayingQuadratic": "objectives",
    "DataWarning": "errors",
    "DensitySolution": "density",
    "DepthGrid": "depth",
    "ErrorEstimate": "estimation",
    "Evaluation": "evaluation",
    "GradientError": "errors",
    "Interrupted": "errors",
    "Langevin": "steppers",
    "MeanFieldProblem": "problem",
    "NotFiniteError": "errors",
    "ParticleEnsemble": "ensemble",
    "ResNet": "networks",
    "Solution": "solution",
    "StorageFormatError": "errors",
    "ToleranceWarning": "errors",
    "Training": "training",
    "UnfinishedWarning": "errors",
    "check_gradient": "gradients",
    "estimate_error": "estimation",
    "evaluate": "evaluation",
    "field": "evaluation",
    "first_variation": "evaluation",
    "first_variation_gradient": "evaluation",
    "iterate": "solver",
    "linearised": "lazy",
    "late_rate": "tangent",
    "open_run": "storage",
    "predict": "evaluation",
    "predict_run": "prediction",
    "recover": "storage",
    "resume": "solver",
    "solve": "solver",
    "solve_density": "density",
    "solve_limit": "limit_solver",
    "tangent_kernel": "tangent",
    "train": "training",
    "trajectories": "evaluation",
}

__all__ = ["__version__", *_MODULES, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
