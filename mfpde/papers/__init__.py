"""The studies that come with the package: an experiment for each claim of a paper.

A module with a STUDY is what `mfpde study` runs; the others hold its experiments and
what they share. What all studies are made of stands in `mfpde.studies`.
"""
