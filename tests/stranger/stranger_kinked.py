"""An activation with two kinks: the identity, cut off at -1 and 1."""

import mfpde


def value(a):
    return min(max(a, -1.0), 1.0)


def derivative(a):
    return 1.0 if -1.0 < a < 1.0 else 0.0


ACTIVATION = mfpde.register(
    mfpde.Activation("hard_tanh", value, derivative, smoothness="kinked", parity="odd")
)
