"""A smooth activation of a user's own: a / sqrt(1 + a^2)."""

import math

import mfpde


def value(a):
    return a / math.sqrt(1.0 + a * a)


def derivative(a):
    return 1.0 / ((1.0 + a * a) * math.sqrt(1.0 + a * a))


ACTIVATION = mfpde.register(
    mfpde.Activation("algebraic", value, derivative, smoothness="smooth", parity="odd")
)
