"""Initial laws rho_ini(theta, t), sampling rules, couplings in depth t."""

from mfpde.laws.base import Law
from mfpde.laws.composite import Mixture, Path, Product, StandardPath, standard_path
from mfpde.laws.elementary import Dirac, Gaussian, PointCloud, Uniform, point_cloud_of
from mfpde.laws.marginals import marginal
from mfpde.laws.process import GaussianProcess
from mfpde.laws.quadrature import TensorRule, quadrature_rule
from mfpde.laws.sampling import COUPLINGS, METHODS, replicate_mean, replicates, sample

__all__ = [
    "COUPLINGS",
    "METHODS",
    "Dirac",
    "Gaussian",
    "GaussianProcess",
    "Law",
    "Mixture",
    "Path",
    "PointCloud",
    "Product",
    "StandardPath",
    "TensorRule",
    "Uniform",
    "marginal",
    "point_cloud_of",
    "quadrature_rule",
    "replicate_mean",
    "replicates",
    "sample",
    "standard_path",
]
