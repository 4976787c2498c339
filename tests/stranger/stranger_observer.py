"""An observer: the largest entry of the outputs."""

import numpy as np

import mfpde


@mfpde.register(kind="observer")
def largest_output(evaluation):
    """The largest absolute value of an output."""
    return float(np.abs(evaluation.output).max())
