"""Depth as a coordinate of the particles: one measure on (theta, t) (theory, 1.4).

Every particle is a block with a depth t_j in [0, 1] of its own. The blocks act in the
order of their depths, and in training both theta and t move, so that blocks change
places.

- `JointEnsemble`: the particles; `sample_joint` draws them.
- `JointScheme`: the two schemes, that of the limit and that of networks.
- `evaluate_joint`: state, loss and both velocities; `swap_slopes` is Eq. (20).
- `lesion_losses`, `exchanged`, `reordered`: blocks deleted and moved by hand.
- `shuffle_slopes`: Eq. (20) summed over the pairs of blocks that pass each other.
- `solve_joint`: the flow in training time, with the swaps counted.

References
----------
Lu, Ma, Lu, Lu, Ying 2020, arXiv:2003.05508.
"""

from mfpde.theory.joint.brackets import brackets
from mfpde.theory.joint.evaluation import JointEvaluation, evaluate_joint, swap_slopes
from mfpde.theory.joint.lesions import (
    block_check,
    divided,
    exchanged,
    lesion_losses,
    lesion_slopes,
    reordered,
)
from mfpde.theory.joint.measure import JointEnsemble, count_swaps, sample_joint
from mfpde.theory.joint.schemes import JointScheme
from mfpde.theory.joint.shuffles import pair_slopes, shuffle_slopes
from mfpde.theory.joint.solver import JointSolution, solve_joint

__all__ = [
    "JointEnsemble",
    "JointEvaluation",
    "JointScheme",
    "JointSolution",
    "block_check",
    "brackets",
    "count_swaps",
    "divided",
    "evaluate_joint",
    "exchanged",
    "lesion_losses",
    "lesion_slopes",
    "pair_slopes",
    "reordered",
    "sample_joint",
    "shuffle_slopes",
    "solve_joint",
    "swap_slopes",
]
