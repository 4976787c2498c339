"""The public names of mfpde; `__init__.py` reads this list."""

from mfpde.clipping import Clipping as Clipping
from mfpde.depth import DepthGrid as DepthGrid
from mfpde.describe import register as register
from mfpde.ensemble import ParticleEnsemble as ParticleEnsemble
from mfpde.evaluation import evaluate as evaluate
from mfpde.evaluation import predict as predict
from mfpde.gradients import check_gradient as check_gradient
from mfpde.limit import estimate_error as estimate_error
from mfpde.limit import solve_limit as solve_limit
from mfpde.losses import DecayingQuadratic as DecayingQuadratic
from mfpde.networks import ResNet as ResNet
from mfpde.problem import MeanFieldProblem as MeanFieldProblem
from mfpde.run.solution import Solution as Solution
from mfpde.run.solver import iterate as iterate
from mfpde.run.solver import resume as resume
from mfpde.run.solver import solve as solve
from mfpde.run.stored import open_run as open_run
from mfpde.run.training import train as train
from mfpde.storage import recover as recover

from . import analysis as analysis
from . import blocks as blocks
from . import data as data
from . import errors as errors
from . import evaluation as evaluation
from . import executors as executors
from . import laws as laws
from . import networks as networks
from . import plotting as plotting
from . import protocols as protocols
from . import readouts as readouts
from . import recording as recording
from . import references as references
from . import steppers as steppers
from . import storage as storage
from . import studies as studies
from . import theory as theory

__version__: str
