"""Crash-safe appending to HDF5 files; knows nothing of mfpde's objects."""
