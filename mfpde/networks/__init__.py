"""Finite residual networks on the kernels of the solver, and how they are trained.

A `ResNet` is a problem, an ensemble of L layers of M particles, a residual scale and an
outer activation, Eq. (9). Its gradient is that of the flow, Eq. (10), so that plain
gradient descent is `mfpde.solve` on `DepthGrid.euler` with the stepper "euler", bit for
bit. `mfpde.train` moves it with `SGD` or `Adam`.
"""

from mfpde.networks.batches import Batches
from mfpde.networks.optimisers import SGD, Adam
from mfpde.networks.rates import Constant, Cosine, Drops, WarmUp
from mfpde.networks.resnet import ResNet
from mfpde.networks.stopping import EarlyStopping
from mfpde.scales import PowerLaw

__all__ = [
    "SGD",
    "Adam",
    "Batches",
    "Constant",
    "Cosine",
    "Drops",
    "EarlyStopping",
    "PowerLaw",
    "ResNet",
    "WarmUp",
]
