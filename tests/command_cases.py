"""A configuration whose run takes a moment, for tests of the command line."""

TINY = """
title = "Tiny"
[data]
source = "moons"
n_samples = 8
[grid]
scheme = "euler"
n = 2
[ensemble]
n_particles = 4
[flow]
s_end = 0.2
rtol = 1e-3
atol = 1e-3
"""
