"""Numba kernels: activations, sweeps through depth, vector operations."""
