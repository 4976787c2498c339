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
    "errors",
    "executors",
    "laws",
    "networks",
    "plotting",
    "readouts",
    "recording",
    "references",
    "steppers",
    "storage",
    "studies",
    "theory",
)
_NAMES = {
    "Clipping": "clipping",
    "ConfigurationError": "errors",
    "ConvergenceError": "errors",
    "DecayingQuadratic": "losses",
    "DataWarning": "errors",
    "DensitySolution": "references.density",
    "DepthGrid": "depth",
    "ErrorEstimate": "run.error_estimate",
    "Evaluation": "evaluation",
    "GradientError": "errors",
    "Interrupted": "errors",
    "Langevin": "steppers",
    "MeanFieldProblem": "problem",
    "NotFiniteError": "errors",
    "ParticleEnsemble": "ensemble",
    "ResNet": "networks",
    "Solution": "run.solution",
    "StorageFormatError": "errors",
    "ToleranceWarning": "errors",
    "Training": "run.training",
    "UnfinishedWarning": "errors",
    "check_gradient": "gradients",
    "estimate_error": "limit",
    "evaluate": "evaluation",
    "field": "evaluation",
    "first_variation": "evaluation",
    "first_variation_gradient": "evaluation",
    "iterate": "run.solver",
    "linearised": "theory.lazy",
    "late_rate": "theory.tangent",
    "open_run": "run.stored",
    "predict": "evaluation",
    "recover": "storage",
    "resume": "run.solver",
    "solve": "run.solver",
    "solve_density": "references.density",
    "solve_limit": "limit",
    "tangent_kernel": "theory.tangent",
    "train": "run.training",
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
