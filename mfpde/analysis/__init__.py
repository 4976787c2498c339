"""Analysis of runs: rates with intervals, distances of laws, comparison, export.

Rates: `pairwise_orders`, `fit_power`, `fit_asymptotic_power`, the joint fit in depth
and width `fit_rates`, quantiles at a confidence level `error_quantiles` and `fit_eta`.
Intervals of other statistics: `bootstrap`, `refinement_interval`, `power_limit`.
Distances: `w2` between clouds of particles, `w2_depth`, `w2_integrated` and `w2_sup`
between laws on depth, `coupled_distance` of matched particles, `same_law_baseline`, and
`bures` for Gaussians. Files: `compare` two runs, `export_npz` and `export_csv`.

t in [0, 1] is depth, s >= 0 is training time.
"""

from mfpde.analysis.asymptotic import (
    AsymptoticRates,
    fit_asymptotic,
    fit_asymptotic_power,
    power_limit,
    refinement_interval,
)
from mfpde.analysis.clouds import Distance, w2, w2_estimate
from mfpde.analysis.comparison import Comparison, compare
from mfpde.analysis.export import export_csv, export_npz
from mfpde.analysis.fluctuation import FluctuationFit, fit_fluctuation
from mfpde.analysis.gaussians import bures
from mfpde.analysis.joint import RateFit, fit_rates
from mfpde.analysis.paired import PairedFit, fit_paired
from mfpde.analysis.quantiles import (
    ErrorQuantiles,
    EtaFit,
    error_quantiles,
    fit_eta,
)
from mfpde.analysis.rates import PowerFit, fit_power, pairwise_orders
from mfpde.analysis.resampling import bootstrap
from mfpde.analysis.transport import (
    Baseline,
    common_nodes,
    coupled_distance,
    same_law_baseline,
    w2_depth,
    w2_integrated,
    w2_sup,
)

__all__ = [
    "AsymptoticRates",
    "Baseline",
    "Comparison",
    "Distance",
    "ErrorQuantiles",
    "EtaFit",
    "FluctuationFit",
    "PairedFit",
    "PowerFit",
    "RateFit",
    "bootstrap",
    "bures",
    "common_nodes",
    "compare",
    "coupled_distance",
    "error_quantiles",
    "export_csv",
    "export_npz",
    "fit_asymptotic",
    "fit_asymptotic_power",
    "fit_eta",
    "fit_fluctuation",
    "fit_paired",
    "fit_power",
    "fit_rates",
    "pairwise_orders",
    "power_limit",
    "refinement_interval",
    "same_law_baseline",
    "w2",
    "w2_depth",
    "w2_estimate",
    "w2_integrated",
    "w2_sup",
]
