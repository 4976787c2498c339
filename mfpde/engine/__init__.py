"""Driving the kernels: threads, ranks, buffers."""
